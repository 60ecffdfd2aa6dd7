// The page: its fields and keys, and sending.

import { ask } from "./asking.js";
import { chosen, columns, showChoices, showChosen } from "./choices.js";
import { listenForCode, showCode } from "./code.js";
import { forget, newAnswer, showTurn, showWaiting, turns } from "./conversation.js";
import { $, able, say } from "./dom.js";
import { afterEachLook, poll } from "./models.js";
import { requestOf } from "./request.js";
import { hideTip, watchTokens } from "./tokens.js";

let image = null; // to be sent with the next message
let running = null; // what stops the answers that come just now

async function send() {
  const asked = columns().map(chosen);
  if (running || asked.some((model) => !model)) return;
  running = new AbortController();
  able($("abort"), true);
  able($("send"), false);
  const turn = { text: $("prompt").value, image: $("image-box").hidden ? null : image, answers: [] };
  const requests = asked.map((model, column) => requestOf(model, column, turn));
  const answers = asked.map((model, column) => newAnswer(model, column, requests[column]));
  showTurn(turn, answers);
  turns.push(turn);
  turn.answers = answers;
  showCode(asked, requests);
  setPrompt("");
  setImage(null);
  await Promise.all(answers.map((answer) => ask(answer, running.signal)));
  if (answers.every((answer) => answer.failed && !answer.text) && !$("prompt").value) {
    setPrompt(turn.text);
    setImage(turn.image);
  }
  running = null;
  able($("abort"), false);
  able($("send"), true);
  poll();
}

function fresh() {
  running?.abort();
  forget();
  $("prompt").focus();
}

function setPrompt(text) {
  $("prompt").value = text;
}

function setImage(given) {
  image = given;
  $("image").value = "";
  say($("image-name"), given?.name ?? "");
  say($("image-pick"), given ? "Remove the image" : "Add an image");
}

function readImage() {
  const [file] = $("image").files;
  if (!file) return;
  const reader = new FileReader();
  reader.addEventListener("load", () => setImage({ url: reader.result, name: file.name }));
  reader.readAsDataURL(file);
}

function onKey(event) {
  if ($("help").open) return;
  const typing = event.target.closest?.("input, textarea, select");
  if (event.key === "Escape") {
    hideTip();
    running?.abort();
  } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    if (typing?.form) $("form").requestSubmit();
  } else if (event.key === "Enter" && typing?.matches("input[type=number]")) {
    event.preventDefault(); // Enter alone sends nothing
  } else if (event.key === "?" && !typing) {
    event.preventDefault();
    $("help").showModal();
  }
}

function listen() {
  document.addEventListener("keydown", onKey);
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && poll());
  watchTokens($("turns"));
  listenForCode();
  afterEachLook(showChoices);
  afterEachLook(showWaiting);
  $("form").addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  $("abort").addEventListener("click", () => running?.abort());
  $("fresh").addEventListener("click", fresh);
  for (const id of ["compare", "model-0", "model-1"]) $(id).addEventListener("change", showChosen);
  $("shade").addEventListener("change", () => $("turns").classList.toggle("plain", !$("shade").checked));
  $("image-pick").addEventListener("click", () => (image ? setImage(null) : $("image").click()));
  $("image").addEventListener("change", readImage);
  $("help-open").addEventListener("click", () => $("help").showModal());
  $("help-close").addEventListener("click", () => $("help").close());
}

listen();
poll();
