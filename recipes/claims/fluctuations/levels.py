"""Errors, clean and in noise, of nets whose units or tracks fluctuate, and of their rivals (C22).

    python -m recipes.claims.fluctuations.levels --runs FOLDER ... --cuts CUTS --noise NOISE
        --use units:1:8=fluctuation-1 --use tracks:1:16=none,tracks-1 --refit fluctuation-1

Each FOLDER has runs NAME-seedN of levels.yaml. What is measured is kept in OUT/levels.json.
"""

import argparse
import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from recipes.claims.asymmetry.common import COLOURS, axes, formatted, log, save
from recipes.claims.context.report import change, rate_of
from recipes.claims.fluctuations.on_tracks import fluctuating
from recipes.claims.fluctuations.strength import events_of, heard, in_use, refitted
from recipes.claims.loop.measure import errors
from recipes.claims.loop.report import ordered
from recipes.claims.ranks import watched
from recipes.provenance import commit, machine, table
from speechasym import files
from speechasym.corpora.manifests import stream_cuts
from speechasym.errors import ConfigError
from speechasym.recognition.trained_model import TrainedModel, open_run

RIVAL = "none"
COUNT = 20  # utterances whose events are counted
FIGURE = (
    *(f"fluctuation-{strength}" for strength in ("0.1", "0.3", "1", "3")),
    *(f"tracks-{strength}" for strength in ("0.1", "0.3", "1", "3")),
    *(f"tracks-{s} + tracks {s} x 16" for s in ("0.1", "0.3", "1", "3")),
    *(f"features-{strength}" for strength in ("0.05", "0.1", "0.18", "0.55", "0.8")),
    "narrow", "dropout",
)  # fmt: skip
AGAINST = (  # ours, and a rival of equal strength or the usual one
    ("fluctuation-1", "features-0.55"), ("fluctuation-1", "dropout"), ("tracks-1", "features-0.05"),
    ("tracks-1", "dropout"), ("tracks-0.3 + tracks 0.3 x 16", "features-0.1"),
    ("tracks-0.3 + tracks 0.3 x 16", "features-0.8"), ("tracks-0.3 + tracks 0.3 x 16", "narrow"),
)  # fmt: skip
Nets = dict[str, TrainedModel]  # NAME-seedN


class Use(NamedTuple):
    """Noise in use, of systems."""

    kind: str = ""  # units or tracks
    strength: float = 0.0
    draws: int = 1
    refit: bool = False  # widths of the hysteresis of events are found again
    systems: tuple[str, ...] = ()  # none: all

    @property
    def label(self) -> str:
        """What follows the system's name."""
        noise = f" + {self.kind} {self.strength:g} x {self.draws}" if self.kind else ""
        noise = noise if self.draws else " without asymmetry"
        return noise + " + widths" * self.refit

    def of(self, net: TrainedModel, dev: str) -> TrainedModel:
        """Return a net as it is used."""
        if self.kind == "units":
            net = in_use(net, self.strength, self.draws)
        return refitted(net, dev) if self.refit else net


def use_of(word: str) -> Use:
    """Read KIND:STRENGTH:DRAWS[:widths]=SYSTEM,... Raises `ConfigError`."""
    what, _, systems = word.partition("=")
    kind, *numbers = what.split(":")
    try:
        strength, draws = float(numbers[0]), int(numbers[1])
        if kind not in ("units", "tracks") or not systems or numbers[2:] not in ([], ["widths"]):
            raise ValueError
    except (ValueError, IndexError):
        problem = f"must be KIND:STRENGTH:DRAWS[:widths]=SYSTEM,..., got {word!r}"
        raise ConfigError("--use", problem, "Use units:1:8=none, or tracks:1:16=none") from None
    return Use(kind, strength, draws, bool(numbers[2:]), tuple(systems.split(",")))


def finished(folders: Sequence[Path]) -> dict[str, dict[str, Path]]:
    """Return {system: {seed: run}} of the finished runs in folders."""
    runs: dict[str, dict[str, Path]] = {}
    for path in sorted(p for f in folders for p in f.glob("*-seed*/model.safetensors")):
        name, seed = path.parent.name.rsplit("-seed", 1)
        runs.setdefault(name, {})[seed] = path.parent
    if RIVAL not in runs:
        raise ConfigError(folders[0], f"has no runs {RIVAL}-seedN", "Train levels.yaml first")
    return runs


def measure(
    runs: dict[str, dict[str, Path]], uses: Sequence[Use], options: argparse.Namespace
) -> dict[str, Any]:
    """Return {condition: {net: errors}} and {"events": {net: events a second by level}}."""
    path = options.out / "levels.json"
    measured: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    opened = {f"{n}-seed{s}": open_run(run) for n, by in runs.items() for s, run in by.items()}
    cuts = [cut for _, cut in stream_cuts(options.cuts)]
    cuts = cuts[:: max(1, len(cuts) // COUNT)][:COUNT]
    seconds = sum(cut.duration for cut in cuts)
    for use in (Use(), *uses):
        nets: Nets = {}
        for name, net in opened.items():
            system, seed = name.rsplit("-seed", 1)
            label = f"{system}{use.label}-seed{seed}"
            if label in measured.get("events", {}) or (use.systems and system not in use.systems):
                continue
            nets[label] = use.of(net, net.config.data.dev)
        if not nets:
            continue
        noisy = fluctuating(use.strength, use.draws) if use.kind == "tracks" else nullcontext()
        found: dict[str, Any] = {"events": {}}
        with noisy:
            for config in {repr(net.feature_config) for net in nets.values()}:
                alike = {name: n for name, n in nets.items() if repr(n.feature_config) == config}
                read = errors(alike, options.cuts, options.noise, options.snr, options.every)
                for condition, values in read.items():
                    found.setdefault(condition, {}).update(values)
        for name, net in nets.items():
            strength = use.strength if use.kind == "tracks" else 0.0
            counts = [events_of(heard(net, cut, "tracks", strength, use.draws)) for cut in cuts]
            found["events"][name] = (np.sum(counts, 0) / seconds).tolist()
        for condition, values in found.items():
            measured.setdefault(condition, {}).update(values)
        files.write_json(path, measured)
        log(f"measured {', '.join(nets)}")
    return measured


def by_system(values: dict[str, Any]) -> dict[str, list[Any]]:
    """Return {system: values of its seeds, in order} of {net: value}."""
    out: dict[str, list[Any]] = {}
    for name in sorted(values):
        out.setdefault(name.rsplit("-seed", 1)[0], []).append(values[name])
    return {name: out[name] for name in (RIVAL, *(n for n in sorted(out) if n != RIVAL))}


def conditions_of(measured: dict[str, Any]) -> list[str]:
    """Return clean, and then from the weakest noise to the strongest."""
    noisy = [name for name in measured if name.endswith(" dB")]
    return ["clean", *sorted(noisy, key=lambda name: -float(name.split()[0]))]


def counts(measured: dict[str, Any], condition: str, head: str) -> dict[str, NDArray[Any]]:
    """Return {system: errors and tokens (seeds, speakers, 2)}."""
    systems = by_system(measured[condition])
    return {name: np.array([list(net[head].values()) for net in nets], float)
            for name, nets in systems.items()}  # fmt: skip


def report(measured: dict[str, Any], runs: dict[str, dict[str, Path]]) -> str:
    """Return error rates, differences, events, and units that never win."""
    conditions = conditions_of(measured)
    heads = ordered(next(iter(measured["clean"].values())))
    tables, against = [], []
    for head in heads:
        found = {condition: counts(measured, condition, head) for condition in conditions}
        trained = [[system, str(len(c))] for system, c in found["clean"].items() if system in runs]
        used = [[system] for system in found["clean"] if system not in runs]
        for systems in found.values():
            for row in trained:
                own = systems[row[0]]
                cost = change(own, systems[RIVAL], paired=False)
                row += [formatted(rate_of(own), 1, 100),
                        "" if row[0] == RIVAL else formatted(cost, 1, 100)]  # fmt: skip
            for row in used:
                own, same = systems[row[0]], systems[row[0].split()[0]]
                none = change(own, systems[RIVAL], paired=row[0].startswith(f"{RIVAL} "))
                row += [formatted(x, 1, 100) for x in (rate_of(own), change(own, same), none)]
        for ours, rival in AGAINST:
            if ours in found["clean"] and rival in found["clean"]:
                costs = [change(s[ours], s[rival], paired=False) for s in found.values()]
                cells = [formatted(cost, 1, 100) for cost in costs]
                against.append([ours, rival, head, *cells])
        columns = [x for c in conditions for x in (f"{c}, %", "more than none, points")]
        tables.append(table([head, "seeds", *columns], trained))
        than = "more than the same nets, points", "more than none, points"
        more = [x for c in conditions for x in (f"{c}, %", *than)]
        tables += [table([f"{head}: in use", *more], used)] if used else []
    if against:
        more = [f"{c}, more than the rival, points" for c in conditions]
        tables.append(table(["ours", "rival", "head", *more], sorted(against)))
    rows = []
    for system, nets in by_system(measured["events"]).items():
        levels = np.array(nets).T
        cells = [f"{x.mean():.2f} ({x.min():.2f}-{x.max():.2f})" for x in levels]
        rows.append([system, *cells])
    tables.append(table(["events a second", *(f"level {n}" for n in range(len(levels)))], rows))
    every = [run for system in runs.values() for run in system.values()]
    return "\n".join([*tables, watched.report(every)])


def picture(measured: dict[str, Any], path: Path) -> None:
    """Plot how many more errors than without noise there are, by kind and strength of noise."""
    conditions = conditions_of(measured)
    heads = ordered(next(iter(measured["clean"].values())))
    figure, row = axes(len(heads), 5.2 * len(heads), 4.6)
    for axis, head in zip(row, heads, strict=True):
        axis.axhline(0, color="black", linewidth=0.8)
        for number, (condition, colour) in enumerate(zip(conditions, COLOURS, strict=False)):
            systems = counts(measured, condition, head)
            names = [name for name in FIGURE if name in systems]
            costs = [change(systems[name], systems[RIVAL], paired=False) for name in names]
            middle, low, high = 100 * np.array([(c.value, c.low, c.high) for c in costs]).T
            beside = 0.2 * (number - (len(conditions) - 1) / 2)
            axis.errorbar(np.arange(len(names)) + beside, middle, (middle - low, high - middle),
                          fmt="o", color=colour, label=condition)  # fmt: skip
        axis.set(title=head, ylabel="errors more than without noise, points")
        labels = [name.replace("fluctuation", "units") for name in names]
        labels = [label.split(" + ")[0] + " in use too" * (" + " in label) for label in labels]
        axis.set_xticks(range(len(names)), labels, rotation=60, ha="right")
    row[-1].legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    save(figure, path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--runs", type=Path, nargs="+", required=True, help="folders of runs NAME-seedN")
    add("--cuts", required=True, help="test utterances")
    add("--noise", type=Path, help="folder of noises; default: as recorded only")
    add("--snr", type=float, nargs="*", default=[5.0, 0.0], help="dB")
    add("--every", type=int, default=1, help="reads one of so many utterances")
    add("--use", action="append", default=[], metavar="KIND:STRENGTH:DRAWS[:widths]=SYSTEM,...",
        help="noise in use, of finished runs")  # fmt: skip
    add("--refit", help="comma-separated systems to read with widths found again, without noise")
    add("--out", type=Path, default=Path("out/claims/fluctuations"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    runs = finished(options.runs)
    uses = [use_of(word) for word in options.use]
    if options.refit:
        uses.append(Use(refit=True, systems=tuple(options.refit.split(","))))
    options.out.mkdir(parents=True, exist_ok=True)
    measured = measure(runs, uses, options)
    picture(measured, options.out / "levels.png")
    text = f"{commit()}, {machine()}\n\n{report(measured, runs)}"
    (options.out / "levels.md").write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
