// Files: a picture of what is in view, tables, sound, labels.

import { clock, digitsOf, number } from "./axes.js";
import { EDGE, colourKind, drawAxis, drawPanel, gutter } from "./draw.js";
import { anchors, mix, theme } from "./palettes.js";
import { csvAddress, slug } from "./panels.js";
import { KINDS } from "./parameters.js";
import { Failed, alertOf, el, get, say } from "./requests.js";
import { redraw, seconds, state } from "./state.js";
import { saveTextGrid } from "./labels.js";
import { rows } from "./tiers.js";

const HEAD = 24; // px of a heading in the picture
const TIER = 24;

const stem = () => state.recording.name.replace(/\.[^.]*$/, "").replace(/[^\w.-]+/g, "_");

function offer(blob, name) {
  const link = el("a", { href: URL.createObjectURL(blob), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  say(`Saved ${name}`);
}

/** What a panel shows, in words: Gammatone, channels 64, aligned ... */
function title(panel) {
  const chosen = [...panel.heading.querySelectorAll("select")].map((select) => {
    const label = select.closest("label").firstChild.data.trim().toLowerCase();
    const text = select.selectedOptions[0]?.textContent ?? "";
    return text.startsWith(label) ? text : `${label} ${text}`;
  });
  return [KINDS[panel.kind], ...chosen].join(", ");
}

function drawRamp(g, panel, right, y) {
  if (!panel.range || panel.kind === "waveform") return;
  const [a, b] = panel.range;
  const points = anchors(colourKind(panel.kind), state.palette);
  const digits = b - a >= 10 ? 0 : b - a >= 1 ? 1 : 2;
  g.textAlign = "right";
  const text = `${number(b, digits)} ${panel.header.unit ?? ""}`.trim();
  g.fillText(text, right, y);
  const x = right - g.measureText(text).width - 86;
  for (let n = 0; n < 80; n += 1) {
    g.fillStyle = `rgb(${mix(points, n / 79).map(Math.round)})`;
    g.fillRect(x + n, y - 5, 1, 10);
  }
  g.fillStyle = theme().soft;
  g.fillText(number(a, digits), x - 6, y);
}

function drawTier(g, tier, top, width) {
  const { soft, ink, gap, paper, sans } = theme();
  const left = gutter();
  const area = width - left - EDGE;
  const x = (time) => left + Math.max(0, Math.min(1, (time - state.from) / (state.to - state.from))) * area;
  g.font = `11px ${sans}`;
  g.fillStyle = soft;
  g.textAlign = "right";
  g.fillText(tier.name, left - 6, top + TIER / 2, left - 8);
  g.fillStyle = gap;
  g.fillRect(left, top, area, TIER - 3);
  g.textAlign = "center";
  for (const [from, to, label] of tier.intervals) {
    if (to <= state.from || from >= state.to) continue;
    g.fillStyle = paper;
    g.fillRect(x(from), top + 1, Math.max(1, x(to) - x(from) - 1), TIER - 5);
    g.fillStyle = ink;
    if (g.measureText(label).width < x(to) - x(from)) g.fillText(label, (x(from) + x(to)) / 2, top + TIER / 2 - 1);
  }
}

/** Draw the panels in view with headings, ramps, axis and tiers on one canvas. */
export function picture() {
  const ratio = Math.max(2, window.devicePixelRatio || 1);
  state.ratio = ratio; // the panels are drawn again, as fine as the picture
  const width = document.getElementById("axis").clientWidth;
  const tiers = rows().filter(({ intervals }) => intervals.some(([a, b]) => b > state.from && a < state.to));
  const height = 34 + 22 + tiers.length * TIER +
    state.panels.reduce((sum, { canvas }) => sum + canvas.clientHeight + HEAD, 0) + 10;
  const canvas = el("canvas", { width: width * ratio, height: height * ratio });
  const g = canvas.getContext("2d");
  const { paper, ink, soft, sans } = theme();
  g.scale(ratio, ratio);
  g.fillStyle = paper;
  g.fillRect(0, 0, width, height);
  g.textBaseline = "middle";
  g.fillStyle = ink;
  g.font = `600 14px ${sans}`;
  g.fillText(state.recording.name, 8, 18, width / 2);
  g.font = `11px ${sans}`;
  g.textAlign = "right";
  g.fillStyle = soft;
  const long = seconds() >= 120;
  const size = 10 ** -digitsOf((state.to - state.from) / width);
  g.fillText(`${clock(state.from, size, long)} to ${clock(state.to, size, long)}${long ? "" : " s"}`, width - EDGE, 18);
  let y = 34;
  for (const panel of state.panels) {
    g.font = `11px ${sans}`;
    g.textAlign = "left";
    g.fillStyle = ink;
    g.fillText(title(panel), gutter(), y + HEAD / 2);
    g.fillStyle = soft;
    drawRamp(g, panel, width - EDGE, y + HEAD / 2);
    drawPanel(panel, null);
    g.drawImage(panel.canvas, 0, y + HEAD, width, panel.canvas.clientHeight);
    y += HEAD + panel.canvas.clientHeight;
  }
  const axis = document.getElementById("axis");
  drawAxis(axis);
  g.drawImage(axis, 0, y + 2, width, axis.clientHeight);
  y += 24;
  for (const tier of tiers) {
    drawTier(g, tier, y, width);
    y += TIER;
  }
  state.ratio = null;
  redraw();
  return canvas;
}

export function savePicture() {
  picture().toBlob((blob) => offer(blob, `${stem()}_${state.from.toFixed(2)}-${state.to.toFixed(2)}.png`));
}

/** Ask for a file and offer it: problems are said on the page, not as a broken download. */
async function saveFrom(address, name) {
  try {
    offer(await (await get(address)).blob(), name);
  } catch (error) {
    if (!(error instanceof Failed)) throw error;
    alertOf(error.message);
  }
}

/** The items of the menu as things are now. */
export function buildSave(menu) {
  const close = (act) => () => {
    menu.closest("details").open = false;
    act();
  };
  const item = (text, act, name) => el("button", { type: "button", "data-save": name, onclick: close(act) }, text);
  const { selection, from, to } = state;
  const stretch = selection ?? { from, to: Math.min(to, from + 120) };
  menu.replaceChildren(
    item("Picture of the view (PNG)", savePicture, "picture"),
    ...state.panels.map((panel) => item(`${KINDS[panel.kind]} in view (CSV)`,
      () => saveFrom(csvAddress(panel), `${stem()}_${slug(panel)}.csv`), panel.kind)),
    item(`Sound of ${selection ? "the selection" : "the view"} (WAV)`,
      () => saveFrom(`r/${state.recording.id}/audio.wav?from=${stretch.from.toFixed(5)}&to=${stretch.to.toFixed(5)}`,
        `${stem()}_${stretch.from.toFixed(2)}-${stretch.to.toFixed(2)}.wav`), "sound"),
    item("Labels as a new TextGrid", saveTextGrid, "textgrid"),
  );
}
