// HTTP/2 client of Node that opens a WebSocket by extended CONNECT (RFC 8441), sends one masked frame, and prints the
// hex of what comes back before it ends the stream.
//   http2_connect.js BASE CA PATH
'use strict';
const http2 = require('http2');
const fs = require('fs');

const [base, ca, path] = process.argv.slice(2);
const session = http2.connect(base, { ca: fs.readFileSync(ca), family: 4 });
const fail = (error) => {
  console.error(error);
  process.exit(1);
};
session.on('error', fail);
session.once('remoteSettings', (settings) => {
  if (!settings.enableConnectProtocol) fail(new Error('the server takes no extended CONNECT'));
  const stream = session.request({ ':method': 'CONNECT', ':protocol': 'websocket', ':path': path, 'sec-websocket-version': '13' });
  stream.on('error', fail);
  stream.on('response', (headers) => {
    if (headers[':status'] !== 200) fail(new Error(`status ${headers[':status']}`));
    // A text frame, final, "hello", with a mask of zeros.
    stream.write(Buffer.from('818500000000' + Buffer.from('hello').toString('hex'), 'hex'));
  });
  stream.on('data', (piece) => {
    console.log(piece.toString('hex'));
    stream.end();
  });
  stream.on('close', () => session.close());
});
