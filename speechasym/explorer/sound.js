// Playing a stretch, also slowed with its pitch kept.

import { alertOf, getJson, say } from "./requests.js";
import { redraw, seconds, show, state } from "./state.js";

const MOST_S = 120; // the server sends no more at once
const sound = document.getElementById("sound");
const button = document.getElementById("play");
const speed = document.getElementById("speed");
const loop = document.getElementById("loop");
let stretch = null; // {from, to, follow} of what is loaded

/** The time that is heard now, or null. */
export const playing = () =>
  stretch && !sound.paused && !sound.ended ? Math.min(stretch.to, stretch.from + sound.currentTime) : null;

export function stop() {
  sound.pause();
  stretch = null;
  label();
  redraw();
}

function label() {
  const on = Boolean(stretch);
  button.textContent = on ? "Stop" : "Play";
  button.setAttribute("aria-pressed", String(on));
}

/** Play from..to in s; with `follow` the view goes along. */
export async function play(from, to, follow = false) {
  const end = Math.min(to, from + MOST_S, seconds());
  if (end - from < 0.001) return;
  stretch = { from, to: end, follow };
  sound.src = `r/${state.recording.id}/audio.wav?from=${from.toFixed(5)}&to=${end.toFixed(5)}`;
  pace();
  sound.loop = loop.checked;
  label();
  try {
    await sound.play();
    requestAnimationFrame(advance);
  } catch (error) {
    if (error.name === "AbortError") return; // another stretch was asked for meanwhile
    stop();
    // the element says nothing of why: ask the server once more, which does
    try {
      await getJson(`r/${state.recording.id}/info.json`);
      alertOf(`The browser could not play this stretch: ${error.message}`);
    } catch (problem) {
      alertOf(problem.message);
    }
  }
}

function pace() {
  sound.defaultPlaybackRate = Number(speed.value);
  sound.playbackRate = Number(speed.value);
  sound.preservesPitch = true;
}

function advance() {
  const now = playing();
  if (now === null) return;
  const span = state.to - state.from;
  if (stretch.follow && (now > state.to - 0.02 * span || now < state.from)) show(now - 0.05 * span, now + 0.95 * span);
  redraw();
  requestAnimationFrame(advance);
}

/** What the play button plays: the selection, or else from the caret or the view's beginning. */
export function toggle() {
  if (stretch) {
    stop();
    return;
  }
  const { selection, caret, from, to } = state;
  if (selection) {
    play(selection.from, selection.to);
    say(`Playing ${(selection.to - selection.from).toFixed(2)} s at ${speed.value} times the speed`);
    return;
  }
  const start = caret !== null && caret >= from && caret < to ? caret : from;
  play(start, seconds(), true);
}

export function setUp() {
  button.addEventListener("click", toggle);
  speed.addEventListener("change", pace);
  loop.addEventListener("change", () => { sound.loop = loop.checked; });
  sound.addEventListener("ended", () => {
    const last = stretch;
    stretch = null;
    if (last?.follow && last.to < seconds()) {
      play(last.to, seconds(), true);
      return;
    }
    label();
    redraw();
  });
}
