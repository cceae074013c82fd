"""Asymmetry features as a matrix: named columns, and rows of the complete frames.

Shapes: T samples, F frames, D columns.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechasym.asymmetry import cepstra, tracks
from speechasym.asymmetry.tracks import KINDS, TRACKS, Design, State, Tracks

CHUNK = 32000  # samples computed at a time: what fits the cache


def columns(d: Design) -> list[dict[str, Any]]:
    """Return name, unit and meaning of each of the D columns, in order."""
    if d.config.compact:
        return cepstra.columns(d.config)
    result: list[dict[str, Any]] = []

    def add(kind: str, name: str, unit: str, channels: int, **more: Any) -> None:
        for c in range(channels):
            hz = round(float(d.inner.frequency[c]), 3)
            about = {"name": f"{name}_{c:02d}", "unit": unit, "kind": kind}
            result.append(about | more | {"channel": c, "centre_hz": hz})

    outputs = [output for output in d.config.outputs if output != "track"]
    for kind in d.config.kinds:
        for track in KINDS[kind]:
            size = len(d.inner.frequency) - (track == "lead")
            if "track" in d.config.outputs:
                add(kind, track, TRACKS[track], size, track=track)
                if track == "lead":
                    add(kind, "coherence", "1", size, track="coherence")
            for output in outputs:
                unit = TRACKS[track] if output in ("rise", "fall") else "1"
                for number, scale in enumerate(d.config.scales, 1):
                    add(
                        kind, f"{track}_{output}{number}", unit, size, track=track, output=output,
                        level=number, width=scale.width(track), time_ms=scale.time_ms,
                    )  # fmt: skip
    return result


def rows(x: NDArray[np.float32], d: Design, state: State) -> tuple[NDArray[np.float32], State]:
    """Return the columns of the frames completed by samples x (T,), (F, D), and the state.

    For the compact set, these are the static cepstra, which `cepstra.slide` turns into columns.
    """
    c = d.config
    hysteresis = c.tracks if set(c.outputs) - {"track"} else ()
    if c.compact:  # cepstra need no other
        hysteresis = ("amplitude",) if "amplitude" in c.kinds else ()
    parts = []
    for i in range(0, max(1, len(x)), CHUNK):
        pooled, state = tracks.pool(x[i : i + CHUNK], d, state, hysteresis, c.compact)
        parts.append(cepstra.static(pooled, c.kinds) if c.compact else _full_rows(pooled, d))
    return np.concatenate(parts), state


def _full_rows(pooled: Tracks, d: Design) -> NDArray[np.float32]:
    parts = []
    for track in d.config.tracks:
        if "track" in d.config.outputs:
            parts.append(getattr(pooled, track))
            if track == "lead":
                parts.append(pooled.coherence)
        for output in d.config.outputs:
            if output != "track":
                work = getattr(pooled, output)[track].transpose(1, 0, 2)
                parts.append(work.reshape(len(work), work.shape[1] * work.shape[2]))
    return np.concatenate(parts, 1)
