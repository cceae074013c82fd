"""The report of `chain_study`: what the rules learn, and what their stages learn from.

Shapes: S seeds, G stages.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes.claims.block.depth_report import COLOURS, formatted, plain
from recipes.provenance import table

HEARING = ("imitation", "broadcast", "correction")  # rules with a part from the top
TRUE = ("cosine", "correction")  # 1 everywhere


def chosen(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a line for each seed: at the rate that ended lowest for the other seeds."""
    at = {(line["rate"], line["seed"]): line for line in lines}
    rates, seeds = ({key[k] for key in at} for k in (0, 1))

    def others(rate: float, seed: int) -> float:
        ends = [at[rate, s]["end"] for s in seeds if s != seed]
        return sum(math.inf if end is None else end for end in ends)

    return [at[min(sorted(rates), key=lambda r: others(r, s)), s] for s in sorted(seeds)]


def values(lines: list[dict[str, Any]], when: str, key: str) -> NDArray:
    """Return (S, G) of what was measured `before` or `after`; NaN for null."""
    return np.array([line[when][key] for line in lines], dtype=float)


def fading(lines: list[dict[str, Any]], when: str, kind: str) -> NDArray:
    """Return (S,) of the lowest stage over the one below the top: gradients over parameters."""
    norms = values(lines, when, f"norm_{kind}")
    with np.errstate(divide="ignore", invalid="ignore"):
        return norms[:, 0] / norms[:, -2]


def agreement(lines: list[dict[str, Any]], when: str, kind: str) -> NDArray:
    """Return (S,) cosines with the true gradient, their mean over the stages below the top."""
    return np.array([row[:-1].mean() for row in values(lines, when, f"cosine_{kind}")])


def signed(x: float) -> str:
    """Return two decimals with a sign."""
    return f"{x:+.2f}"


def report(
    lines: list[dict[str, Any]], folder: Path, norms: Sequence[str], rules: Sequence[str]
) -> str:
    """Return the report in Markdown, and write chainDEPTH.png for each depth to the folder."""
    cells: dict[tuple[int, str, str], list[dict[str, Any]]] = {}
    for line in lines:
        cells.setdefault((line["depth"], line["norm"], line["rule"]), []).append(line)
    best = {cell: chosen(found) for cell, found in cells.items()}
    parts = ["# Learning rules along chains (C18)"]
    for depth in sorted({depth for depth, _, _ in best}):
        of = {
            (norm, rule): best[depth, norm, rule]
            for norm in norms for rule in rules if (depth, norm, rule) in best
        }  # fmt: skip
        some = next(iter(of.values()))
        rates = sorted({line["rate"] for line in lines if line["depth"] == depth})
        parts.append(
            f"## {depth} blocks, {len(some[0]['before']['norm_true'])} stages, "
            f"{some[0]['steps']} steps, {len(some)} seeds, "
            f"rates {', '.join(f'{rate:g}' for rate in rates)}"
        )
        head = [
            "norm",
            "rule",
            "rate",
            "loss at the end, nats",
            "less that of backprop",
            "wrong, %",
        ]
        rows = []
        for (norm, rule), found in of.items():
            end, wrong = (
                np.array([line[key] for line in found], dtype=float) for key in ("end", "wrong")
            )
            base = of.get((norm, "backprop"))
            less = np.array([line["end"] for line in base or []], dtype=float)
            same = base is not None and len(less) == len(end) and rule != "backprop"
            rates_ = sorted({line["rate"] for line in found})
            rows.append([
                norm, rule, ", ".join(f"{rate:g}" for rate in rates_),
                formatted(end, lambda v: f"{v:.2f}"),
                formatted(end - less, signed) if same else "",
                formatted(100 * wrong, lambda v: f"{v:.0f}"),
            ])  # fmt: skip
        parts.append(table(head, rows).rstrip())
        head = [
            "norm", "rule", "gradient, lowest stage / highest: at start", "after training",
            "its part from the top: at start", "after training",
            "cosine with the true gradient: at start", "after training",
            "of the part from the top: at start", "after training",
        ]  # fmt: skip
        rows = []
        for (norm, rule), found in of.items():
            row = [norm, rule]
            for measure, form in ((fading, plain), (agreement, signed)):
                for kind in ("rule", "global"):
                    for when in ("before", "after"):
                        known = kind == "rule" or rule in HEARING
                        row.append(formatted(measure(found, when, kind), form) if known else "")
            rows.append(row)
        parts.append(table(head, rows).rstrip())
        _figure(of, folder / f"chain{depth}.png", norms, rules)
        parts.append(f"![gradients along {depth} blocks](chain{depth}.png)")
    return "\n\n".join(parts) + "\n"


def _figure(
    of: dict[tuple[str, str], list[dict[str, Any]]], path: Path, norms: Sequence[str],
    rules: Sequence[str],
) -> None:  # fmt: skip
    """Plot what the stages learn from: a column for each norm, rules as lines."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    norms = [norm for norm in norms if any(norm == known for known, _ in of)]
    rows = [
        ("before", "norm", "gradient / parameters\nat the start"),
        ("after", "norm", "gradient / parameters\nafter training"),
        ("before", "cosine", "cosine with the true\ngradient, at the start"),
        ("after", "cosine", "cosine with the true\ngradient, after training"),
    ]
    figure, axes = plt.subplots(
        4, len(norms), figsize=(2.9 * len(norms) + 1.5, 9), layout="constrained",
        squeeze=False, sharex=True, sharey="row",
    )  # fmt: skip
    for row, (when, what, label) in zip(axes, rows, strict=True):
        for axis, norm in zip(row, norms, strict=True):
            for number_, rule in enumerate(rules):
                if (norm, rule) not in of or (what == "cosine" and rule == "backprop"):
                    continue
                colour, found = COLOURS[number_], of[norm, rule]
                for kind, style in (("rule", "-"), ("global", "--")):
                    if kind == "global" and (rule not in HEARING or (what, rule) == TRUE):
                        continue
                    drawn = values(found, when, f"{what}_{kind}")[
                        :, : None if kind == "rule" else -1
                    ]
                    if np.isnan(drawn).any():
                        continue
                    stage = np.arange(1, drawn.shape[1] + 1)
                    axis.plot(stage, np.median(drawn, 0), style, color=colour, label=rule, lw=1.4)
            axis.set(yscale="log" if what == "norm" else "linear")
            axis.spines[["top", "right"]].set_visible(False)
            axis.grid(alpha=0.25)
        row[0].set_ylabel(label)
    for axis, norm in zip(axes[0], norms, strict=True):
        axis.set_title(f"norm: {norm}")
    for axis in axes[-1]:
        axis.set_xlabel("stage, from the lowest")
    shown: dict[str, Any] = {}
    for axis in axes[0]:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            shown.setdefault(label, handle)
    figure.legend(shown.values(), shown.keys(), loc="outside right center", frameon=False,
                  title="dashed: the part\nfrom the top alone")  # fmt: skip
    figure.savefig(path, dpi=110)
    plt.close(figure)
