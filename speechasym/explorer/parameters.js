// What can be chosen for each kind of panel, from what the server offers.

import { state } from "./state.js";

export const KINDS = {
  waveform: "Waveform", gammatone: "Gammatone", spectrogram: "Spectrogram (FFT)", asymmetry: "Asymmetry",
  units: "Units and events",
};
// width of a scale by kind of asymmetry
const WIDTHS = { amplitude: ["width_db", "dB"], frequency: ["width_erb", "ERB"], phase: ["width_cycles", "cycles"] };
const NAMES = { channels: "Channels", align: "Aligned", window_ms: "Window", width: "Width" };
const WORDS = {
  align: (value) => (value === "true" ? "yes" : "no"), window_ms: (value) => `${value} ms`,
  width: (value) => (value === "1" ? "as usual" : `× ${value}`),
};

const served = (offered, name) => ({
  name, label: NAMES[name], default: offered[name].default,
  choices: offered[name].choices.map((value) => [value, (WORDS[name] ?? String)(value)]),
});

function asymmetry(offered, values) {
  const kind = values.kind ?? offered.kinds[0];
  const [width, unit] = WIDTHS[kind] ?? WIDTHS.amplitude;
  const factor = Number(values.width ?? 1);
  return [
    { name: "kind", label: "Kind", default: offered.kinds[0], choices: offered.kinds.map((name) => [name, name]) },
    { name: "scale", label: "Scale", default: offered.scales[0].id,
      choices: offered.scales.map((scale) =>
        [scale.id, `${scale.time_ms} ms, ±${+(scale[width] * factor).toPrecision(3)} ${unit}`]) },
    served(offered, "width"), served(offered, "channels"),
  ];
}

function units(values) {
  const { models } = state.session;
  const model = models.find(({ id }) => id === values.model) ?? models[0];
  const levels = model?.levels ?? [];
  return [
    { name: "model", label: "Model", default: models[0]?.id, choices: models.map(({ id, name }) => [id, name]) },
    { name: "level", label: "Level", default: "0", choices: levels.map((name, n) => [String(n), name]) },
    { name: "rows", label: "Units", default: "active", local: true,
      choices: [["active", "most active in view"], ["all", "all"]] },
  ];
}

/** The parameters of a panel: [{name, label, default, choices: [[value, words]], local}].

Local ones are applied by the page, without a request. */
export function fields(kind, values) {
  const offered = state.session.parameters[kind];
  switch (kind) {
    case "waveform":
      return [{ name: "height", label: "Height", default: "recording", local: true,
        choices: [["recording", "for the recording"], ["view", "for the view"]] }];
    case "gammatone": return [served(offered, "channels"), served(offered, "align")];
    case "spectrogram": return [served(offered, "window_ms")];
    case "asymmetry": return asymmetry(offered, values);
    default: return units(values);
  }
}

/** The kinds of panel that this server can show. */
export const available = () => Object.keys(KINDS).filter((kind) =>
  (kind === "units" ? state.session.models.length > 0 : kind === "waveform" || state.session.parameters[kind]));

/** Which panels a first visit shows. */
export function usualPanels() {
  const levels = state.session.models[0]?.levels ?? [];
  const scale = state.session.parameters.asymmetry?.scales[1]?.id; // the fastest one is restless
  return [{ kind: "waveform", values: {} }, { kind: "gammatone", values: {} },
    { kind: "asymmetry", values: scale ? { scale } : {} },
    ...(levels.length ? [{ kind: "units", values: { level: String(levels.length - 1) } }] : [])];
}
