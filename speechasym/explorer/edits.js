// Changes of a tier's intervals: each takes [[from, to, label], ...] in order and returns new ones.

export const SHORTEST = 0.001; // s of an interval
const TOUCH = 1e-6; // s between neighbours that share a border

export const rename = (intervals, n, label) =>
  intervals.map((interval, m) => (m === n ? [interval[0], interval[1], label] : interval));

const touches = (before, after) => before && after && Math.abs(before[1] - after[0]) < TOUCH;

/** Move the beginning (side 0) or end (side 1); a neighbour that touches it there moves along. */
export function moveBorder(intervals, n, side, time, duration) {
  const result = intervals.map((interval) => [...interval]);
  const other = n + (side ? 1 : -1);
  const pair = side ? [intervals[n], intervals[other]] : [intervals[other], intervals[n]];
  const joined = touches(...pair);
  const own = intervals[n];
  let low = side ? own[0] + SHORTEST : intervals[other]?.[1] ?? 0;
  let high = side ? intervals[other]?.[0] ?? duration : own[1] - SHORTEST;
  if (joined && side) high = intervals[other][1] - SHORTEST;
  if (joined && !side) low = intervals[other][0] + SHORTEST;
  const moved = Math.max(low, Math.min(high, time));
  result[n][side] = moved;
  if (joined) result[other][1 - side] = moved;
  return result;
}

/** Split at a time inside; the second part has an empty label. */
export function split(intervals, n, time) {
  const [from, to, label] = intervals[n];
  if (time - from < SHORTEST || to - time < SHORTEST) return intervals;
  return intervals.toSpliced(n, 1, [from, time, label], [time, to, ""]);
}

/** Join with the next interval, and the gap between them. */
export function merge(intervals, n) {
  const [one, two] = [intervals[n], intervals[n + 1]];
  if (!two) return intervals;
  return intervals.toSpliced(n, 2, [one[0], two[1], [one[2], two[2]].filter(Boolean).join(" ")]);
}

export const remove = (intervals, n) => intervals.toSpliced(n, 1);

/** Put an interval where it may cut its neighbours, and remove those that it covers. */
export function insert(intervals, from, to, label) {
  const rest = intervals.flatMap(([a, b, text]) => {
    if (b <= from || a >= to) return [[a, b, text]];
    const parts = [];
    if (from - a >= SHORTEST) parts.push([a, from, text]);
    if (b - to >= SHORTEST) parts.push([to, b, a < from ? "" : text]);
    return parts;
  });
  return [...rest, [from, to, label]].sort((one, two) => one[0] - two[0]);
}

/** Tiers with their history; `set` makes a step that `undo` takes back. */
export class History {
  constructor() {
    this.tiers = []; // {name, source, intervals, of}
    this.past = [];
    this.future = [];
    this.saved = true;
  }

  set(tiers) {
    this.past.push(this.tiers);
    this.future = [];
    this.tiers = tiers;
    this.saved = false;
  }

  /** Change without a step: what is loaded later belongs to the copy from the beginning. */
  extend(change) {
    this.tiers = change(this.tiers);
    this.past = this.past.map(change);
    this.future = this.future.map(change);
  }

  undo() {
    if (!this.past.length) return;
    this.future.push(this.tiers);
    this.tiers = this.past.pop();
    this.saved = false;
  }

  redo() {
    if (!this.future.length) return;
    this.past.push(this.tiers);
    this.tiers = this.future.pop();
    this.saved = false;
  }
}
