// Pieces of pictures: asked for when seen, most urgent first, and kept until memory is needed.

import { alertOf, get } from "./requests.js";
import { redraw } from "./state.js";

export const COLUMNS = 512;
const CLOSEST = 5;
const COARSEST = -12;
const MOST_BYTES = 160e6;
const AT_ONCE = 5; // requests; browsers open six to one server
const AGAIN_MS = 1000; // until a preview is asked for again
const RETRY_MS = 4000; // until a failed tile may be asked for again

export const columnSeconds = (zoom) => 0.01 * 2 ** -zoom;

/** The columns of a tile between two times: [first, one after the last]. */
export function columnsBetween({ zoom, index, tile }, from, to) {
  const column = columnSeconds(zoom);
  const begin = index * COLUMNS * column;
  return [
    Math.max(0, Math.floor((from - begin) / column)),
    Math.min(tile.header.columns, Math.ceil((to - begin) / column)),
  ];
}

/** The zoom whose columns are about one pixel wide. */
export const zoomOf = (secondsPerPixel) =>
  Math.max(COARSEST, Math.min(CLOSEST, Math.round(Math.log2(0.01 / secondsPerPixel))));

const kept = new Map(); // address -> tile, least recently used first
let bytesKept = 0;
let queue = []; // addresses, most urgent first
let running = 0;

export const address = (recording, source, zoom, index) =>
  `r/${recording}/tile?panel=${source}&zoom=${zoom}&index=${index}`;

/** The tile of an address if it has arrived; it counts as used. */
export function tileAt(where) {
  const tile = kept.get(where);
  if (!tile) return null;
  kept.delete(where);
  kept.set(where, tile);
  return tile;
}

function keep(where, tile) {
  bytesKept += tile.cost - (kept.get(where)?.cost ?? 0);
  kept.delete(where);
  kept.set(where, tile);
  for (const [oldest, old] of kept) {
    if (bytesKept <= MOST_BYTES || oldest === where) break;
    bytesKept -= old.cost;
    kept.delete(oldest);
  }
}

/** Forget a recording's tiles, or those that failed, so that they are asked for again. */
export function forget(recording, all) {
  for (const [where, tile] of [...kept]) {
    if (where.startsWith(`r/${recording}/`) && (all || tile.failed)) {
      bytesKept -= tile.cost;
      kept.delete(where);
    }
  }
}

function decode(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const values = new Uint8Array(buffer, 4 + length, header.rows * header.columns);
  // the coloured picture takes four bytes a value, that of a waveform four a pixel
  const picture = header.rows > 2 ? 4 * values.length : 800 * header.columns;
  return { header, values, cost: 2000 + values.length + picture, picture: null, tries: 0, failed: null };
}

async function load(where) {
  const before = kept.get(where);
  running += 1;
  const waiting = { ...(before ?? { header: null, cost: 0, tries: 0 }), loading: true };
  keep(where, waiting);
  try {
    const tile = decode(await (await get(where)).arrayBuffer());
    tile.tries = (before?.tries ?? 0) + 1;
    tile.next = tile.header.exact === false && tile.tries < 30 ? Date.now() + AGAIN_MS : Infinity;
    if (tile.next < Infinity) setTimeout(redraw, AGAIN_MS + 10);
    keep(where, tile);
  } catch (error) {
    const again = error.status >= 400 && error.status < 500 ? Infinity : Date.now() + RETRY_MS;
    if (error.status === 410 || error.status === 0) alertOf(error.message);
    keep(where, { header: null, values: null, cost: 200, tries: 0, failed: error, next: again });
  }
  running -= 1;
  redraw();
  pump();
}

const due = (where) => {
  const tile = kept.get(where);
  return !tile || (!tile.loading && tile.next <= Date.now());
};

function pump() {
  while (running < AT_ONCE && queue.length) {
    const { where, spare } = queue.shift();
    // a guess may wait: it never takes the last two places
    if (spare && running >= AT_ONCE - 2) {
      queue.unshift({ where, spare });
      return;
    }
    if (due(where)) load(where);
  }
}

/** Ask for the addresses in `needed`, then, when there is time, for those in `guessed`.

What was asked for before and has not been sent is dropped: the view has moved on. */
export function want(needed, guessed) {
  queue = needed.filter(due).map((where) => ({ where, spare: false }));
  if (!queue.length) queue = guessed.filter(due).map((where) => ({ where, spare: true }));
  pump();
}

/** Indices of the tiles that from..to touches. */
export function indices(from, to, zoom) {
  const long = COLUMNS * columnSeconds(zoom);
  const first = Math.max(0, Math.floor(from / long));
  const last = Math.max(first, Math.ceil(to / long) - 1);
  return Array.from({ length: last - first + 1 }, (_, n) => first + n);
}

/** The best tiles to draw instead of one that has not arrived: [{zoom, index, tile}]. */
export function standIns(recording, source, zoom, index) {
  for (let up = 1; zoom - up >= COARSEST; up += 1) {
    const parent = Math.floor(index / 2 ** up);
    const tile = tileAt(address(recording, source, zoom - up, parent));
    if (tile?.header) return [{ zoom: zoom - up, index: parent, tile }];
  }
  for (let down = 1; down <= 2 && zoom + down <= CLOSEST; down += 1) {
    const parts = Array.from({ length: 2 ** down }, (_, n) => index * 2 ** down + n).map((child) =>
      ({ zoom: zoom + down, index: child, tile: tileAt(address(recording, source, zoom + down, child)) }));
    if (parts.some(({ tile }) => tile?.header)) return parts.filter(({ tile }) => tile?.header);
  }
  return [];
}
