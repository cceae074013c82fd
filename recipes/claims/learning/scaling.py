"""How many times faster do many workers train? A model of few numbers, measured on one machine.

Three ways of using W workers, relative to backpropagation on one of them:

- blocks that learn by local errors, each worker a part of the stack: never waits for a gradient;
- backpropagation with the same parts as a pipeline, in the order 1F1B [2];
- backpropagation with whole replicas, whose gradients are summed over a ring.

Once each level has a worker of its own, more workers are replicas of all parts, and each part's
gradients are summed over them.

[1] Y. Huang et al., "GPipe: efficient training of giant neural networks using pipeline
    parallelism", NeurIPS, 2019.
[2] D. Narayanan et al., "PipeDream: generalized pipeline parallelism for DNN training", SOSP, 2019.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from recipes.claims.learning.stacks import split

WORKERS = [2**k for k in range(11)]
GIGABITS = (1, 10, 100)  # a second
LATENCY = 50e-6  # seconds, of a usual network
# Okabe and Ito's palette, distinguishable with any colour vision
LINES = {
    "local": ("#0072B2", "-", "o", "local"),
    "local+global, imitation": ("#56B4E9", "-", "v", "local+global, imitation"),
    "pipeline": ("#D55E00", "--", "s", "backprop, pipeline 1F1B"),
    "pipeline, batch x 4": ("#E69F00", "--", "D", "the same, batch x 4"),
    "replicas": ("#000000", ":", "^", "backprop, replicas only"),
}


class Affine(NamedTuple):
    """Seconds of n utterances: a fixed part, and one for each."""

    fixed: float
    each: float

    def __call__(self, n: float) -> float:
        """Return the seconds of n utterances."""
        return self.fixed + self.each * n

    def __add__(self, other: "Affine") -> "Affine":  # type: ignore[override]
        """Return the seconds of both."""
        return Affine(self.fixed + other.fixed, self.each + other.each)

    @classmethod
    def fitted(cls, points: Mapping[int, float]) -> "Affine":
        """Fit {utterances: seconds} by relative errors; neither part is negative."""
        n, t = (np.array(side, float) for side in (list(points), list(points.values())))
        rows = np.stack([1 / t, n / t], 1)
        fixed, each = (
            np.linalg.lstsq(rows, np.ones(len(n)), rcond=None)[0] if len(n) > 1 else (0, 0)
        )
        if fixed <= 0 or each <= 0:
            fixed, each = 0.0, float(np.exp(np.log(t / n).mean()))
        return cls(float(fixed), float(each))


class Link(NamedTuple):
    """A connection, each way."""

    latency: float  # seconds
    bandwidth: float  # bytes a second

    def seconds(self, size: float) -> float:
        """Return the seconds until so many bytes have arrived."""
        return self.latency + self.transfer(size)

    def transfer(self, size: float) -> float:
        """Return the seconds for which so many bytes occupy the connection."""
        return size / self.bandwidth


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What a stack costs on one worker, forward and backward together."""

    levels: int
    batch: int  # utterances of one replica
    first: Affine  # of the lowest level
    level: Affine  # of any other
    head: Affine  # and its loss
    update: float  # seconds, of one level's parameters
    boundary: float  # bytes of an utterance between levels
    parameters: float  # bytes of one level
    # by rule, seconds a batch of what a level below the top needs to learn by itself
    extras: Mapping[str, float] = field(default_factory=dict)
    cores: float = math.inf  # that all workers share

    def parts(self, count: int, n: float) -> list[float]:
        """Return the seconds of each part for n utterances; the last has the head.

        Raises `ConfigError` for more parts than levels.
        """
        seconds = []
        for own in split(self.levels, count):
            time = (self.first if own.start == 0 else self.level)(n)
            time += (len(own) - 1) * self.level(n)
            if own.stop == self.levels:
                time += self.head(n)
            seconds.append(time)
        return seconds

    def longest(self, parts: int) -> int:
        """Return the levels of the longest part."""
        return -(-self.levels // parts)


def one_worker(costs: Costs) -> float:
    """Return the seconds a batch of backpropagation on one worker."""
    return costs.parts(1, costs.batch)[0] + costs.levels * costs.update


def ring(size: float, replicas: int, link: Link) -> float:
    """Return the seconds for summing so many bytes over a ring of replicas, twice round."""
    return 2 * (replicas - 1) * link.seconds(size / replicas)


def local(
    costs: Costs, rule: str, parts: int, link: Link, queue: int = 2, broadcast: float = 0
) -> float:
    """Return the seconds a batch of a steady run in which each part learns by itself.

    The slowest of: computing, with what each level learns from; one batch's bytes on a connection;
    a batch's way up and the answer that its place in the queue is free, for each place.

    Args:
        rule: a key of `costs.extras`.
        queue: batches that may be on their way to a part.
        broadcast: bytes of an utterance's global error, which the top sends to each other part.
    """
    extra = costs.extras[rule]
    seconds = [
        time + len(own) * costs.update + (len(own) - (own.stop == costs.levels)) * extra
        for time, own in zip(
            costs.parts(parts, costs.batch), split(costs.levels, parts), strict=True
        )
    ]
    slot = max(*seconds, sum(seconds) / costs.cores)
    if parts > 1:
        size = costs.batch * costs.boundary
        slot = max(slot, link.transfer(size), (2 * link.latency + link.transfer(size)) / queue)
        slot = max(slot, link.transfer(costs.batch * broadcast * (parts - 1)))
    return slot


def pipelined(costs: Costs, parts: int, microbatches: int, link: Link) -> float:
    """Return the seconds a batch of backpropagation through parts in the order 1F1B.

    While the pipeline fills and drains, a share (P - 1) / (M + P - 1) of the time is idle [1]. At
    most P microbatches are under way, so that each P of them wait for one way up and down again, 2
    (P - 1) times from part to part; filling and draining add 2 (P - 2). Where cores are shared,
    they slow down the time in which all parts have work.
    """
    n = costs.batch / microbatches
    seconds = costs.parts(parts, n)
    update = costs.longest(parts) * costs.update
    size = n * costs.boundary
    computing = (microbatches * max(1, parts / costs.cores) + parts - 1) * max(seconds)
    hops = 2 * (parts - 1) * microbatches / parts + 2 * max(0, parts - 2)
    total = computing + hops * link.seconds(size) if parts > 1 else computing
    return total + max(update, costs.levels * costs.update / costs.cores)


def replicated(costs: Costs, replicas: int, link: Link) -> float:
    """Return the seconds a batch of backpropagation on replicas that share the batch."""
    computing = replicas * costs.parts(1, costs.batch / replicas)[0]
    seconds = max(computing / replicas, computing / costs.cores) + costs.levels * costs.update
    return seconds + ring(costs.levels * costs.parameters, replicas, link)


def best_microbatches(costs: Costs, parts: int, link: Link) -> int:
    """Return the number of microbatches, a divisor of the batch, that is fastest."""
    allowed = [m for m in range(1, costs.batch + 1) if costs.batch % m == 0 and m >= parts]
    return min(allowed or [costs.batch], key=lambda m: pipelined(costs, parts, m, link))


def divided(workers: int, levels: int) -> tuple[int, int]:
    """Return parts and replicas: as many parts as divide the workers, one level each at most."""
    parts = max(p for p in range(1, min(workers, levels) + 1) if workers % p == 0)
    return parts, workers // parts


def speedup(system: str, workers: int, costs: Costs, link: Link) -> float:
    """Return utterances a second relative to backpropagation on one worker.

    Args:
        system: a key of LINES.
    """
    alone = one_worker(costs) / costs.batch
    if system == "pipeline, batch x 4":
        costs = replace(costs, batch=4 * costs.batch)
    parts, replicas = (1, workers) if system == "replicas" else divided(workers, costs.levels)
    if system.startswith("local"):
        seconds = local(costs, system, parts, link)
    else:
        seconds = pipelined(costs, parts, best_microbatches(costs, parts, link), link)
    seconds += ring(costs.longest(parts) * costs.parameters, replicas, link)
    return replicas * costs.batch * alone / seconds


def faster(costs: Costs, times: float) -> Costs:
    """Return the costs on workers that compute so many times as fast."""
    changed = {
        name: Affine(*(v / times for v in getattr(costs, name)))
        for name in ("first", "level", "head")
    }
    extras = {rule: seconds / times for rule, seconds in costs.extras.items()}
    return replace(costs, update=costs.update / times, extras=extras, **changed)  # type: ignore[arg-type]


def measured_costs(
    lines: Sequence[Mapping[str, Any]], setup: Any, relative: Mapping[str, float]
) -> Costs:
    """Return the medians of the lines that `costs.Levels` has measured.

    Args:
        relative: by rule, seconds of one process relative to those of backpropagation.
    """
    affine: dict[str, Any] = {}
    for name in ("first", "level", "head"):
        points = {
            int(n): median(sum(line["seconds"][n][name]) for line in lines)
            for n in lines[0]["seconds"]
        }
        affine[name] = Affine.fitted(points)
    found = Costs(
        levels=setup.levels, batch=setup.batch, boundary=setup.boundary, **affine,
        update=median(line["update"] for line in lines), parameters=lines[0]["parameters"],
    )  # fmt: skip
    share = one_worker(found) / max(1, setup.levels - 1)
    return replace(found, extras={rule: (time - 1) * share for rule, time in relative.items()})


def draw(costs: Costs, path: Path, times: Sequence[float] = (1, 100)) -> None:
    """Draw the predicted speed-up per worker over workers, a column for each connection."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, rows = plt.subplots(
        len(times), len(GIGABITS), figsize=(11, 3.1 * len(times) + 0.8), sharex=True, sharey=True,
        layout="constrained", squeeze=False,
    )  # fmt: skip
    for row, speed in zip(rows, times, strict=True):
        for axis, gigabits in zip(row, GIGABITS, strict=True):
            link = Link(LATENCY, gigabits * 1e9 / 8)
            for system, (colour, style, marker, label) in LINES.items():
                values = [speedup(system, w, faster(costs, speed), link) / w for w in WORKERS]
                axis.plot(WORKERS, values, style, color=colour, marker=marker, ms=4, label=label)
            axis.axvline(costs.levels, color="#999999", lw=0.8)
            if speed == times[0]:
                words = f" {costs.levels} levels: more\n workers are replicas"
                axis.text(costs.levels, 0.02, words, fontsize=7, color="#555555", va="bottom")
            axis.set(xscale="log", ylim=(0, 1.12))
            axis.set_xticks([1, 4, 16, 64, 256, 1024], ["1", "4", "16", "64", "256", "1024"])
            axis.minorticks_off()
            axis.spines[["top", "right"]].set_visible(False)
            axis.grid(alpha=0.25)
            axis.set_title(
                f"{gigabits} Gbit/s" + ("" if speed == 1 else f", workers {speed:g} times as fast")
            )
        row[0].set_ylabel("speed-up per worker")
    for axis in rows[-1]:
        axis.set_xlabel("workers")
    figure.legend(*rows[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    figure.savefig(path, dpi=110)
    plt.close(figure)
