// HTTP/2 client of Node: carries out a plan of calls (see ../client.py), a session for each list, its calls side by side.
//   http2_client.js PLAN.json
'use strict';
const http2 = require('http2');
const fs = require('fs');

const plan = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));

function perform(session, call) {
  return new Promise((resolve, reject) => {
    const head = { ':method': call.method, ':path': call.target, ...call.headers };
    const stream = session.request(head, { endStream: call.body === null });
    const pieces = [];
    let status = 0;
    stream.on('response', (headers) => { status = headers[':status']; });
    stream.on('data', (piece) => pieces.push(piece));
    stream.on('error', reject);
    stream.on('end', () => {
      fs.writeFileSync(`${plan.out}/${call.index}`, Buffer.concat(pieces));
      console.log(JSON.stringify({ index: call.index, status, local_port: session.socket.localPort }));
      resolve();
    });
    if (call.body !== null) stream.end(fs.readFileSync(call.body));
  });
}

async function connection(calls) {
  const session = http2.connect(plan.base, { ca: fs.readFileSync(plan.ca), family: 4 });
  for (let at = 0; at < calls.length; at += 5) await Promise.all(calls.slice(at, at + 5).map((call) => perform(session, call)));
  session.close();
}

Promise.all(plan.connections.map(connection)).catch((error) => {
  console.error(error);
  process.exit(1);
});
