// HTTP/2 server of Node over TLS.
//   http2_server.js ADDRESS PORT CERT KEY      prints "ready" when it listens
// GET answers with what was asked, `.../coded/CODING/N` with N bytes in that content coding, `.../drip/S`
// 100 bytes every 0.1 s for S seconds; POST reads the body and
// answers with its length and SHA-256; an extended CONNECT (RFC 8441) gets back what it sends.
'use strict';
const http2 = require('http2');
const fs = require('fs');
const crypto = require('crypto');
const zlib = require('zlib');

const CODINGS = { gzip: zlib.gzipSync, deflate: zlib.deflateSync, br: zlib.brotliCompressSync };

// The bytes 0..255, over and over.
function pattern(size) {
  return Buffer.from(Array.from({ length: size }, (_, at) => at % 256));
}

const [address, port, cert, key] = process.argv.slice(2);
const options = {
  cert: fs.readFileSync(cert),
  key: fs.readFileSync(key),
  settings: { enableConnectProtocol: true },
};

const server = http2.createSecureServer(options);
function drip(stream, seconds) {
  stream.respond({ ':status': 200, 'x-server': 'node' });
  const timer = setInterval(() => stream.write('.'.repeat(100)), 100);
  setTimeout(() => {
    clearInterval(timer);
    stream.end();
  }, seconds * 1000);
}

server.on('stream', (stream, headers) => {
  if (headers[':method'] === 'CONNECT') {
    stream.respond({ ':status': 200, 'x-server': 'node' });
    stream.pipe(stream);
    return;
  }
  const [, coding, size] = /\/coded\/(\w+)\/(\d+)$/.exec(headers[':path']) ?? [];
  if (coding) {
    stream.respond({ ':status': 200, 'x-server': 'node', 'content-type': 'application/octet-stream', 'content-encoding': coding });
    stream.end(CODINGS[coding](pattern(Number(size))));
    return;
  }
  const [what, argument] = headers[':path'].split('/').slice(-2);
  if (what === 'drip') return drip(stream, Number(argument));
  const hash = crypto.createHash('sha256');
  let length = 0;
  stream.on('data', (piece) => {
    length += piece.length;
    hash.update(piece);
  });
  stream.on('end', () => {
    const text = headers[':method'] === 'POST'
      ? `${length} ${hash.digest('hex')}\n`
      : `asked ${headers[':method']} ${headers[':path']}\n`;
    stream.respond({ ':status': 200, 'x-server': 'node', 'content-length': Buffer.byteLength(text) });
    stream.end(text);
  });
});
server.listen(Number(port), address, () => console.log('ready'));
