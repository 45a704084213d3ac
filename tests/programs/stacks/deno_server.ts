// HTTPS server of Deno, for HTTP/1.1 and HTTP/2: answers as bun_server.mjs.
//   deno_server.ts ADDRESS PORT CERT KEY      prints "ready" when it listens
const [hostname, port, cert, key] = Deno.args;
const options = {
  hostname,
  port: Number(port),
  cert: Deno.readTextFileSync(cert),
  key: Deno.readTextFileSync(key),
  onListen: () => console.log('ready'),
};
Deno.serve(options, async (request: Request) => {
  const headers = { 'x-server': 'deno' };
  if (request.method !== 'POST') return new Response(`asked ${request.method} ${request.url}\n`, { headers });
  return new Response(`${(await request.arrayBuffer()).byteLength} bytes\n`, { headers });
});
