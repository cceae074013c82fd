// Pointer, wheel, touch and keys over everything that has the time axis.

import { plot, timeAt } from "./draw.js";
import { happen, pan, redraw, seconds, select, show, state, zoom } from "./state.js";

const ZOOM_STEP = 1.5;
const MOVED = 4; // px that make a click a drag

const pointers = new Map(); // id -> {x, y}
let held = null; // the drag under way

const shareOf = (event, box) => {
  const { top, height } = box.getBoundingClientRect();
  return Math.max(0, Math.min(1, 1 - (event.clientY - top) / height));
};

const timeOf = (event, canvas) => timeAt(event.clientX - canvas.getBoundingClientRect().left, plot(canvas));

function wheel(event) {
  const canvas = event.currentTarget.querySelector("canvas") ?? event.currentTarget;
  event.preventDefault();
  const unit = event.deltaMode === 1 ? 16 : 1; // lines or pixels
  if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
    pan((event.deltaX || event.deltaY) * unit / plot(canvas).width);
    return;
  }
  const power = Math.max(-2, Math.min(2, event.deltaY * unit / (event.ctrlKey ? 40 : 240)));
  zoom(2 ** power, Math.max(state.from, Math.min(state.to, timeOf(event, canvas))));
}

function down(event) {
  if (event.pointerType === "mouse" && event.button > 1) return;
  const box = event.currentTarget;
  const canvas = box.querySelector("canvas") ?? box;
  box.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  const time = timeOf(event, canvas);
  const pans = state.drag === "pan" || event.button === 1 || event.altKey || box.id === "axis" ||
    event.pointerType === "touch";
  const edge = nearEdge(event, canvas);
  held = {
    canvas, box, time, x: event.clientX, moved: false, pans: pans && !edge, from: state.from, to: state.to,
    fixed: edge ?? (event.shiftKey && state.selection ? state.selection.from : time),
  };
  // touch: hold still for half a second, then draw the finger to select
  if (event.pointerType === "touch" && state.drag === "select") {
    held.timer = setTimeout(() => {
      if (held && !held.moved) { held.pans = false; navigator.vibrate?.(15); }
    }, 450);
  }
}

/** The other end of the selection if the pointer is on one of its edges. */
function nearEdge(event, canvas) {
  if (!state.selection || event.pointerType === "touch") return null;
  const area = plot(canvas);
  const x = event.clientX - canvas.getBoundingClientRect().left;
  const near = (time) => Math.abs(area.left + (time - state.from) / (state.to - state.from) * area.width - x) < 5;
  if (near(state.selection.from)) return state.selection.to;
  return near(state.selection.to) ? state.selection.from : null;
}

function moveTo(event) {
  const box = event.currentTarget;
  const canvas = box.querySelector("canvas") ?? box;
  if (!pointers.has(event.pointerId)) {
    hover(event, box, canvas);
    return;
  }
  pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  if (pointers.size === 2) {
    pinch(canvas);
    return;
  }
  if (!held) return;
  if (!held.moved && Math.abs(event.clientX - held.x) < MOVED) return;
  held.moved = true;
  if (held.pans) {
    const moved = (held.x - event.clientX) / plot(canvas).width * (held.to - held.from);
    show(held.from + moved, held.to + moved);
  } else {
    select(held.fixed, timeOf(event, canvas));
  }
}

let spread = null;

function pinch(canvas) {
  const [one, two] = [...pointers.values()];
  const distance = Math.max(20, Math.abs(one.x - two.x));
  const middle = timeAt((one.x + two.x) / 2 - canvas.getBoundingClientRect().left, plot(canvas));
  if (spread) {
    const factor = spread.distance / distance;
    const span = (state.to - state.from) * factor;
    const share = (middle - state.from) / (state.to - state.from);
    show(spread.time - share * span, spread.time + (1 - share) * span);
  } else {
    spread = { distance, time: middle };
  }
  spread = { distance, time: spread.time };
  held = null;
}

function hover(event, box, canvas) {
  const area = plot(canvas);
  const x = event.clientX - canvas.getBoundingClientRect().left;
  canvas.style.cursor = nearEdge(event, canvas) !== null ? "ew-resize"
    : state.drag === "pan" || box.id === "axis" ? "grab" : "crosshair";
  if (x < area.left || x > area.left + area.width) {
    leave();
    return;
  }
  state.cursor = { time: Math.min(timeAt(x, area), seconds()), share: shareOf(event, canvas), panel: box.panel ?? null };
  happen("cursor");
  redraw();
}

const leave = () => {
  state.cursor = null;
  happen("cursor");
  redraw();
};

function up(event) {
  pointers.delete(event.pointerId);
  spread = null;
  if (!held) return;
  clearTimeout(held.timer);
  if (held.moved && !held.pans) select(held.fixed, timeOf(event, held.canvas));
  if (!held.moved && event.type === "pointerup") {
    const box = event.currentTarget;
    state.cursor = { time: held.time, share: shareOf(event, held.canvas), panel: box.panel ?? null };
    state.caret = Math.max(0, Math.min(seconds(), held.time));
    if (state.selection) select(0, 0);
    happen("cursor");
    happen("placed");
  }
  held = null;
}

/** Give an element the time axis's gestures; `element.panel` is set where values can be read. */
export function timeline(element) {
  element.addEventListener("wheel", wheel, { passive: false });
  element.addEventListener("pointerdown", down);
  element.addEventListener("pointermove", moveTo);
  element.addEventListener("pointerup", up);
  element.addEventListener("pointercancel", up);
  element.addEventListener("pointerleave", (event) => {
    if (!pointers.has(event.pointerId) && event.pointerType !== "touch") leave();
  });
  element.addEventListener("dblclick", () => happen("whole-or-selection"));
}

/** Move the reading cursor by pixels of time and shares of height, and say the value there. */
function moveCursor(pixels, share) {
  const panel = document.activeElement?.panel ?? state.cursor?.panel ?? state.panels[0];
  const before = state.cursor ?? { time: cursorOrMiddle(), share: 0.5 };
  const width = panel ? plot(panel.canvas).width : 800;
  const time = Math.max(0, Math.min(seconds(), before.time + pixels / width * (state.to - state.from)));
  const rows = panel?.rows?.length ?? panel?.header?.rows ?? 1;
  const high = Math.max(0.5 / rows, Math.min(1 - 0.5 / rows, before.share + share / rows));
  state.cursor = { time, share: high, panel };
  state.caret = time;
  const span = state.to - state.from;
  if (time < state.from || time > state.to) show(time - span / 2, time + span / 2);
  happen("cursor", "keys");
  redraw();
}

/** Key -> [what it does in words, function]. */
export const KEYS = [
  ["Space", "play or stop: the selection, or from the cursor", " ", () => happen("play")],
  ["← →", "pan by a tenth of the view", ["ArrowLeft", "ArrowRight"], (key) => pan(key === "ArrowLeft" ? -0.1 : 0.1)],
  ["Page Up, Page Down", "pan by a whole view", ["PageUp", "PageDown"], (key) => pan(key === "PageUp" ? -1 : 1)],
  ["+ −", "zoom in, out", ["+", "=", "-", "_"], (key) => {
    zoom(key === "+" || key === "=" ? 1 / ZOOM_STEP : ZOOM_STEP, cursorOrMiddle());
  }],
  ["Home, End", "go to the beginning, the end", ["Home", "End"], (key) => {
    const span = state.to - state.from;
    if (key === "Home") show(0, span);
    else show(seconds() - span, seconds());
  }],
  ["0", "show the whole recording", "0", () => show(0, seconds())],
  ["S", "zoom to the selection", "s", () => {
    if (state.selection) show(state.selection.from, state.selection.to);
  }],
  ["Shift + ← →", "move the cursor in time and read the value", ["Shift+ArrowLeft", "Shift+ArrowRight"],
    (key) => moveCursor(key.endsWith("Left") ? -4 : 4, 0)],
  ["Shift + ↑ ↓", "move the cursor by a row", ["Shift+ArrowUp", "Shift+ArrowDown"],
    (key) => moveCursor(0, key.endsWith("Up") ? 1 : -1)],
  ["[ ]", "begin, end the selection at the cursor", ["[", "]"], (key) => {
    const time = cursorOrMiddle();
    const { from, to } = state.selection ?? { from: 0, to: seconds() };
    if (key === "[") select(time, to > time ? to : seconds());
    else select(from < time ? from : 0, time);
  }],
  ["Esc", "stop, then deselect", "Escape", () => happen("escape")],
];

const cursorOrMiddle = () => {
  const time = state.cursor?.time ?? state.caret;
  return time >= state.from && time <= state.to ? time : (state.from + state.to) / 2;
};

export function listen() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const { target } = event;
    if (target.closest("input:not([type=checkbox]), select, textarea, dialog")) return;
    if (event.key === " " && target.closest("button, summary, a, input, label")) return;
    const name = event.shiftKey && event.key.startsWith("Arrow") ? `Shift+${event.key}` : event.key;
    const found = KEYS.find(([, , keys]) => [keys].flat().includes(name.length === 1 ? name.toLowerCase() : name));
    if (!found || (!state.info && name !== "Escape")) return;
    event.preventDefault();
    found[3](name);
  });
}
