"""Formants, intensity and pitch by Praat itself, through parselmouth, which is optional."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym.errors import AudioError, ConfigError

FORMANTS = 5
CEILING_HZ = 5500.0  # of the formants: Praat's standard for adult women; men have about 5000
TRACKS = ("formants", "intensity", "pitch")


class PraatTrack(NamedTuple):
    """A track of Praat over time."""

    times: NDArray[np.float64]  # (F,) s
    values: NDArray[np.float64]  # (F, K): formants in Hz, NaN without one; else K is 1: dB or Hz


def track(name: str, x: NDArray[np.float32], rate: int, title: str = "the recording") -> PraatTrack:
    """Return formants (Hz), intensity (dB re 20 uPa at full scale 1 Pa) or pitch (Hz) of x (T,).

    Praat's standard settings; pitch is NaN where unvoiced.

    Raises:
        AudioError: Praat cannot analyse the recording, because it is too short, for example.
        ConfigError: parselmouth is not installed.
    """
    parselmouth = _parselmouth()
    try:
        sound = parselmouth.Sound(x.astype(np.float64), rate)
        if name == "formants":
            result = sound.to_formant_burg(
                max_number_of_formants=FORMANTS, maximum_formant=min(CEILING_HZ, rate / 2)
            )
            read: Callable[[int, float], float] = result.get_value_at_time
            rows = [[read(n, t) for n in range(1, FORMANTS + 1)] for t in result.xs()]
            values = np.array(rows, np.float64).reshape(-1, FORMANTS)
        elif name == "intensity":
            result = sound.to_intensity()
            values = result.values.T
        else:
            result = sound.to_pitch()
            hz = result.selected_array["frequency"][:, None]
            values = np.where(hz > 0, hz, np.nan)
    except parselmouth.PraatError as error:
        why = " ".join(str(error).split("\n")[0].split()).rstrip(".")
        raise AudioError(title, f"Praat finds no {name} ({why})", "Give a longer one") from error
    return PraatTrack(np.array(result.xs()), values)


def _parselmouth() -> Any:
    try:
        import parselmouth
    except ImportError as error:
        problem = "formants, intensity and pitch by Praat need parselmouth"
        raise ConfigError("praat", problem, "Run: pip install 'speechasym[praat]'") from error
    return parselmouth
