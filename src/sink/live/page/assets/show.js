// From what the agent says to elements. Captured text goes into text nodes and nowhere else: `element` takes texts and
// elements, and there is no other way here to make any.

const SVG = "http://www.w3.org/2000/svg";
const MAX_BODY = 64 * 1024;

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function shape(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

/// Text with what would hide or reorder the rest made visible.
export function safe(text) {
  return String(text).replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
    (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
}

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}

/// A header's name or value: text, or bytes that are none.
function field(value) {
  if (typeof value === "string") return value;
  return new TextDecoder().decode(bytesOf(value.base64));
}

const isMasked = (text) => /REDACTED|hmac:/.test(text);

function value(text, name = "span") {
  return element(name, { class: isMasked(text) ? "value masked" : "value" }, safe(text));
}

export function duration(ns) {
  const ms = ns / 1e6;
  if (ms < 100) return `${ms.toFixed(1)} ms`;
  return ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

function size(bytes) {
  if (bytes == null) return "";
  if (bytes < 1024) return `${bytes} B`;
  return bytes < 1048576 ? `${(bytes / 1024).toFixed(1)} KiB` : `${(bytes / 1048576).toFixed(1)} MiB`;
}

function judged(shown) {
  const status = shown.document.response?.status ?? 0;
  if (status >= 500 || (status < 400 && shown.error)) return "bad";
  return status >= 400 ? "warn" : "good";
}

export function row(shown) {
  const { document: doc } = shown;
  const arrow = doc.connection?.role === "server" ? "←" : "→";
  const who = `${shown.process}[${doc.metadata.process_id}] ${arrow}`;
  const url = doc.request?.url ?? "the request was not seen";
  const place = url.replace(/^https?:\/\//, "");
  const cells = [
    element("td", {}, doc.transaction_time.slice(11, 23)),
    element("td", { title: safe(doc.metadata.process_exe) }, safe(who)),
    element("td", {}, safe(doc.request?.method ?? "?")),
    element("td", { class: judged(shown) }, String(doc.response?.status || "–")),
    element("td", { title: safe(url) }, safe(place)),
    element("td", { class: "number" }, duration(doc.duration_ns)),
    element("td", { class: "number" }, size(doc.response?.body_size)),
  ];
  return element("tr", { "aria-selected": "false" }, ...cells);
}

function list(pairs) {
  const made = element("dl");
  for (const [name, text] of pairs) {
    if (text == null || text === "") continue;
    made.append(element("dt", {}, safe(name)), text instanceof Node ? element("dd", {}, text) : value(text, "dd"));
  }
  return made;
}

/// A link where a browser can follow it; what it was given in any case.
function link(payload) {
  if (!payload?.url) return payload ? payload.status : "";
  const text = `${payload.url} (${payload.status})`;
  let url;
  try {
    url = new URL(payload.url);
  } catch {
    return text;
  }
  if (url.protocol !== "https:" && url.protocol !== "http:") return text;
  return element("a", { href: url.href, rel: "noreferrer noopener", target: "_blank" }, safe(text));
}

function timing(doc) {
  const total = doc.duration_ns;
  const sent = Math.min(doc.request_end_ns ?? 0, total);
  if (doc.response_start_ns == null) return duration(total);
  const first = Math.min(Math.max(doc.response_start_ns, sent), total);
  return `${duration(total)}: request ${duration(sent)}, wait ${duration(first - sent)}, response ${duration(total - first)}`;
}

/// All of one transaction; `together` are those of its trace, `choose` shows another of them.
export function detail(shown, together, choose) {
  const { document: doc } = shown;
  const meta = doc.metadata;
  const span = doc.parent_span_id ? `${doc.span_id}, child of ${doc.parent_span_id}` : doc.span_id;
  const level = doc.rule ? `${doc.level} by rule “${doc.rule}”` : doc.level;
  const tls = doc.connection?.tls;
  const made = [
    element("h2", {}, safe(`${doc.request?.method ?? "?"} ${doc.request?.url ?? "the request was not seen"}`)),
    list([
      ["time", doc.transaction_time], ["took", timing(doc)],
      ["process", `${shown.process} ${meta.process_id} ${meta.process_exe}`], ["service", meta.service_name],
      ["container", [meta.container_name, meta.container_image].filter(Boolean).join(" ")],
      ["pod", [meta.pod_namespace, meta.pod_name].filter(Boolean).join("/")],
      [doc.connection?.role === "server" ? "from" : "to", doc.connection?.remote],
      ["tls", tls ? `${tls.version} ${tls.sni}`.trim() : ""], ["route", shown.route],
      ["trace", doc.trace_id], ["span", span], ["level", level], ["payload", link(shown.payload)],
      ["error", shown.error], ["marks", (doc.marks ?? []).join(", ")],
    ]),
  ];
  if (together.length > 1) made.push(element("h3", {}, "Trace"), fall(shown, together, choose));
  made.push(...message("Request", doc.request), ...message(`Response ${doc.response?.status ?? ""}`, doc.response));
  return made;
}

function message(title, said) {
  if (!said) return [element("h3", {}, title.trim()), element("p", {}, "not seen")];
  const made = [element("h3", {}, safe(title.trim()))];
  const lines = [...(said.header_list ?? []), ...(said.trailer_list ?? [])];
  if (said.header_list) made.push(list(lines.map(([name, text]) => [field(name), field(text) || "(empty)"])));
  else made.push(element("p", {}, "headers are not kept at this level"));
  if (said.body) {
    const bytes = bytesOf(said.body);
    const text = said.body_is_text ? new TextDecoder().decode(bytes.subarray(0, MAX_BODY)) : `${bytes.length} bytes that are no text`;
    made.push(element("pre", { class: "body", tabindex: "0" }, safe(text)));
    if (said.body_is_text && bytes.length > MAX_BODY) made.push(element("p", {}, `${bytes.length - MAX_BODY} bytes more`));
  } else if (said.body_size > 0) {
    made.push(element("p", {}, `${size(said.body_size)} of content, not kept at this level`));
  }
  if (said.body_redacted) made.push(element("p", { class: "masked" }, "redaction changed this content"));
  if (said.body_dropped) made.push(element("p", { class: "masked" }, `redaction left some or all of it out: ${said.body_dropped}`));
  if (said.body_truncated) made.push(element("p", {}, "the content is cut"));
  return made;
}

/// Nanoseconds of a time with nine places, as a number that keeps them apart within some weeks.
const nanos = (time) => (Date.parse(`${time.slice(0, 19)}Z`) - epoch) * 1e6 + Number(time.slice(20, 29));
const epoch = Date.now();

/// The transactions of a trace as bars on one axis of time, parents before their children.
function fall(current, together, choose) {
  const spans = together.map((shown) => {
    const start = nanos(shown.document.transaction_time);
    return { shown, start, end: start + shown.document.duration_ns };
  });
  spans.sort((a, b) => a.start - b.start || b.end - a.end);
  const first = Math.min(...spans.map((s) => s.start));
  const whole = Math.max(...spans.map((s) => s.end)) - first || 1;
  const depths = depth(spans);
  const rows = spans.map((span) => {
    const { document: doc } = span.shown;
    const failed = judged(span.shown) === "bad" ? "bar failed" : "bar";
    const bar = shape("svg", { viewBox: "0 0 1000 14", preserveAspectRatio: "none", role: "img" });
    bar.append(shape("rect", {
      class: failed, y: 2, height: 10, x: ((span.start - first) / whole) * 1000,
      width: Math.max(((span.end - span.start) / whole) * 1000, 3),
    }));
    const indent = "\u00a0\u00a0".repeat(depths.get(doc.span_id) ?? 0);
    const side = doc.connection?.role === "server" ? "←" : "→";
    const name = element("button", { type: "button" }, safe(`${indent}${span.shown.process} ${side} ${doc.request?.method ?? "?"} ${doc.request?.path ?? ""}`));
    name.addEventListener("click", () => choose(span.shown));
    return element("tr", { "aria-current": String(span.shown === current) },
      element("td", {}, name), element("td", {}, bar), element("td", { class: "number" }, duration(doc.duration_ns)));
  });
  const body = element("tbody", {}, ...rows);
  return element("table", { id: "fall" }, body);
}

/// How many ancestors of each span are here.
function depth(spans) {
  const parents = new Map(spans.map(({ shown }) => [shown.document.span_id, shown.document.parent_span_id]));
  const depths = new Map();
  for (const id of parents.keys()) {
    let steps = 0;
    for (let at = parents.get(id); at && parents.has(at) && steps < parents.size; at = parents.get(at)) steps += 1;
    depths.set(id, steps);
  }
  return depths;
}

function flat(prefix, counts) {
  return Object.entries(counts ?? {}).flatMap(([name, count]) =>
    typeof count === "object" && count !== null ? flat(`${prefix}${name}.`, count) : [[`${prefix}${name}`, String(count)]]);
}

/// The agent: what it is, its ledger, and what it found in processes.
export function agent(status) {
  const counts = flat("", status.ledger).filter(([name, count]) => count !== "0" || /^transactions\.[a-z]+$/.test(name));
  const found = (status.verdicts?.processes ?? []).filter((one) => one.state !== "no_tls");
  const said = (one) => one.state.replaceAll("_", " ") + (one.reason ? `: ${one.reason}` : "");
  const rows = found.map((one) => element("tr", {}, ...[one.pid, one.exe, said(one)].map((text) => element("td", {}, safe(text)))));
  const head = element("thead", {}, element("tr", {}, ...["PID", "Program", "Verdict"].map((text) => element("th", { scope: "col" }, text))));
  return [
    element("h2", {}, `Plainspan ${status.version}, process ${status.pid}`),
    list([["ready", String(status.ready)], ["up", duration(status.uptime_seconds * 1e9)], ["probes", status.tier], ["configuration", status.config?.source]]),
    element("h3", {}, "Ledger"),
    list(counts),
    element("h3", {}, "Verdicts"),
    element("table", { id: "verdicts" }, head, element("tbody", {}, ...rows)),
  ];
}
