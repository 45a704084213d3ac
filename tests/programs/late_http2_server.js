// HTTP/2 server of Node for connections that are met in their middle.
//   late_http2_server.js ADDRESS PORT [CERT KEY]      prints "ready" when it listens; without TLS: h2c
// .../call/N answers with status 200, 201 or 202 and N in a header; .../flush the same, with so many headers that all
// older entries leave the table of header compression; .../stream sends 1000 bytes every 100 ms for SECONDS, then trailers.
'use strict';
const http2 = require('http2');
const fs = require('fs');

const [address, port, cert, key] = process.argv.slice(2);
const server = cert
  ? http2.createSecureServer({ cert: fs.readFileSync(cert), key: fs.readFileSync(key) })
  : http2.createServer();

function fillers() {
  const headers = {};
  for (let i = 0; i < 4; i += 1) headers[`x-filler-${i}`] = `${i}`.repeat(1500);
  return headers;
}

function stream(to, seconds) {
  to.respond({ ':status': 200, 'x-server': 'node' }, { waitForTrailers: true });
  to.on('wantTrailers', () => to.sendTrailers({ 'x-end': 'yes' }));
  const timer = setInterval(() => to.write('s'.repeat(1000)), 100);
  setTimeout(() => {
    clearInterval(timer);
    to.end();
  }, 1000 * seconds);
}

server.on('stream', (to, headers) => {
  to.on('error', () => {});
  const path = headers[':path'];
  const number = Number(path.split('/').pop());
  if (path.includes('/stream/')) return stream(to, number);
  const more = path.includes('/flush/') ? fillers() : {};
  to.respond({ ':status': 200 + (number % 3), 'x-server': 'node', 'x-answer': `${number}`, ...more });
  return to.end('b'.repeat(number % 50));
});
server.listen(Number(port), address, () => console.log('ready'));
