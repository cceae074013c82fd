// Numbers and axes: ticks, times, frequencies, values with their units.

const NARROW = "\u202f"; // space between thousands

/** Round steps 1, 2 or 5 times a power of ten, about `count` of them over `span`. */
export function step(span, count) {
  const rough = span / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((n) => n * power).find((size) => size >= rough * 0.999);
}

/** Steps of time: as `step` below a minute, then those of a clock. */
function clockStep(span, count) {
  if (span / count < 15) return step(span, count);
  return [15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200].find((size) => size >= span / count) ?? 14400;
}

export const timeTicks = (from, to, count) => {
  const size = clockStep(to - from, count);
  const ticks = [];
  for (let n = Math.ceil(from / size - 1e-9); n * size <= to + 1e-9; n += 1) ticks.push(n * size);
  return { ticks, size };
};

/** A time in words: 1.25 s, or 1:02:03.5 for long recordings. */
export function clock(time, size, long) {
  const digits = Math.max(0, Math.min(5, Math.ceil(-Math.log10(size) - 1e-9)));
  if (!long) return time.toFixed(digits);
  const whole = Math.max(0, Math.round(time * 10 ** digits) / 10 ** digits);
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  const rest = (whole - 60 * Math.floor(whole / 60)).toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

/** Digits that tell columns of the view apart. */
export const digitsOf = (secondsPerPixel) => Math.max(2, Math.min(5, Math.ceil(-Math.log10(secondsPerPixel))));

export const number = (value, digits = 0) => {
  const [whole, part] = Math.abs(value).toFixed(digits).split(".");
  const spaced = whole.length > 4 || (whole.length === 4 && !part)
    ? whole.replace(/\B(?=(\d{3})+$)/g, NARROW) : whole;
  const sign = value < 0 && Number(value.toFixed(digits)) !== 0 ? "−" : "";
  return sign + spaced + (part ? `.${part}` : "");
};

export const hertz = (value) => `${number(value, value < 100 ? 1 : 0)} Hz`;

/** A value with its unit; digits by the span of what is shown. */
export function withUnit(value, unit, span) {
  const digits = span >= 200 ? 0 : span >= 20 ? 1 : span >= 2 ? 2 : 3;
  return `${number(value, digits)}${unit ? ` ${unit}` : ""}`;
}

/** How long something is: 85 ms, 1.25 s, 2:05 min. */
export function duration(time) {
  if (time < 1) return `${number(1000 * time, time < 0.1 ? 1 : 0)} ms`;
  if (time < 60) return `${time.toFixed(2)} s`;
  return time < 3600 ? `${clock(time, 1, true)} min` : `${clock(time, 1, true)} h`;
}

/** Frequencies worth a tick among those of the rows: [{row, text}], row may be fractional. */
export function frequencyTicks(frequencies, room) {
  const low = frequencies[0];
  const high = frequencies[frequencies.length - 1];
  const rowOf = (wanted) => {
    let row = 1;
    while (row < frequencies.length - 1 && frequencies[row] < wanted) row += 1;
    const [a, b] = [frequencies[row - 1], frequencies[row]];
    return row - 1 + (wanted - a) / (b - a);
  };
  const even = Math.abs(frequencies[frequencies.length >> 1] - (low + high) / 2) < 0.05 * (high - low);
  const size = even ? step(high - low, room) : 0;
  const candidates = even
    ? Array.from({ length: Math.floor(high / size) + 1 }, (_, n) => n * size)
    : [1000, 4000, 250, 2000, 500, 8000, 125, 16000, 63];
  const chosen = [];
  for (const value of candidates) {
    if (value < low || value > high) continue;
    const row = rowOf(value);
    const close = chosen.some((tick) => Math.abs(tick.row - row) < 0.8 * frequencies.length / room);
    if (!close) chosen.push({ row, value, text: value >= 1000 ? `${+(value / 1000).toFixed(1)}k` : `${value}` });
  }
  return chosen;
}
