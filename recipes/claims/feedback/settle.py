"""How a loop settles: mean change of the units from pass to pass, trained against untrained (C13).

    python -m recipes.claims.feedback.settle OUT/mini/feedback-seed0 ... --test CUTS \\
        --noise FOLDER --out settling.png

Untrained: the same model before its first step, but hearing at random (claims/loop).
"""

import argparse
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from recipes.claims.arbitration.readings import changed_cuts
from recipes.claims.loop.measure import untrained, with_passes
from recipes.provenance import table
from speechasym.levels import feedback
from speechasym.plots.axes import DPI, open_grid, plain_log_ticks, save
from speechasym.recognition.trained_model import TrainedModel, open_run

PASSES = 12
SHOWN = (2, 3, 4, 6, 12)
SETTLED = 0.02  # change below which a loop counts as settled
FAINTEST = 1e-4  # smallest change in the figure
SNRS: dict[str, float | None] = {"clean": None, "0 dB": 0.0}


def changes(net: TrainedModel, rows: NDArray[np.float32]) -> list[float]:
    """Return how far the units move from each pass to the next, of features (F, D)."""
    net = with_passes(net, PASSES)
    outputs: list[Any] = []
    model: Any = net.model
    compute: Callable[..., Any] = model._pass

    def kept(*given: Any) -> Any:
        outputs.append(compute(*given))
        return outputs[-1]

    model._pass = kept
    net.output(rows)
    return [feedback.change(a.levels, b.levels).item() for a, b in pairwise(outputs)]


def drawn(curves: dict[str, NDArray[np.float64]]) -> Figure:
    """Draw the mean change by pass of each of these (N, P), and 10 % and 90 % of the utterances."""
    figure = Figure(figsize=(7, 4.2), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    for name, values in curves.items():
        kind, sound = name.split(", ")
        colour, style = f"C{list(SNRS).index(sound)}", "--" if kind == "untrained" else "-"
        passes = np.arange(2, values.shape[1] + 2)
        low, high = np.quantile(values, [0.1, 0.9], axis=0).clip(FAINTEST)
        axes.fill_between(passes, low, high, color=colour, alpha=0.12, linewidth=0)
        mean = values.mean(0).clip(FAINTEST)
        axes.plot(passes, mean, style, color=colour, label=name)
    axes.set_yscale("log")
    plain_log_ticks(axes)
    axes.set_xlabel("pass")
    axes.set_ylabel("change of the units since the pass before")
    axes.legend(frameon=False, fontsize="small")
    open_grid(axes)
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--noise", type=Path, required=True, help="folder of recordings")
    parser.add_argument("--every", type=int, default=4, help="reads one of so many cuts")
    parser.add_argument("--out", type=Path, required=True, help="picture; a .md beside it")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    curves: dict[str, list[list[float]]] = {}
    for run in options.runs:
        net = open_run(run)
        before = untrained(net, options.test, net.config.seed)
        for sound, snr_db in SNRS.items():
            rows = [
                x for _, _, x in changed_cuts(
                    net, options.test, "test", options.noise, snr_db, every=options.every
                )
            ]  # fmt: skip
            for kind, model in (("trained", net), ("untrained", before)):
                curves.setdefault(f"{kind}, {sound}", []).extend(changes(model, x) for x in rows)
    values = {name: np.array(curve) for name, curve in curves.items()}
    save(drawn(values), options.out)
    body = [
        [name, str(len(v)), *(f"{v[:, p - 2].mean():.3f}" for p in SHOWN),
         f"{(v < SETTLED).any(1).mean():.2f}"]
        for name, v in values.items()
    ]  # fmt: skip
    head = ["net, sound", "utterances", *(f"pass {p}" for p in SHOWN), f"settled below {SETTLED}"]
    options.out.with_suffix(".md").write_text(table(head, body), "utf-8")
    print(table(head, body))


if __name__ == "__main__":
    main()
