// Reads `[{"language": "traceql" | "logql", "query": …}]` from stdin, and writes what of it the grammars of Grafana's query
// editors do not understand: `[{"query": …, "at": …}]`. Packages are found in the folder that is the first argument.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";

const require = createRequire(resolve(process.argv[2], "package.json"));
const parsers = {
  traceql: require("@grafana/lezer-traceql").parser,
  logql: require("@grafana/lezer-logql").parser,
};
const faults = [];
for (const { language, query } of JSON.parse(readFileSync(0, "utf8"))) {
  parsers[language].parse(query).iterate({
    enter(node) {
      if (node.type.isError) {
        faults.push({ query, at: query.slice(node.from) });
      }
    },
  });
}
console.log(JSON.stringify(faults));
