"""The parameters of the pictures that a page may choose."""

from collections.abc import Mapping
from typing import Any

from speechasym.asymmetry.tracks import SCALES
from speechasym.config import check_choice

FRAME_S = 0.01  # of asymmetry, and of what the microphone hears
KINDS = {"amplitude": "amplitude", "frequency": "frequency", "phase": "lead"}  # -> tracks
CHOICES = {  # parameter -> its choices, the default first
    "channels": ("64", "32", "128"), "align": ("false", "true"),
    "window_ms": ("10", "5", "20", "40"), "kind": tuple(KINDS),
    "scale": tuple(str(number) for number in range(len(SCALES))),
    "width": ("1", "0.25", "0.5", "2", "4"),
}  # fmt: skip


def chosen(options: Mapping[str, str], name: str) -> str:
    """Return the value of a parameter. Raises `ConfigError` for one that is not a choice."""
    value = options.get(name, CHOICES[name][0])
    check_choice(name, value, CHOICES[name])
    return value


def parameters() -> dict[str, Any]:
    """Return what can be chosen, by panel."""

    def choices(*names: str) -> dict[str, Any]:
        return {
            name: {
                "default": CHOICES[name][0],
                "choices": sorted(CHOICES[name], key=float) if name != "align" else CHOICES[name],
            }
            for name in names
        }

    scales = [
        {"id": str(n), "name": f"{s.time_ms:g} ms, ±{s.decibel:g} dB", "time_ms": s.time_ms,
         "width_db": s.decibel, "width_erb": s.erb, "width_cycles": s.cycle}
        for n, s in enumerate(SCALES)
    ]  # fmt: skip
    asymmetry = {"kinds": list(KINDS), "scales": scales, **choices("width", "channels")}
    return {
        "gammatone": choices("channels", "align"), "spectrogram": choices("window_ms"),
        "asymmetry": asymmetry,
    }  # fmt: skip
