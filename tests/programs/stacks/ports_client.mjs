// What ports_client.py does, for Node and Bun.
//   ports_client.mjs TLS_PORT PLAIN_PORT PREFIX REQUESTS
import net from 'node:net';
import tls from 'node:tls';

const [TLS, PLAIN, PREFIX, REQUESTS] = process.argv.slice(2).map((word, at) => (at === 2 ? word : Number(word)));
const EACH = 25;

function connection(port, secure, count) {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port, rejectUnauthorized: false };
    let number = 0;
    let text = '';
    const ask = () => {
      text = '';
      socket.write(`GET ${PREFIX}/${socket.localPort}/${number} HTTP/1.1\r\nhost: localhost:${port}\r\n\r\n`);
    };
    const socket = secure ? tls.connect(options, ask) : net.connect(options, ask);
    socket.on('error', reject);
    socket.on('close', () => (number === count ? resolve() : reject(new Error(`closed after ${number}`))));
    socket.on('data', (piece) => {
      text += piece.toString('latin1');
      const end = text.indexOf('\r\n\r\n');
      if (end < 0) return;
      const length = Number(/content-length: (\d+)/i.exec(text)[1]);
      if (text.length < end + 4 + length) return;
      number += 1;
      if (number < count) ask();
      else socket.end();
    });
  });
}

async function lane(port, secure, count) {
  for (let left = count; left > 0; left -= EACH) await connection(port, secure, Math.min(left, EACH));
}

const each = Math.floor(REQUESTS / 40);
const lanes = [];
for (let i = 0; i < 40; i++) lanes.push(lane(TLS, true, each));
for (let i = 0; i < 10; i++) lanes.push(lane(PLAIN, false, each));
await Promise.all(lanes);
console.log('done');
process.exit(0);
