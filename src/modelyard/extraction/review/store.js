// Store: the index of all fields, read at once, and texts and candidates, unpacked when they are wanted.

const setup = JSON.parse($("setup").textContent);
const { fields, documents, units, items } = JSON.parse($("index").textContent); // items are columns
const FLAGS = { conflict: 1, unresolved: 2, ungrounded: 4, below: 8 }; // in pack.py, too
const TOTAL = items.unit.length;
const KEPT = 16; // unpacked blocks of each kind

const firstItem = new Uint32Array(units.length + 1); // fields stand in the order of their units
for (const unit of items.unit) firstItem[unit + 1] += 1;
for (let at = 0; at < units.length; at += 1) firstItem[at + 1] += firstItem[at];

/** Reads blocks of a kind by their numbers, and keeps those that were read last. */
function reader(kind) {
  const blocks = document.querySelectorAll(`script.${kind}`);
  const kept = new Map();
  return (at) => {
    const found = kept.get(at) ?? unpacked(blocks[at]);
    kept.delete(at);
    kept.set(at, found);
    if (kept.size > KEPT) kept.delete(kept.keys().next().value);
    return found;
  };
}

const textOf = reader("text");
const unitOf = reader("unit");

/** A field with its candidates. */
const detailOf = async (item) => (await unitOf(items.unit[item]))[item - firstItem[items.unit[item]]];

const fieldOf = (item) => fields[items.field[item]];
const nameOf = (item) => units[items.unit[item]].name;
const has = (item, flag) => (items.flags[item] & FLAGS[flag]) !== 0;

function confidenceOf(item) {
  const given = items.confidence[item];
  return given === null ? "–" : given.toFixed(2);
}
