// What the page asks the agent for. The token comes from the address's fragment, which browsers send to nobody, and goes in
// a header: EventSource cannot send one, so events are read from a fetch.

const VERSION = 1;

/// The token of the address; it is taken out of what the browser shows and remembers.
export function takeToken() {
  const found = new URLSearchParams(location.hash.slice(1)).get("token");
  if (found) {
    sessionStorage.setItem("token", found);
    history.replaceState(null, "", location.pathname);
  }
  return found || sessionStorage.getItem("token") || "";
}

export class Refused extends Error {
  constructor(status, reason, column) {
    super(reason);
    this.status = status;
    this.column = column;
  }
}

async function ask(token, path, options) {
  const headers = { authorization: `Bearer ${token}`, ...options.headers };
  const response = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit", redirect: "error" });
  if (response.ok) return response;
  const text = await response.text();
  if (response.status === 422) {
    const { reason, column } = JSON.parse(text);
    throw new Refused(422, reason, column);
  }
  throw new Refused(response.status, text.trim());
}

export async function status(token) {
  return (await ask(token, "/api/status", { method: "GET" })).json();
}

/// Calls `take(kind, value)` for each event until the agent or `signal` ends it.
export async function transactions(token, filter, signal, take) {
  const response = await ask(token, "/api/transactions", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ version: VERSION, filter, recent: true }),
    signal,
  });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    let end;
    while ((end = text.indexOf("\n\n")) >= 0) {
      event(text.slice(0, end), take);
      text = text.slice(end + 2);
    }
  }
}

function event(block, take) {
  let kind = "", data = "";
  for (const line of block.split("\n")) {
    if (line.startsWith("event: ")) kind = line.slice(7);
    else if (line.startsWith("data: ")) data += line.slice(6);
  }
  if (kind) take(kind, JSON.parse(data));
}
