"""Draw the units that a run finds in a sentence beside the phones marked by hand.

    python -m recipes.discovery.units.picture RUN TIMIT_STEM PICTURE

TIMIT_STEM: path of a sentence without suffix, such as TRAIN/DR1/FVMH0/SX206.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import speechasym
from recipes.discovery.units.corpus import RATE
from recipes.discovery.units.systems import FRAMES
from speechasym.annotations import timit
from speechasym.annotations.intervals import Interval
from speechasym.errors import SpeechAsymError
from speechasym.plots.axes import save
from speechasym.scoring.boundaries import TOLERANCE

HIT, MISS = "#1b6ca8", "#c2410c"


def draw(run: Path, stem: Path) -> Figure:
    """Return the figure: spectrum, phones by hand, and a row of units for each level."""
    x, _ = speechasym.load(stem.with_suffix(".WAV"), RATE)
    phones = timit.read_timit(stem.with_suffix(".PHN"))
    words = timit.read_timit(stem.with_suffix(".WRD"))
    levels = speechasym.discover_units(x, run, RATE)
    rows: list[tuple[str, list[Interval], list[Interval]]] = [("phones\nby hand", phones, phones)]
    rows += [
        (f"units of\nlevel {row.level}", row.intervals, words if row.level == 2 else phones)
        for row in levels
    ]
    rows.append(("words\nby hand", words, words))
    figure = Figure(figsize=(14, 6.5), layout="constrained")
    grid = figure.subplots(1 + len(rows), 1, sharex=True, height_ratios=[2.4, *[0.7] * len(rows)])
    mel = speechasym.features(x, RATE, features="logmel").T
    seconds = mel.shape[1] / FRAMES
    top = float(mel.max())
    grid[0].imshow(
        mel, aspect="auto", origin="lower", extent=(0, seconds, 0, len(mel)), cmap="Greys",
        vmin=top - 60, vmax=top,
    )  # fmt: skip
    grid[0].set_ylabel("log-mel\nchannel")
    for axes, (name, intervals, reference) in zip(grid[1:], rows, strict=True):
        marks = np.array(sorted({t for i in reference for t in (i.start, i.end)}))
        for interval in intervals:
            near = np.abs(marks - interval.start).min() <= TOLERANCE
            axes.axvline(interval.start, color=HIT if near else MISS, linewidth=1.1)
            if interval.end - interval.start > 0.02:
                middle = (interval.start + interval.end) / 2
                axes.text(middle, 0.5, interval.label, ha="center", va="center", fontsize=7)
        axes.set_ylabel(name, rotation=0, ha="right", va="center")
        axes.set_yticks([])
        axes.set_ylim(0, 1)
    grid[-1].set_xlabel("s")
    grid[-1].set_xlim(0, seconds)
    figure.suptitle(
        "Discovered units, without any labels. Blue: within 20 ms of a boundary by hand"
        " (levels 0, 1: of a phone; level 2: of a word); red: not"
    )
    return figure


def main(words: list[str]) -> None:
    """Run the command."""
    run, stem, picture = words
    save(draw(Path(run), Path(stem)), Path(picture))
    print(picture)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    try:
        main(sys.argv[1:])
    except SpeechAsymError as error:
        sys.exit(f"picture.py: {error}")
