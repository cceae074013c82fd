// The strip of the whole recording, with the part in view.

import { drawWave, fit, plot } from "./draw.js";
import { theme } from "./palettes.js";
import { seconds, show, state } from "./state.js";
import { COLUMNS, address, columnSeconds, tileAt } from "./tiles.js";

const canvas = document.getElementById("overview");
const drawn = document.createElement("canvas"); // the waveform, until a tile arrives or the size changes

function tiles() {
  const zoom = Math.max(-12, Math.min(2, Math.floor(Math.log2(0.01 * 1000 / seconds()))));
  const long = COLUMNS * columnSeconds(zoom);
  return Array.from({ length: Math.ceil(seconds() / long) }, (_, index) => ({
    zoom, index, from: index * long, to: (index + 1) * long,
    where: address(state.recording.id, "waveform", zoom, index),
  }));
}

/** Draw the strip; sets the peak of the recording. -> the addresses of its tiles */
export function draw() {
  const g = fit(canvas);
  const area = { ...plot(canvas), from: 0, to: seconds() };
  const { lane, accent, sans, soft, paper } = theme();
  const wanted = tiles();
  const parts = wanted.map((part) => ({ ...part, tile: tileAt(part.where) }))
    .filter(({ tile }) => tile?.header?.columns);
  const tops = parts.map(({ tile }) => Math.max(Math.abs(tile.header.lo), Math.abs(tile.header.hi)));
  state.peak = Math.max(1e-4, ...tops);
  const x = (time) => area.left + time / seconds() * area.width;
  const tries = parts.map(({ tile }) => tile.tries);
  const key = [state.recording.id, canvas.width, canvas.height, paper, state.peak, tries].join(" ");
  if (drawn.dataset.key !== key) {
    drawn.dataset.key = key;
    drawn.width = canvas.width;
    drawn.height = canvas.height;
    const strip = drawn.getContext("2d");
    strip.setTransform(g.getTransform());
    strip.fillStyle = lane;
    strip.fillRect(area.left, 0, area.width, area.height);
    drawWave(strip, area, parts, state.peak, x);
  }
  g.clearRect(0, 0, canvas.clientWidth, area.height);
  g.drawImage(drawn, 0, 0, canvas.clientWidth, area.height);
  const [x0, x1] = [x(state.from), x(state.to)];
  g.fillStyle = accent;
  g.globalAlpha = 0.18;
  g.fillRect(x0, 0, Math.max(3, x1 - x0), area.height);
  g.globalAlpha = 1;
  g.strokeStyle = accent;
  g.strokeRect(x0 + 0.5, 0.5, Math.max(2, x1 - x0 - 1), area.height - 1);
  if (state.selection) {
    const [from, to] = [x(state.selection.from), x(state.selection.to)];
    g.fillRect(from, area.height - 3, Math.max(1, to - from), 3);
  }
  g.fillStyle = soft;
  g.font = `11px ${sans}`;
  g.textAlign = "right";
  g.textBaseline = "middle";
  g.fillText("all", area.left - 7, area.height / 2);
  canvas.setAttribute("aria-valuemin", "0");
  canvas.setAttribute("aria-valuemax", seconds().toFixed(2));
  canvas.setAttribute("aria-valuenow", state.from.toFixed(2));
  canvas.setAttribute("aria-valuetext",
    `${state.from.toFixed(2)} to ${state.to.toFixed(2)} of ${seconds().toFixed(2)} s`);
  return wanted.map(({ where }) => where);
}

/** A click or drag moves the view there. */
export function setUp() {
  const go = (event) => {
    if (!event.buttons || !state.info) return;
    const area = plot(canvas);
    const time = (event.clientX - canvas.getBoundingClientRect().left - area.left) / area.width * seconds();
    const span = state.to - state.from;
    show(time - span / 2, time + span / 2);
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    go(event);
  });
  canvas.addEventListener("pointermove", go);
}
