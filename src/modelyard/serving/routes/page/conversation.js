// The conversation: its turns, and the answers as they grow.

import { $, h, say, seconds } from "./dom.js";
import { LOADS, modelOf } from "./models.js";
import { tokenNode } from "./tokens.js";

export const turns = []; // each with its text, its image and the answers by column

export function userMessage({ text, image: picture }) {
  const content = picture
    ? [{ type: "image_url", image_url: { url: picture.url } }, { type: "text", text }]
    : text;
  return { role: "user", content };
}

/** The turns before as a column sees them: its own answers, and the first column's where it has none yet. */
export function history(column) {
  return turns.flatMap((turn) => {
    const answer = turn.answers[column] ?? turn.answers[0];
    return answer?.text ? [userMessage(turn), { role: "assistant", content: answer.text }] : [];
  });
}

export function newAnswer(model, column, request) {
  const text = h("div", { class: "text", role: "group", "aria-live": "polite", "aria-label": `Answer of ${model.title}; arrow keys go through its tokens` });
  const status = h("p", { class: "small status" }, "Waiting for the first token");
  const notices = h("div", { class: "notices" });
  const figures = h("dl", { class: "figures" });
  const head = h("h3", {}, h("span", { class: "swatch", "aria-hidden": "true" }), model.title);
  const node = h("section", { class: "answer live", "data-column": column, "aria-label": `Answer of ${model.title}` }, head, status, text, notices, figures);
  return { ...request, name: model.name, node, box: text, status, notices, figures, text: "", count: 0, finish: null, usage: null };
}

export function showTurn(turn, answers) {
  const said = h("div", { class: "said" }, h("span", { class: "hidden" }, "You: "), turn.text);
  if (turn.image) said.append(h("img", { src: turn.image.url, alt: turn.image.name }));
  $("turns").append(h("article", { class: "turn" }, said, h("div", { class: "answers" }, ...answers.map((answer) => answer.node))));
  reveal();
}

export function note(answer, text) {
  answer.notices.append(h("p", { class: "notice warn" }, text));
}

export function append(answer, pieces) {
  const follows = below() <= 4; // scrolling rounds
  const now = performance.now();
  const fresh = document.createDocumentFragment();
  for (const piece of pieces) {
    if (!piece.text) continue;
    answer.text += piece.text;
    fresh.append(tokenNode(piece));
  }
  if (!answer.first && fresh.hasChildNodes()) [answer.first, answer.firstCount] = [now, answer.count];
  answer.last = now;
  if (answer.text) answer.status.textContent = "";
  answer.box.append(fresh);
  if (!answer.box.querySelector("[tabindex='0']")) answer.box.firstElementChild?.setAttribute("tabindex", "0");
  showFigures(answer);
  if (follows) reveal();
}

/** How far the conversation's end is hidden by the message field, in pixels. */
const below = () => $("turns").getBoundingClientRect().bottom - $("composer").getBoundingClientRect().top;

function reveal() {
  const hidden = below();
  if (hidden > 0) scrollBy({ top: hidden, behavior: "instant" });
}

export function showFigures(answer) {
  const { usage, first, last, began, count, firstCount, finish } = answer;
  const made = usage?.completion_tokens ?? count;
  const decoded = count - firstCount;
  const listed = [
    ["Tokens", first || usage ? `${made}${usage ? `, ${usage.prompt_tokens} read` : ""}` : ""],
    ["Speed", decoded > 0 && last > first ? `${(decoded / ((last - first) / 1000)).toFixed(1)} tokens/s` : ""],
    ["First token", first ? seconds((first - began) / 1000) : ""],
    ["Finish", finish ?? ""],
  ];
  const shown = listed.filter(([, value]) => value);
  answer.figures.replaceChildren(...shown.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

/** Says of the answers that are waited for what their models are at. */
export function showWaiting() {
  for (const answer of turns.at(-1)?.answers ?? []) {
    const state = modelOf(answer.name)?.state;
    if (!answer.text && !answer.finish && LOADS.includes(state)) say(answer.status, `The model is ${state}`);
  }
}

export function forget() {
  turns.length = 0;
  $("turns").replaceChildren();
}
