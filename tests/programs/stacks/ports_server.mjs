// Server over TLS and in the clear on one thread, for Node and Bun: answers what was asked.
//   ports_server.mjs TLS_PORT PLAIN_PORT CERT KEY      prints "ready" when it listens
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';

const [tlsPort, plainPort, cert, key] = process.argv.slice(2);

function answer(request, response) {
  const text = `asked ${request.method} ${request.url}\n`;
  response.writeHead(200, { 'content-length': Buffer.byteLength(text) });
  response.end(text);
}

const secure = https.createServer({ cert: readFileSync(cert), key: readFileSync(key) }, answer);
secure.keepAliveTimeout = 60000;
secure.listen(Number(tlsPort), '127.0.0.1', () => {
  const plain = http.createServer(answer);
  plain.keepAliveTimeout = 60000;
  plain.listen(Number(plainPort), '127.0.0.1', () => console.log('ready'));
});
