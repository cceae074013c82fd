"""Draw who was heard when: the answers of several nets in one utterance, and what became of them.

    python -m recipes.claims.arbitration.picture OUT/mini/test-10.npz --head phones \\
        --net seed0 seed1 seed2 --out heard.png
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from recipes.claims.arbitration import readings
from recipes.claims.arbitration.readings import Utterance
from recipes.claims.asymmetry.common import COLOURS
from speechasym.levels import ctc
from speechasym.levels.arbitration import Reading, Verdict, arbitrate, voices
from speechasym.scoring.calibration import hits

RATE = 100.0  # frames a second
DELAY_S = 0.01  # of features from the filterbank
LONGEST_S = 2.0


def timed(reading: Reading) -> list[tuple[float, float, int]]:
    """Return start and end in s, and label, of each symbol of a net's own answer."""
    times = np.maximum(0, reading.frames / RATE - DELAY_S)
    runs = ctc.runs(reading.log_probs.argmax(-1))
    return [(times[first, 0], times[end - 1, 1], label) for first, end, label in runs]


def draw(utterance: Utterance, head: str, symbols: list[str], seconds: float) -> Figure:
    """Draw the first `seconds` of an utterance: a row for each net, then the answer."""
    nets = list(utterance.readings[head])
    heard = [utterance.readings[head][net] for net in nets]
    verdict, loud = arbitrate(heard), voices(heard)
    figure = Figure(figsize=(11, 0.55 * len(nets) + 2.0), layout="constrained")
    axes = figure.subplots()
    for row, (net, reading, voice) in enumerate(zip(nets, heard, loud, strict=True)):
        own = [symbols[label - 1] for _, _, label in timed(reading)]
        kept = hits([symbols[label - 1] for label in verdict.labels], own)
        for (start, end, label), is_kept in zip(timed(reading), kept, strict=True):
            colour = COLOURS[row % len(COLOURS)] if is_kept else "0.75"
            _symbol(
                axes, start, end, row, symbols[label - 1], colour, "white" if is_kept else "0.3"
            )
        axes.text(
            -0.01, row, f"{net}, voice {voice:.2f}", ha="right", va="center",
            transform=axes.get_yaxis_transform(),
        )  # fmt: skip
    _answer(axes, verdict, utterance.said[head], symbols, len(nets), head)
    axes.set(xlim=(0, seconds), ylim=(len(nets) + 0.6, -0.6), yticks=[], xlabel="Time / s")
    axes.spines[["left", "right", "top"]].set_visible(False)
    axes.set_title(
        f"{utterance.name}: own answers of {len(nets)} nets (grey: not heard), and what is heard "
        "(fainter: less sure; underlined: wrong)", fontsize=9, loc="left",
    )  # fmt: skip
    return figure


def _answer(
    axes: Axes, verdict: Verdict, said: list[str], symbols: list[str], row: int, head: str
) -> None:
    """Draw the answer, the fainter the less sure."""
    right = hits(said, [symbols[label - 1] for label in verdict.labels])
    pairs = zip(verdict.labels, verdict.steps, right, strict=True)
    for label, step, correct in pairs:
        start, end = np.maximum(0, verdict.frames[step] / RATE - DELAY_S)
        p = float(verdict.log_probs[step, label].exp())
        name = symbols[label - 1] if p >= 0.5 else f"{symbols[label - 1]}?"
        _symbol(axes, start, end, row, name, str(1 - p), "white" if p > 0.5 else "black")
        if not correct:
            axes.plot([start, max(end, start + 0.03)], [row + 0.45] * 2, color=COLOURS[1], lw=2)
    axes.text(
        -0.01, row, f"heard ({head})", ha="right", va="center", weight="bold",
        transform=axes.get_yaxis_transform(),
    )  # fmt: skip


def _symbol(
    axes: Axes, start: float, end: float, row: float, name: str, colour: str, ink: str
) -> None:
    end = max(end, start + 0.03)
    axes.barh(row, end - start, 0.7, start, color=colour, edgecolor="0.4", linewidth=0.5)
    axes.text((start + end) / 2, row, name, ha="center", va="center", fontsize=8, color=ink,
              clip_on=True)  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("readings", type=Path)
    add("--net", nargs="+", required=True)
    add("--head", default="phones")
    add("--utterance", type=int, default=0, help="its number, from 0")
    add("--seconds", type=float, default=LONGEST_S)
    add("--out", type=Path, default=Path("heard.png"))
    options = parser.parse_args(arguments)
    condition = readings.load(options.readings, options.net, [options.head])
    utterance = condition.utterances[options.utterance]
    symbols = condition.symbols[options.head]
    figure = draw(utterance, options.head, symbols, options.seconds)
    figure.savefig(options.out, dpi=150)
    print(options.out)


if __name__ == "__main__":
    main()
