// Page: the filter above the list, deciding, and the keys.

const STEP = { ArrowDown: 1, ArrowUp: -1 }; // j and k too, as in the list

list.heights = [3.25, 3.25];

function announce(text) {
  $("said").textContent = text;
}

function complain(text) {
  $("notice-text").textContent = text;
  $("notice").hidden = false;
}

// -- the list ----------------------------------------------------------------------------------------------

const chips = () => [...document.querySelectorAll("#filter input[name=flag]:checked")].map((one) => one.value);

function wanted(item, flags, words, below) {
  if ($("open-only").checked && decisionOn(item)) return false;
  if (below !== null && !(items.confidence[item] === null || items.confidence[item] < below)) return false;
  if (flags.length && !flags.some((flag) => has(item, flag))) return false;
  if (!words) return true;
  const own = units[items.unit[item]].documents.map((at) => documents[at]);
  const texts = [nameOf(item), ...own, fieldOf(item).name, items.value[item], items.quote[item]];
  return texts.some((text) => text.toLowerCase().includes(words));
}

function sorted(found) {
  const way = $("sort").value;
  if (way === "document") return found;
  const sure = (item) => items.confidence[item] ?? -1; // nothing to be sure of is the least sure
  const turn = way === "low" ? 1 : -1;
  return found.sort((one, other) => turn * (sure(one) - sure(other)) || one - other);
}

function update() {
  const flags = chips();
  const words = $("words").value.trim().toLowerCase();
  const below = $("below-on").checked ? Number($("below").value) : null;
  const found = [];
  for (let item = 0; item < TOTAL; item += 1) if (wanted(item, flags, words, below)) found.push(item);
  showItems(sorted(found));
  const all = `${TOTAL.toLocaleString("en")} field${TOTAL === 1 ? "" : "s"}`;
  $("count").textContent = found.length === TOTAL ? all : `${found.length.toLocaleString("en")} of ${all}`;
  $("none").hidden = found.length > 0;
  if (list.at < 0 && found.length) {
    $("list").scrollTop = 0;
    choose(0);
  } else if (list.at >= 0) choose(list.at);
}

function drawRow(item) {
  const row = decisionOn(item);
  const sign = h("span", { class: `sign ${row?.action ?? "open"}`, "aria-hidden": "true" }, row ? SIGNS[row.action] : "·");
  const value = row?.action === "correct" ? said(row.value) : items.value[item];
  const marks = ["unresolved", "conflict", "ungrounded"].filter((flag) => has(item, flag) && !(flag === "conflict" && has(item, "unresolved")));
  const words = marks.map((flag) => h("span", { class: `badge ${flag}` }, flag));
  const bar = h("span", { class: "bar", "aria-hidden": "true" }, h("span"));
  bar.firstElementChild.style.width = `${100 * (items.confidence[item] ?? 0)}%`;
  return [
    sign,
    h("span", { class: "what" }, h("span", { class: "name" }, h("bdi", {}, fieldOf(item).name)), " ", h("bdi", { class: `value ${row?.action ?? ""}` }, value)),
    h("span", { class: "sure" }, h("span", { class: "hidden" }, "confidence "), confidenceOf(item), bar),
    h("span", { class: "from" }, h("bdi", {}, nameOf(item))),
    h("span", { class: "marks" }, ...words, h("span", { class: "hidden" }, row ? WORDS_FOR[row.action] : "not reviewed")),
  ];
}

/** Draws anew what a decision changes. */
function changed() {
  const count = reviewed();
  $("progress").value = count;
  $("progress-text").textContent = `${count.toLocaleString("en")} of ${TOTAL.toLocaleString("en")} reviewed`;
  $("download").disabled = decisions.size === 0;
  $("open-count").textContent = (TOTAL - count).toLocaleString("en");
  drawRows();
  if (shown.detail) drawDecision();
}

// -- deciding ----------------------------------------------------------------------------------------------

function settle(action, json, from = shown.detail.document) {
  const { item, detail } = shown;
  if (!detail) return;
  const before = decide(item, action, json, detail.json, from);
  done.push({ item, before });
  closeCorrect();
  changed();
  const next = list.at + 1 < list.items.length;
  announce(`${fieldOf(item).name} ${WORDS_FOR[action]}${next ? "" : "; it was the last of the list"}`);
  if (next && list.items[list.at] === item) choose(list.at + 1);
}

/** A correction to the very value that the result has is no correction. */
function correctTo(json, from) {
  if (!shown.detail) return;
  settle(json === shown.detail.json && items.status[shown.item] !== "unresolved" ? "accept" : "correct", json, from);
}

/** The value of an unresolved field is none, and none of its candidates: there is nothing to accept. */
function accept() {
  if (!shown.detail) return;
  if (items.status[shown.item] === "unresolved") {
    announce("Nothing to accept: the candidates differ. Say which value is right.");
    openCorrect();
    return;
  }
  settle("accept", shown.detail.json);
}

function back() {
  const item = undo(shown.item);
  if (item === undefined) {
    announce("There is nothing to undo.");
    return;
  }
  changed();
  const at = list.items.indexOf(item);
  if (at >= 0) choose(at);
  else if (shown.item !== item) showItem(item);
  announce(`Undone: ${fieldOf(item).name} of ${nameOf(item)}`);
}

/** The first field of another document, after or before this one in the list. */
function otherDocument(step) {
  const unit = items.unit[list.items[list.at]];
  let at = list.at;
  while (at >= 0 && at < list.items.length && items.unit[list.items[at]] === unit) at += step;
  if (at < 0 || at >= list.items.length) {
    announce(step > 0 ? "There is no further document." : "There is no document before.");
    return;
  }
  const found = items.unit[list.items[at]];
  while (step < 0 && at > 0 && items.unit[list.items[at - 1]] === found) at -= 1;
  choose(at);
}

// -- the keys ----------------------------------------------------------------------------------------------

const KEYS = {
  a: accept,
  c: openCorrect,
  r: () => settle("reject", "null"),
  u: back,
  j: () => choose(list.at + 1),
  k: () => choose(list.at - 1),
  n: () => otherDocument(1),
  p: () => otherDocument(-1),
  "?": () => $("help").showModal(),
  "/": () => $("words").focus(),
};

let turn = Promise.resolve(); // a key waits until the field that it is for is there

function onKey(event) {
  if (event.defaultPrevented || $("help").open || !plainKey(event)) return;
  const writing = event.target.closest("input:not([type=checkbox]), select, textarea");
  if (event.key === "Escape") {
    if (!$("correcting").hidden) closeCorrect();
    else if (writing) $("list").focus({ preventScroll: true });
    return;
  }
  if (writing) return;
  const arrow = event.key in STEP && !event.target.closest("#text, #detail");
  const number = /^[1-9]$/.test(event.key) ? Number(event.key) - 1 : -1;
  const run = arrow ? () => choose(list.at + STEP[event.key]) : number >= 0 ? () => number < (shown.detail?.candidates.length ?? 0) && showCandidate(number) : KEYS[event.key];
  if (!run || (shown.item === undefined && !"?/".includes(event.key))) return;
  event.preventDefault();
  turn = turn.then(() => shown.loading).then(run);
}

function listen() {
  document.addEventListener("keydown", onKey);
  watchList(() => narrow.matches && $("detail").scrollIntoView({ block: "nearest" }));
  $("filter").addEventListener("input", update);
  $("sort").addEventListener("input", () => {
    list.at = -1; // another order begins at its beginning; heard before the form's own
  });
  $("filter").addEventListener("submit", (event) => {
    event.preventDefault();
    $("list").focus();
  });
  $("accept").addEventListener("click", accept);
  $("correct").addEventListener("click", openCorrect);
  $("reject").addEventListener("click", KEYS.r);
  $("undo").addEventListener("click", back);
  $("previous").addEventListener("click", KEYS.k);
  $("next").addEventListener("click", KEYS.j);
  $("absent").addEventListener("change", ableWritten);
  $("cancel").addEventListener("click", closeCorrect);
  $("correcting").addEventListener("submit", (event) => {
    event.preventDefault();
    saveWritten();
  });
  $("text").addEventListener("click", (event) => {
    const found = event.target.closest("mark");
    if (found && String(getSelection()) === "") showCandidate(Number(found.dataset.candidates.split(" ")[0]));
  });
  $("download").addEventListener("click", download);
  $("dismiss").addEventListener("click", () => ($("notice").hidden = true));
  $("help-open").addEventListener("click", KEYS["?"]);
  $("help-close").addEventListener("click", () => $("help").close());
}

for (const node of document.querySelectorAll("#filter [data-flag]")) {
  const flag = node.dataset.flag;
  const count = items.flags.filter((one) => (one & FLAGS[flag]) !== 0).length;
  node.querySelector(".count").textContent = count.toLocaleString("en");
  node.hidden = flag === "below" && count === 0;
}
$("progress").max = Math.max(1, TOTAL);
list.draw = drawRow;
list.moved = (item) => item === shown.item || showItem(item);
listen();
readDecisions();
$("app").hidden = false; // so that the list has a height
changed();
update();
document.documentElement.dataset.ready = "";
