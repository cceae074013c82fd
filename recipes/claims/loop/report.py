"""Tables and a figure of what `measure` found (C23).

    python -m recipes.claims.loop.report FOLDER [--out FOLDER]

Shapes: K seeds, S speakers, U units.
"""

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes.claims.asymmetry.common import COLOURS, axes, formatted, interval, save
from recipes.claims.context.report import change, rate_of
from recipes.claims.loop.measure import CROSSED, DISTANCE, IN_USE
from recipes.claims.ranks.units import ROUNDS, measure, report
from recipes.provenance import table
from speechasym.errors import ConfigError

LEAST = 0.01  # steps that must move for their distance to mean anything
Groups = Mapping[tuple[str, str], list[dict[str, Any]]]  # {(system, kind): results of its seeds}


def read(folder: Path) -> Groups:
    """Read the results in a folder. Raises `ConfigError` if there is none."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for path in sorted(folder.glob("*-seed*trained.json")):
        result = json.loads(path.read_text("utf-8"))
        found[result["name"].rsplit("-seed", 1)[0], result["kind"]].append(result)
    if not found:
        raise ConfigError(folder, "holds no result", "Run recipes.claims.loop.measure first")
    return dict(sorted(found.items()))


def exponents(results: Sequence[dict[str, Any]], gain: float, distance: float) -> NDArray:
    """Return the exponents of all utterances and seeds; -inf for what is forgotten at once."""
    return np.array([
        -math.inf if x is None else x
        for result in results for row in result["exponents"] for x in row["exponents"]
        if row["gain"] == gain and row["distance"] == distance
    ])  # fmt: skip


def shown(values: NDArray) -> str:
    """Return the mean exponent and its interval over utterances and seeds."""
    return formatted(interval(values), 2) if np.isfinite(values).all() else "-inf"


def error_counts(results: Sequence[dict[str, Any]], condition: str, net: str, head: str) -> NDArray:
    """Return errors and tokens (K, S, 2)."""
    found = [list(r["errors"][condition][net][head].values()) for r in results]
    return np.array(found, float)


def ordered(names: Iterable[str]) -> list[str]:
    """Return conditions or heads in the order of the tables: clean first, phones first."""
    first = ("clean", "phones", "letters", "words")
    return sorted(names, key=lambda name: (first.index(name) if name in first else 9, name))


def gain_table(groups: Groups) -> str:
    """Return exponents by gain, and what the errors are there."""
    body = []
    example: dict[str, Any] = next(
        (r[0]["errors"] for r in groups.values() if "errors" in r[0]), {}
    )
    conditions = ordered(example)
    heads = ordered(example["clean"]["gain 1"]) if example else []
    for (system, kind), found in groups.items():
        for gain in sorted({row["gain"] for row in found[0]["exponents"]}):
            cells = []
            for condition in conditions if "errors" in found[0] else ():
                for head in heads:
                    here = error_counts(found, condition, f"gain {gain:g}", head)
                    cells.append(formatted(rate_of(here), 1, 100))
            cells += ["-"] * (len(conditions) * len(heads) - len(cells))
            body.append([system, kind, str(len(found)), f"{gain:g}",
                         shown(exponents(found, gain, DISTANCE)), *cells])  # fmt: skip
    columns = [f"{head}, {condition}, %" for condition in conditions for head in heads]
    return table(["system", "net", "seeds", "gain", "exponent", *columns], body)


def pass_table(groups: Groups) -> str:
    """Return errors by gain and passes in use, as differences from a single pass."""
    body = []
    for (system, _), results in groups.items():
        if "errors" not in results[0]:
            continue
        for condition in ordered(results[0]["errors"]):
            for head in ordered(results[0]["errors"][condition]["gain 1"]):
                one = error_counts(results, condition, "gain 0", head)
                for gain in CROSSED:
                    name = f"gain {gain:g}"
                    nets = [f"{name}, passes 2", name, *(f"{name}, passes {n}" for n in IN_USE[1:])]
                    costs = [change(error_counts(results, condition, n, head), one) for n in nets]
                    body.append([system, condition, head, formatted(rate_of(one), 1, 100),
                                 f"{gain:g}", *(formatted(c, 1, 100) for c in costs)])  # fmt: skip
    others = ("2", "as trained", *(f"{n}" for n in IN_USE[1:]))
    return table(["system", "condition", "head", "one pass, %", "gain", *others], body)


def distance_table(groups: Groups) -> str:
    """Return exponents by the distance that they belong to."""
    distances = sorted({row["distance"] for r in groups.values() for row in r[0]["exponents"]})
    body = [
        [system, kind, *(shown(exponents(results, 1, d)) for d in distances)]
        for (system, kind), results in groups.items()
    ]
    return table(["system", "net", *(f"{d:g}" for d in distances)], body)


def settling_table(groups: Groups) -> str:
    """Return in how many utterances the loop comes to rest, goes in a circle, or neither."""
    body = []
    for (system, kind), results in groups.items():
        periods = np.array([p for result in results for p in result["periods"]])
        last = np.array([np.array(result["moves"])[-1] for result in results]).ravel()
        moving = last[periods != 1]
        body.append([
            system, kind, str(len(periods)), *(str(int((periods == p).sum())) for p in (1, 2)),
            str(int((periods > 2).sum())), str(int((periods == 0).sum())),
            f"{moving.mean():.2f}" if len(moving) else "-",
        ])  # fmt: skip
    head = ["system", "net", "utterances", "at rest", "period 2", "3 to 12", "longer or none",
            "change a pass of those that move, share"]  # fmt: skip
    return table(head, body)


def spread_table(groups: Groups) -> str:
    """Return how much moves at each level, and how far from a changed event, pass by pass."""
    body = []
    for (system, kind), results in groups.items():
        for heard_by in results[0]["spread"]:
            moved, reach = (
                np.mean([r["spread"][heard_by][what] for r in results], 0)
                for what in ("moved", "reach")
            )
            for level in range(moved.shape[1]):
                cells = [
                    f"{m:.2f} at {10 * away:.0f} ms" if m >= LEAST else f"{m:.2f}"
                    for m, away in zip(moved[:, level], reach[:, level], strict=True)
                ][:4]
                steps = np.mean([np.mean(r["steps"]) for r in results])
                body.append([system, kind, heard_by, str(level), *cells,
                             f"{100 * moved[-1, level] / steps:.1f}"])  # fmt: skip
    head = ["system", "net", "changed for level", "moves at level", "pass 1", "2", "3", "4",
            "last, % of all steps"]  # fmt: skip
    return table(head, body)


def law_tables(groups: Groups, rounds: int) -> str:
    """Return the rank laws of the units that win in the last pass, level by level, net by net."""
    rows = []
    for (_, kind), results in groups.items():
        for result in results:
            for level, won in result["wins"]["last pass"].items():
                name = f"{result['name']} {kind}, level {level} of {len(won[0])}"
                try:
                    rows.append(measure(name, np.array(won), rounds))
                except ConfigError:  # fewer than two units
                    continue
    return report(rows)


def picture(groups: Groups, path: Path) -> None:
    """Plot exponents by gain and by distance, how loops settle, and errors by exponent."""
    figure, row = axes(4, 17, 3.9)
    styles = {"trained": "-", "untrained": "--"}
    for ((system, kind), results), colour in zip(groups.items(), COLOURS * 3, strict=False):
        label, style = f"{system}, {kind}", styles[kind]
        gains = sorted({r["gain"] for r in results[0]["exponents"]} - {0.0})
        distances = sorted({r["distance"] for r in results[0]["exponents"]})
        for axis, at, found in (
            (row[0], gains, [exponents(results, g, DISTANCE) for g in gains]),
            (row[1], distances, [exponents(results, 1, d) for d in distances]),
        ):
            finite = [(x, v[np.isfinite(v)]) for x, v in zip(at, found, strict=True)]
            finite = [(x, v) for x, v in finite if len(v)]
            axis.plot([x for x, _ in finite], [v.mean() for _, v in finite], style + "o", ms=3,
                      color=colour, label=label)  # fmt: skip
            axis.fill_between([x for x, _ in finite], *zip(*[(v.min(), v.max()) for _, v in finite],
                              strict=True), color=colour, alpha=0.1, lw=0)  # fmt: skip
        moves = np.concatenate([np.array(r["moves"]) for r in results], 1)
        row[2].plot(range(2, len(moves) + 2), np.median(moves, 1), style, color=colour, label=label)
        if "errors" not in results[0]:
            continue
        for condition, marker in zip(ordered(results[0]["errors"]), "os^v", strict=False):
            points = [
                (exponents(results, g, DISTANCE).mean(),
                 100 * rate_of(error_counts(results, condition, f"gain {g:g}", "phones")).value)
                for g in gains
            ]  # fmt: skip
            row[3].plot(*zip(*points, strict=True), marker + "-", ms=4, color=colour,
                        label=f"{system}, {condition}")  # fmt: skip
    for axis in (row[0], row[1]):
        axis.axhline(0, color="0.3", lw=0.8)
        axis.set(xscale="log", ylabel="exponent, nats a pass")
    row[0].set_xlabel("gain of what is heard")
    row[1].set_xlabel("distance, share of what is heard")
    row[2].set(xlabel="pass", ylabel="change of what is heard, share", ylim=(0, 1))
    row[3].set(xlabel="exponent, nats a pass", ylabel="phone errors, %")
    for axis in row:
        axis.legend(frameon=False, fontsize=7)
    save(figure, path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="with the results of `measure`")
    parser.add_argument("--out", type=Path, default=Path("out/claims/loop"))
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of resampling, for the laws")
    options = parser.parse_args(arguments)
    groups = read(options.folder)
    parts = [gain_table(groups), distance_table(groups), settling_table(groups)]
    parts += [pass_table(groups), spread_table(groups)]
    text = "\n".join([*parts, law_tables(groups, options.rounds)])
    picture(groups, options.out / "loop.png")
    (options.out / "loop.md").write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
