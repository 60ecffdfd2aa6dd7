// Matching: which questions the filter lets through, and how many answers with each outcome there are.

const haystack = { questions: [], answers: [], blocks: 0 }; // prompts and answers in small letters, once they are read

/** Reads all texts for the search, block by block; says after each how far it is. */
async function readTexts(progress) {
  while (haystack.blocks < blocks.length) {
    const found = await unpack(haystack.blocks);
    haystack.questions.push(...found.questions.map((one) => one.prompt.toLowerCase()));
    haystack.answers.push(...found.answers.map((one) => `${one.answer}\n${one.reason}\n${one.prompt ?? ""}`.toLowerCase()));
    haystack.blocks += 1;
    progress();
  }
}

const holds = (text, words) => text !== undefined && text.toLowerCase().includes(words);
const ofQuestion = ["sample", "document", "expected"];

function said(question, chosen, words) {
  if (ofQuestion.some((column) => holds(questions[column][question], words))) return true;
  if (haystack.questions[question]?.includes(words)) return true;
  return [...chosen].some((answer) => holds(answers.found[answer], words) || haystack.answers[answer]?.includes(words));
}

/** Whether of one asking not all models have the same outcome. */
function disagree(chosen) {
  const first = new Map(); // repeat → outcome
  return chosen.some((answer) => {
    const repeat = answers.repeat[answer];
    if (!first.has(repeat)) first.set(repeat, answers.outcome[answer]);
    return first.get(repeat) !== answers.outcome[answer];
  });
}

/**
 * The questions that a filter lets through, in order.
 *
 * `counts` holds for each outcome how many answers have it among those that all but the choice of outcomes lets through.
 */
function matching(filter) {
  const words = filter.words.toLowerCase();
  const found = [];
  const counts = outcomes.map(() => 0);
  for (let question = 0; question < questions.task.length; question += 1) {
    if (filter.task !== null && questions.task[question] !== filter.task) continue;
    const chosen = [...answersTo(question)].filter((answer) => filter.models.has(answers.model[answer]));
    if (!chosen.length) continue;
    if (filter.disagree && !disagree(chosen)) continue;
    if (words && !said(question, chosen, words)) continue;
    for (const answer of chosen) counts[answers.outcome[answer]] += 1;
    if (!filter.outcomes.size || chosen.some((answer) => filter.outcomes.has(answers.outcome[answer]))) found.push(question);
  }
  return { found, counts };
}
