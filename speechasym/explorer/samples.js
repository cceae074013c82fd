// Single samples for close views, from the WAV of whole seconds.

import { get } from "./requests.js";
import { redraw, seconds, state } from "./state.js";

const MOST = 40; // seconds kept
const kept = new Map(); // "recording second" -> {values, rate} or null while it is asked for

/** The samples and rate of a 16-bit WAV, one channel. */
export function decodeWav(buffer) {
  const view = new DataView(buffer);
  const rate = view.getUint32(24, true);
  let at = 12;
  while (at + 8 <= view.byteLength && view.getUint32(at, false) !== 0x64617461) { // "data"
    at += 8 + view.getUint32(at + 4, true);
  }
  const count = Math.floor(Math.min(view.getUint32(at + 4, true), view.byteLength - at - 8) / 2);
  const values = new Float32Array(count);
  for (let n = 0; n < count; n += 1) values[n] = view.getInt16(at + 8 + 2 * n, true) / 32768;
  return { values, rate };
}

async function load(key, id, second) {
  kept.set(key, null);
  while (kept.size > MOST) kept.delete(kept.keys().next().value);
  try {
    const reply = await get(`r/${id}/audio.wav?from=${second}&to=${Math.min(second + 1, seconds())}`);
    kept.set(key, decodeWav(await reply.arrayBuffer()));
  } catch {
    setTimeout(() => kept.delete(key), 3000); // the tiles report the error
  }
  redraw();
}

/** Samples of from..to in s -> {values, first, rate}, or null until they have arrived. */
export function samplesIn(from, to) {
  const { id } = state.recording;
  const parts = [];
  for (let second = Math.floor(from); second < Math.min(to, seconds()); second += 1) {
    const key = `${id} ${second}`;
    if (!kept.has(key)) load(key, id, second);
    if (kept.get(key)) parts.push([second, kept.get(key)]);
    else return null;
  }
  if (!parts.length) return null;
  const { rate } = parts[0][1];
  const first = Math.max(0, Math.floor(from * rate) - 1);
  const values = [];
  for (const [second, part] of parts) {
    const begin = Math.round(second * rate);
    const start = Math.max(0, first - begin);
    const end = Math.min(part.values.length, Math.ceil(to * rate) + 2 - begin);
    for (let n = start; n < end; n += 1) values.push(part.values[n]);
  }
  return { values, first, rate };
}

export const forgetSamples = () => kept.clear();
