// HTTPS server of Bun: answers as ../server.js.
//   bun_server.mjs ADDRESS PORT CERT KEY      prints "ready" when it listens
const [address, port, cert, key] = process.argv.slice(2);
Bun.serve({
  hostname: address,
  port: Number(port),
  idleTimeout: 60,
  tls: { cert: Bun.file(cert), key: Bun.file(key) },
  async fetch(request) {
    const headers = { 'x-server': 'bun' };
    if (request.method !== 'POST') return new Response(`asked ${request.method} ${request.url}\n`, { headers });
    return new Response(`${(await request.arrayBuffer()).byteLength} bytes\n`, { headers });
  },
});
console.log('ready');
