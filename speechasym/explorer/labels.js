// The heading and fields under the tiers: change the chosen label, undo, save as a new TextGrid.

import { History, insert, merge, moveBorder, remove, rename, split } from "./edits.js";
import { alertOf, el, post, say } from "./requests.js";
import { happen, on, redraw, seconds, select, state } from "./state.js";
import { addTier, change, choose, chosenInterval, edits, lanes, rows, tierOf, unsaved, use } from "./tiers.js";

const box = document.getElementById("tiers");
const button = (text, act, more = {}) => el("button", { type: "button", onclick: act, ...more }, text);

const label = el("input", { id: "label", autocomplete: "off", spellcheck: "false" });
const from = el("input", { type: "number", step: "0.001", min: "0" });
const to = el("input", { type: "number", step: "0.001", min: "0" });
const splitter = button("Split", () => {
  const { key, n } = state.chosen;
  change(key, split(tierOf(key).intervals, n, splitTime()));
  choose(key, n);
});
const joiner = button("Merge with next", () => {
  const { key, n } = state.chosen;
  change(key, merge(tierOf(key).intervals, n));
  choose(key, n);
});
// always there, so that the tiers below do not move away under a double click
const fields = el("fieldset", { class: "edit", "aria-label": "Chosen label", disabled: true },
  el("label", {}, "Label ", label), el("label", {}, "From ", from, " s"), el("label", {}, "to ", to, " s"),
  button("Play", () => happen("play-chosen")), splitter, joiner, button("Delete", () => deleteChosen()));
const undo = button("Undo", () => step("undo"), { "aria-keyshortcuts": "Control+Z" });
const redo = button("Redo", () => step("redo"), { "aria-keyshortcuts": "Control+Y" });
const adder = button("Label the selection", () => labelSelection());
const saver = button("Save as new TextGrid", () => saveTextGrid(), { class: "main" });
const name = el("input", { "aria-label": "Name of a new tier", placeholder: "new tier", size: "9", autocomplete: "off" });
const maker = el("form", { class: "inline" }, name, el("button", {}, "Add tier"));
const hint = el("p", { class: "note" });

const splitTime = () => {
  const [a, b] = chosenInterval();
  return state.caret > a && state.caret < b ? state.caret : (a + b) / 2;
};

function step(name_) {
  edits()[name_]();
  if (state.chosen && !chosenInterval()) state.chosen = null;
  happen("edited");
  redraw();
}

function deleteChosen() {
  const interval = chosenInterval();
  if (!interval) return;
  const { key, n } = state.chosen;
  change(key, remove(tierOf(key).intervals, n));
  say(`Deleted ${interval[2] || "an empty label"}`);
  const left = tierOf(key).intervals.length;
  if (left) choose(key, Math.min(n, left - 1), true);
  else state.chosen = null;
}

/** Put an empty label over the selection, in the tier of the chosen label or in a new one. */
function labelSelection() {
  if (!state.selection) return;
  if (!state.chosen || !tierOf(state.chosen.key)) addTier("labels");
  const { key } = state.chosen;
  const { from: a, to: b } = state.selection;
  const intervals = insert(tierOf(key).intervals, a, b, "");
  change(key, intervals);
  choose(key, intervals.findIndex((interval) => interval[0] === a && interval[1] === b));
  label.focus();
}

function moved(side, field) {
  const { key, n } = state.chosen;
  const time = Number(field.value);
  if (field.value !== "" && Number.isFinite(time)) {
    change(key, moveBorder(tierOf(key).intervals, n, side, time, seconds()));
  }
  select(...chosenInterval());
  refresh();
}

/** Save every tier as shown; hand-made ones keep their names. */
export async function saveTextGrid() {
  const shown = rows().filter(({ intervals }) => intervals.length);
  if (!shown.length) {
    alertOf("This recording has no labels to save yet. Add a tier, or wait until it is recognised.");
    return;
  }
  const taken = new Set(shown.filter(({ source }) => source === "hand").map((tier) => tier.name));
  const tiers = shown.map((tier) => ({
    name: tier.source === "recognised" && taken.has(tier.name) ? `${tier.name} (recognised)` : tier.name,
    intervals: tier.intervals,
  }));
  const history = edits();
  saver.disabled = true;
  try {
    const { path } = await post(`r/${state.recording.id}/textgrid`, { tiers, seconds: seconds() });
    history.saved = true;
    alertOf(`Saved as ${path}`, "done");
    say(`Saved as ${path}`);
  } catch (error) {
    alertOf(error.message);
  }
  saver.disabled = false;
  refresh();
}

/** Fields and buttons as the chosen label, the history and the selection allow. */
export function refresh() {
  if (!edits()) return;
  const interval = chosenInterval();
  fields.disabled = !interval;
  fields.hidden = !rows().length;
  if (!interval) {
    label.value = from.value = to.value = "";
    splitter.textContent = "Split in the middle";
  } else {
    const tier = tierOf(state.chosen.key);
    if (document.activeElement !== label) label.value = interval[2];
    if (document.activeElement !== from) from.value = interval[0].toFixed(4);
    if (document.activeElement !== to) to.value = interval[1].toFixed(4);
    const at = splitTime();
    splitter.textContent = at === state.caret ? `Split at ${at.toFixed(3)} s` : "Split in the middle";
    joiner.disabled = !tier.intervals[state.chosen.n + 1];
  }
  undo.disabled = !edits().past.length;
  redo.disabled = !edits().future.length;
  adder.disabled = !state.selection;
  saver.classList.toggle("dirty", !edits().saved);
  const any = rows().length > 0;
  hint.textContent = !any
    ? state.hintTiers ?? ""
    : edits().saved ? "" : "Not saved yet. The new TextGrid never replaces a file.";
  hint.hidden = !hint.textContent;
}

export function setUp() {
  box.append(el("header", {}, el("h2", { id: "tiers-title" }, "Labels"),
    el("span", { class: "fields" }, undo, redo, adder, maker, saver)), fields, lanes, hint);
  maker.addEventListener("submit", (event) => {
    event.preventDefault();
    addTier(name.value.trim() || "labels");
    name.value = "";
    refresh();
  });
  label.addEventListener("change", () => {
    const { key, n } = state.chosen;
    if (chosenInterval()[2] !== label.value) change(key, rename(tierOf(key).intervals, n, label.value));
  });
  label.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      label.value = chosenInterval()[2];
      choose(state.chosen.key, state.chosen.n, true);
      event.preventDefault();
    } else if (event.key === "Enter") {
      label.blur();
      choose(state.chosen.key, state.chosen.n, true);
    }
  });
  from.addEventListener("change", () => moved(0, from));
  to.addEventListener("change", () => moved(1, to));
  on("chosen", refresh);
  on("edited", refresh);
  on("placed", refresh);
  on("selection", refresh);
  on("rename", () => { refresh(); label.focus(); label.select(); });
  on("delete", deleteChosen);
  on("opened", () => { use(History); refresh(); });
  document.addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.target.closest("input, textarea")) return;
    const key = event.key.toLowerCase();
    if (key === "z" || key === "y") {
      event.preventDefault();
      step(key === "y" || event.shiftKey ? "redo" : "undo");
    }
  });
  window.addEventListener("beforeunload", (event) => { if (unsaved()) event.preventDefault(); });
}
