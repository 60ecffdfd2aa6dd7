// Elements and numbers. What comes from models and catalogues becomes text nodes, and nothing else.

export const $ = (id) => document.getElementById(id);

export function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null) node.setAttribute(name, value);
  node.append(...children); // a string is appended as text
  return node;
}

export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function announce(text) {
  $("said").textContent = text;
}

export function bar(share = 0) {
  const node = h("span", { class: "bar", "aria-hidden": "true" }, h("span"));
  fill(node, share);
  return node;
}

/** Fills a bar to a share; null is one that moves without an end. */
export function fill(node, share) {
  node.classList.toggle("endless", share === null);
  node.firstElementChild.style.width = share === null ? "" : share ? `max(2px, ${100 * Math.min(1, share)}%)` : "0";
}

/** An error in its place: what happened, below it what to do, and a button that puts it away. */
export function problem(message, dismissed) {
  const [first, ...hints] = message.split("\n").filter((line) => line.trim());
  const close = h("button", { type: "button", class: "quiet", "aria-label": "Dismiss this error" }, "Dismiss");
  const lines = [h("p", {}, first ?? "Something went wrong."), ...hints.map((hint) => h("p", { class: "hint" }, hint))];
  const node = h("div", { class: "notice bad", role: "alert" }, h("div", {}, ...lines), close);
  close.addEventListener("click", () => {
    node.remove();
    dismissed?.();
  });
  return node;
}

export const disabled = (button) => button.getAttribute("aria-disabled") === "true";
export const able = (button, yes) => button.setAttribute("aria-disabled", String(!yes));

export function bytes(count) {
  if (!count) return "0 MB";
  const [unit, size] = count >= 1e9 ? ["GB", 1e9] : count >= 1e6 ? ["MB", 1e6] : ["kB", 1e3];
  const digits = count / size >= 100 ? 0 : 1;
  return `${(count / size).toFixed(digits)} ${unit}`;
}

export function percent(share) {
  if (share > 0 && share < 0.001) return "<0.1 %";
  if (share < 1 && share > 0.999) return ">99.9 %";
  return `${(100 * share).toFixed(1)} %`;
}

export const seconds = (value) => `${value < 10 ? value.toFixed(2) : value.toFixed(1)} s`;

// Control characters, and those that turn the direction of what follows.
const UNSEEN = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;

/** A text with the characters written out that an eye cannot see; JSON and Python read them back. */
export const seen = (text) => text.replace(UNSEEN, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);
