// HTTPS client of Node: carries out a plan of calls (see client.py), one keep-alive agent with one socket for each
// connection of the plan, connections side by side.
//   client.js PLAN.json
'use strict';
const https = require('https');
const http = require('http');
const fs = require('fs');

const plan = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const secure = plan.base.startsWith('https:');
const library = secure ? https : http;
const ca = secure ? fs.readFileSync(plan.ca) : undefined;

function perform(agent, call) {
  return new Promise((resolve, reject) => {
    const body = call.body === null ? null : fs.readFileSync(call.body);
    const headers = { ...call.headers };
    if (body) headers['content-length'] = body.length;
    const request = library.request(plan.base + call.target, { method: call.method, headers, agent, ca, family: 4 }, (answer) => {
      const port = answer.socket.localPort;
      const pieces = [];
      answer.on('data', (piece) => pieces.push(piece));
      answer.on('error', reject);
      answer.on('end', () => {
        fs.writeFileSync(`${plan.out}/${call.index}`, Buffer.concat(pieces));
        console.log(JSON.stringify({ index: call.index, status: answer.statusCode, local_port: port }));
        resolve();
      });
    });
    request.on('error', reject);
    request.end(body ?? undefined);
  });
}

async function connection(calls) {
  const agent = new library.Agent({ keepAlive: true, maxSockets: 1 });
  for (const call of calls) await perform(agent, call);
  agent.destroy();
}

Promise.all(plan.connections.map(connection)).catch((error) => {
  console.error(error);
  process.exit(1);
});
