// Detail: one field with its candidates, and the buttons and the line by which it is decided.

const shown = { item: undefined, detail: null, candidate: -1, loading: Promise.resolve() }; // no detail while it loads
const STATUS = { found: "quote in the text", ungrounded: "quote not in the text", not_found: "not in the document", unreadable: "not readable", failed: "no answer", unresolved: "unresolved" };
const KIND = { formula: "by formula", single_pass: "of a single voter", calibrated: "calibrated" };
const WORDS_FOR = { accept: "accepted", correct: "corrected", reject: "rejected" };
const SIGNS = { accept: "✓", correct: "✎", reject: "✗" };

/** Shows a field and its quotes; what was asked for last wins, whatever is unpacked first. */
function showItem(item) {
  shown.item = item;
  shown.detail = null;
  shown.loading = detailOf(item).then((detail) => {
    if (shown.item !== item) return;
    Object.assign(shown, { detail, candidate: -1 });
    drawDetail();
    announce(`${fieldOf(item).name} of ${nameOf(item)}: ${detail.value}`);
    showCandidate(firstToShow(detail), { quietly: true }).then(() => readAhead(list.items[list.at + 1]));
  });
}

/** Unpacks what comes next, so that it is there at once. */
function readAhead(item) {
  if (item === undefined) return;
  const [first] = units[items.unit[item]].documents;
  unitOf(items.unit[item]);
  if (first !== undefined) textOf(first);
}

/** The candidate whose quote is shown at first: one with the result's value and a quote in the text. */
function firstToShow(detail) {
  const from = documents.indexOf(detail.document);
  const grounded = (one) => one.span !== null;
  const tests = [
    (one) => grounded(one) && one.group === 0 && (from < 0 || one.document === from),
    (one) => grounded(one) && one.group === 0,
    grounded,
  ];
  for (const test of tests) {
    const at = detail.candidates.findIndex(test);
    if (at >= 0) return at;
  }
  return -1;
}

/** Lights up a candidate's quote, in another document where it stands there. */
async function showCandidate(number, { quietly = false } = {}) {
  const { item, detail } = shown;
  if (!detail) return;
  const one = detail.candidates[number];
  const own = units[items.unit[item]].documents;
  const at = one && one.document >= 0 ? one.document : own[0];
  if (at !== undefined) await showText(at);
  if (shown.item !== item) return;
  shown.candidate = number;
  drawTabs(own, at);
  mark(spansIn(detail, at));
  for (const [place, node] of [...document.querySelectorAll("button.candidate")].entries()) node.setAttribute("aria-pressed", String(place === number));
  const lit = number >= 0 && light(number);
  if (!quietly && one) announce(lit ? `Quote of ${one.voter || "the value"}: ${one.quote}` : "Its quote is not in the text");
  if (!quietly && lit && narrow.matches) $("reading").scrollIntoView({ block: "nearest" });
}

function spansIn(detail, at) {
  const found = [];
  for (const [number, one] of detail.candidates.entries()) {
    if (one.span === null || one.document !== at) continue;
    found.push({ number, start: one.span[0], end: one.span[1], group: one.group, title: `${one.voter}: ${one.value}` });
  }
  return found;
}

/** The documents of a record, to go from one to another. */
function drawTabs(own, at) {
  $("document-name").textContent = at === undefined ? "No document" : documents[at];
  $("tabs").hidden = own.length < 2;
  const tabs = own.map((one) => {
    const tab = h("button", { type: "button", "aria-pressed": String(one === at) }, h("bdi", {}, documents[one]));
    tab.addEventListener("click", () => showOther(one));
    return tab;
  });
  $("tabs").replaceChildren(...(own.length < 2 ? [] : tabs));
}

async function showOther(at) {
  if (!shown.detail) return;
  const number = shown.detail.candidates.findIndex((one) => one.document === at && one.span !== null);
  if (number >= 0) {
    await showCandidate(number);
    return;
  }
  await showText(at);
  drawTabs(units[items.unit[shown.item]].documents, at);
  mark([]);
}

function drawDetail() {
  const { item, detail } = shown;
  const field = fieldOf(item);
  const unit = field.unit ? [" ", h("small", {}, field.unit)] : [];
  $("detail-title").replaceChildren(h("bdi", {}, field.name), ...unit);
  $("detail-where").textContent = nameOf(item);
  $("detail-value").replaceChildren(h("bdi", {}, detail.value));
  const status = items.status[item];
  const confidence = items.confidence[item];
  $("detail-facts").replaceChildren(
    badge(status),
    ...(confidence === null ? [] : [h("span", {}, "confidence ", h("strong", {}, confidenceOf(item)), detail.kind ? ` ${KIND[detail.kind] ?? detail.kind}` : "")]),
    ...(detail.accepted === null || detail.accepted === undefined ? [] : [h("span", {}, detail.accepted ? "above the threshold" : "below the threshold")]),
  );
  const named = detail.strategy && detail.strategy !== status;
  $("detail-reason").replaceChildren(...(named ? [h("strong", {}, detail.strategy), detail.reason ? ": " : ""] : []), detail.reason ?? "");
  $("detail-reason").hidden = !detail.strategy && !detail.reason;
  $("detail-about").textContent = field.description ?? "";
  drawDecision();
  closeCorrect();
  $("detail").scrollTop = 0;
  $("candidates").replaceChildren(...detail.candidates.map(drawCandidate));
  const count = detail.candidates.length;
  $("candidates-title").textContent = count === 1 ? "What was read" : `What was read, ${count} candidates`;
}

const badge = (status) => h("span", { class: `badge ${status}` }, STATUS[status] ?? status);

function drawDecision() {
  const row = decisionOn(shown.item);
  $("decision").className = row ? `decision ${row.action}` : "decision";
  const words = row ? [`${SIGNS[row.action]} ${WORDS_FOR[row.action]}`, ...(row.action === "correct" ? [" to ", h("bdi", {}, said(row.value))] : [])] : ["not reviewed"];
  $("decision").replaceChildren(...words);
  for (const action of ["accept", "correct", "reject"]) $(action).setAttribute("aria-pressed", String(row?.action === action));
}

/** A value of a decision in words. */
function said(json) {
  return json === "null" ? "not in the document" : asText(json);
}

function drawCandidate(one, number) {
  const facts = [
    one.logprob === null ? null : `logprob ${one.logprob.toFixed(2).replace("-", "−")} (${(100 * Math.exp(one.logprob)).toFixed(0)} %)`,
    one.weight === null ? null : `weight ${Number(one.weight.toFixed(2))}`,
    one.abstains ? "abstains: the field cannot occur here" : null,
    one.method && one.span ? `found ${one.method}` : null,
    one.where,
  ].filter(Boolean);
  const problems = one.problems.map((text) => h("span", { class: "problem" }, text));
  const swatch = h("span", { class: `swatch ${one.group < 0 ? "mute" : `group${one.group % 6}`}`, "aria-hidden": "true" });
  const head = h("span", { class: "head" }, h("span", { class: "who" }, ...(number < 9 ? [h("kbd", {}, String(number + 1))] : []), " ", h("bdi", {}, one.voter || "the result")), h("span", { class: "read" }, swatch, h("bdi", {}, one.value)), badge(one.status));
  const several = units[items.unit[shown.item]].record;
  const place = several ? [h("span", { class: "place" }, h("bdi", {}, one.name))] : [];
  const quote = one.quote ? [h("span", { class: "quote" }, h("bdi", {}, one.quote))] : [];
  const button = h("button", { type: "button", class: "candidate", "aria-pressed": "false" }, head, ...place, ...quote, h("span", { class: "facts" }, facts.join(" · ")), ...problems);
  button.addEventListener("click", () => showCandidate(number));
  const parts = [button];
  if (one.group > 0 || (one.group === 0 && items.status[shown.item] === "unresolved")) {
    const use = h("button", { type: "button", class: "use" }, one.json === "null" ? "It is not in the document" : "This value is right");
    use.addEventListener("click", () => correctTo(one.json, one.name));
    parts.push(use);
  }
  return h("li", {}, ...parts);
}

// -- writing another value ---------------------------------------------------------------------------------

function openCorrect() {
  if (!shown.detail) return;
  const field = fieldOf(shown.item);
  const row = decisionOn(shown.item);
  const json = row?.action === "correct" ? row.value : shown.detail.json;
  $("written-place").replaceChildren(inputFor(field, json));
  $("written-label").textContent = `The right value: ${field.enum.length ? "one of these" : KINDS[field.type] ?? "a text"}${field.unit ? `, in ${field.unit}` : ""}`;
  $("absent").checked = row?.action === "correct" && json === "null";
  showProblem("");
  $("correcting").hidden = false;
  ableWritten();
  $("correcting").scrollIntoView({ block: "nearest" });
  ($("absent").checked ? $("absent") : $("written")).focus();
  $("written").select?.();
}

function ableWritten() {
  $("written").disabled = $("absent").checked;
  showProblem("");
}

function closeCorrect() {
  const inside = $("correcting").contains(document.activeElement);
  $("correcting").hidden = true;
  if (inside) $("list").focus({ preventScroll: true });
}

function showProblem(text) {
  $("written-problem").textContent = text;
  $("written").setAttribute("aria-invalid", String(Boolean(text)));
}

function saveWritten() {
  const node = $("written");
  const found = $("absent").checked ? { json: "null" } : node.tagName === "SELECT" ? { json: node.value } : typed(fieldOf(shown.item), node.value);
  if (found.problem) {
    showProblem(found.problem);
    node.focus();
    return;
  }
  correctTo(found.json, shown.detail.document);
}
