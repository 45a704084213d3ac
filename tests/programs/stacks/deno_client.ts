// HTTPS client of Deno: carries out a plan of calls (see ../client.py), a pool of one connection for each list.
//   deno_client.ts 1.1|2 PLAN.json
const [version, file] = Deno.args;
const plan = JSON.parse(Deno.readTextFileSync(file));

async function connection(calls: { index: number; method: string; target: string; headers: Record<string, string>; body: string | null }[]) {
  const client = Deno.createHttpClient({ http1: version === '1.1', http2: version === '2', poolMaxIdlePerHost: 1 });
  for (const call of calls) {
    const body = call.body === null ? null : Deno.readFileSync(call.body);
    const answer = await fetch(plan.base + call.target, { method: call.method, headers: call.headers, body, client });
    Deno.writeFileSync(`${plan.out}/${call.index}`, new Uint8Array(await answer.arrayBuffer()));
    console.log(JSON.stringify({ index: call.index, status: answer.status, local_port: 0 }));
  }
  client.close();
}

await Promise.all(plan.connections.map(connection));
