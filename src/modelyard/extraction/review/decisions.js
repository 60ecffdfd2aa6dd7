// Decisions: what was accepted, corrected and rejected; kept by the server, or by the browser where there is none.

const NAME = `modelyard-review:${setup.result}`;
const decisions = new Map(); // key → { record, document, field, action, value, previous, time }; values as JSON text
const given = new Set(); // keys of those that came with the page
const done = []; // what can be undone: { item, before }

const live = { sending: Promise.resolve(), waiting: 0, failed: null };

const rowKey = (row) => JSON.stringify([row.record, row.record === null ? row.document : null, row.field]);

function keyOf(item) {
  const unit = units[items.unit[item]];
  return JSON.stringify([unit.record ? unit.name : null, unit.record ? null : unit.name, fieldOf(item).name]);
}

/** The decision on a field, or undefined. */
function decisionOn(item) {
  const found = decisions.get(keyOf(item));
  return found?.action === "withdraw" ? undefined : found;
}

const reviewed = () => {
  let count = 0;
  for (let item = 0; item < TOTAL; item += 1) if (decisionOn(item)) count += 1;
  return count;
};

/** A row of the corrections file; values stand in it as they came, not as JavaScript would write them. */
function lineOf(row) {
  const words = ["document", "record", "field", "action"].map((key) => `${JSON.stringify(key)}: ${JSON.stringify(row[key])}`);
  const rest = [`"value": ${row.value}`, `"previous": ${row.previous}`, `"reviewer": ${JSON.stringify(row.reviewer ?? null)}`, `"time": ${JSON.stringify(row.time)}`];
  return `{${[...words, ...rest].join(", ")}}`;
}

function put(key, row) {
  if (row && !(row.action === "withdraw" && !given.has(key))) decisions.set(key, row);
  else decisions.delete(key);
}

function store() {
  if (setup.file !== null) return;
  try {
    localStorage.setItem(NAME, JSON.stringify([...decisions.values()]));
  } catch {
    complain("This browser keeps nothing for this page: download the corrections before you leave it.");
  }
}

/** Sends a row to the server; one after the other, so that the file has them in their order. */
function send(row, undone) {
  if (setup.file === null) return;
  live.waiting += 1;
  live.sending = live.sending.then(async () => {
    try {
      const headers = { "Content-Type": "application/json" };
      const reply = await fetch(`decisions${location.search}`, { method: "POST", headers, body: lineOf(row) });
      if (!reply.ok) throw new Error((await reply.text()) || `the server answers ${reply.status}`);
    } catch (error) {
      const unreached = error instanceof TypeError;
      complain(`Not kept: ${row.field}, ${row.record ?? row.document}. ${unreached ? "The server does not answer; is `modelyard review` still running?" : error.message}`);
      undone();
    } finally {
      live.waiting -= 1;
    }
  });
}

/** Keeps a decision, which `value` and `previous` belong to as JSON text. */
function decide(item, action, value, previous, from) {
  const unit = units[items.unit[item]];
  const row = {
    document: unit.record ? from : unit.name,
    record: unit.record ? unit.name : null,
    field: fieldOf(item).name,
    action,
    value,
    previous,
    reviewer: setup.reviewer,
    time: new Date().toISOString(),
  };
  const key = keyOf(item);
  const before = decisions.get(key);
  put(key, row);
  const after = decisions.get(key);
  store();
  send(row, () => {
    if (decisions.get(key) === after) put(key, before); // else something else was decided since
    changed();
  });
  return before;
}

/** Takes the last decision back; returns the field that it was about, or undefined. */
function undo(current) {
  const last = done.pop() ?? (current !== undefined && decisionOn(current) ? { item: current, before: undefined } : undefined);
  if (!last) return undefined;
  const row = decisions.get(keyOf(last.item));
  const back = last.before ?? { action: "withdraw", value: "null" };
  if (row) decide(last.item, back.action, back.value, row.previous, row.document);
  return last.item;
}

function readDecisions() {
  for (const row of JSON.parse($("decisions").textContent)) {
    given.add(rowKey(row));
    decisions.set(rowKey(row), row);
  }
  if (setup.file !== null) return;
  try {
    for (const row of JSON.parse(localStorage.getItem(NAME) ?? "[]")) put(rowKey(row), row);
  } catch {
    // nothing was kept, or nothing may be read; `store` says so when there is something to keep
  }
}

function download() {
  const lines = [...decisions.values()].map((row) => `${lineOf(row)}\n`).join("");
  const link = h("a", { href: URL.createObjectURL(new Blob([lines], { type: "application/x-ndjson" })), download: setup.name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

addEventListener("beforeunload", (event) => live.waiting && event.preventDefault());
