// HTTP/2 client of Node for connections that are met in their middle: one connection, a call every 20 ms.
//   late_http2_client.js BASE PREFIX SECONDS CA
// First it opens PREFIXstream/SECONDS-2. A second before the end it makes four calls of PREFIXflush/N instead of PREFIXcall/N,
// after which no header refers to anything older. A JSON line a call: number, path, wall clock before it (ns), status.
'use strict';
const http2 = require('http2');
const fs = require('fs');

const [base, prefix, secondsText, ca] = process.argv.slice(2);
const seconds = Number(secondsText);
// The servers listen on 127.0.0.1; before Node 20 the first address of localhost is the only one that is tried.
const options = { family: 4, ...(base.startsWith('https') ? { ca: fs.readFileSync(ca) } : {}) };
const session = http2.connect(base, options);
const fillers = {};
for (let i = 0; i < 4; i += 1) fillers[`x-filler-${i}`] = `${i}`.repeat(1500);

const streamed = session.request({ ':path': `${prefix}stream/${seconds - 2}` });
streamed.on('data', () => {});
streamed.on('end', () => console.log(JSON.stringify({ streamed: Date.now() })));

let number = 0;
let open = 0;
let ended = false;
const start = Date.now();
let flushes = 0;

function done() {
  open -= 1;
  if (ended && open === 0) session.close();
}

function call(kind, more) {
  const n = number;
  number += 1;
  open += 1;
  const path = `${prefix}${kind}/${n}`;
  const at = `${Date.now()}000000`;
  const request = session.request({ ':path': path, 'x-call': `${n}`, ...more });
  request.on('response', (headers) => {
    console.log(JSON.stringify({ n, path, at: Number(at), status: headers[':status'], flush: flushes }));
  });
  request.on('data', () => {});
  request.on('end', done);
}

const timer = setInterval(() => {
  const past = Date.now() - start;
  if (past > 1000 * seconds) {
    clearInterval(timer);
    ended = true;
    if (open === 0) session.close();
  } else if (past > 1000 * (seconds - 1) && flushes < 4) {
    call('flush', fillers);
    flushes += 1;
  } else {
    call('call', {});
  }
}, 20);
