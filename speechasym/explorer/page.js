// speechasym explore: opens recordings, and joins panels, sound, labels, files and the address.

import { clock, digitsOf, duration, hertz, withUnit } from "./axes.js";
import { addresses, drawAxis, drawPanel, plot, valueAt } from "./draw.js";
import { KEYS, listen, timeline } from "./gestures.js";
import * as labels from "./labels.js";
import * as live from "./live.js";
import * as overview from "./overview.js";
import { forgetTheme } from "./palettes.js";
import { buildAdd, caption, renew, setPanels } from "./panels.js";
import { usualPanels } from "./parameters.js";
import { alertOf, el, getJson, say, watch, withdrawOld } from "./requests.js";
import { forgetSamples } from "./samples.js";
import { buildSave } from "./save.js";
import { happen, on, read, redraw, remember, seconds, select, show, state, zoom } from "./state.js";
import * as sound from "./sound.js";
import { forget, want } from "./tiles.js";
import { chosenInterval, drawTiers, recognise, regather } from "./tiers.js";

const byId = (id) => document.getElementById(id);
const main = document.querySelector("main");
const FIRST_S = 10; // in view of a long recording
const MOST_LISTED = 500; // recordings at once; the others are found by name
const POINT = matchMedia("(hover: none)").matches ? "Tap a panel to read its values"
  : "Point at a panel to read its values";
let opening = 0;

function frame() {
  if (!state.info || document.body.classList.contains("recording")) return;
  const now = sound.playing();
  const all = overview.draw();
  drawAxis(byId("axis"));
  const needed = [];
  const guessed = [];
  let done = true;
  for (const panel of state.panels) {
    const found = addresses(panel, state.from, state.to, plot(panel.canvas).width);
    needed.push(...found.needed);
    guessed.push(...found.guessed);
    done = drawPanel(panel, now) && done;
    caption(panel);
  }
  want([...needed.slice(0, 4), ...all, ...needed.slice(4)], guessed);
  drawTiers();
  main.setAttribute("aria-busy", String(!done));
  ranges();
}

/** The line of what is in view and selected. */
function ranges() {
  const span = state.to - state.from;
  const long = seconds() >= 120;
  const size = 10 ** -Math.max(2, digitsOf(span / 1000) - 1);
  const unit = long ? "" : " s";
  let text = `${clock(state.from, size, long)} – ${clock(state.to, size, long)}${unit}, ${duration(span)}`;
  if (state.selection) {
    const { from, to } = state.selection;
    text += ` · selected ${clock(from, 0.001, long)} – ${clock(to, 0.001, long)}${unit}, ${duration(to - from)}`;
  }
  if (byId("range").textContent !== text) byId("range").textContent = text;
}

/** The values under the cursor in words: time, frequency or unit, value. */
function reading() {
  const { cursor } = state;
  if (!cursor) return "";
  const parts = [`${clock(cursor.time, 10 ** -digitsOf((state.to - state.from) / 1000), seconds() >= 120)} s`];
  const panel = cursor.panel;
  const found = panel && valueAt(panel, cursor.time, cursor.share);
  if (found) {
    const { header, kind } = panel;
    const { frequencies, names, unit } = header;
    const span = header.hi - header.lo;
    if (kind === "waveform") {
      parts.push(found.value !== undefined ? `amplitude ${withUnit(found.value, "", 1)}`
        : `amplitude ${withUnit(found.low, "", 1)} to ${withUnit(found.high, "", 1)}`);
    } else {
      if (frequencies?.length) parts.push(hertz(frequencies[found.row]));
      if (names?.length) parts.push(`unit ${names[found.row]}`);
      parts.push(withUnit(found.value, unit, span));
    }
  }
  return parts.join(" · ");
}

async function events(panel) {
  const key = `${state.recording.id} ${panel.source}`;
  if (panel.eventsOf?.key === key) return;
  const blocks = new Map();
  panel.eventsOf = { key };
  panel.events = (from, to) => {
    if (to - from > 60) return [];
    const all = [];
    for (let k = Math.floor(from / 30); k * 30 < to; k += 1) {
      if (!blocks.has(k)) {
        blocks.set(k, []);
        const query = panel.source.replace(/^units/, "");
        getJson(`r/${state.recording.id}/events?from=${30 * k}&to=${Math.min(seconds(), 30 * k + 30)}${query}`)
          .then((reply) => { blocks.set(k, reply.events); redraw(); }, () => {});
      }
      all.push(...blocks.get(k));
    }
    return all;
  };
}

const watchUnits = () => state.panels.filter(({ kind }) => kind === "units").forEach(events);

function mark(button, recording) {
  if (button.dataset.id === recording?.id) button.setAttribute("aria-current", "true");
  else button.removeAttribute("aria-current");
}

/** Open a recording; from..to in s if given, else its first seconds. */
async function open(recording, from, to) {
  opening += 1;
  const mine = opening;
  sound.stop();
  if (state.recording && recording !== state.recording) withdrawOld();
  byId("name").textContent = recording.name;
  byId("about").textContent = "";
  byId("about").classList.remove("bad");
  document.title = `${recording.name} | speechasym explore`;
  document.querySelectorAll("#recordings button").forEach((button) => mark(button, recording));
  let info;
  try {
    if (recording.error) throw new Error(recording.error);
    info = await getJson(`r/${recording.id}/info.json`);
  } catch (error) {
    if (mine !== opening) return;
    alertOf(error.message);
    byId("about").textContent = error.message;
    byId("about").classList.add("bad");
    state.info = null;
    state.recording = null;
    document.body.classList.add("empty");
    main.setAttribute("aria-busy", "false");
    return;
  }
  if (mine !== opening) return;
  forget(recording.id, recording === state.recording); // chosen again: the file may have changed
  if (recording === state.recording) forgetSamples();
  document.body.classList.remove("empty");
  Object.assign(state, { recording, info, selection: null, caret: null, cursor: null, chosen: null });
  const channels = info.channels > 1 ? `, ${info.channels} channels, the mean is shown` : "";
  byId("about").textContent = `${duration(info.seconds)}, ${info.rate.toLocaleString("en").replace(",", "\u202f")} Hz${channels}`;
  if (info.problem) alertOf(info.problem);
  renew();
  show(from ?? 0, to ?? Math.min(info.seconds, FIRST_S));
  happen("opened");
  happen("selection");
  watchUnits();
  recogniseSoon();
}

let timer;
function recogniseSoon() {
  clearTimeout(timer);
  timer = setTimeout(() => {
    if (!state.info) return;
    state.hintTiers = !state.session.models.length ? "This recording has no labels. Add a tier to write some."
      : state.to - state.from > 60 ? "Zoom in to 60 s or less to have the recording recognised."
      : "Recognising …";
    recognise();
    labels.refresh();
    redraw();
  }, 350);
}

function list() {
  const filter = byId("filter");
  filter.hidden = state.session.recordings.length < 8;
  const wanted = filter.querySelector("input").value.toLowerCase();
  const shown = state.session.recordings.filter(({ name }) => name.toLowerCase().includes(wanted));
  byId("recordings").replaceChildren(...shown.slice(0, MOST_LISTED).map((recording) => {
    const small = recording.error ? "cannot be read"
      : [recording.seconds ? duration(recording.seconds) : "", recording.tiers ? "labels" : ""].filter(Boolean).join(", ");
    const button = el("button", { type: "button", "data-id": recording.id, class: recording.error ? "broken" : "",
      title: recording.name, onclick: () => { drawer(false); open(recording); remember(); } },
      el("span", {}, recording.name), el("small", {}, small));
    mark(button, state.recording);
    return el("li", {}, button);
  }));
  const more = shown.length - MOST_LISTED;
  byId("list-note").textContent = !shown.length ? "No name contains this."
    : more > 0 ? `${more} more: type a part of the name.` : "";
}

/** Ask again for the list until the headers of all recordings have been read. */
async function listLater() {
  while (!state.session.listed) {
    await new Promise((done) => setTimeout(done, 1000));
    try {
      const { listed, recordings } = await getJson("session.json");
      state.session.listed = listed;
      for (const recording of state.session.recordings) {
        Object.assign(recording, recordings.find(({ id }) => id === recording.id));
      }
      list();
    } catch { /* the watch says that the server has stopped */ }
  }
}

function drawer(on) {
  document.body.classList.toggle("listing", on);
  byId("open-list").setAttribute("aria-expanded", String(on));
  if (on) byId("recordings").querySelector("button")?.focus();
}

function controls() {
  byId("zoom-in").addEventListener("click", () => zoom(1 / 2));
  byId("zoom-out").addEventListener("click", () => zoom(2));
  byId("zoom-all").addEventListener("click", () => show(0, seconds()));
  byId("zoom-selection").addEventListener("click", () => show(state.selection.from, state.selection.to));
  byId("drag").addEventListener("change", (event) => { state.drag = event.target.value; });
  for (const name of ["palette", "contrast", "brightness"]) {
    byId(name).addEventListener("input", (event) => {
      state[name] = name === "palette" ? event.target.value : Number(event.target.value);
      remember();
      redraw();
    });
  }
  byId("usual").addEventListener("click", () => {
    state.touched = false;
    Object.assign(state, { contrast: 0, brightness: 0 });
    byId("contrast").value = byId("brightness").value = 0;
    setPanels(usualPanels());
    connect();
    byId("look").querySelector("summary").focus();
  });
  byId("open-list").addEventListener("click", () => drawer(true));
  byId("close-list").addEventListener("click", () => { drawer(false); byId("open-list").focus(); });
  byId("filter").addEventListener("input", list);
  byId("save").addEventListener("toggle", () => { if (byId("save").open && state.info) buildSave(byId("save-items")); });
  byId("keys").tBodies[0].append(...KEYS.map(([keys, what]) =>
    el("tr", {}, el("th", { scope: "row" }, keys), el("td", {}, what))),
    ...[["← → on a label", "the label before, after"], ["F2, Delete", "rename, delete the chosen label"],
      ["Ctrl + Z, Ctrl + Y", "undo, redo"], ["Wheel, pinch", "zoom; with Shift or sideways: pan"],
      ["Alt + drag, or the axis", "pan"]]
      .map(([keys, what]) => el("tr", {}, el("th", { scope: "row" }, keys), el("td", {}, what))));
  const menus = [...document.querySelectorAll("details.menu")];
  document.addEventListener("pointerdown", ({ target }) => {
    for (const menu of menus) if (!menu.contains(target)) menu.open = false;
  });
  for (const menu of menus) {
    menu.addEventListener("toggle", () => {
      if (menu.open) for (const other of menus) if (other !== menu) other.open = false;
    });
  }
}

/** Give each panel's plot its gestures once. */
function connect() {
  for (const panel of state.panels) {
    if (panel.plot.dataset.ready) continue;
    panel.plot.dataset.ready = "1";
    timeline(panel.plot);
    panel.plot.addEventListener("focus", () => { if (state.cursor) state.cursor.panel = panel; });
  }
  if (state.info) watchUnits();
}

function escape() {
  const open_ = document.querySelector("details.menu[open]");
  if (open_) {
    open_.open = false;
    open_.querySelector("summary").focus();
  } else if (document.body.classList.contains("listing")) drawer(false);
  else if (sound.playing() !== null) sound.stop();
  else {
    state.caret = null;
    state.chosen = null;
    select(0, 0);
    happen("chosen");
  }
}

function apply(wanted) {
  if (wanted.palette) {
    state.palette = wanted.palette;
    byId("palette").value = wanted.palette;
  }
  state.touched = Boolean(wanted.panels);
  setPanels(wanted.panels ?? usualPanels());
  connect();
  const { recordings } = state.session;
  const recording = recordings.find(({ id }) => id === wanted.recording) ?? recordings.find(({ error }) => !error) ??
    recordings[0];
  if (recording && recording === state.recording && wanted.to) show(wanted.from, wanted.to);
  else if (recording) open(recording, wanted.from, wanted.to);
}

async function begin() {
  try {
    state.session = await getJson("session.json");
  } catch (error) {
    alertOf(error.message);
    return;
  }
  byId("read-out").textContent = POINT;
  labels.setUp();
  sound.setUp();
  live.setUp();
  buildAdd();
  controls();
  timeline(byId("axis"));
  overview.setUp();
  listen();
  watch();
  list();
  listLater();
  on("frame", frame);
  on("view", () => { remember(); recogniseSoon(); });
  on("panels", () => { connect(); regather(); recogniseSoon(); });
  on("play", sound.toggle);
  on("play-chosen", () => { const [from, to] = chosenInterval(); sound.play(from, to); });
  on("escape", escape);
  on("selection", () => { byId("zoom-selection").disabled = !state.selection; });
  on("cursor", (how) => {
    const text = reading();
    byId("read-out").textContent = text || POINT;
    if (how === "keys") say(text, 150);
  });
  on("whole-or-selection", () => {
    if (state.selection) show(state.selection.from, state.selection.to);
  });
  on("recorded", (recording) => {
    state.session.recordings.push(recording);
    list();
    open(recording);
  });
  new ResizeObserver(redraw).observe(main);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { forgetTheme(); redraw(); });
  window.addEventListener("hashchange", () => apply(read(location.hash)));
  if (!state.session.recordings.length) {
    byId("name").textContent = state.session.title ?? "speechasym explore";
    byId("list-note").textContent = "No recordings yet.";
    byId("about").textContent = "Press Record to see and keep what the microphone hears.";
    document.body.classList.add("empty");
    main.setAttribute("aria-busy", "false");
  }
  apply(read(location.hash));
}

begin();
