// Which units of a level are drawn: as many of the most active ones as have room for their names.

import { theme } from "./palettes.js";
import { state } from "./state.js";
import { columnSeconds, columnsBetween } from "./tiles.js";

const ROW = 11; // px

/** Sum of each row's values in view. */
function totals(parts, rows) {
  const sums = new Float64Array(rows);
  for (const part of parts) {
    const { tile } = part;
    const { columns, lo, hi } = tile.header;
    const column = columnSeconds(part.zoom);
    const [first, last] = columnsBetween(part, state.from, state.to);
    for (let row = 0; row < rows; row += 1) {
      let sum = 0;
      for (let n = first; n < last; n += 1) sum += tile.values[row * columns + n];
      sums[row] += ((last - first) * lo + (hi - lo) * sum / 255) * column;
    }
  }
  return sums;
}

/** The rows to draw, from the bottom; null: all. They stay while the view stays near. */
export function chooseRows(panel, parts, exact, height) {
  const { rows } = parts[0].tile.header;
  const count = Math.max(1, Math.floor(height / ROW));
  if (panel.values.rows === "all" || rows <= count) return null;
  const before = panel.choice;
  const key = `${state.recording.id} ${panel.source} ${count}`;
  const [middle, span] = [(state.from + state.to) / 2, state.to - state.from];
  if (before?.key === key) {
    const near = middle >= before.from && middle <= before.to;
    const alike = span > before.span / 3 && span < before.span * 3;
    if (!exact || (near && alike)) return before.rows;
  }
  const sums = totals(parts, rows);
  const best = [...sums.keys()].sort((a, b) => sums[b] - sums[a]).slice(0, count).sort((a, b) => a - b);
  if (exact) panel.choice = { key, from: state.from, to: state.to, span, rows: best };
  return best;
}

/** Ticks where events begin: at the top, and in the row of the unit that wins. */
export function drawEvents(g, area, panel, events, x) {
  const { units } = panel.header ?? {};
  const shown = panel.rows ?? units?.map((_, row) => row) ?? [];
  const placeOf = new Map(shown.map((row, place) => [units?.[row], place]));
  const each = area.height / Math.max(1, shown.length);
  g.fillStyle = theme().mark;
  for (const [time, unit] of events) {
    const at = x(time);
    if (at < area.left || at > area.left + area.width) continue;
    g.fillRect(at - 0.5, 0, 1.5, 6);
    const place = placeOf.get(unit);
    if (place !== undefined) g.fillRect(at - 0.5, area.height - (place + 1) * each, 2, each);
  }
}
