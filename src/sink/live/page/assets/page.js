// The page: rows as they come, one of them in detail, keys.

import { Refused, status, takeToken, transactions } from "/feed.js";
import { agent, detail, row } from "/show.js";

const MAX_ROWS = 1000;
const AGAIN = 2000;

const by = (id) => document.getElementById(id);
const token = takeToken();
const shown = [];
let filter = "", chosen = null, paused = false, missed = 0, held = [], current = null;

function say(text, bad = false) {
  by("state").textContent = text;
  by("state").className = bad ? "bad" : "";
}

function count() {
  const said = [`${shown.length} shown`];
  if (missed) said.push(`${missed} missed`);
  if (paused) said.push(`paused, ${held.length} waiting`);
  say(said.join(", "));
}

function add(one) {
  one.row = row(one);
  one.row.addEventListener("click", () => choose(one, true));
  shown.push(one);
  by("rows").append(one.row);
  if (shown.length > MAX_ROWS) shown.shift().row.remove();
  by("nothing").hidden = true;
}

function clear() {
  shown.length = 0;
  held = [];
  missed = 0;
  by("rows").replaceChildren();
  by("nothing").hidden = false;
  close();
}

function take(kind, value) {
  if (kind === "missed") missed += value.count;
  else if (kind === "end") say("the agent has stopped", true);
  else if (kind === "transaction" && paused) {
    if (held.length < MAX_ROWS) held.push(value);
    else missed += 1;
  } else if (kind === "transaction") {
    // Who stands on the newest goes along.
    const part = by("list-part");
    const follows = part.scrollHeight - part.scrollTop - part.clientHeight < 40;
    add(value);
    if (follows) part.scrollTop = part.scrollHeight;
  }
  if (kind !== "end") count();
}

async function follow() {
  current?.abort();
  const mine = (current = new AbortController());
  clear();
  by("filter-fault").hidden = true;
  try {
    await transactions(token, filter, mine.signal, (kind, value) => mine === current && take(kind, value));
    if (mine === current) again(mine, "the agent has stopped");
  } catch (error) {
    if (mine !== current) return;
    if (error instanceof Refused && error.status === 422) {
      by("filter-fault").textContent = error.message;
      by("filter-fault").hidden = false;
      say("this filter cannot be used", true);
    } else if (error instanceof Refused) say(error.message, true);
    else again(mine, "the agent does not answer");
  }
}

/// A new agent has a new token: its answer says so.
function again(mine, why) {
  say(`${why}; asking again`, true);
  setTimeout(() => mine === current && follow(), AGAIN);
}

function select(one) {
  chosen?.row.setAttribute("aria-selected", "false");
  chosen = one;
  one.row.setAttribute("aria-selected", "true");
  one.row.scrollIntoView({ block: "nearest" });
}

function choose(one, open) {
  select(one);
  if (!open) return;
  const trace = one.document.trace_id;
  const together = trace ? shown.filter((other) => other.document.trace_id === trace) : [];
  by("detail").replaceChildren(...detail(one, together, (other) => choose(other, true)));
  by("detail").hidden = false;
  by("detail").scrollTop = 0;
  closeAgent();
}

function closeAgent() {
  by("agent").hidden = true;
  by("agent-button").setAttribute("aria-expanded", "false");
}

function close() {
  by("detail").hidden = true;
  closeAgent();
}

async function showAgent() {
  if (!by("agent").hidden) return closeAgent();
  by("agent-button").setAttribute("aria-expanded", "true");
  try {
    by("agent").replaceChildren(...agent(await status(token)));
    by("detail").hidden = true;
    by("agent").hidden = false;
  } catch (error) {
    closeAgent();
    say(error.message, true);
  }
}

function pause() {
  paused = !paused;
  by("pause").setAttribute("aria-pressed", String(paused));
  by("pause").textContent = paused ? "Go on" : "Pause";
  if (!paused) held.splice(0).forEach(add);
  count();
}

function move(step) {
  if (!shown.length) return;
  const at = chosen ? shown.indexOf(chosen) : -1;
  const next = at < 0 ? shown.length - 1 : Math.min(Math.max(at + step, 0), shown.length - 1);
  choose(shown[next], !by("detail").hidden);
}

const KEYS = {
  j: () => move(1), ArrowDown: () => move(1), k: () => move(-1), ArrowUp: () => move(-1),
  Enter: () => chosen && choose(chosen, true), Escape: close, "/": () => by("filter").focus(), p: pause, a: showAgent,
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.target === by("filter")) {
    if (event.key === "Escape") by("filter").blur();
    return;
  }
  // Buttons and links have their own Enter.
  if (event.key === "Enter" && event.target.closest("button, a")) return;
  const act = KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});
by("filter-form").addEventListener("submit", (event) => {
  event.preventDefault();
  filter = by("filter").value;
  by("filter").blur();
  follow();
});
by("pause").addEventListener("click", pause);
by("agent-button").addEventListener("click", showAgent);

if (token) follow();
else say("open the address that the agent printed at its start: it ends in #token=…", true);
