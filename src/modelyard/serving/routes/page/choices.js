// Which models answer: one, or two side by side.

import { $, h } from "./dom.js";
import { badge, modelOf, models, stateOf } from "./models.js";

const TALKS = ["generation", "vision", "seq2seq"];

export const chosen = (column) => modelOf($(`model-${column}`).value);
export const columns = () => ($("compare").checked ? [0, 1] : [0]);

export function showChoices() {
  const talking = models().filter((model) => TALKS.includes(model.task));
  const ready = talking.find((model) => ["idle", "in use"].includes(model.state)) ?? talking[0];
  $("form").hidden = models().length > 0 && talking.length === 0;
  $("playground-none").hidden = !$("form").hidden;
  offer($("model-0"), talking, ready);
  offer($("model-1"), talking, talking.find((model) => model.name !== $("model-0").value) ?? ready);
  showChosen();
}

function offer(select, offered, preferred) {
  const names = offered.map((model) => model.name);
  if (names.join("\n") === [...select.options].map((option) => option.value).join("\n")) return;
  const kept = names.includes(select.value) ? select.value : preferred?.name;
  select.replaceChildren(...offered.map((model) => h("option", { value: model.name }, choiceText(model))));
  select.value = kept ?? "";
}

const choiceText = ({ title, name }) => (title === name ? name : `${title} (${name})`);

export function showChosen() {
  $("second").hidden = !$("compare").checked;
  for (const column of [0, 1]) badge($(`state-${column}`), chosen(column) ? stateOf(chosen(column)) : "");
  const tasks = columns().map((column) => chosen(column)?.task);
  $("seq2seq-note").hidden = !tasks.includes("seq2seq");
  $("image-box").hidden = !tasks.includes("vision");
}
