// Typed: what a reviewer writes, as JSON text of the field's type, or what is wrong with it.

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/;
const GROUPED = /^[+-]?\d{1,3}(,\d{3})+(\.\d*)?$/;
const WORDS = { true: "true", yes: "true", false: "false", no: "false" };

/** A number as people write it, with thousands and brackets for a loss, as JSON writes it. */
function number(text) {
  const bare = text.replace(/[\s$€£¥]/gu, "").replace(/[−–]/gu, "-");
  const loss = /^\((.*)\)$/.exec(bare);
  const inner = loss ? loss[1] : bare;
  if (!NUMBER.test(inner) && !GROUPED.test(inner)) return null;
  const plain = inner.replace(/,/g, "").replace(/^\+/, "").replace(/^(-?)\./, "$10.").replace(/\.(?=$|[eE])/, "").replace(/^(-?)0+(?=\d)/, "$1");
  if (!Number.isFinite(Number(plain))) return null;
  return loss && !plain.startsWith("-") ? `-${plain}` : plain;
}

function parsed(text, test, wanted) {
  try {
    const value = JSON.parse(text);
    if (test(value)) return { json: text };
  } catch {
    // said below
  }
  return { problem: `That is no ${wanted}.` };
}

const CHECKS = {
  number: (text) => (number(text) === null ? { problem: "That is no number." } : { json: number(text) }),
  integer: (text) => (/^-?\d+$/.test(number(text) ?? "") ? { json: number(text) } : { problem: "That is no whole number." }),
  boolean: (text) => (WORDS[text.toLowerCase()] ? { json: WORDS[text.toLowerCase()] } : { problem: "It is true or false." }),
  array: (text) => parsed(text, Array.isArray, 'list in JSON, such as ["a", "b"]'),
  object: (text) => parsed(text, (value) => value !== null && typeof value === "object" && !Array.isArray(value), "object in JSON"),
  string: (text) => ({ json: JSON.stringify(text) }),
};

/** `{ json }` or `{ problem }` of what was written for a field. */
function typed(field, text) {
  const written = text.trim();
  if (!written) return { problem: "Write a value, or say that the document does not give it." };
  return (CHECKS[field.type] ?? CHECKS.string)(written);
}

const KINDS = { number: "a number", integer: "a whole number", boolean: "true or false", array: "a list in JSON", object: "an object in JSON", string: "a text" };

/** The place to write a value in: a choice where there are few, else a line of text. */
function inputFor(field, json) {
  const choices = field.enum.length ? field.enum : field.type === "boolean" ? [["true", "true"], ["false", "false"]] : [];
  if (choices.length) {
    const options = choices.map(([shown, value]) => h("option", { value, selected: value === json ? "" : null }, shown));
    return h("select", { id: "written" }, ...options);
  }
  const numeric = field.type === "number" || field.type === "integer";
  const node = h("input", { id: "written", type: "text", autocomplete: "off", spellcheck: "false", inputmode: numeric ? "decimal" : null });
  node.value = json === "null" ? "" : field.type === "string" ? asText(json) : json;
  return node;
}

function asText(json) {
  const value = JSON.parse(json);
  return typeof value === "string" ? value : json;
}
