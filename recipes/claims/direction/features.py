"""Feature sets of equal size, with hysteresis and without it.

Shapes: T samples, F frames, C channels, K cepstra, D columns.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

import speechasym
from recipes.claims.asymmetry.common import FRAMES, RATE, SCALES, leaky_moves
from speechasym.asymmetry import cepstra, tracks
from speechasym.feature_extraction import sets
from speechasym.feature_extraction.pitch import pitch
from speechasym.ops import ref

COLUMNS = 32
POWER, MFCC, CHANGE, SIGNED, TRACKS = (
    "power cepstra", "MFCC with slopes", "signed change", "hysteresis", "hysteresis, three tracks",
)  # fmt: skip
HALF_CHANGE, HALF, COMPACT = "power + signed change", "power + hysteresis", "compact (33 columns)"
SETS = (POWER, MFCC, CHANGE, SIGNED, TRACKS, HALF_CHANGE, HALF, COMPACT)
BY_PITCH = {POWER: "slopes", MFCC: "slopes", HALF_CHANGE: "change", HALF: "hysteresis"}
PITCH_WIDTHS = (0.25, 0.5, 1.0, 2.0)  # semitones, half-widths of hysteresis
# cepstra of each scale's asymmetry of amplitude, frequency and lead
OF_TRACKS = {"amplitude": 3, "frequency": 3, "lead": 2}


def features(
    x: NDArray[np.float32], rate: int = FRAMES, factor: float = 1.0
) -> dict[str, NDArray[np.float32]]:
    """Return {set: (F, D)} of samples (T,) at 16 kHz; columns have mean 0 and deviation 1.

    rate: frames a second. factor: of the half-widths of hysteresis, and of r in the signed change.

    All have 32 columns, the compact set 33:

    - power cepstra: cosine transforms over channels of the gammatone's power^0.2, 12 of them, with
      10 first and 10 second slopes over time; MFCC with slopes alike, from log-mel;
    - hysteresis: 8 cosines of the signed asymmetry (rise - fall) / (rise + fall + r) of the
      amplitude at each of four scales; of three tracks 3, 3 and 2;
    - signed change: the same ratio and time constants without hysteresis: every move counts;
    - power + ...: 7 + 5 + 4 cepstra of power with slopes, and 4 cosines of each scale.
    """
    widths = np.array([scale[1:] for scale in SCALES]).T * factor
    options = dict(zip(("level_db", "level_erb", "level_cycles"), widths.tolist(), strict=True))
    config: dict[str, Any] = {"features": "asymmetry", "outputs": ("asymmetry",), **options}
    names = [c["name"] for c in sets.feature_config(**config).columns()]
    full = speechasym.features(x, RATE, rate=rate, **config)
    asymmetry = {
        track: [_columns(full, names, f"{track}_asymmetry{n}_") for n in range(1, len(SCALES) + 1)]
        for track in OF_TRACKS
    }
    level = np.maximum(
        speechasym.features(x, RATE, rate=rate, features="gammatone"), tracks.QUIET_DB
    )
    change = []
    for scale in SCALES:
        rise, fall = leaky_moves(level, scale.time_ms, rate)
        change.append((rise - fall) / (rise + fall + factor * scale.decibel))
    signed = asymmetry["amplitude"]
    root = 10 ** (level * (cepstra.ROOT / 10))
    mfcc = speechasym.features(x, RATE, rate=rate, features="mfcc")
    out = {
        POWER: with_slopes(root, (12, 10, 10)),
        MFCC: np.concatenate([mfcc[:, at : at + n] for at, n in ((0, 12), (13, 10), (26, 10))], 1),
        CHANGE: _cosines(change, 8),
        SIGNED: _cosines(signed, 8),
        TRACKS: np.concatenate([_cosines(asymmetry[t], k) for t, k in OF_TRACKS.items()], 1),
        HALF_CHANGE: np.concatenate([with_slopes(root, (7, 5, 4)), _cosines(change, 4)], 1),
        HALF: np.concatenate([with_slopes(root, (7, 5, 4)), _cosines(signed, 4)], 1),
        COMPACT: speechasym.features(
            x, RATE, rate=rate, features="asymmetry", compact=True, **options
        ),
    }
    frames = min(map(len, out.values()))
    return {name: _normalised(out[name][:frames]) for name in SETS}


def with_pitch(
    sets_of: dict[str, NDArray[np.float32]], x: NDArray[np.float32]
) -> dict[str, NDArray[np.float32]]:
    """Return the four sets of `BY_PITCH` with six columns of pitch each, at 100 Hz.

    Pitch is in semitones, joined over what is unvoiced, where the second column is 0. The other
    four are slopes over 5, 11, 21 and 41 frames; or the signed change at each of four scales; or
    the asymmetry by hysteresis with half-widths of 0.25 to 2 semitones.
    """
    hz = pitch(x, RATE).hz
    voiced = np.isfinite(hz)
    frames = len(next(iter(sets_of.values())))
    track = np.zeros(len(hz))
    if voiced.any():
        semitones = 12 * np.log2(hz[voiced])
        track = np.interp(np.arange(len(hz)), np.flatnonzero(voiced), semitones)
        track -= np.median(semitones)
    base = np.stack([track, voiced], 1)
    more: dict[str, list[NDArray]] = {"slopes": [], "change": [], "hysteresis": []}
    for reach in (2, 5, 10, 20):
        weight = np.arange(reach, -reach - 1, -1.0)
        weight /= (weight**2).sum()
        padded = np.pad(track, reach, "edge")
        more["slopes"].append(np.convolve(padded, weight, "valid"))
    held, _ = ref.play(track, np.array(PITCH_WIDTHS))
    for scale, width, kept in zip(SCALES, PITCH_WIDTHS, held, strict=True):
        for name, one in (("change", track), ("hysteresis", kept)):
            rise, fall = leaky_moves(one[:, None], scale.time_ms)
            more[name].append(((rise - fall) / (rise + fall + width))[:, 0])
    columns = {name: _normalised(np.c_[base, np.stack(c, 1)]) for name, c in more.items()}
    at = np.minimum(np.arange(frames), len(track) - 1)
    return {
        f"{name} + pitch": np.concatenate([sets_of[name], columns[kind][at]], 1)
        for name, kind in BY_PITCH.items()
    }


def with_slopes(x: NDArray, counts: tuple[int, int, int]) -> NDArray[np.float32]:
    """Return cepstra of x (F, C), with their first and second slopes over five frames."""
    rows = x @ cepstra.basis(x.shape[1], counts[0])
    first = _slope(rows)
    parts = rows, first[:, : counts[1]], _slope(first)[:, : counts[2]]
    return np.concatenate(parts, 1).astype(np.float32)


def _slope(x: NDArray) -> NDArray:
    return cepstra.slope(np.pad(x, ((2, 2), (0, 0)), "edge"))


def _cosines(scales: list[NDArray], count: int) -> NDArray[np.float32]:
    return np.concatenate([x @ cepstra.basis(x.shape[1], count) for x in scales], 1)


def _columns(x: NDArray, names: list[str], prefix: str) -> NDArray:
    return x[:, [i for i, name in enumerate(names) if name.startswith(prefix)]]


def _normalised(x: NDArray) -> NDArray[np.float32]:
    return ((x - x.mean(0)) / np.maximum(x.std(0), 1e-6)).astype(np.float32)
