// Store: the index of all samples, read at once, and the blocks with their texts, unpacked when they are wanted.

const { models, tasks, outcomes } = JSON.parse($("names").textContent); // what each number stands for
const { questions, answers } = JSON.parse($("index").textContent); // columns
const blocks = document.querySelectorAll("script.block");

const KEPT = 24; // unpacked blocks
const kept = new Map(); // number → promise, the one that was used last at the end

const firstAnswer = new Uint32Array(questions.task.length + 1); // answers stand in the order of their questions
for (const question of answers.question) firstAnswer[question + 1] += 1;
for (let at = 0; at < questions.task.length; at += 1) firstAnswer[at + 1] += firstAnswer[at];

/** The numbers of all answers to a question, in the order of the models and repeats. */
function* answersTo(question) {
  for (let at = firstAnswer[question]; at < firstAnswer[question + 1]; at += 1) yield at;
}

const unpack = (number) => unpacked(blocks[number]);

/** A block with its texts: `questions` and `answers`, and the numbers of the first of each. */
function block(number) {
  const found = kept.get(number) ?? unpack(number);
  kept.delete(number);
  kept.set(number, found);
  if (kept.size > KEPT) kept.delete(kept.keys().next().value);
  return found;
}

/** A question with its texts, and its answers with theirs. */
async function texts(question) {
  const found = await block(questions.block[question]);
  const given = [...answersTo(question)].map((number) => ({ number, ...found.answers[number - found.answer] }));
  return { ...found.questions[question - found.question], answers: given };
}
