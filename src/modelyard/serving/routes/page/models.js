// The models: what each is at, looked at again and again, and how they are loaded and unloaded.

import { $, able, announce, bar, bytes, disabled, fill, h, problem, say } from "./dom.js";
import { Problem, call, events, parsed, post, words } from "./server.js";

const EVERY = 2000; // milliseconds between two looks at the models
const KIND = { idle: "good", "in use": "busy", fetching: "wait", waiting: "wait", loading: "wait", stuck: "bad", failed: "bad" };
export const LOADS = ["fetching", "waiting", "loading"];
const rows = new Map();
const listeners = [];
let looking = Promise.resolve();
let timer = 0;

/** Calls a function after each look at the models. */
export const afterEachLook = (tell) => listeners.push(tell);

/** The models of the server, as it described them last. */
export const models = () => [...rows.values()].map((row) => row.model);
export const modelOf = (name) => rows.get(name)?.model;

export const stateOf = (model) => (model.state === "unloaded" && model.problem ? "failed" : model.state);

export function badge(node, state) {
  say(node, state);
  node.className = `badge ${KIND[state] ?? ""}`;
}

/** Looks at the models now, and again in two seconds as long as the page is seen. */
export async function poll() {
  clearTimeout(timer);
  const mine = looking.then(look); // one after the other: a look that has begun may not see what has just changed
  looking = mine;
  await mine;
  if (mine === looking && document.visibilityState === "visible") timer = setTimeout(poll, EVERY);
}

async function look() {
  try {
    const response = await call("models", { signal: AbortSignal.timeout(10_000) });
    showModels(await response.json());
    connection("");
  } catch (error) {
    connection(words(error).split("\n")[0]);
  }
}

function connection(text) {
  say($("connection"), text);
  $("connection").hidden = !text;
  document.body.classList.toggle("lost", Boolean(text));
}

function showModels({ models: described, memory, memory_budget: budget }) {
  say($("budget"), `${bytes(memory)} of ${bytes(budget)}`);
  fill($("budget-bar"), budget ? memory / budget : 0);
  for (const model of described) {
    if (!rows.has(model.name)) addRow(model);
    showRow(rows.get(model.name), model, budget);
  }
  for (const [name, row] of rows) if (!described.some((model) => model.name === name)) dropRow(name, row);
  $("models-none").hidden = described.length > 0;
  say($("models-none"), "The catalogue has no models.");
  for (const tell of listeners) tell();
}

function dropRow(name, row) {
  row.node.remove();
  rows.delete(name);
}

function addRow(model) {
  const cell = (name, label) => h("td", { role: "cell", class: name, "data-label": label });
  const row = {
    model,
    watching: false,
    title: h("span", { class: "title" }),
    name: h("small", { class: "name" }),
    about: h("small", { class: "about" }),
    badge: h("span", { class: "badge" }),
    problem: h("small", { class: "why" }),
    bar: bar(),
    bytes: h("span"),
    requests: cell("requests", ""),
    task: cell("task", "Task"),
    engine: cell("engine", "Engine"),
    context: cell("context number", "Context"),
    licence: cell("licence", "Licence"),
    button: h("button", { type: "button" }),
    detail: h("td", { role: "cell", colspan: "9" }),
  };
  const head = h("th", { role: "rowheader", scope: "row" }, row.title, row.name, row.about, row.problem);
  const state = cell("state", "");
  const memory = cell("memory", "");
  const act = cell("act", "");
  state.append(row.badge);
  memory.append(row.bar, row.bytes);
  act.append(row.button);
  const cells = [head, state, memory, row.requests, row.task, row.engine, row.context, row.licence, act];
  const more = h("tr", { role: "row", class: "detail", hidden: "" }, row.detail);
  row.node = h("tbody", { role: "rowgroup", "data-model": model.name }, h("tr", { role: "row" }, ...cells), more);
  row.button.addEventListener("click", () => disabled(row.button) || press(row));
  rows.set(model.name, row);
  $("models").append(row.node);
}

function showRow(row, model, budget) {
  row.model = model;
  say(row.title, model.title);
  say(row.name, model.title === model.name ? "" : model.name);
  say(row.about, model.description ?? "");
  badge(row.badge, stateOf(model));
  say(row.problem, row.detail.hasChildNodes() ? "" : model.problem);
  showMemory(row, model, budget);
  say(row.requests, requestsOf(model));
  say(row.task, model.task);
  say(row.engine, model.engine);
  say(row.context, model.context_length?.toLocaleString("en") ?? "");
  say(row.licence, model.licence ?? "");
  showButton(row);
}

function requestsOf({ running, waiting }) {
  return [running && `${running} running`, waiting && `${waiting} waiting`].filter(Boolean).join(", ");
}

function showMemory(row, model, budget) {
  const known = model.memory ?? model.predicted_memory;
  row.bar.hidden = known === null;
  row.bar.classList.toggle("guess", model.memory === null);
  fill(row.bar, known !== null && budget ? known / budget : 0);
  say(row.bytes, known === null ? "–" : `${model.memory === null ? "≈ " : ""}${bytes(known)}`);
}

function showButton(row) {
  const { state, name } = row.model;
  const loads = LOADS.includes(state);
  const label = row.watching ? "Loading" : loads ? "Show progress" : state === "unloaded" ? "Load" : "Unload";
  say(row.button, label);
  row.button.setAttribute("aria-label", `${label}: ${name}`);
  able(row.button, !row.watching && state !== "closing");
}

function press(row) {
  return row.model.state === "unloaded" || LOADS.includes(row.model.state) ? load(row) : unload(row);
}

function detail(row, ...nodes) {
  row.detail.replaceChildren(...nodes);
  row.detail.parentElement.hidden = nodes.length === 0;
}

function failed(row, error) {
  say(row.problem, "");
  detail(row, problem(words(error), () => (detail(row), row.button.focus())));
}

async function load(row) {
  row.watching = true;
  showButton(row);
  const view = progress();
  detail(row, view.node);
  announce(`Loading ${row.model.title}`);
  try {
    const path = `models/${encodeURIComponent(row.model.name)}/load`;
    await follow(await post(path, undefined, { headers: { Accept: "text/event-stream" } }), view);
    detail(row);
    announce(`${row.model.title} is loaded`);
  } catch (error) {
    failed(row, error);
  } finally {
    view.stop();
    row.watching = false;
    poll();
  }
}

async function follow(response, view) {
  let last = {};
  for await (const batch of events(response)) for (const data of batch) view.show((last = parsed(data)));
  if (last.state !== "loaded") throw new Problem("The connection broke before the model was loaded.");
}

/** A load as it goes: what is done, a bar, and what the user should know. */
function progress() {
  const [state, took, notes, line] = [h("strong"), h("span", { class: "took" }), h("ul"), bar(null)];
  const [label, done] = [h("span"), h("span")];
  const began = performance.now();
  const tick = () => say(took, `${Math.round((performance.now() - began) / 1000)} s`);
  const clock = setInterval(tick, 1000);
  tick();
  function show(event) {
    say(state, event.state);
    say(label, event.label ?? "");
    say(done, event.done ? bytes(event.done) + (event.total ? ` of ${bytes(event.total)}` : "") : "");
    fill(line, event.total ? event.done / event.total : null);
    notes.replaceChildren(...(event.notes ?? []).map((note) => h("li", {}, note)));
  }
  const node = h("div", { class: "progress" }, h("p", {}, state, label, done, took), line, notes);
  return { node, show, stop: () => clearInterval(clock) };
}

async function unload(row) {
  able(row.button, false);
  try {
    await post(`models/${encodeURIComponent(row.model.name)}/unload`);
    detail(row);
    announce(`${row.model.title} is unloaded`);
  } catch (error) {
    failed(row, error);
  } finally {
    await poll();
  }
}
