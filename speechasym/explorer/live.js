// The microphone: chunks go to the server, whose levels scroll by while they are heard.

import { frequencyTicks } from "./axes.js";
import { EDGE, fit, gutter } from "./draw.js";
import { anchors, mix, theme } from "./palettes.js";
import { Failed, alertOf, el, post, say } from "./requests.js";
import { happen, state } from "./state.js";

const SHOWN_S = 8;
const MOST_UNITS = 24; // of a level
const box = document.getElementById("live");
const button = document.getElementById("record");
let running = null;

/** Columns that arrive, of which the last SHOWN_S are drawn. */
class Strip {
  constructor(title, kind) {
    this.kind = kind;
    this.columns = []; // Uint8Array of rows
    this.header = null;
    this.totals = []; // of each unit, to show the most active ones
    this.canvas = el("canvas", { class: kind, "aria-hidden": "true" });
    this.element = el("figure", {}, el("figcaption", {}, title), this.canvas);
    this.image = document.createElement("canvas");
  }

  /** Add a reply's columns, in the place of those from its time on: {rows, columns, from, column_s, data ...}. */
  add(reply) {
    if (!reply?.columns || !reply.rows) return;
    this.header = reply;
    const bytes = Uint8Array.from(atob(reply.data), (letter) => letter.charCodeAt(0));
    const { rows, columns } = reply;
    if (this.end) {
      const later = Math.max(0, Math.round((this.end - reply.from) / reply.column_s));
      this.columns.splice(Math.max(0, this.columns.length - later));
    }
    for (let n = 0; n < columns; n += 1) {
      const column = new Uint8Array(rows);
      for (let row = 0; row < rows; row += 1) column[row] = bytes[row * columns + n];
      if (this.kind === "units") column.forEach((value, row) => { this.totals[row] = (this.totals[row] ?? 0) + value; });
      this.columns.push(column);
    }
    this.columns.splice(0, this.columns.length - Math.round(SHOWN_S / reply.column_s));
    this.end = reply.from + columns * reply.column_s;
  }

  /** The rows to draw: all, or those of the units that were most active so far. */
  chosenRows(rows) {
    const all = Array.from({ length: rows }, (_, row) => row);
    if (this.kind !== "units" || rows <= MOST_UNITS) return all;
    return all.sort((a, b) => this.totals[b] - this.totals[a]).slice(0, MOST_UNITS).sort((a, b) => a - b);
  }

  draw(now) {
    const g = fit(this.canvas);
    const left = gutter();
    const width = this.canvas.clientWidth - left - EDGE;
    const height = this.canvas.clientHeight;
    g.clearRect(0, 0, left, height);
    g.fillStyle = theme().lane;
    g.fillRect(left, 0, width, height);
    if (!this.header || !this.columns.length) return;
    const { rows, lo, hi, frequencies } = this.header;
    const bytesTop = this.columns.reduce((most, column) => Math.max(most, ...column), 1);
    const low = this.kind === "units" ? 0 : Math.max(0, bytesTop - 255 * 60 / Math.max(1, hi - lo));
    const points = anchors(this.kind === "units" ? "units" : "level", state.palette);
    const table = Array.from({ length: 256 }, (_, byte) =>
      mix(points, (byte - low) / Math.max(1, bytesTop - low)).map(Math.round));
    const chosen = this.chosenRows(rows);
    this.image.width = this.columns.length;
    this.image.height = chosen.length;
    const context = this.image.getContext("2d");
    const image = context.createImageData(this.columns.length, chosen.length);
    this.columns.forEach((column, n) => {
      chosen.forEach((row, place) => {
        image.data.set([...table[column[row]], 255], 4 * ((chosen.length - 1 - place) * this.columns.length + n));
      });
    });
    context.putImageData(image, 0, 0);
    g.imageSmoothingEnabled = false;
    const long = this.columns.length * this.header.column_s;
    const x = (time) => left + width * (1 - (now - time) / SHOWN_S);
    g.save();
    g.beginPath();
    g.rect(left, 0, width, height);
    g.clip();
    g.drawImage(this.image, x(this.end - long), 0, long / SHOWN_S * width, height);
    g.restore();
    if (frequencies?.length > 1) {
      g.font = `11px ${theme().sans}`;
      g.fillStyle = theme().soft;
      g.textAlign = "right";
      g.textBaseline = "middle";
      for (const { row, text } of frequencyTicks(frequencies, height / 22)) {
        g.fillText(text, left - 7, Math.max(6, Math.min(height - 6, height * (1 - (row + 0.5) / rows))));
      }
    }
  }
}

function drawWave(canvas, samples, rate) {
  const g = fit(canvas);
  const left = gutter();
  const width = canvas.clientWidth - left - EDGE;
  const middle = canvas.clientHeight / 2;
  g.fillStyle = theme().lane;
  g.fillRect(left, 0, width, 2 * middle);
  g.fillStyle = theme().soft;
  const each = SHOWN_S * rate / width;
  const peak = samples.reduce((most, part) => Math.max(most, part.top), 0.05);
  let x = left + width;
  for (let n = samples.length - 1; n >= 0 && x > left; n -= 1) {
    const { tops, chunk } = samples[n];
    const wide = chunk / each / tops.length;
    for (let m = tops.length - 1; m >= 0; m -= 1) {
      x -= wide;
      const high = Math.max(0.5, tops[m] / peak * (middle - 1));
      g.fillRect(x, middle - high, Math.max(1, wide), 2 * high);
    }
  }
}

function summary(chunk) {
  const tops = [];
  for (let n = 0; n < 16; n += 1) {
    let top = 0;
    for (let m = Math.floor(n * chunk.length / 16); m < (n + 1) * chunk.length / 16; m += 1) {
      top = Math.max(top, Math.abs(chunk[m] ?? 0));
    }
    tops.push(top);
  }
  return { tops, chunk: chunk.length, top: Math.max(...tops) };
}

async function send(live) {
  if (live.sending) return;
  live.sending = true;
  while (live.waiting.length && !live.failed) {
    // what has piled up goes at once
    const parts = live.waiting.splice(0);
    const chunk = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      chunk.set(part, at);
      at += part.length;
    }
    try {
      const reply = await post(`live/${live.id}`, chunk);
      live.gammatone.add(reply.gammatone);
      for (const units of reply.units) {
        if (!live.levels.has(units.level)) {
          live.levels.set(units.level, new Strip(`Most active units of ${live.model.levels[units.level]}`, "units"));
          live.figures.append(live.levels.get(units.level).element);
        }
        live.levels.get(units.level).add(units);
      }
      live.text.textContent = reply.text || "Nothing recognised yet";
      if (reply.error) alertOf(reply.error);
    } catch (error) {
      live.failed = true;
      alertOf(error.message);
      stop();
    }
  }
  live.sending = false;
  live.sent?.();
}

function frame(live) {
  if (running !== live) return;
  const seconds = live.count / live.context.sampleRate;
  live.gammatone.draw(seconds);
  live.levels.forEach((strip) => strip.draw(seconds));
  drawWave(live.wave, live.samples, live.context.sampleRate);
  live.clock.textContent = `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, "0")}`;
  requestAnimationFrame(() => frame(live));
}

async function open() {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Failed("This browser gives no access to a microphone. Use a current Chrome, Edge, Firefox or Safari.", 0);
  }
  const stream = await navigator.mediaDevices.getUserMedia({
    audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false },
  });
  const context = new AudioContext();
  await context.audioWorklet.addModule("worklet.js");
  const source = context.createMediaStreamSource(stream);
  const node = new AudioWorkletNode(context, "chunks", { numberOfOutputs: 0 });
  source.connect(node);
  return { stream, context, node };
}

/** The model of the first panel of units, or the first that reads live, or the first. */
function chosenModel() {
  const { models } = state.session;
  const wanted = state.panels.find(({ kind, values }) => kind === "units" && values.model)?.values.model;
  return models.find(({ id }) => id === wanted) ?? models.find(({ live }) => live) ?? models[0];
}

function note(model, path, temporary) {
  const how = !model ? "" : model.live ? `${model.name} reads the stream as it comes.`
    : `${model.name} cannot read a stream: it reads the last 4 s again and again.`;
  const where = temporary ? "The recording is kept until the server stops; start with --out DIR to keep it for good."
    : `The recording is written to ${path}.`;
  return `The last ${SHOWN_S} s are shown. ${how} ${where}`;
}

const WHY = {
  NotAllowedError: "The browser was not allowed to use the microphone. Allow it in the address bar, then record again.",
  NotFoundError: "No microphone was found. Connect one, then record again.",
};

/** Ask for the microphone and begin. */
export async function start() {
  if (running) return;
  button.disabled = true;
  try {
    const opened = await open();
    const model = chosenModel();
    const { live: id, path, temporary } = await post("live/start",
      { rate: opened.context.sampleRate, ...(model ? { model: model.id } : {}) });
    const live = {
      ...opened, id, model, waiting: [], samples: [], levels: new Map(), count: 0, sending: false, failed: false,
      gammatone: new Strip("Gammatone", "gammatone"), wave: el("canvas", { class: "wave", "aria-hidden": "true" }),
      text: el("p", { class: "text", hidden: !model }, "Nothing recognised yet"), clock: el("span", { class: "clock" }, "0:00.0"), figures: el("div"),
    };
    running = live;
    live.figures.append(el("figure", {}, el("figcaption", {}, "Waveform"), live.wave), live.gammatone.element);
    const stopper = el("button", { type: "button", class: "main", id: "stop-recording", onclick: stop }, "Stop and keep");
    box.replaceChildren(el("header", {}, el("h2", {}, el("i", { class: "dot" }), "Recording "), live.clock, stopper),
      live.text, live.figures, el("p", { class: "note" }, note(model, path, temporary)));
    box.hidden = false;
    document.body.classList.add("recording");
    live.node.port.onmessage = ({ data }) => {
      live.waiting.push(data);
      live.count += data.length;
      live.samples.push(summary(data));
      live.samples.splice(0, live.samples.length - 80);
      send(live);
    };
    stopper.focus();
    say("Recording");
    frame(live);
  } catch (error) {
    alertOf(WHY[error.name] ?? error.message);
  }
  button.disabled = false;
}

/** Stop, keep the recording and open it. */
export async function stop() {
  const live = running;
  if (!live) return;
  running = null;
  live.stream.getTracks().forEach((track) => track.stop());
  live.node.port.onmessage = null;
  await live.context.close();
  if (live.sending) await new Promise((done) => { live.sent = done; });
  box.hidden = true;
  document.body.classList.remove("recording");
  button.focus();
  if (live.failed) return;
  try {
    const { recording } = await post(`live/${live.id}/stop`, {});
    if (recording) {
      happen("recorded", recording);
      alertOf(`Kept as ${recording.name}${state.session.out ? "" : " until the server stops"}`, "done");
    } else {
      alertOf("Nothing was recorded.");
    }
  } catch (error) {
    alertOf(error.message);
  }
}

export function setUp() {
  button.hidden = !state.session.microphone;
  button.addEventListener("click", start);
}
