// What is sent: the conversation and the parameters, in the form of the route that the model has.

import { history, userMessage } from "./conversation.js";
import { $ } from "./dom.js";

const NUMBERS = ["max_tokens", "temperature", "top_p", "seed"];
const ESCAPES = { "\\n": "\n", "\\t": "\t", "\\r": "\r", "\\\\": "\\" };

function parameters() {
  const given = NUMBERS.filter((id) => $(id).value !== "").map((id) => [id, Number($(id).value)]);
  const stop = $("stop").value.split("\n").filter(Boolean).map((line) => line.replace(/\\[ntr\\]/g, (one) => ESCAPES[one]));
  return { ...Object.fromEntries(given), ...(stop.length && { stop }) };
}

export function requestOf(model, column, turn) {
  if (model.task === "seq2seq") {
    return { path: "v1/completions", body: { model: model.name, prompt: turn.text, ...parameters() } };
  }
  const system = $("system").value ? [{ role: "system", content: $("system").value }] : [];
  const messages = [...system, ...history(column), userMessage(turn)];
  return { path: "v1/chat/completions", body: { model: model.name, messages, ...parameters() } };
}
