// Text: one document at a time, in parts that are drawn anew where marks come and go.

const BETWEEN = 3; // lines between two rows of one table, each no longer than
const SHORT = 90; // characters
const LONGEST = 60; // lines of a part: less to draw anew for a mark
const pane = { at: -1, wanted: -1, parts: [], marked: [], read: [] };

/** Lines, and of each whether it is a row of a table: a few short lines between two rows belong to it. */
function linesOf(text) {
  const lines = [];
  let between = Infinity; // lines since the last row
  let start = 0;
  while (start < text.length) {
    const newline = text.indexOf("\n", start);
    const end = newline < 0 ? text.length : newline + 1;
    const rows = text.slice(start, end).includes(" | ");
    if (rows && between <= BETWEEN) for (let at = lines.length - between; at < lines.length; at += 1) lines[at].rows = true;
    between = rows ? 0 : end - start > SHORT ? Infinity : between + 1;
    lines.push({ start, end, rows });
    start = end;
  }
  return lines;
}

/** Lines in parts: rows of a table apart from prose, what was read apart from what was not. */
function partsOf(text, read) {
  const parts = [];
  let range = 0;
  for (const { start, end, rows } of linesOf(text)) {
    while (range < read.length && read[range][1] <= start) range += 1;
    const seen = range < read.length && read[range][0] < end;
    const last = parts.at(-1);
    if (last && last.seen === seen && last.rows === rows && last.lines < LONGEST) {
      last.end = end;
      last.lines += 1;
    } else {
      parts.push({ start, end, rows, seen, lines: 1 });
    }
  }
  return parts;
}

/** Draws a part, cut wherever a quote or what was read begins or ends. */
function drawPart(part, text, spans) {
  const inside = spans.filter((one) => one.start < part.end && one.end > part.start);
  const read = part.seen ? pane.read.filter(([start, end]) => start < part.end && end > part.start) : [];
  const cuts = new Set([part.start, part.end]);
  for (const [start, end] of [...inside.map((one) => [one.start, one.end]), ...read]) {
    if (start > part.start) cuts.add(start);
    if (end < part.end) cuts.add(end);
  }
  const ordered = [...cuts].sort((one, other) => one - other);
  const pieces = ordered.slice(1).map((end, at) => {
    const start = ordered[at];
    const covering = inside.filter((one) => one.start <= start && one.end >= end);
    const unread = part.seen && !read.some(([from, to]) => from <= start && to >= end);
    const shown = text.slice(start, end);
    if (covering.length) return markOf(covering, shown);
    return unread ? h("span", { class: "unread" }, shown) : shown;
  });
  part.node.replaceChildren(...pieces);
}

function markOf(covering, shown) {
  const groups = new Set(covering.map((one) => one.group));
  const colour = groups.size > 1 ? "several" : `group${Math.max(0, covering[0].group) % 6}`;
  const title = covering.map((one) => one.title).join("\n");
  return h("mark", { class: colour, title, "data-candidates": covering.map((one) => one.number).join(" ") }, shown);
}

/** Shows a document; what was asked for last wins, whatever is unpacked first. */
async function showText(at) {
  pane.wanted = at;
  if (pane.at === at) return;
  const { text, read, notes } = await textOf(at);
  if (pane.wanted !== at) return;
  pane.at = at;
  pane.text = text;
  pane.read = read;
  pane.marked = [];
  pane.parts = partsOf(text, read);
  const partly = read.length > 0;
  for (const part of pane.parts) {
    const classes = ["part", part.rows ? "rows" : "", partly ? (part.seen ? "seen" : "unread") : ""];
    part.node = h("div", { class: classes.filter(Boolean).join(" "), dir: "auto" });
    drawPart(part, text, []);
  }
  const nothing = h("p", { class: "small" }, "The result does not hold this document's text.");
  $("text").replaceChildren(...(text ? pane.parts.map((part) => part.node) : [nothing]));
  $("text").scrollTop = 0;
  $("read-key").hidden = !partly;
  $("notes").hidden = !notes.length;
  $("notes-count").textContent = `${notes.length} note${notes.length === 1 ? "" : "s"} on this document`;
  $("notes-list").replaceChildren(...notes.map((one) => h("li", {}, one)));
}

/** Marks quotes in the document that is shown, in place of those that were marked before. */
function mark(spans) {
  const touched = pane.parts.filter((part) => spans.some((one) => one.start < part.end && one.end > part.start));
  for (const part of new Set([...pane.marked, ...touched])) drawPart(part, pane.text, spans);
  pane.marked = touched;
}

/** Lights up the quote of one candidate and brings it into view. */
function light(number) {
  for (const one of $("text").querySelectorAll("mark.lit")) one.classList.remove("lit");
  const found = [...$("text").querySelectorAll(`mark[data-candidates~="${number}"]`)];
  for (const one of found) one.classList.add("lit");
  if (found.length) centre(found[0]);
  return found.length > 0;
}

function centre(node) {
  const box = $("text");
  const place = box.getBoundingClientRect();
  const at = node.getBoundingClientRect();
  const away = at.top < place.top || at.bottom > place.bottom;
  if (away) box.scrollTo({ top: box.scrollTop + at.top - place.top - box.clientHeight / 3 });
  const row = node.closest(".rows");
  if (row && (at.left < place.left || at.right > place.right)) row.scrollLeft += at.left - place.left - box.clientWidth / 3;
}
