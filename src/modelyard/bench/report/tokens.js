// Tokens: each shaded by its probability, which a tip says at the one under the pointer or the keyboard.

const shown = new WeakMap(); // node → token
let tipped = null; // the node that the tip is of

const probability = (logprob) => (logprob === null ? null : Math.exp(Math.min(0, logprob)));

function percent(share) {
  if (share > 0 && share < 0.001) return "<0.1 %";
  if (share < 1 && share > 0.999) return ">99.9 %";
  return `${(100 * share).toFixed(1)} %`;
}

function tokenNode(text, logprob) {
  const share = probability(logprob);
  const node = h("span", { class: share === null ? "t" : `t d${Math.round(10 * (1 - share))}` }, text);
  shown.set(node, { text, logprob });
  return node;
}

/** An answer's tokens; the Tab key stops once, the arrow keys go through them. */
function tokenNodes(given, logprobs) {
  const nodes = given.map((text, at) => tokenNode(text, logprobs[at]));
  if (nodes.length) nodes[0].tabIndex = 0;
  return nodes;
}

// Control characters, and those that turn the direction of what follows.
const UNSEEN = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]/gu;

/** A text with what an eye cannot see written out. */
function visible(text) {
  const marked = text.replaceAll("\n", "↵").replaceAll("\t", "⇥").replace(/^ +| +$/g, (blanks) => "␣".repeat(blanks.length));
  return marked.replace(UNSEEN, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`) || "∅";
}

function showTip(node) {
  const { text, logprob } = shown.get(node);
  hideTip(); // of the token before
  const share = probability(logprob);
  const words = share === null ? "probability not known" : `${percent(share)} · logprob ${logprob.toFixed(2).replace("-", "−")}`;
  $("tip").replaceChildren(h("strong", {}, visible(text)), ` ${words}`);
  $("tip").hidden = false;
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

function hideTip() {
  $("tip").hidden = true;
  tipped?.removeAttribute("aria-describedby");
}

function neighbour(node, key) {
  const all = node.parentElement.children;
  return { ArrowLeft: node.previousElementSibling, ArrowRight: node.nextElementSibling, Home: all[0], End: all[all.length - 1] }[key];
}

function watchTokens(place) {
  document.addEventListener("pointerover", (event) => (shown.has(event.target) ? showTip(event.target) : hideTip()));
  document.addEventListener("scroll", placeTip, { passive: true, capture: true });
  place.addEventListener("focusin", (event) => shown.has(event.target) && showTip(event.target));
  place.addEventListener("focusout", hideTip);
  place.addEventListener("keydown", (event) => {
    if (!shown.has(event.target) || !plainKey(event)) return;
    const next = neighbour(event.target, event.key);
    if (!next) return;
    event.preventDefault();
    event.target.removeAttribute("tabindex");
    next.tabIndex = 0;
    next.focus();
  });
}
