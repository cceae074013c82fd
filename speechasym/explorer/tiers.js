// Tiers of labels under the panels: hand-made, recognised, corrected; only what is in view is made.

import { duration } from "./axes.js";
import { EDGE, gutter } from "./draw.js";
import { moveBorder } from "./edits.js";
import { alertOf, el, getJson } from "./requests.js";
import { happen, redraw, seconds, select, show, state } from "./state.js";

export const BLOCK_S = 30; // recognised at once
const MOST_SEEN_S = 60; // longer views are not recognised
const MOST_LABELS = 400; // of a tier in view; more are not readable
const box = document.getElementById("tiers");
export const lanes = el("div", { class: "lanes" });

const blocks = new Map(); // "recording model k" -> tiers, or null while asked for
let recognised = []; // tiers of the blocks that have arrived
let history = null; // of the recording: edits.js
let rowsNow = [];

/** The recording's history; one for each recording as long as the page lives. */
const histories = new Map();
export function use(History) {
  const { id } = state.recording;
  if (!histories.has(id)) histories.set(id, new History());
  history = histories.get(id);
  state.chosen = null;
  gather();
}
export const edits = () => history;
export const unsaved = () => [...histories.values()].some(({ saved }) => !saved);

/** The model whose symbols are shown: that of the first panel of units, or the first. */
const model = () => {
  const panel = state.panels.find(({ kind, values }) => kind === "units" && values.model);
  return panel?.values.model ?? state.session.models[0]?.id;
};

/** Every tier as shown: {key, name, source, intervals, corrected}. */
export function rows() {
  const base = [
    ...(state.info?.tiers ?? []).map((tier) => ({ ...tier, key: `hand ${tier.name}` })),
    ...recognised,
  ];
  const changed = new Map(history.tiers.map((tier) => [tier.key, tier]));
  const all = base.map((tier) => changed.get(tier.key) ?? tier);
  const known = new Set(base.map(({ key }) => key));
  return [...all, ...history.tiers.filter(({ key }) => !known.has(key))];
}

const blockKey = (number) => `${state.recording.id} ${model()} ${number}`;

/** Ask for the blocks of 30 s that are in view and have not been recognised. */
export function recognise() {
  if (!state.info || !model() || state.to - state.from > MOST_SEEN_S) return false;
  let waiting = false;
  for (let k = Math.floor(state.from / BLOCK_S); k * BLOCK_S < state.to; k += 1) {
    const key = blockKey(k);
    if (!blocks.has(key)) load(key, k);
    waiting ||= blocks.get(key) === null;
  }
  return waiting;
}

async function load(key, k) {
  const { id } = state.recording;
  blocks.set(key, null);
  const to = Math.min(seconds(), (k + 1) * BLOCK_S);
  try {
    const found = await getJson(`r/${id}/recognised.json?model=${model()}&from=${k * BLOCK_S}&to=${to}`);
    blocks.set(key, found.tiers ?? found);
    if (state.recording?.id === id) {
      gather();
      history.extend((tiers) => tiers.map((tier) => {
        const more = blocks.get(key).find(({ name }) => `recognised ${name}` === tier.key);
        if (!more || tier.blocks?.includes(key)) return tier;
        const intervals = [...tier.intervals, ...more.intervals].sort((a, b) => a[0] - b[0]);
        return { ...tier, intervals, blocks: [...tier.blocks, key] };
      }));
    }
  } catch (error) {
    blocks.set(key, []);
    alertOf(error.message);
  }
  happen("edited"); // the hint may go
  redraw();
}

/** Join the blocks of this recording and model into tiers. */
function gather() {
  const joined = new Map();
  const start = `${state.recording.id} ${model()} `;
  const keys = [...blocks.keys()].filter((key) => key.startsWith(start) && blocks.get(key))
    .sort((a, b) => Number(a.slice(start.length)) - Number(b.slice(start.length)));
  for (const key of keys) {
    for (const { name, intervals } of blocks.get(key)) {
      const tier = joined.get(name) ??
        { key: `recognised ${name}`, name, source: "recognised", intervals: [], blocks: [] };
      tier.intervals.push(...intervals);
      tier.blocks.push(key);
      joined.set(name, tier);
    }
  }
  recognised = [...joined.values()];
}
export const regather = () => { if (state.recording && history) gather(); };

export const tierOf = (key) => rows().find((tier) => tier.key === key);
export const chosenInterval = () => tierOf(state.chosen?.key)?.intervals[state.chosen.n] ?? null;

/** Replace a tier's intervals, as one step that undo takes back. */
export function change(key, intervals, step = true) {
  const before = tierOf(key);
  const tier = { ...before, intervals, corrected: true };
  const others = history.tiers.filter((other) => other.key !== key);
  const tiers = history.tiers.some((other) => other.key === key)
    ? history.tiers.map((other) => (other.key === key ? tier : other)) : [...others, tier];
  if (step) history.set(tiers);
  else history.tiers = tiers;
  happen("edited");
  redraw();
}

export function addTier(name) {
  const key = `new ${name}`;
  if (!tierOf(key)) history.set([...history.tiers, { key, name, source: "new", intervals: [], corrected: true }]);
  state.chosen = { key, n: -1 };
  happen("edited");
  redraw();
}

/** Choose an interval: it becomes the selection and is shown in the fields. */
export function choose(key, n, focus = false) {
  state.chosen = { key, n };
  const interval = chosenInterval();
  if (!interval) return;
  const [from, to] = interval;
  if (to < state.from || from > state.to) {
    const span = Math.max(state.to - state.from, to - from);
    show((from + to - span) / 2, (from + to + span) / 2);
  }
  select(from, to);
  happen("chosen");
  if (focus) {
    drawTiers();
    rowsNow.find((row) => row.key === key)?.buttons.get(n)?.focus();
  }
}

/** Index of the first interval that ends after a time. */
function firstAfter(intervals, time) {
  let [low, high] = [0, intervals.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (intervals[middle][1] <= time) low = middle + 1;
    else high = middle;
  }
  return low;
}

const measure = document.createElement("canvas").getContext("2d");
const widths = new Map();

/** The width of a label in px, as it is written in a tier. */
function widthOf(label) {
  if (!widths.has(label)) {
    measure.font = `12px ${getComputedStyle(box).fontFamily}`;
    widths.set(label, measure.measureText(label).width);
  }
  return widths.get(label);
}

function makeRow(tier) {
  const lane = el("div", { class: "lane", role: "group" });
  const name = el("div", { class: "name" });
  const element = el("div", { class: "tier" }, name, lane);
  const row = { key: tier.key, element, lane, name, buttons: new Map(), note: el("span", { class: "note" }) };
  const target = (event) => {
    const button = event.target.closest("button");
    return button ? Number(button.dataset.n) : -1;
  };
  lane.addEventListener("click", (event) => {
    if (target(event) >= 0) choose(row.key, target(event));
    happen("placed");
  });
  lane.addEventListener("dblclick", (event) => { if (target(event) >= 0) happen("rename"); });
  lane.addEventListener("keydown", (event) => {
    const n = target(event);
    if (n < 0) return;
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by && !event.shiftKey && tierOf(row.key).intervals[n + by]) {
      event.preventDefault();
      choose(row.key, n + by, true);
    } else if (["Delete", "F2", " "].includes(event.key)) {
      event.preventDefault();
      if (state.chosen?.n !== n || state.chosen.key !== row.key) choose(row.key, n);
      happen({ Delete: "delete", F2: "rename", " ": "play" }[event.key]);
    }
  });
  return row;
}

function fill(row, tier, area) {
  const { intervals } = tier;
  const source = tier.corrected ? (tier.source === "new" ? "new" : "corrected") : tier.source;
  if (row.name.title !== `${tier.name}, ${source}`) {
    row.name.title = `${tier.name}, ${source}`;
    row.name.classList.toggle("long", tier.name.length > 9);
    row.name.replaceChildren(el("b", {}, tier.name), el("small", {}, source));
  }
  row.element.className = `tier ${tier.source}${tier.corrected ? " corrected" : ""}`;
  row.lane.setAttribute("aria-label", `${tier.name}, ${tier.corrected ? "corrected" : tier.source}`);
  const first = firstAfter(intervals, state.from);
  let last = first;
  while (last < intervals.length && intervals[last][0] < state.to && last - first <= MOST_LABELS) last += 1;
  const many = last - first > MOST_LABELS;
  row.note.textContent = many ? "Zoom in to read the labels" : "";
  if (many && !row.note.isConnected) row.lane.append(row.note);
  if (!many) row.note.remove();
  for (const [n, button] of row.buttons) {
    if (many || n < first || n >= last) {
      button.remove();
      row.buttons.delete(n);
    }
  }
  if (many) return;
  const roving = state.chosen?.key === tier.key && state.chosen.n >= first && state.chosen.n < last ? state.chosen.n : first;
  const scale = area / (state.to - state.from);
  for (let n = first; n < last; n += 1) {
    const [from, to, label] = intervals[n];
    let button = row.buttons.get(n);
    if (!button) {
      button = el("button", { type: "button", "data-n": n });
      row.buttons.set(n, button);
      const after = row.buttons.get(n + 1);
      if (after) row.lane.insertBefore(button, after);
      else row.lane.append(button);
    }
    const x0 = Math.max(0, (from - state.from) * scale);
    const x1 = Math.min(area, (to - state.from) * scale);
    button.style.left = `${x0.toFixed(1)}px`;
    button.style.width = `${Math.max(2, x1 - x0 - 1).toFixed(1)}px`;
    if (button.dataset.label !== label) {
      button.dataset.label = label;
      button.textContent = label;
    }
    const about = `${label || "empty"}, ${from.toFixed(3)} to ${to.toFixed(3)} s, ${duration(to - from)}`;
    if (button.title !== about) {
      button.title = about;
      button.setAttribute("aria-label", about);
    }
    const chosen = state.chosen?.key === tier.key && state.chosen.n === n;
    button.classList.toggle("chosen", chosen);
    button.classList.toggle("empty", !label.trim());
    const room = (x1 - x0 - 3) / widthOf(label);
    button.classList.toggle("small", room < 1 && room >= 0.82);
    button.classList.toggle("tight", room < 0.82);
    if (chosen) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
    button.tabIndex = n === roving ? 0 : -1;
  }
  handles(row, tier, scale);
}

/** Two bars at the borders of the chosen interval that can be dragged. */
function handles(row, tier, scale) {
  row.handles ??= [0, 1].map((side) => {
    const handle = el("span", { class: "handle", "aria-hidden": "true" });
    let begun = false;
    handle.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      handle.setPointerCapture(event.pointerId);
      begun = false;
      const start = event.clientX;
      const [from, to] = chosenInterval();
      const at = side ? to : from;
      const follow = (moved) => {
        if (moved.clientX === start && !begun) return;
        const time = at + (moved.clientX - start) / row.lane.clientWidth * (state.to - state.from);
        const { n } = state.chosen;
        change(row.key, moveBorder(tierOf(row.key).intervals, n, side, time, seconds()), !begun);
        begun = true;
        select(...chosenInterval());
        happen("chosen");
      };
      handle.onpointermove = follow;
      handle.onpointerup = (last) => {
        follow(last);
        handle.onpointermove = handle.onpointerup = null;
      };
    });
    return handle;
  });
  const interval = state.chosen?.key === tier.key ? tier.intervals[state.chosen.n] : null;
  row.handles.forEach((handle, side) => {
    if (!interval) {
      handle.remove();
      return;
    }
    const x = (interval[side] - state.from) * scale;
    handle.style.left = `${x.toFixed(1)}px`;
    handle.hidden = x < -4 || x > row.lane.clientWidth + 4;
    if (!handle.isConnected) row.lane.append(handle);
  });
}

/** Bring the rows up to date with the view. */
export function drawTiers() {
  if (!state.info || !history) return;
  const wanted = rows();
  const same = wanted.length === rowsNow.length && wanted.every((tier, n) => tier.key === rowsNow[n].key);
  if (!same) {
    const before = new Map(rowsNow.map((row) => [row.key, row]));
    rowsNow = wanted.map((tier) => before.get(tier.key) ?? makeRow(tier));
    // rows that stay are not taken out: they may have the focus, or be dragged
    const staying = new Set(rowsNow);
    for (const row of before.values()) if (!staying.has(row)) row.element.remove();
    rowsNow.forEach(({ element }, n) => {
      if (lanes.children[n] !== element) lanes.insertBefore(element, lanes.children[n] ?? null);
    });
  }
  lanes.style.setProperty("--gutter", `${gutter()}px`);
  lanes.style.setProperty("--edge", `${EDGE}px`);
  const area = Math.max(1, box.clientWidth - gutter() - EDGE);
  wanted.forEach((tier, n) => fill(rowsNow[n], tier, area));
}
