// HTTP/1.1 service in the middle: answers each request with what another server says to a request of its own.
//   middle.js ADDRESS PORT BACK CA      prints "ready" when it listens
// For /a/b the other server is asked for BACK/a/b?hop=2. With BACKGROUND in its environment it calls BACK + that path
// every 20 ms beside.
'use strict';
const http = require('http');
const https = require('https');
const fs = require('fs');

const [address, port, back, ca] = process.argv.slice(2);
const client = back.startsWith('https') ? https : http;
const agent = new client.Agent({ ca: fs.readFileSync(ca), keepAlive: true });

function ask(path, done) {
  client
    .get(back + path, { agent }, (answer) => {
      const pieces = [];
      answer.on('data', (piece) => pieces.push(piece));
      answer.on('end', () => done(Buffer.concat(pieces)));
    })
    .on('error', (error) => done(Buffer.from(String(error))));
}

const server = http.createServer((request, response) => {
  ask(`${request.url}?hop=2`, (body) => {
    response.writeHead(200, { 'content-length': body.length, connection: 'close' });
    response.end(body);
  });
});
if (process.env.BACKGROUND) {
  setInterval(() => ask(process.env.BACKGROUND, () => {}), 20);
}
server.listen(Number(port), address, () => console.log('ready'));
