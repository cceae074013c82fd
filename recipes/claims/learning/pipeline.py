"""Measure ways of training one stack on the same cores, and predict them for many workers.

python -m recipes.claims.learning.pipeline --out out/claims/learning

All systems take turns in each round, so that their ratios are paired. The processes of all of them
are there from the start, and sleep until it is their turn. Run again, it continues after the last
complete round.
"""

import argparse
import json
import math
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, fields, replace
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch

from recipes.claims.learning import costs, scaling, systems
from recipes.claims.learning.processes import Processes
from recipes.claims.learning.scaling import Costs, Link
from recipes.claims.learning.stacks import Setup
from recipes.compare.jobs import guarded, publish, read_lines
from recipes.provenance import commit, machine, table
from speechasym import files
from speechasym.config import check_count

ROUNDS, STEPS = 7, 8
GOAL = 1.5
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
WAITS = {
    "below": "waiting for below",
    "queue": "waiting for the queue",
    "error": "waiting for errors",
}
LINES, REPORT, FIGURE = "parallel.jsonl", "parallel.md", "scaling.png"
ALONE = ", 1 process, 1 thread"
ONE, TWO = f"backprop{ALONE}", "backprop, 1 process, 2 threads"
RECOMPUTE = {"rule": "backprop", "recompute": True}
STALENESS = 2  # steps
SIZES = (1, 2, 3)  # processes that share the levels of a stack
RULES: dict[str, dict[str, Any]] = {
    "local": {"rule": "local"},
    "local+global, imitation": {"rule": "local+global", "feedback": "imitation"},
    "local+global, broadcast": {
        "rule": "local+global",
        "feedback": "broadcast",
        "staleness": STALENESS,
    },
}
LEVELS, CONNECTION = "costs of levels", "connection"


class System(NamedTuple):
    """Processes that train the stack in one way."""

    name: str
    make: Any
    size: int = 1
    threads: int = 1
    arguments: tuple[Any, ...] = ()

    @property
    def processes(self) -> range:
        """The processes, that with the lowest part first."""
        return range(self.size)[:: -1 if self.make.divided else 1]

    def seconds(self, costs: Costs, link: Link) -> float:
        """Return the predicted seconds a batch; NaN for what the model does not predict."""
        if self.make is systems.Local:
            rule = self.name.rpartition(", ")[0]
            return scaling.local(costs, rule, self.size, link) if self.size > 1 else math.nan
        if self.make is systems.Backprop:
            if self.threads > 1:
                return math.nan
            return scaling.replicated(costs, self.size, link)
        _, microbatches = self.arguments
        return scaling.pipelined(costs, self.size, microbatches, link)


def all_systems(microbatches: Sequence[int]) -> list[System]:
    """Return the systems that take turns."""
    found = [
        System(ONE, systems.Backprop),
        System(TWO, systems.Backprop, threads=2),
        System("backprop, 2 replicas", systems.Backprop, 2),
        System(f"backprop, recompute{ALONE}", systems.Local, arguments=(RECOMPUTE,)),
    ]
    for rule, keys in RULES.items():
        for size in SIZES:
            name = ALONE if size == 1 else f", {size} processes"
            found.append(System(f"{rule}{name}", systems.Local, size, 1, (keys,)))
    for place, count in enumerate(microbatches):
        for size, schedule in ((2, "1F1B"), (3, "1F1B"), (2, "GPipe")):
            if count >= size and (schedule == "1F1B" or not place):
                name = f"backprop, {schedule}, {size} processes, {count} microbatches"
                found.append(System(name, systems.Pipelined, size, 1, (schedule, count)))
    return found


def measure(path: Path, setup: Setup, microbatches: Sequence[int], rounds: int, steps: int) -> None:
    """Append the lines of the rounds that are missing to a file."""
    common = {
        "setup": asdict(setup), "microbatches": list(microbatches), "steps": steps,
        "commit": commit(), "machine": machine(), "cores": CORES, "torch": torch.__version__,
    }  # fmt: skip
    done = len({line["round"] for line in chosen(path, setup, microbatches)})
    if done >= rounds:
        return
    found = all_systems(microbatches)
    with ExitStack() as stack:
        start = stack.enter_context
        running = {
            s.name: start(Processes(s.make, s.size, s.threads, (setup, *s.arguments)))
            for s in found
        }
        levels = start(Processes(costs.Levels, arguments=(setup,)))
        connection = start(Processes(costs.Connection, 2, arguments=(setup,)))
        peaks = {name: group.ask(("memory",)) for name, group in running.items()}
        for number in range(done, rounds):
            new: list[dict[str, Any]] = [
                {"system": LEVELS, **levels.ask(("measure",))[0]},
                {"system": CONNECTION, **connection.ask(("measure",))[0]},
            ]
            for name in list(running)[:: 1 if number % 2 else -1]:
                answers = running[name].ask(("timed", steps))
                merged = {key: [a[key] for a in answers] for key in answers[0]}
                new.append({"system": name, **merged, "peak": peaks[name]})
            new = [{"round": number, **line, **common} for line in new]
            with files.atomic(path) as file:
                file.write("".join(json.dumps(x) + "\n" for x in read_lines(path) + new).encode())
            print(f"round {number + 1} of {rounds}", flush=True)


def chosen(path: Path, setup: Setup, microbatches: Sequence[int]) -> list[dict[str, Any]]:
    """Return the lines of one setup."""
    return [
        line for line in read_lines(path)
        if line["setup"] == asdict(setup) and line["microbatches"] == list(microbatches)
    ]  # fmt: skip


def _by_system(lines: Sequence[dict[str, Any]]) -> dict[str, dict[int, dict[str, Any]]]:
    """Return {system: {round: line}}."""
    by: dict[str, dict[int, dict[str, Any]]] = {}
    for line in lines:
        by.setdefault(line["system"], {})[line["round"]] = line
    return by


def model_of(lines: Sequence[dict[str, Any]], setup: Setup) -> Costs:
    """Return the model's numbers."""
    by = _by_system(lines)
    relative = {rule: 1 / median(_ratios(by, f"{rule}{ALONE}", ONE)) for rule in RULES}
    return scaling.measured_costs(list(by[LEVELS].values()), setup, relative)


def report(lines: Sequence[dict[str, Any]], setup: Setup, microbatches: Sequence[int]) -> str:
    """Return what was measured and what the model predicts for the same, in Markdown."""
    by = _by_system(lines)
    modelled = model_of(lines, setup)
    link = Link(*(median(x[key] for x in by[CONNECTION].values()) for key in Link._fields))
    cores = lines[0]["cores"]
    shared = replace(modelled, cores=cores)
    rows = []
    for system in all_systems(microbatches):
        found = by[system.name]
        some = found[min(found)]
        speed = {r: setup.batch * x["steps"] / max(x["seconds"]) for r, x in found.items()}
        busy = [
            median(x["busy"][p] / x["seconds"][p] for x in found.values()) for p in system.processes
        ]
        predicted = scaling.one_worker(modelled) / system.seconds(shared, link)
        to_one = _ratios(by, system.name, ONE)
        rows.append(
            [
                system.name,
                f"{median(speed.values()):.1f}",
                _spread(to_one),
                "-" if math.isnan(predicted) else f"{predicted:.2f}",
                _spread(_ratios(by, system.name, TWO)),
                ", ".join(f"{share:.2f}" for share in busy),
                f"{1 - sum(busy) / len(busy):.2f}",
                ", ".join(f"{some['peak'][p] / 1e6:.1f}" for p in system.processes),
                ", ".join(f"{some['sent'][p] / 1e3:.0f}" for p in system.processes),
            ]
        )
    head = [
        "system", "utterances a second", "relative to 1 process, 1 thread", "predicted",
        "relative to 1 process, 2 threads", "computing, share of time, from the lowest part",
        "bubble", "activations, MB, by process", "sent, kB a step, by process",
    ]  # fmt: skip
    some = lines[0]
    words = ", ".join(f"{key} {value}" for key, value in asdict(setup).items())
    parts = [
        "# One stack, trained in several ways",
        f"Stack: {words}. {len(by[ONE])} rounds of {some['steps']} steps, all systems in turn; "
        f"medians and, of ratios within a round, (least to greatest).\n"
        f"Machine: {some['machine']}, {cores} cores; torch {some['torch']}; commits "
        f"{', '.join(sorted({x['commit'] for x in lines}))} (plus: with uncommitted changes).",
        table(head, rows),
        f"Goal: {_verdict(by)}",
        "## Where the time goes",
        critical_path(by, microbatches),
        "## The model's numbers",
        numbers(modelled, link),
        f"## Predicted speed-up, workers of this kind, latency {scaling.LATENCY * 1e6:g} µs",
        predictions(modelled),
        f"![speed-up per worker]({FIGURE})",
    ]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def critical_path(by: dict[str, dict[int, dict[str, Any]]], microbatches: Sequence[int]) -> str:
    """Return the shares of the time of each process of several, the lowest part first."""
    rows = []
    for system in all_systems(microbatches):
        lines = list(by[system.name].values())
        for place, process in enumerate(system.processes):
            computing = [x["busy"][process] / x["seconds"][process] for x in lines]
            waits = [
                [x["waited"][process].get(name, 0.0) / x["seconds"][process] for x in lines]
                for name in WAITS
            ]
            rest = [1 - sum(shares) for shares in zip(computing, *waits, strict=True)]
            if system.size > 1:
                shares = [f"{median(column):.2f}" for column in (computing, *waits, rest)]
                rows.append([system.name, str(place + 1), *shares])
    head = ["system", "part", "computing", *WAITS.values(), "rest: other waiting, sums, sending"]
    return table(head, rows)


def _verdict(by: dict[str, dict[int, dict[str, Any]]]) -> str:
    """Return whether two processes with one core each reach the goal, and what bounds them."""
    texts = []
    for rule in RULES:
        ratios = _ratios(by, f"{rule}, 2 processes", TWO)
        bound = 2 * median(_ratios(by, f"{rule}{ALONE}", TWO))
        reached = "reached" if median(ratios) >= GOAL else "not reached"
        texts.append(f"{rule} {_spread(ratios)}, {reached}; without any waiting {bound:.2f}")
    return (
        f"2 processes of one core each at least {GOAL} x the throughput of backpropagation in one "
        f"process with 2 threads. {'. '.join(texts)}."
    )


def numbers(modelled: Costs, link: Link) -> str:
    """Return the model's numbers as a table."""
    rows = [
        [f"{title}, ms", f"{1e3 * time.fixed:.2f} + {1e3 * time.each:.3f} n"]
        for title, time in (
            ("lowest level, n utterances forward and backward", modelled.first),
            ("any other level", modelled.level),
            ("head and its loss", modelled.head),
        )
    ]
    rows += [
        [f"{rule}, besides each level below the top, for a batch, ms", f"{1e3 * time:.2f}"]
        for rule, time in modelled.extras.items()
    ]
    rows += [
        ["update of a level, ms", f"{1e3 * modelled.update:.2f}"],
        ["bytes of an utterance between levels", f"{modelled.boundary:.0f}"],
        ["bytes of a level's parameters", f"{modelled.parameters:.0f}"],
        ["latency between processes here, µs", f"{1e6 * link.latency:.0f}"],
        ["bandwidth between processes here, Gbit/s", f"{8e-9 * link.bandwidth:.1f}"],
    ]
    return table(["number", "measured"], rows)


def predictions(modelled: Costs) -> str:
    """Return predicted speed-ups as a table."""
    head = ["workers", "parts x replicas"]
    head += [f"{line[3]}, {g} Gbit/s" for line in scaling.LINES.values() for g in scaling.GIGABITS]
    rows = []
    for workers in scaling.WORKERS[1:]:
        parts, replicas = scaling.divided(workers, modelled.levels)
        row = [str(workers), f"{parts} x {replicas}"]
        for system in scaling.LINES:
            for gigabits in scaling.GIGABITS:
                link = Link(scaling.LATENCY, gigabits * 1e9 / 8)
                row.append(f"{scaling.speedup(system, workers, modelled, link):.3g}")
        rows.append(row)
    return table(head, rows)


def _ratios(by: dict[str, dict[int, dict[str, Any]]], name: str, other: str) -> list[float]:
    """Return throughputs relative to those of another system, round by round."""
    return [
        max(by[other][r]["seconds"]) / max(line["seconds"]) for r, line in by[name].items()
    ]  # fmt: skip


def _spread(values: Sequence[float]) -> str:
    """Return the median, and the range."""
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the rounds that are missing, and report; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("out/claims/learning"))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--steps", type=int, default=STEPS, help="of each system in a round")
    parser.add_argument("--microbatches", type=int, nargs="+", default=[4, 8])
    for field in fields(Setup):
        parser.add_argument(f"--{field.name}", type=type(field.default), default=field.default)
    parser.add_argument("--report", action="store_true", help="only report complete rounds")
    args = parser.parse_args(arguments)

    def act() -> int:
        for name in ("rounds", "steps"):
            check_count(f"--{name}", getattr(args, name))
        setup = Setup(**{field.name: getattr(args, field.name) for field in fields(Setup)})
        args.out.mkdir(parents=True, exist_ok=True)
        path = args.out / LINES
        if not args.report:
            measure(path, setup, args.microbatches, args.rounds, args.steps)
        lines = chosen(path, setup, args.microbatches)
        if not lines:
            parser.error(f"{path} contains no rounds of this setup; run without --report")
        scaling.draw(model_of(lines, setup), args.out / FIGURE)
        publish(report(lines, setup, args.microbatches), args.out / REPORT)
        return 0

    return guarded(act)


if __name__ == "__main__":
    raise SystemExit(main())
