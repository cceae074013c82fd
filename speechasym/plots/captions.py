"""What is written below figures: in a sentence or two, how to read them."""

from collections.abc import Iterable

PANELS = {
    "waveform": "Waveform: the sound pressure as recorded.",
    "gammatone": "Gammatone: the level in each channel of an auditory filterbank; bright is loud.",
    "spectrogram": "Spectrogram: the level at each frequency by a short-time Fourier transform.",
    "constant-q": "Constant-Q: the level in filters as wide as a fixed share of their frequency.",
    "frequency": "Frequency: red where the sound lies above a channel's centre frequency, blue"
    " where below; grey where it is quiet.",
    "phase": "Phase: how far a channel leads the one below it; equal colours keep step.",
    "pitch": "Pitch: the fundamental frequency by probabilistic YIN; gaps are unvoiced.",
    "tiers": "Tiers: labels between their boundaries.",
}
OVERLAYS = {
    "formants": "formants (red dots)",
    "intensity": "intensity (yellow, scale on the right)",
    "pitch": "pitch (light blue)",
}
FIGURES = {
    "levels": "Each panel shows one scale, from fast and sensitive (top) to slow and coarse"
    " (bottom): red where a channel rises more than it falls, blue where it falls more, white where"
    " it moves less than the half-width.",
    "hysteresis": "Each curve plots the output of hysteresis over its input in one channel. The"
    " output stays constant (grey) until the input has moved by the half-width, so that rises (red)"
    " and falls (blue) take different paths; the area between them is what was not symmetric.",
    "summary": "For each frequency: how much the channel rises (above) and falls (below) per"
    " second. Where the halves differ in shape, onsets and offsets differ.",
    "features": "One panel for each kind of column; red is above zero, blue below, or bright is"
    " loud.",
    "curves": "Losses fall as the run learns; dashed lines and error rates are of held-out cuts. A"
    " dot marks the lowest error rate.",
    "learning": "How well each stage's learning rule follows the true gradient (1: same direction),"
    " and what memory it needs.",
    "confusion": "Rows were said, columns recognised: what lies off the diagonal was mistaken.",
    "units": "Each row is one unit, dark where it is active; orange where it wins, with a tick"
    " where an event begins. Names are the symbols that units favour.",
    "ranks": "Units in the order of how often they win. A straight line on these axes is a power"
    " law, a curve that bends down a geometric law.",
    "watched": "Units and attention heads at each validation during training: how evenly the units"
    " share the work, and what each level has learned.",
    "run levels": "What can be reconstructed of the features from each level: what a higher level"
    " no longer shows, it has left out.",
}


def of_panels(names: list[str], overlays: list[str], too_short: Iterable[str] = ()) -> str:
    """Return the caption of a figure with these panels, and tracks of Praat over them.

    `too_short`: tracks that Praat cannot find in so short a stretch.
    """
    parts = [PANELS[name] for name in names]
    if overlays:
        parts.append(f"By Praat: {', '.join(OVERLAYS[name] for name in overlays)}.")
    parts += [f"The recording is too short for {name} by Praat." for name in too_short]
    return " ".join(parts)
