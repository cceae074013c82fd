// The column of panels: headings, parameters, the ramp of colours, order.

import { number } from "./axes.js";
import { colourKind } from "./draw.js";
import { anchors, mix } from "./palettes.js";
import { KINDS, available, fields } from "./parameters.js";
import { el, say } from "./requests.js";
import { happen, redraw, remember, seconds, state } from "./state.js";

const MOST_PANELS = 10;
const column = document.getElementById("panels");

const valueOf = (panel, { name, default: usual }) => String(panel.values[name] ?? usual);

/** The panel's part of tile addresses; what it knew of the old values is forgotten. */
function refresh(panel) {
  const given = fields(panel.kind, panel.values).filter(({ local }) => !local).map((field) => [field.name, valueOf(panel, field)]);
  panel.source = [panel.kind, ...given.map(([name, value]) => `${name}=${encodeURIComponent(value)}`)].join("&");
  panel.settled = false;
}

function control(panel, field) {
  const id = `${panel.id}-${field.name}`;
  const chosen = valueOf(panel, field);
  const choose = el("select", { id, "data-name": field.name, onchange: () => {
    panel.values[field.name] = choose.value;
    refresh(panel);
    build(panel);
    changed();
    document.getElementById(id)?.focus();
    remember();
    redraw();
  } });
  for (const [value, label] of field.choices) {
    choose.append(el("option", { value, selected: String(value) === chosen }, label ?? value));
  }
  return el("label", {}, `${field.label} `, choose);
}

const changed = () => {
  state.touched = true;
  happen("panels");
};

function move(panel, by) {
  const at = state.panels.indexOf(panel);
  const to = at + by;
  if (to < 0 || to >= state.panels.length) return;
  state.panels.splice(at, 1);
  state.panels.splice(to, 0, panel);
  arrange();
  changed();
  panel.element.querySelector(by < 0 ? ".up" : ".down").focus();
  say(`${KINDS[panel.kind]} is panel ${to + 1} of ${state.panels.length}`);
}

function remove(panel) {
  state.panels = state.panels.filter((other) => other !== panel);
  panel.element.remove();
  arrange();
  changed();
  column.focus();
  say(`${KINDS[panel.kind]} removed`);
}

function icon(name, label, act) {
  const shapes = { up: "M3 8l5-5 5 5M8 3v10", down: "M3 8l5 5 5-5M8 3v10", close: "M4 4l8 8M12 4l-8 8" };
  const button = el("button", { type: "button", class: `icon ${name}`, "aria-label": label, title: label, onclick: act });
  button.innerHTML = `<svg viewBox="0 0 16 16" aria-hidden="true"><path d="${shapes[name]}"/></svg>`;
  return button;
}

/** Make or renew the heading and controls of a panel; the canvas stays. */
function build(panel) {
  const title = KINDS[panel.kind];
  panel.heading.replaceChildren(
    el("h2", { id: `${panel.id}-title` }, title),
    el("span", { class: "fields" }, ...fields(panel.kind, panel.values).filter(({ choices }) => choices.length > 1)
      .map((field) => control(panel, field))),
    panel.ramp,
    el("span", { class: "order" }, icon("up", `Move ${title} up`, () => move(panel, -1)),
      icon("down", `Move ${title} down`, () => move(panel, 1)),
      icon("close", `Remove ${title}`, () => remove(panel))),
  );
}

let count = 0;

function make({ kind, values }) {
  count += 1;
  const panel = { kind, values: { ...values }, id: `panel${count}`, parts: [], top: 0, peak: 1, settled: false, note: "" };
  panel.heading = el("header");
  panel.ramp = el("span", { class: "ramps" });
  panel.canvas = el("canvas", { "aria-hidden": "true" });
  panel.message = el("p", { class: "message", hidden: true });
  panel.plot = el("div", {
    class: "plot", tabindex: "0", role: "application", "aria-roledescription": "picture over time",
    "aria-labelledby": `panel${count}-title`, "aria-describedby": "plot-help",
  }, panel.canvas, panel.message);
  panel.element = el("section", { class: `panel ${kind}`, "aria-labelledby": `panel${count}-title` },
    panel.heading, panel.plot);
  panel.plot.panel = panel;
  refresh(panel);
  build(panel);
  return panel;
}

function arrange() {
  column.append(...state.panels.map(({ element }) => element));
  state.panels.forEach(({ element }, n) => {
    element.querySelector(".up").disabled = n === 0;
    element.querySelector(".down").disabled = n === state.panels.length - 1;
  });
  column.style.setProperty("--count", state.panels.length);
  document.getElementById("add").querySelectorAll("button").forEach((button) => {
    button.disabled = state.panels.length >= MOST_PANELS;
  });
  remember();
  redraw();
}

/** Show these panels: [{kind, values}]; unknown kinds are left out. */
export function setPanels(wanted) {
  const known = wanted.filter(({ kind }) => available().includes(kind));
  column.replaceChildren();
  state.panels = known.slice(0, MOST_PANELS).map(make);
  arrange();
}

/** Panels of another recording: contrast and peaks are found again. */
export const renew = () => state.panels.forEach(refresh);

export function addPanel(kind) {
  const panel = make({ kind, values: {} });
  state.panels.push(panel);
  arrange();
  changed();
  panel.element.scrollIntoView({ block: "nearest" });
  panel.plot.focus({ preventScroll: true });
  say(`${KINDS[kind]} added`);
}

export function buildAdd() {
  document.getElementById("add").replaceChildren(...available().map((kind) =>
    el("button", { type: "button", "data-kind": kind, onclick: () => addPanel(kind) }, KINDS[kind])));
}

/** Ramp, message and label of a panel after it was drawn. */
export function caption(panel) {
  panel.message.hidden = !panel.note;
  if (panel.message.textContent !== panel.note) panel.message.textContent = panel.note;
  if (!panel.range || !panel.header || panel.kind === "waveform") return;
  const points = anchors(colourKind(panel.kind), state.palette);
  const stops = Array.from({ length: 9 }, (_, n) => `rgb(${mix(points, n / 8).map(Math.round)})`);
  const [a, b] = panel.range;
  const unit = /^(dB|ERB|cycles)/.exec(panel.header.unit ?? "")?.[0] ?? ""; // the read-out has all of it
  const digits = b - a >= 10 ? 0 : b - a >= 1 ? 1 : 2;
  const text = `${number(a, digits)} ${stops} ${number(b, digits)} ${unit}`;
  if (panel.ramp.dataset.text === text) return;
  panel.ramp.dataset.text = text;
  panel.ramp.replaceChildren(number(a, digits),
    el("i", { class: "ramp", style: `background:linear-gradient(90deg,${stops})` }),
    `${number(b, digits)} ${unit}`);
}

/** A file name's part that says what a panel shows: asymmetry-amplitude-2. */
export const slug = (panel) =>
  panel.source.replace(/[^=&]+=/g, "").replaceAll("&", "-").replace(/[^\w.-]+/g, "_");

export const csvAddress = (panel) =>
  `r/${state.recording.id}/data.csv?panel=${panel.source}&from=${state.from.toFixed(5)}` +
  `&to=${Math.min(state.to, seconds()).toFixed(5)}`;
