// Detail: one sample with its prompt, its label, and the answers of all models side by side.

const detail = { question: null, repeat: 0 };

const swatch = (model) => {
  const node = h("span", { class: "swatch", "aria-hidden": "true" });
  node.style.setProperty("--tint", `var(--tint${models[model].colour})`);
  node.style.setProperty("--line0", `var(--model${models[model].colour})`);
  return node;
};

const outcomeClass = (outcome) => outcomes[outcome].name.replaceAll(" ", "-");

function badge(name) {
  const { sign } = outcomes.find((one) => one.name === name) ?? { sign: "+" };
  return h("span", { class: `badge ${name.replaceAll(" ", "-")}` }, h("span", { "aria-hidden": "true" }, sign), ` ${name}`);
}

/** Shows a sample; what was asked for last wins, whatever is unpacked first. */
async function showSample(question, { focus = false } = {}) {
  if (question !== detail.question) detail.repeat = 0;
  detail.question = question;
  const found = await texts(question);
  if (detail.question !== question) return;
  hideTip();
  $("detail-title").replaceChildren(h("bdi", {}, questions.sample[question]));
  const at = `${(list.at + 1).toLocaleString("en")} of ${list.items.length.toLocaleString("en")}`;
  const where = questions.document[question] === questions.sample[question] ? [] : [questions.document[question]];
  $("detail-where").replaceChildren(...[tasks[questions.task[question]].title, ...where, at].map((one) => h("bdi", {}, one)));
  $("detail-prompt").textContent = found.prompt;
  $("detail-prompt").scrollTop = 0;
  $("detail-expected").replaceChildren(...valueNodes(found.expected));
  showRepeats(found);
  $("detail").hidden = false;
  if (focus) $("detail-title").focus();
}

function showRepeats(found) {
  const repeats = [...new Set(found.answers.map(({ number }) => answers.repeat[number]))].sort((one, other) => one - other);
  if (!repeats.includes(detail.repeat)) detail.repeat = repeats[0];
  const buttons = repeats.map((repeat) => {
    const button = h("button", { type: "button", class: "quiet", "aria-pressed": String(repeat === detail.repeat) }, String(repeat + 1));
    button.addEventListener("click", () => {
      detail.repeat = repeat;
      showRepeats(found);
      $("repeats").querySelector("[aria-pressed=true]").focus();
    });
    return button;
  });
  $("repeats").replaceChildren("Asking ", ...buttons);
  $("repeats").hidden = repeats.length < 2;
  const shownNow = found.answers.filter(({ number }) => answers.repeat[number] === detail.repeat);
  $("cards").replaceChildren(...shownNow.map(card));
}

/** A value: its text, or the text of each of its fields. */
function valueNodes(given) {
  if (typeof given === "string") return [given];
  return Object.entries(given).map(([field, value]) => h("span", { class: "pair" }, h("bdi", { class: "field-name" }, field), " ", h("bdi", {}, value)));
}

function card(answer) {
  const model = answers.model[answer.number];
  const node = h("article", { class: "card", "aria-label": models[model].name });
  node.style.setProperty("--line", `var(--model${models[model].colour})`);
  node.append(
    h("header", {}, h("h4", {}, swatch(model), h("bdi", {}, models[model].name)), badge(outcomes[answers.outcome[answer.number]].name)),
    facts(answer),
    ...parts(answer),
    ...(answer.reason ? [h("p", { class: "small reason" }, answer.reason)] : []),
    ...written(answer),
    ...(answer.warnings.length ? [h("ul", { class: "notice" }, ...answer.warnings.map((one) => h("li", {}, one)))] : []),
    ...(answer.prompt === undefined ? [] : [folded("This model's own prompt", answer.prompt)]),
  );
  return node;
}

function folded(title, text) {
  return h("details", {}, h("summary", {}, title), h("div", { class: "text mono", dir: "auto" }, text));
}

function facts(answer) {
  const score = answers.score[answer.number];
  const found = typeof answer.found === "string" ? [["Found", answer.found]] : [];
  const listed = [...found, ["Score", score === null ? "–" : String(score)], ["Time", answer.seconds === null ? "–" : `${answer.seconds.toFixed(2)} s`]];
  return h("dl", { class: "facts" }, ...listed.map(([name, value]) => h("div", { class: name === "Found" ? "found" : null }, h("dt", {}, name), h("dd", { dir: "auto" }, value))));
}

/** The fields of an answer: what was found of each, and how that was judged. */
function parts({ found, parts: judged }) {
  const values = typeof found === "string" ? {} : found;
  const names = [...new Set([...Object.keys(judged), ...Object.keys(values)])];
  if (!names.length) return [];
  const judgement = (name) => (judged[name] === undefined ? [] : [badge(judged[name])]);
  const rows = names.map((name) => h("li", {}, h("bdi", { class: "field-name" }, name), h("bdi", { class: "value" }, values[name] ?? ""), ...judgement(name)));
  return [h("ul", { class: "parts" }, ...rows)];
}

/** What the model wrote: as shaded tokens where they are its text, else the text and the choices that were weighed. */
function written({ answer, texts: given, logprobs }) {
  const whole = given.join("");
  const choices = given.length > 1 && whole.trim() !== answer.trim() && given.some((one) => one.trim() === answer.trim());
  if (choices) return [weighed(answer, given, logprobs)];
  const said = given.length ? tokenNodes(given, logprobs) : [answer];
  if (!whole && !answer) return [h("p", { class: "small" }, "It wrote nothing.")];
  return [h("div", { class: "text mono answer", dir: "auto" }, ...said)];
}

/** A choice: what each of the choices was given, as a share of all of them. */
function weighed(answer, given, logprobs) {
  const most = Math.max(...logprobs.filter((one) => one !== null));
  const weights = logprobs.map((one) => (one === null ? 0 : Math.exp(one - most)));
  const all = weights.reduce((sum, one) => sum + one, 0);
  const rows = given.map((text, at) => {
    const share = all ? weights[at] / all : 0;
    const filled = h("span");
    filled.style.width = `${100 * share}%`;
    const said = logprobs[at] === null ? "not known" : percent(share);
    const title = logprobs[at] === null ? null : `logprob ${logprobs[at].toFixed(2)}`;
    return h("li", { class: text.trim() === answer.trim() ? "made" : null, title }, h("bdi", {}, text), h("span", { class: "share", "aria-hidden": "true" }, filled), h("span", {}, said));
  });
  return h("ol", { class: "choices", "aria-label": "How likely each choice was" }, ...rows);
}

function closeSample() {
  detail.question = null;
  $("detail").hidden = true;
  hideTip();
  $("list").focus();
}
