// What the page shows, its copy in the address, and the one place that asks for a new frame.

export const state = {
  session: null,
  recording: null, // of session.recordings
  info: null, // seconds, rate, channels, tiers
  from: 0, // s, what is in view
  to: 1,
  selection: null, // {from, to} in s
  cursor: null, // {time, share, panel}: where values are read; share 0 to 1 from the bottom
  caret: null, // s, where a click or the keys put it: playing and splitting begin there
  chosen: null, // {key, n}: the chosen label
  panels: [], // {kind, values: {parameter: text}, ...what drawing keeps}
  palette: "ink",
  contrast: 0, // doublings
  brightness: 0, // dB
  drag: "select",
  ratio: null, // pixels of a canvas to one of the page; null: as the screen has
  touched: false, // whether panels were chosen by a person
};

export const SHORTEST = 0.01; // s in view
const listeners = new Map();

/** Call `listener` whenever `name` happens. */
export function on(name, listener) {
  listeners.set(name, [...(listeners.get(name) ?? []), listener]);
}

export function happen(name, detail) {
  for (const listener of listeners.get(name) ?? []) listener(detail);
}

let asked = false;

/** Draw everything once before the browser paints next. */
export function redraw() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    happen("frame");
  });
}

export const seconds = () => state.info?.seconds ?? 1;

/** Show from..to, kept inside the recording and no shorter than SHORTEST. */
export function show(from, to) {
  const all = seconds();
  const span = Math.min(all, Math.max(Math.min(SHORTEST, all), to - from));
  const middle = (from + to) / 2;
  state.from = Math.max(0, Math.min(all - span, middle - span / 2));
  state.to = state.from + span;
  happen("view");
  redraw();
}

/** Zoom by a factor (< 1: closer) so that the time `about` stays where it is. */
export function zoom(factor, about = (state.from + state.to) / 2) {
  const span = state.to - state.from;
  const wanted = Math.min(seconds(), Math.max(SHORTEST, span * factor));
  const from = about - (about - state.from) * wanted / span;
  show(from, from + wanted);
}

export function pan(share) {
  const step = share * (state.to - state.from);
  show(state.from + step, state.to + step);
}

export function select(from, to) {
  const all = seconds();
  const a = Math.max(0, Math.min(from, to));
  const b = Math.min(all, Math.max(from, to));
  state.selection = b > a ? { from: a, to: b } : null;
  happen("selection");
  redraw();
}

/** The address after #: recording, view, palette and panels. */
export function written() {
  const parts = new URLSearchParams();
  if (state.recording) parts.set("r", state.recording.id);
  parts.set("t", `${+state.from.toFixed(4)}-${+state.to.toFixed(4)}`);
  if (state.palette !== "ink") parts.set("palette", state.palette);
  if (state.touched) {
    parts.set("p", state.panels.map(({ kind, values }) => [
      kind, ...Object.entries(values).map(([name, value]) => `${name}:${value}`)].join(",")).join(";"));
  }
  return `#${parts}`.replaceAll("%2C", ",").replaceAll("%3A", ":").replaceAll("%3B", ";");
}

/** What an address says: {recording, from, to, palette, panels}, each undefined if it does not. */
export function read(hash) {
  const parts = new URLSearchParams(hash.replace(/^#/, ""));
  const [from, to] = (parts.get("t") ?? "").split("-").map(Number);
  const panels = parts.get("p")?.split(";").filter(Boolean).map((text) => {
    const [kind, ...values] = text.split(",");
    return { kind, values: Object.fromEntries(values.map((value) => value.split(/:(.*)/).slice(0, 2))) };
  });
  return {
    recording: parts.get("r") ?? undefined, panels, palette: parts.get("palette") ?? undefined,
    ...(to > from ? { from, to } : {}),
  };
}

let timer;
export function remember() {
  clearTimeout(timer);
  timer = setTimeout(() => history.replaceState(null, "", written()), 200);
}
