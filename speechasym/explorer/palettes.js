// Values to colours, and the colours of the page's theme.

const ANCHORS = {
  viridis: [[68, 1, 84], [72, 40, 120], [62, 74, 137], [49, 104, 142], [38, 130, 142], [31, 158, 137],
    [53, 183, 121], [109, 205, 89], [180, 222, 44], [253, 231, 37]],
  magma: [[0, 0, 4], [28, 16, 68], [79, 18, 123], [129, 37, 129], [181, 54, 122], [229, 80, 100],
    [251, 135, 97], [254, 194, 135], [252, 253, 191]],
};

let colours = null;

const parse = (text) => {
  const digits = text.trim().replace("#", "");
  return [0, 2, 4].map((n) => parseInt(digits.slice(n, n + 2), 16));
};

/** The page's colours as text (theme.ink) and as numbers (theme.rgb.ink), light or dark. */
export function theme() {
  if (colours) return colours;
  const style = getComputedStyle(document.documentElement);
  colours = { rgb: {} };
  for (const name of ["paper", "ink", "soft", "line", "lane", "gap", "accent", "phones", "letters", "words",
    "rise", "fall", "units", "mark"]) {
    colours[name] = style.getPropertyValue(`--${name}`).trim();
    colours.rgb[name] = parse(colours[name]);
  }
  colours.sans = getComputedStyle(document.body).fontFamily;
  return colours;
}

export const forgetTheme = () => { colours = null; };

/** The anchors of a kind of values: "level", "signed" or "units", in the chosen palette. */
export function anchors(kind, palette) {
  const { lane, ink, rise, fall, units } = theme().rgb;
  if (kind === "signed") return [fall, lane, rise];
  if (kind === "units") return [lane, units];
  return ANCHORS[palette] ?? [lane, ink];
}

/** A colour at `share` (0 to 1) of anchors: [r, g, b]. */
export function mix(points, share) {
  const at = Math.max(0, Math.min(1, share)) * (points.length - 1);
  const n = Math.min(points.length - 2, Math.floor(at));
  return points[n].map((low, channel) => low + (points[n + 1][channel] - low) * (at - n));
}

/** 256 pixels (ABGR) for the bytes of a tile whose values span lo..hi, shown from a to b. */
function table(points, lo, hi, a, b) {
  return Uint32Array.from({ length: 256 }, (_, byte) => {
    const value = lo + (hi - lo) * byte / 255;
    const [red, green, blue] = mix(points, (value - a) / (b - a)).map(Math.round);
    return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
  });
}

/** The tile as a canvas, first row at the bottom; kept with the tile until colours change. */
export function coloured(tile, kind, palette, a, b) {
  const { rows, columns, lo, hi } = tile.header;
  const key = `${kind} ${palette} ${a} ${b} ${theme().paper}`;
  if (tile.picture?.key === key) return tile.picture.canvas;
  const pixels = table(anchors(kind, palette), lo, hi, a, b);
  const canvas = tile.picture?.canvas ?? document.createElement("canvas");
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  const out = new Uint32Array(image.data.buffer);
  for (let row = 0; row < rows; row += 1) {
    const to = (rows - 1 - row) * columns;
    const from = row * columns;
    for (let column = 0; column < columns; column += 1) out[to + column] = pixels[tile.values[from + column]];
  }
  context.putImageData(image, 0, 0);
  tile.picture = { key, canvas };
  return canvas;
}

/** A waveform tile as a canvas of this height, `peak` at its top; kept with the tile by height. */
export function bars(tile, height, peak, [red, green, blue]) {
  const { columns, lo, hi } = tile.header;
  const key = `${peak} ${red} ${green} ${blue}`;
  tile.bars ??= new Map();
  const before = tile.bars.get(height);
  if (before?.key === key) return before.canvas;
  const canvas = document.createElement("canvas");
  canvas.width = columns;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, height);
  const out = new Uint32Array(image.data.buffer);
  const ink = ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
  const row = (byte) => (1 - (lo + (hi - lo) * byte / 255) / peak) * (height - 1) / 2;
  for (let n = 0; n < columns; n += 1) {
    const top = Math.max(0, Math.round(row(tile.values[columns + n])));
    const bottom = Math.min(height - 1, Math.round(row(tile.values[n])));
    for (let y = top; y <= bottom; y += 1) out[y * columns + n] = ink;
  }
  context.putImageData(image, 0, 0);
  if (tile.bars.size > 3) tile.bars.clear(); // heights of windows before
  tile.bars.set(height, { key, canvas });
  return canvas;
}

/** The value below which `share` of a tile's values lie. */
export function quantile(tile, share) {
  const counts = new Uint32Array(256);
  for (const byte of tile.values) counts[byte] += 1;
  let left = share * tile.values.length;
  let byte = 0;
  while (byte < 255 && left > counts[byte]) left -= counts[byte++];
  return tile.header.lo + (tile.header.hi - tile.header.lo) * byte / 255;
}
