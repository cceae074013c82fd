// One panel on its canvas: tiles or their stand-ins, waveform, axis, selection and cursor.

import { clock, frequencyTicks, number, timeTicks } from "./axes.js";
import { bars, coloured, quantile, theme } from "./palettes.js";
import { samplesIn } from "./samples.js";
import { redraw, seconds, state } from "./state.js";
import { COLUMNS, address, columnSeconds, columnsBetween, indices, standIns, tileAt, zoomOf } from "./tiles.js";
import { chooseRows, drawEvents } from "./units.js";

export const EDGE = 10; // px right of a plot
export const SAMPLES_BELOW = 0.25; // s in view: single samples are drawn
const RANGE_DB = 60;
const WAIT_MS = 600; // before a panel without a picture says why
export const gutter = () => (window.innerWidth < 640 ? 46 : 70);

/** Set a canvas to the pixels of its box -> its context, in CSS pixels. */
export function fit(canvas) {
  const ratio = state.ratio ?? Math.min(3, window.devicePixelRatio || 1);
  const width = Math.max(1, Math.round(canvas.clientWidth * ratio));
  const height = Math.max(1, Math.round(canvas.clientHeight * ratio));
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const g = canvas.getContext("2d");
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  return g;
}

/** Where time lies on a canvas: x of the first and the width of all, in CSS pixels. */
export const plot = (canvas) => {
  const left = gutter();
  return { left, width: Math.max(1, canvas.clientWidth - left - EDGE), height: canvas.clientHeight };
};

export const xOf = (time, { left, width }) => left + (time - state.from) / (state.to - state.from) * width;
export const timeAt = (x, { left, width }) => state.from + (x - left) / width * (state.to - state.from);

export const colourKind = (kind) => ({ asymmetry: "signed", units: "units" })[kind] ?? "level";

/** Tile addresses that a view needs, and those worth a guess. */
export function addresses(panel, from, to, width) {
  const { id } = state.recording;
  const zoom = zoomOf((to - from) / width);
  const all = seconds();
  const needed = indices(from, Math.min(to, all), zoom).map((index) => address(id, panel.source, zoom, index));
  if (panel.kind === "units") return { zoom, needed, guessed: [] };
  const span = to - from;
  const near = [
    ...indices(from - span, to + span, zoom).map((index) => [zoom, index]),
    ...(zoom < 5 ? indices(from + span / 4, to - span / 4, zoom + 1).map((index) => [zoom + 1, index]) : []),
    ...indices(from - span / 2, to + span / 2, zoom - 1).map((index) => [zoom - 1, index]),
  ].filter(([z, index]) => z >= -12 && index * COLUMNS * columnSeconds(z) < all)
    .map(([z, index]) => address(id, panel.source, z, index));
  return { zoom, needed, guessed: near.filter((where) => !needed.includes(where)) };
}

/** What is drawn of a panel: [{zoom, index, tile, from, to}], the exact tiles or their stand-ins. */
function pieces(panel, from, to, width) {
  const { id } = state.recording;
  const zoom = zoomOf((to - from) / width);
  const parts = [];
  let exact = true;
  panel.failed = null;
  panel.broken = false;
  for (const index of indices(from, Math.min(to, seconds()), zoom)) {
    const tile = tileAt(address(id, panel.source, zoom, index));
    const long = COLUMNS * columnSeconds(zoom);
    const limits = { from: index * long, to: (index + 1) * long };
    if (tile?.failed) {
      panel.broken = true;
      // a file or server that is gone is said once, for all panels
      if (tile.failed.status !== 410 && tile.failed.status !== 0) panel.failed = tile.failed.message;
    }
    if (tile?.header) {
      parts.push({ zoom, index, tile, ...limits });
      exact &&= tile.header.exact !== false;
      continue;
    }
    exact &&= Boolean(tile?.failed);
    for (const stand of standIns(id, panel.source, zoom, index)) parts.push({ ...stand, ...limits });
  }
  return { parts, exact };
}

/** The values at both ends of a panel's palette. */
function limits(panel, parts, exact) {
  const kind = colourKind(panel.kind);
  const factor = 2 ** state.contrast;
  if (kind === "signed") {
    const { lo, hi } = parts[0].tile.header;
    const most = Math.max(Math.abs(lo), Math.abs(hi)) / factor;
    return [-most, most];
  }
  // the top follows what arrives until one whole view was seen, then it stays
  if (!panel.settled) {
    const share = kind === "units" ? 0.995 : 0.999;
    const tops = parts.map(({ tile }) => (tile.values.length ? quantile(tile, share) : -Infinity));
    panel.top = Math.max(...tops);
    panel.settled = exact;
  }
  if (kind === "units") return [0, (panel.top > 0 ? panel.top : 1) / factor];
  return [panel.top - state.brightness - RANGE_DB / factor, panel.top - state.brightness];
}

function drawTiles(g, area, panel, parts, [a, b]) {
  g.imageSmoothingEnabled = false;
  const ratio = g.getTransform().a;
  const whole = (x) => Math.round(x * ratio) / ratio; // whole pixels leave no seams
  for (const { zoom, index, tile, from, to } of parts) {
    const { rows, columns } = tile.header;
    if (!columns) continue;
    const picture = coloured(tile, colourKind(panel.kind), state.palette, a, b);
    const column = columnSeconds(zoom);
    const begin = index * COLUMNS * column;
    const end = Math.min(to, begin + columns * column, state.to + column);
    const start = Math.max(from, begin, state.from - column);
    if (end <= start) continue;
    const [x0, x1] = [whole(xOf(start, area)), whole(xOf(end, area))];
    const [from_, wide] = [(start - begin) / column, (end - start) / column];
    if (!panel.rows) {
      g.drawImage(picture, from_, 0, wide, rows, x0, 0, x1 - x0, area.height);
      continue;
    }
    const each = area.height / panel.rows.length;
    panel.rows.forEach((row, place) => {
      const [top, bottom] = [whole(area.height - (place + 1) * each), whole(area.height - place * each)];
      g.drawImage(picture, from_, rows - 1 - row, wide, 1, x0, top, x1 - x0, bottom - top);
    });
  }
}

/** Draw waveform tiles: bars from the least to the greatest value of each column. */
export function drawWave(g, area, parts, peak, x) {
  g.imageSmoothingEnabled = false;
  const ratio = g.getTransform().a;
  const whole = (place) => Math.round(place * ratio) / ratio;
  const height = Math.round(area.height * ratio);
  if (!height) return; // not shown
  for (const { zoom, index, tile, from, to } of parts) {
    const column = columnSeconds(zoom);
    const begin = index * COLUMNS * column;
    const end = Math.min(to, begin + tile.header.columns * column, area.to + column);
    const start = Math.max(from, begin, area.from - column);
    if (end <= start) continue;
    const picture = bars(tile, height, peak, theme().rgb.soft);
    const [x0, x1] = [whole(x(start)), whole(x(end))];
    g.drawImage(picture, (start - begin) / column, 0, (end - start) / column, height, x0, 0, x1 - x0, area.height);
  }
}

/** The greatest size of what is in view of waveform tiles. */
function peakInView(parts) {
  let most = 1e-4;
  for (const part of parts) {
    const { tile } = part;
    const { columns, lo, hi } = tile.header;
    const [first, last] = columnsBetween(part, state.from, state.to);
    for (let n = first; n < last; n += 1) {
      const [low, high] = [tile.values[n], tile.values[columns + n]].map((byte) => lo + (hi - lo) * byte / 255);
      most = Math.max(most, Math.abs(low), Math.abs(high));
    }
  }
  return most;
}

/** Single samples as a line, with dots where they are far apart. -> whether they have arrived. */
function drawSamples(g, area, peak) {
  const found = samplesIn(state.from, state.to);
  if (!found) return false;
  const { values, first, rate } = found;
  const middle = area.height / 2;
  const at = (n) => [xOf((first + n) / rate, area), middle - values[n] / peak * (middle - 1)];
  g.strokeStyle = theme().ink;
  g.lineWidth = 1;
  g.beginPath();
  for (let n = 0; n < values.length; n += 1) g.lineTo(...at(n));
  g.stroke();
  if (values.length < area.width / 5) {
    g.fillStyle = theme().ink;
    for (let n = 0; n < values.length; n += 1) {
      const [x, y] = at(n);
      g.fillRect(x - 1.5, y - 1.5, 3, 3);
    }
  }
  return true;
}

function drawGutter(g, area, panel, header) {
  const { soft, sans } = theme();
  g.font = `11px ${sans}`;
  g.textAlign = "right";
  g.textBaseline = "middle";
  g.fillStyle = soft;
  const put = (text, y) => g.fillText(text, area.left - 7, Math.max(6, Math.min(area.height - 6, y)), area.left - 8);
  if (panel.kind === "waveform") {
    put(number(panel.peak, 2), 6);
    put("0", area.height / 2);
    put(number(-panel.peak, 2), area.height - 6);
    return;
  }
  const count = panel.rows?.length ?? header.rows;
  const yOf = (place) => area.height * (1 - (place + 0.5) / count);
  if (header.frequencies?.length > 1) {
    const ticks = frequencyTicks(header.frequencies, area.height / 22);
    for (const { row, text } of ticks) {
      put(text, yOf(row));
      g.fillRect(area.left - 4, yOf(row), 4, 1);
    }
  } else if (header.names?.length) {
    const names = panel.rows?.map((row) => header.names[row]) ?? header.names;
    const each = area.height / count;
    const skip = Math.max(1, Math.ceil(10 / each));
    g.font = `${Math.min(11, Math.max(9, Math.floor(each)))}px ${sans}`;
    names.forEach((name, place) => {
      if (place % skip === 0 && yOf(place) > 4 && yOf(place) < area.height - 3) put(name, yOf(place));
    });
  }
}

/** Selection, cursor and playing position over a plot. */
export function drawMarks(g, area, playing) {
  const { accent, letters, ink } = theme();
  g.save();
  g.beginPath();
  g.rect(area.left, 0, area.width, area.height);
  g.clip();
  if (state.selection) {
    const [x0, x1] = [xOf(state.selection.from, area), xOf(state.selection.to, area)];
    g.fillStyle = accent;
    g.globalAlpha = 0.2;
    g.fillRect(x0, 0, x1 - x0, area.height);
    g.globalAlpha = 1;
    g.fillRect(x0 - 0.5, 0, 1, area.height);
    g.fillRect(x1 - 0.5, 0, 1, area.height);
  }
  if (state.caret !== null) {
    g.fillStyle = letters;
    for (let y = 0; y < area.height; y += 6) g.fillRect(xOf(state.caret, area) - 0.5, y, 1, 3);
  }
  if (state.cursor) {
    g.fillStyle = ink;
    g.globalAlpha = 0.6;
    g.fillRect(xOf(state.cursor.time, area) - 0.5, 0, 1, area.height);
    g.globalAlpha = 1;
  }
  if (playing !== null) {
    g.fillStyle = letters;
    g.fillRect(xOf(playing, area) - 1, 0, 2, area.height);
  }
  g.restore();
}

/** What to say instead of a picture that takes long. */
function waiting(panel) {
  if (!panel.since) {
    panel.since = performance.now();
    setTimeout(redraw, WAIT_MS + 20);
  }
  if (performance.now() - panel.since < WAIT_MS) return "";
  return panel.kind === "units" ? "The model is reading the recording …" : "Computing …";
}

/** Draw a panel. -> whether everything in view is exact. */
export function drawPanel(panel, playing) {
  const { canvas } = panel;
  const g = fit(canvas);
  const area = { ...plot(canvas), from: state.from, to: state.to };
  const { lane } = theme();
  g.clearRect(0, 0, canvas.clientWidth, area.height);
  g.fillStyle = lane;
  g.fillRect(area.left, 0, area.width, area.height);
  const { parts, exact } = pieces(panel, state.from, state.to, area.width);
  let done = exact;
  g.save();
  g.beginPath();
  g.rect(area.left, 0, area.width, area.height);
  g.clip();
  panel.parts = parts;
  panel.note = panel.failed ?? parts.find(({ tile }) => tile.header.note)?.tile.header.note ?? "";
  const drawn = parts.filter(({ tile }) => tile.header.columns && tile.header.rows);
  if (!parts.length && !panel.note && !panel.broken) panel.note = waiting(panel);
  else panel.since = null;
  if (panel.kind === "waveform") {
    panel.peak = panel.values.height === "view" ? peakInView(drawn) : state.peak ?? 1;
    const single = state.to - state.from < SAMPLES_BELOW && drawSamples(g, area, panel.peak);
    if (!single) drawWave(g, area, drawn, panel.peak, (time) => xOf(time, area));
    done = single || (exact && state.to - state.from >= SAMPLES_BELOW);
  } else if (drawn.length) {
    panel.range = limits(panel, drawn, exact);
    panel.rows = panel.kind === "units" ? chooseRows(panel, drawn, exact, area.height) : null;
    drawTiles(g, area, panel, drawn, panel.range);
    if (panel.events) drawEvents(g, area, panel, panel.events(state.from, state.to), (time) => xOf(time, area));
  }
  g.restore();
  if (drawn.length) {
    panel.header = drawn[0].tile.header;
    drawGutter(g, area, panel, panel.header);
  }
  drawMarks(g, area, playing);
  return done || panel.broken;
}

/** The value of a panel at a time and a height (0 to 1): {value, row, low, high}, or null. */
export function valueAt(panel, time, share) {
  if (panel.kind === "waveform") {
    const found = state.to - state.from < SAMPLES_BELOW && samplesIn(state.from, state.to);
    if (found) {
      const n = Math.round(time * found.rate) - found.first;
      if (n >= 0 && n < found.values.length) return { value: found.values[n], row: 0 };
    }
  }
  for (const { zoom, index, tile, from, to } of panel.parts ?? []) {
    if (time < from || time >= to) continue;
    const { rows, columns, lo, hi } = tile.header;
    const column = Math.floor((time - index * COLUMNS * columnSeconds(zoom)) / columnSeconds(zoom));
    if (column < 0 || column >= columns) continue;
    const value = (row) => lo + (hi - lo) * tile.values[row * columns + column] / 255;
    if (panel.kind === "waveform") return { low: value(0), high: value(1), row: 0 };
    const count = panel.rows?.length ?? rows;
    const place = Math.max(0, Math.min(count - 1, Math.floor(share * count)));
    const row = panel.rows?.[place] ?? place;
    return { value: value(row), row };
  }
  return null;
}

/** The time axis under the overview. */
export function drawAxis(canvas) {
  const g = fit(canvas);
  const area = plot(canvas);
  const { soft, ink, sans } = theme();
  g.clearRect(0, 0, canvas.clientWidth, area.height);
  g.font = `11px ${sans}`;
  g.textBaseline = "middle";
  const long = seconds() >= 120;
  const { ticks, size } = timeTicks(state.from, state.to, area.width / (long ? 100 : 80));
  for (const tick of ticks) {
    const x = xOf(tick, area);
    g.fillStyle = soft;
    g.fillRect(x, 0, 1, 6);
    const text = clock(tick, size, long);
    g.textAlign = "left";
    if (x + 5 + g.measureText(text).width < area.left + area.width) g.fillText(text, x + 4, 10);
  }
  g.fillStyle = ink;
  g.textAlign = "right";
  g.fillText(long ? "m:s" : "s", area.left - 7, 10);
  g.fillStyle = soft;
  for (let n = 1; n < 10; n += 1) {
    for (const tick of [...ticks, ticks[0] - size]) {
      const x = xOf(tick + n * size / 10, area);
      if (size / 10 / (state.to - state.from) * area.width > 5 && x >= area.left && x <= area.left + area.width) {
        g.fillRect(x, 0, 1, 3);
      }
    }
  }
}

