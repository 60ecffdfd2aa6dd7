// Page: the filter above the list, the keys, and the links that lead to some of the samples.

const box = (name) => [...document.querySelectorAll(`#filter input[name="${name}"]`)];
const checked = (name) => new Set(box(name).filter((one) => one.checked).map((one) => Number(one.value)));
const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
const FEW = 5; // models whose values have room in the list

function filter() {
  return {
    models: checked("model"),
    task: $("task").value === "" ? null : Number($("task").value),
    outcomes: checked("outcome"),
    disagree: $("disagree").checked,
    words: $("words").value.trim(),
  };
}

/** A row: the sample, its label, and for each chosen model a sign and what it found. */
function cells(question) {
  const chosen = [...checked("model")];
  const by = new Map(chosen.map((model) => [model, []]));
  for (const answer of answersTo(question)) by.get(answers.model[answer])?.push(answer);
  const title = tasks.length > 1 ? [h("small", {}, tasks[questions.task[question]].title)] : [];
  return [
    h("span", { class: "sample" }, h("bdi", {}, questions.sample[question]), ...title),
    h("span", { class: "expected" }, h("span", { class: "hidden" }, "expected "), h("bdi", {}, questions.expected[question])),
    ...chosen.map((model) => cell(model, by.get(model))),
  ];
}

function cell(model, given) {
  const name = models[model].name;
  if (!given.length) return h("span", { class: "cell", title: `${name}: not asked` }, swatch(model), h("span", { class: "found" }, "not asked"));
  const signs = given.map((answer) => h("span", { class: `sign ${outcomeClass(answers.outcome[answer])}`, "aria-hidden": "true" }, outcomes[answers.outcome[answer]].sign));
  const words = `${name}: ${given.map((answer) => outcomes[answers.outcome[answer]].name).join(", ")}`;
  const found = answers.found[given[0]];
  return h("span", { class: "cell", title: `${words}, ${found}` }, swatch(model), ...signs, h("span", { class: "hidden" }, `${words}, `), h("bdi", { class: "found" }, found));
}

function showColumns(chosen) {
  const names = chosen.map((model) => h("span", { class: "cell", title: models[model].name }, h("span", { class: "upright" }, swatch(model), h("bdi", {}, models[model].name))));
  $("columns").replaceChildren(h("span", { class: "sample" }, "Sample"), h("span", { class: "expected" }, "Expected"), ...names);
  $("list").classList.toggle("tight", chosen.length > FEW);
  $("list").style.setProperty("--models", Math.max(1, chosen.length));
}

function update() {
  const given = filter();
  if (given.words && haystack.blocks < blocks.length) readAll();
  const { found, counts } = matching(given);
  for (const one of box("outcome")) one.parentElement.querySelector(".count").textContent = counts[Number(one.value)].toLocaleString("en");
  showColumns([...given.models]);
  showItems(found);
  if (list.at < 0) $("list").scrollTop = 0;
  const all = plural(questions.task.length, "sample");
  const words = found.length === questions.task.length ? all : `${found.length.toLocaleString("en")} of ${all}`;
  $("count").textContent = given.models.size ? words : "Choose at least one model.";
  $("reset").hidden = isReset(given);
}

const isReset = (given) => given.models.size === box("model").length && given.task === null && !given.outcomes.size && !given.disagree && !given.words;

function setFilter({ chosen = null, task = null, outcome = null, disagree: differing = false }) {
  for (const one of box("model")) one.checked = chosen === null || chosen.includes(Number(one.value));
  for (const one of box("outcome")) one.checked = Number(one.value) === outcome;
  $("task").value = task === null ? "" : String(task);
  $("disagree").checked = differing;
  $("words").value = "";
  update();
}

let reading = null;

/** Reads prompts and answers for the search, once; what is found grows meanwhile. */
function readAll() {
  reading ??= readTexts(() => {
    const done = haystack.blocks === blocks.length;
    $("progress").textContent = done ? "" : `Reading all texts: ${Math.round((100 * haystack.blocks) / blocks.length)} %`;
    if (done || haystack.blocks % 8 === 0) update();
  });
}

function openChosen(focus) {
  showSample(list.items[list.at], { focus }).then(() => $("detail").scrollIntoView({ block: "nearest" }));
}

const number = (text) => (text === undefined ? null : Number(text));

function watchLinks() {
  for (const link of document.querySelectorAll("a[data-models]")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      const { models: chosen, task, outcome, disagree: differing } = link.dataset;
      setFilter({ chosen: chosen.split(" ").map(Number), task: number(task), outcome: number(outcome), disagree: differing !== undefined });
      $("samples").scrollIntoView();
      $("list").focus({ preventScroll: true });
    });
  }
}

/** Escape puts the detail away; in it j and k go on to the next sample and back; / leads to the search. */
function watchKeys() {
  $("explorer").addEventListener("keydown", (event) => event.key === "Escape" && !$("detail").hidden && closeSample());
  $("detail").addEventListener("keydown", (event) => {
    if (plainKey(event) && (event.key === "j" || event.key === "k")) choose(list.at + STEPS[event.key]);
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input:not([type=checkbox]), select, textarea");
    if (event.key !== "/" || typing || !plainKey(event)) return;
    event.preventDefault();
    $("words").focus();
  });
  $("words").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== "ArrowDown") return;
    event.preventDefault();
    $("list").focus();
    if (list.at < 0) choose(0);
  });
}

// A table that fits has nothing to scroll, and needs no stop of the Tab key.
function stops() {
  for (const one of document.querySelectorAll(".scroll")) one.tabIndex = one.scrollWidth > one.clientWidth ? 0 : -1;
}

list.draw = cells;
list.moved = (question) => $("detail").hidden || showSample(question);
watchList(openChosen);
watchTokens($("detail"));
watchLinks();
watchKeys();
$("filter").addEventListener("input", update);
$("reset").addEventListener("click", () => setFilter({}));
$("previous").addEventListener("click", () => choose(list.at - 1));
$("next").addEventListener("click", () => choose(list.at + 1));
$("close").addEventListener("click", closeSample);
stops();
addEventListener("resize", stops);
if (blocks.length) {
  update();
  $("explorer").hidden = false;
  drawRows(); // now that it has a height
}
performance.mark("ready");
document.documentElement.dataset.ready = "";
