// Client over fetch, of Bun and of Node: carries out a plan of calls (see ../client.py), its connections'
// calls side by side.
//   fetch_client.mjs PLAN.json
import { readFileSync, writeFileSync } from 'node:fs';

const plan = JSON.parse(readFileSync(process.argv[2], 'utf8'));
// Bun takes it with the request, Node by NODE_EXTRA_CA_CERTS.
const tls = { ca: readFileSync(plan.ca, 'utf8') };

async function connection(calls) {
  for (const call of calls) {
    const body = call.body === null ? undefined : readFileSync(call.body);
    const answer = await fetch(plan.base + call.target, { method: call.method, headers: call.headers, body, tls });
    writeFileSync(`${plan.out}/${call.index}`, Buffer.from(await answer.arrayBuffer()));
    console.log(JSON.stringify({ index: call.index, status: answer.status, local_port: 0 }));
  }
}

await Promise.all(plan.connections.map(connection));
process.exit(0);
