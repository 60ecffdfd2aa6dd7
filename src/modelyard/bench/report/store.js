// Store: the index of all samples, read at once, and the blocks with their texts, unpacked when they are wanted.

const $ = (id) => document.getElementById(id);

/** An element; what is appended as a string is text, whatever it holds. */
function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const { models, tasks, outcomes } = JSON.parse($("names").textContent); // what each number stands for
const { questions, answers } = JSON.parse($("index").textContent); // columns
const blocks = document.querySelectorAll("script.block");

const KEPT = 24; // unpacked blocks
const unpacked = new Map(); // number → promise, the one that was used last at the end

const firstAnswer = new Uint32Array(questions.task.length + 1); // answers stand in the order of their questions
for (const question of answers.question) firstAnswer[question + 1] += 1;
for (let at = 0; at < questions.task.length; at += 1) firstAnswer[at + 1] += firstAnswer[at];

/** The numbers of all answers to a question, in the order of the models and repeats. */
function* answersTo(question) {
  for (let at = firstAnswer[question]; at < firstAnswer[question + 1]; at += 1) yield at;
}

function decoded(base64) {
  return Uint8Array.fromBase64 ? Uint8Array.fromBase64(base64) : Uint8Array.from(atob(base64), (one) => one.charCodeAt(0));
}

function unpack(number) {
  const packed = new Blob([decoded(blocks[number].textContent)]).stream();
  return new Response(packed.pipeThrough(new DecompressionStream("gzip"))).json();
}

/** A block with its texts: `questions` and `answers`, and the numbers of the first of each. */
function block(number) {
  const found = unpacked.get(number) ?? unpack(number);
  unpacked.delete(number);
  unpacked.set(number, found);
  if (unpacked.size > KEPT) unpacked.delete(unpacked.keys().next().value);
  return found;
}

/** A question with its texts, and its answers with theirs. */
async function texts(question) {
  const found = await block(questions.block[question]);
  const given = [...answersTo(question)].map((number) => ({ number, ...found.answers[number - found.answer] }));
  return { ...found.questions[question - found.question], answers: given };
}
