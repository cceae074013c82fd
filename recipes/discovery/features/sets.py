"""The feature sets compared, and the sounds they are computed from."""

import zlib
from pathlib import Path
from typing import Any

import numpy as np

import speechasym
from speechasym.feature_extraction import sets

FeatureSet = tuple[dict[str, Any], tuple[str, ...] | None]
COMPACT: dict[str, Any] = {"features": "asymmetry", "compact": True}
MFCC: dict[str, Any] = {"features": "mfcc"}
# name -> options of `speechasym.features`, and groups of columns to keep (None: all)
SETS: dict[str, FeatureSet] = {
    "log-mel 80": ({"features": "logmel"}, None),
    "MFCC 39": (MFCC, None),
    "gammatone level 64": ({"features": "gammatone"}, None),
    "compact 33": (COMPACT, None),
    "compact, amplitude": (COMPACT, ("power", "slope", "curve", "asymmetry1")),
    "compact, frequency": (COMPACT, ("deviation",)),
    "compact, phase": (COMPACT, ("coherence",)),
}
# what the gain comes from
ABLATIONS: dict[str, FeatureSet] = {
    "compact without asymmetry1": (
        COMPACT,
        ("power", "slope", "curve", "deviation", "coherence"),
    ),
    "compact without frequency": (COMPACT, ("power", "slope", "curve", "asymmetry1", "coherence")),
    "compact without phase": (COMPACT, ("power", "slope", "curve", "asymmetry1", "deviation")),
    "compact, power and slopes only": (COMPACT, ("power", "slope", "curve")),
    "MFCC 9 + 6 + 5": (MFCC, ("mfcc<9", "delta<6", "delta2<5")),
}
FULL: dict[str, FeatureSet] = {
    f"full, {kind}": ({"features": "asymmetry", "kinds": tuple(kind.split(" + "))}, None)
    for kind in ("amplitude", "frequency", "phase", "amplitude + frequency + phase")
}


def keep(options: dict, wanted: tuple[str, ...] | None) -> np.ndarray:
    """Return the indices of groups of columns: by name, or their first n as "name<n"."""
    names = [c["name"] for c in sets.feature_config(**options).columns()]
    if wanted is None:
        return np.arange(len(names))
    indices = []
    for item in wanted:
        group, _, most = item.partition("<")
        members = [i for i, name in enumerate(names) if name.rsplit("_", 1)[0] == group]
        indices += members[: int(most) if most else None]
    return np.array(sorted(indices))


def sounds(root: Path, files: list[str], noise: np.ndarray | None, snr_db: float) -> dict:
    """Return {file: samples}, with a stretch of the noise drawn by the file's name."""
    out = {}
    for file in files:
        path = next(p for p in root.glob(f"{file}.*") if p.suffix.lower() in (".wav", ".flac"))
        x, _ = speechasym.load(path, 16000)
        if noise is not None:
            x = speechasym.add_noise(x, noise, snr_db, seed=zlib.crc32(file.encode()))
        out[file] = x
    return out


def matrices(sound: dict, options: dict) -> dict:
    """Return {file: (F, D)}, each column normalised over its recording."""
    return {
        file: speechasym.features(x, 16000, normalise="utterance", **options)
        for file, x in sound.items()
    }
