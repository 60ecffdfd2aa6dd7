// Tokens: each shaded by its probability, which a tip shows beside what else was likely in its place.

import { $, bar, h, percent, seen } from "./dom.js";

const UNKNOWN = -9999; // the logprob that stands for one that is not known
const tokens = new WeakMap();
let tipped = null; // the token that the tip is of

const probability = ({ logprob }) => (logprob === null || logprob === undefined || logprob <= UNKNOWN ? null : Math.exp(Math.min(0, logprob)));

export function tokenNode(token) {
  const share = probability(token);
  const node = h("span", { class: share === null ? "t" : `t d${Math.round(10 * (1 - share))}` }, token.text);
  tokens.set(node, token);
  return node;
}

/** A token's text with what cannot be seen in it written out. */
function visible(text) {
  const shown = text.replaceAll("\n", "↵").replaceAll("\t", "⇥").replace(/^ +| +$/g, (blanks) => "␣".repeat(blanks.length));
  return seen(shown) || "∅";
}

function likely(one, made) {
  const share = probability(one);
  const cells = [h("span", { class: "alternative" }, visible(one.text)), bar(share ?? 0), h("span", {}, share === null ? "?" : percent(share))];
  return h("li", made ? { class: "made" } : {}, ...cells);
}

function showTip(node) {
  const token = tokens.get(node);
  const share = probability(token);
  const head = h("p", {}, h("strong", {}, visible(token.text)), " ", share === null ? "probability not known" : percent(share));
  const made = token.top.findIndex((one) => one.text === token.text);
  const list = token.top.length ? [h("ol", {}, ...token.top.map((one, at) => likely(one, at === made)))] : [];
  hideTip(); // of the token before
  const tip = $("tip");
  tip.replaceChildren(head, ...list);
  tip.hidden = false;
  tipped = node;
  node.setAttribute("aria-describedby", "tip");
  placeTip();
}

/** Above the token where there is room, else below it, and inside of the window. */
function placeTip() {
  const tip = $("tip");
  if (tip.hidden) return;
  const at = tipped.getClientRects()[0] ?? tipped.getBoundingClientRect();
  const above = at.top - tip.offsetHeight - 6;
  tip.style.top = `${above >= 4 ? above : at.bottom + 6}px`;
  tip.style.left = `${Math.max(4, Math.min(at.left, document.documentElement.clientWidth - tip.offsetWidth - 4))}px`;
}

export function hideTip() {
  $("tip").hidden = true;
  tipped?.removeAttribute("aria-describedby");
}

function rove(node) {
  node.parentElement.querySelector("[tabindex='0']")?.removeAttribute("tabindex");
  node.tabIndex = 0;
  node.focus();
}

function neighbour(node, key) {
  const all = node.parentElement.children;
  const steps = { ArrowLeft: node.previousElementSibling, ArrowRight: node.nextElementSibling, Home: all[0], End: all[all.length - 1] };
  return key in steps ? steps[key] : key === "ArrowUp" || key === "ArrowDown" ? across(node, key === "ArrowUp" ? -1 : 1) : undefined;
}

/** The token on the next line up or down that is nearest. */
function across(node, way) {
  const from = node.getClientRects()[0];
  let [best, least] = [null, Infinity];
  for (const other of node.parentElement.children) {
    const at = other.getClientRects()[0];
    const lines = at ? Math.round((way * (at.top - from.top)) / from.height) : 0;
    const far = lines * 10_000 + Math.abs(at?.left - from.left);
    if (lines > 0 && far < least) [best, least] = [other, far];
  }
  return best;
}

function onKey(event) {
  if (!tokens.has(event.target) || event.altKey || event.ctrlKey || event.metaKey) return;
  const next = neighbour(event.target, event.key);
  if (next === undefined) return;
  event.preventDefault();
  if (next) rove(next);
}

/** Shows of the tokens in a place the one that the pointer or the keyboard is at. */
export function watchTokens(place) {
  document.addEventListener("pointerover", (event) => (tokens.has(event.target) ? showTip(event.target) : hideTip()));
  document.addEventListener("scroll", placeTip, { passive: true });
  place.addEventListener("focusin", (event) => tokens.has(event.target) && showTip(event.target));
  place.addEventListener("focusout", hideTip);
  place.addEventListener("keydown", onKey);
}
