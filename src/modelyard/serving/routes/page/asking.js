// Asking a model: one request, its stream, and what becomes of the answer.

import { append, note, showFigures } from "./conversation.js";
import { $, problem } from "./dom.js";
import { Problem, events, parsed, post, words } from "./server.js";

/** What is asked of the tokens, the most first; the rest is for models that give less. */
const WISHES = {
  "v1/chat/completions": [{ logprobs: true, top_logprobs: 4 }, { logprobs: true }, {}],
  "v1/completions": [{ logprobs: 4 }, { logprobs: 0 }, {}],
};
const LESS = ["", "This model gives no alternatives to its tokens.", "This model gives no probabilities; it was asked again without them."];

export async function ask(answer, signal) {
  answer.began = performance.now();
  try {
    await take(answer, await asked(answer, signal));
    if (!answer.text) answer.status.textContent = "The answer is empty.";
  } catch (error) {
    if (error.name === "AbortError") answer.finish = "stopped by you";
    else fail(answer, error);
  } finally {
    answer.node.classList.remove("live");
    if (!answer.ended) answer.status.textContent = "";
    showFigures(answer);
  }
}

function fail(answer, error) {
  answer.failed = true;
  answer.finish = "error";
  answer.notices.append(problem(words(error), () => $("prompt").focus()));
}

/** The reply, asked for with as much about its tokens as the model gives. */
async function asked(answer, signal) {
  const wishes = WISHES[answer.path];
  for (let at = 0; ; ) {
    const body = { ...answer.body, ...wishes[at], stream: true, stream_options: { include_usage: true } };
    try {
      const response = await post(answer.path, body, { signal });
      if (LESS[at]) note(answer, LESS[at]);
      return response;
    } catch (error) {
      const less = lesser(error, at);
      if (less === null) throw error;
      at = less;
    }
  }
}

function lesser(error, at) {
  if (error.status !== 422 || at === LESS.length - 1) return null;
  if (error.about.includes("top_logprobs")) return at + 1;
  return error.about.includes("logprobs") ? LESS.length - 1 : null;
}

async function take(answer, response) {
  for await (const batch of events(response)) {
    const pieces = [];
    try {
      for (const data of batch) {
        if (data === "[DONE]") answer.ended = true;
        else pieces.push(...piecesOf(answer, parsed(data)));
      }
    } finally {
      if (pieces.length) append(answer, pieces);
    }
  }
  if (!answer.ended) throw new Problem("The connection broke before the answer had ended.");
}

/** The tokens of an event; what else it says is noted. */
function piecesOf(answer, event) {
  const choice = event.choices?.[0];
  answer.usage = event.usage ?? answer.usage;
  for (const warning of event.warnings ?? []) note(answer, warning.message);
  if (!choice) return [];
  answer.finish = choice.finish_reason ?? answer.finish;
  const text = choice.text ?? choice.delta?.content ?? "";
  const tokens = tokensOf(choice.logprobs);
  answer.count += tokens.length || (text ? 1 : 0);
  return tokens.map((token) => token.text).join("") === text ? tokens : [{ text, logprob: null, top: [] }];
}

/** Tokens with their logprobs, from the form of either route. */
function tokensOf(listed) {
  if (!listed) return [];
  const likely = (one) => ({ text: one.token, logprob: one.logprob });
  if (listed.content) return listed.content.map((one) => ({ ...likely(one), top: (one.top_logprobs ?? []).map(likely) }));
  return (listed.tokens ?? []).map((text, at) => ({
    text,
    logprob: listed.token_logprobs[at],
    top: Object.entries(listed.top_logprobs?.[at] ?? {}).map(([other, logprob]) => ({ text: other, logprob })),
  }));
}
