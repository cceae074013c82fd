// The microphone: chunks go to the server, whose levels scroll by while they are heard.

import { frequencyTicks } from "./axes.js";
import { EDGE, fit, gutter } from "./draw.js";
import { anchors, mix, theme } from "./palettes.js";
import { Failed, alertOf, el, post, say } from "./requests.js";
import { happen, state } from "./state.js";

const SHOWN_S = 8;
const box = document.getElementById("live");
const button = document.getElementById("record");
let running = null;

/** Columns that arrive, of which the last SHOWN_S are kept and drawn. */
class Strip {
  constructor(title, kind) {
    this.kind = kind;
    this.columns = []; // Uint8Array of rows
    this.header = null;
    this.canvas = el("canvas", { class: kind, "aria-hidden": "true" });
    this.element = el("figure", {}, el("figcaption", {}, title), this.canvas);
    this.image = document.createElement("canvas");
  }

  /** Add a reply: {rows, columns, lo, hi, data: base64, row by row}. */
  add(reply) {
    if (!reply?.columns) return;
    this.header = reply;
    const bytes = Uint8Array.from(atob(reply.data), (letter) => letter.charCodeAt(0));
    const { rows, columns } = reply;
    for (let n = 0; n < columns; n += 1) {
      const column = new Uint8Array(rows);
      for (let row = 0; row < rows; row += 1) column[row] = bytes[row * columns + n];
      this.columns.push(column);
    }
    const rate = 1 / (reply.column_s ?? 0.01);
    this.most = Math.round(SHOWN_S * rate);
    this.columns.splice(0, this.columns.length - this.most);
  }

  draw() {
    const g = fit(this.canvas);
    const left = gutter();
    const width = this.canvas.clientWidth - left - EDGE;
    const height = this.canvas.clientHeight;
    g.fillStyle = theme().lane;
    g.fillRect(left, 0, width, height);
    if (!this.header || !this.columns.length) return;
    const { rows, lo, hi, frequencies } = this.header;
    const bytesTop = this.columns.reduce((most, column) => Math.max(most, ...column), 1);
    const low = this.kind === "units" ? 0 : Math.max(0, bytesTop - 255 * 60 / Math.max(1, hi - lo));
    const points = anchors(this.kind === "units" ? "units" : "level", state.palette);
    const table = Array.from({ length: 256 }, (_, byte) =>
      mix(points, (byte - low) / Math.max(1, bytesTop - low)).map(Math.round));
    this.image.width = this.most;
    this.image.height = rows;
    const context = this.image.getContext("2d");
    const image = context.createImageData(this.columns.length, rows);
    this.columns.forEach((column, n) => {
      for (let row = 0; row < rows; row += 1) {
        image.data.set([...table[column[row]], 255], 4 * ((rows - 1 - row) * this.columns.length + n));
      }
    });
    context.putImageData(image, this.most - this.columns.length, 0);
    g.imageSmoothingEnabled = false;
    g.drawImage(this.image, left, 0, width, height);
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
      live.gammatone.add(reply.gammatone ?? reply);
      (reply.units ?? []).forEach((units, n) => {
        if (!live.levels[n]) {
          live.levels[n] = new Strip(units.name ?? `Level ${n + 1}`, "units");
          live.figures.append(live.levels[n].element);
        }
        live.levels[n].add(units);
      });
      if (reply.text) {
        live.text.replaceChildren(...Object.entries(reply.text).filter(([, text]) => text)
          .flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)]));
      }
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
  live.gammatone.draw();
  live.levels.forEach((strip) => strip.draw());
  drawWave(live.wave, live.samples, live.context.sampleRate);
  const seconds = live.count / live.context.sampleRate;
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
    const { live: id } = await post("live/start", { rate: opened.context.sampleRate });
    const live = {
      ...opened, id, waiting: [], samples: [], levels: [], count: 0, sending: false, failed: false,
      gammatone: new Strip("Gammatone", "gammatone"), wave: el("canvas", { class: "wave", "aria-hidden": "true" }),
      text: el("dl", { "aria-live": "off" }), clock: el("span", { class: "clock" }, "0:00.0"), figures: el("div"),
    };
    running = live;
    live.figures.append(el("figure", {}, el("figcaption", {}, "Waveform"), live.wave), live.gammatone.element);
    const stopper = el("button", { type: "button", class: "main", id: "stop-recording", onclick: stop }, "Stop and keep");
    box.replaceChildren(el("header", {}, el("h2", {}, el("i", { class: "dot" }), "Recording "), live.clock, stopper),
      live.text, live.figures, el("p", { class: "note" }, `The last ${SHOWN_S} s. ${state.session.live_note ?? ""}`));
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
    const { recording, path } = await post(`live/${live.id}/stop`, {});
    happen("recorded", recording);
    const where = path ?? recording.path;
    alertOf(where ? `Kept as ${where}` : `Kept as ${recording.name}`, "done");
  } catch (error) {
    alertOf(error.message);
  }
}

export function setUp() {
  button.hidden = !state.session.microphone;
  button.addEventListener("click", start);
}
