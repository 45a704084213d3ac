// HTTPS server of Node, which carries OpenSSL inside its own executable.
//   server.js ADDRESS PORT CERT KEY      prints "ready" when it listens
// GET answers with what was asked, of /bytes/N with N bytes; POST reads the body and answers with its length and SHA-256.
'use strict';
const https = require('https');
const fs = require('fs');
const crypto = require('crypto');

const [address, port, cert, key] = process.argv.slice(2);
const options = { cert: fs.readFileSync(cert), key: fs.readFileSync(key), keepAliveTimeout: 60000 };

// Made once for each length.
const bytes = new Map();
function answer(request) {
  const length = /^\/bytes\/(\d+)$/.exec(request.url)?.[1];
  if (length === undefined) return `asked ${request.method} ${request.url}\n`;
  if (!bytes.has(length)) bytes.set(length, 'x'.repeat(Number(length)));
  return bytes.get(length);
}

const server = https.createServer(options, (request, response) => {
  const hash = crypto.createHash('sha256');
  let length = 0;
  request.on('data', (piece) => {
    length += piece.length;
    hash.update(piece);
  });
  request.on('end', () => {
    const text = request.method === 'POST'
      ? `${length} ${hash.digest('hex')}\n`
      : answer(request);
    response.writeHead(200, { 'x-server': 'node', 'content-length': Buffer.byteLength(text) });
    response.end(text);
  });
});
server.listen(Number(port), address, () => console.log('ready'));
