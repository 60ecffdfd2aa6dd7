// As code: what was sent, as a line for a shell and as Python.

import { $, announce, h, say, seen } from "./dom.js";
import { ROOT } from "./server.js";

const KEYS = document.documentElement.dataset.keys === "1";
const code = { kind: "curl", sent: [] };

export function showCode(models, requests) {
  code.sent = requests.map(({ path, body }) => ({ path, body: withoutImages(body) }));
  $("code-model").replaceChildren(...models.map((model, at) => h("option", { value: at }, model.title)));
  $("code-which").hidden = models.length < 2;
  $("code-section").hidden = false;
  writeCode();
}

function writeCode() {
  const { path, body } = code.sent[Number($("code-model").value)];
  const write = code.kind === "curl" ? curl : python;
  $("code").textContent = write(path, $("code-stream").checked ? { ...body, stream: true } : body);
  for (const kind of ["curl", "python"]) {
    $(`tab-${kind}`).setAttribute("aria-selected", String(kind === code.kind));
    $(`tab-${kind}`).tabIndex = kind === code.kind ? 0 : -1;
  }
  $("code-note").hidden = !JSON.stringify(body).includes('"type":"image_url"');
  $("code-panel").setAttribute("aria-labelledby", `tab-${code.kind}`);
}

/** A body without its images' megabytes; no other field is called `url`. */
const withoutImages = (body) =>
  JSON.parse(JSON.stringify(body, (key, one) => (key === "url" ? `${one.split(",")[0]},…` : one)));

/** JSON with nothing in it that an eye cannot see. */
const json = (value, indent) => seen(JSON.stringify(value, null, indent));

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

function curl(path, body) {
  const key = KEYS ? ['-H "Authorization: Bearer $MODELYARD_API_KEY"'] : [];
  const line = `curl${body.stream ? " -N" : ""} ${quoted(new URL(path, ROOT).href)}`;
  return [line, ...key, "-H 'Content-Type: application/json'", `-d ${quoted(json(body, 2))}`].join(" \\\n  ");
}

/** A value as Python writes it: JSON's texts and numbers are Python's too. */
function literal(value, indent = "") {
  if (value === null || typeof value === "boolean") return { null: "None", true: "True", false: "False" }[value];
  if (typeof value !== "object") return json(value);
  const deeper = `${indent}    `;
  const listed = Array.isArray(value);
  const flat = !Object.values(value).some((one) => typeof one === "object" && one !== null);
  const items = Object.entries(value).map(([key, one]) => (listed ? "" : `${json(key)}: `) + literal(one, flat ? indent : deeper));
  const [open, close] = listed ? "[]" : "{}";
  return flat ? open + items.join(", ") + close : `${open}\n${items.map((one) => `${deeper}${one},\n`).join("")}${indent}${close}`;
}

function python(path, body) {
  const chat = path === "v1/chat/completions";
  const [key, first] = KEYS ? ['os.environ["MODELYARD_API_KEY"]', "import os\n\n"] : ['"none"', ""];
  const given = Object.entries(body).map(([name, value]) => `    ${name}=${literal(value, "    ")},\n`);
  const answer = chat ? "reply.choices[0].message.content" : "reply.choices[0].text";
  const piece = chat ? 'chunk.choices[0].delta.content or ""' : "chunk.choices[0].text";
  const whole = `print(${answer})\n`;
  const stream = `for chunk in reply:\n    if chunk.choices:\n        print(${piece}, end="", flush=True)\n`;
  return (
    `${first}from openai import OpenAI\n\nclient = OpenAI(base_url=${json(new URL("v1", ROOT).href)}, api_key=${key})\n` +
    `reply = client.${chat ? "chat.completions" : "completions"}.create(\n${given.join("")})\n${body.stream ? stream : whole}`
  );
}

function chooseTab(kind) {
  code.kind = kind;
  writeCode();
  $(`tab-${kind}`).focus();
}

async function copy() {
  try {
    await navigator.clipboard.writeText($("code").textContent);
  } catch {
    // only https and localhost have a clipboard
    getSelection().selectAllChildren($("code"));
    if (!document.execCommand("copy")) return announce("It could not be copied; it is selected");
  }
  say($("copy"), "Copied");
  setTimeout(() => say($("copy"), "Copy"), 2000);
  announce("Copied");
}

export function listenForCode() {
  for (const kind of ["curl", "python"]) $(`tab-${kind}`).addEventListener("click", () => chooseTab(kind));
  document.querySelector("[role=tablist]").addEventListener("keydown", (event) => {
    if (["ArrowLeft", "ArrowRight"].includes(event.key)) chooseTab(code.kind === "curl" ? "python" : "curl");
  });
  for (const id of ["code-model", "code-stream"]) $(id).addEventListener("change", writeCode);
  $("copy").addEventListener("click", copy);
}
