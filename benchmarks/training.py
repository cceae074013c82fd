"""How fast models train: steps of forward, CTC, backward and AdamW, on one thread, all in turn.

python benchmarks/training.py [--out FILE] [--cuts MANIFEST] [--rounds 9] [--quick]

Every model sees the same batches, of its own features: without a manifest, noise of the lengths
and labels of short sentences (2.4 s; 11.4 phones, 16.6 letters, 3.4 words a second).

Shapes: B batch, F frames, D columns, L labels.
"""

import argparse
import datetime
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from measure import ROOT, table
from torch import Tensor, nn

from speechasym.feature_extraction.sets import AsymmetryFeatures, FeatureConfig, LogMelFeatures
from speechasym.levels import ctc, hierarchy
from speechasym.training import dataset
from speechasym.training import optimiser as optimisation
from speechasym.training.batches import group_by_length, pad_labels
from speechasym.training.config import HEADS, DataConfig, HeadWeights
from speechasym.training.dataset import Batch

COMPACT = AsymmetryFeatures(compact=True, normalise="utterance")
LOGMEL = LogMelFeatures(normalise="utterance")
FEATURES = {"tiny": COMPACT, "small": COMPACT, "base": COMPACT}  # of the others: log-mel
WEIGHTS = HeadWeights(phones=1, letters=0.5, words=0.5).used
SIZES = {"phones": 39, "letters": 28, "words": 98}  # symbols, and how many a second
RATES = {"phones": 11.4, "letters": 16.6, "words": 3.4}
# A step takes as long at any rate; at 0 units stay as fitted, so that events keep the wanted rates:
# early in training they do not, and a level with fewer events has less to compute
LEARNING_RATE, CLIP = 0.0, 5.0
WARM_UP = 30  # steps, in which the widths of hysteresis find the wanted rates of events
MOST = 300  # of them
NEAR = 0.2  # how near the rates have to be by then, as a share


class Data(NamedTuple):
    """Batches, and the seconds of audio in each, padding not counted."""

    batches: list[Batch]
    seconds: list[float]
    sizes: dict[str, int]  # symbols of each head


@dataclass
class Row:
    """A model in training."""

    name: str
    model: nn.Module
    data: Data
    columns: str
    optimiser: torch.optim.Optimizer
    speeds: list[float] = field(default_factory=list)  # h of audio an hour, by round
    shares: list[float] = field(default_factory=list)  # of the time, in CTC and its gradient
    counts: list[list[float]] = field(default_factory=list)  # events by level, of each step
    warm_up: int = 0  # steps

    def events(self, steps: int) -> list[float]:
        """A second, by level, in the last steps: whole rounds of the batches."""
        seconds = sum(self.data.seconds) * steps / len(self.data.batches)
        return [sum(column) / seconds for column in zip(*self.counts[-steps:], strict=True)]


def noise(config: FeatureConfig, count: int, batch_seconds: float) -> Data:
    """Normal noise in place of features, of the same lengths and labels for any columns."""
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(np.log(2.3), 0.3, 40 * count), 1.0, 5.0).tolist()
    groups = group_by_length(lengths, batch_seconds)
    groups = [groups[i] for i in np.linspace(0, len(groups) - 2, count).round().astype(int)]
    columns = len(config.columns())
    generator = torch.Generator().manual_seed(0)
    batches = []
    for group in groups:
        frames = [round(100 * lengths[n]) for n in group]
        rows = [torch.randn(n, columns, generator=generator) for n in frames]
        labels = {
            head: [rng.integers(1, SIZES[head] + 1, round(RATES[head] * n / 100)) for n in frames]
            for head in HEADS
        }
        batches.append(
            Batch(
                [str(n) for n in group],
                nn.utils.rnn.pad_sequence(rows, batch_first=True),
                torch.tensor(frames),
                {head: pad_labels([r.tolist() for r in labels[head]]) for head in HEADS},
            )
        )
    return Data(batches, [float(batch.lengths.sum()) / 100 for batch in batches], SIZES)


def real(config: FeatureConfig, path: Path, count: int, batch_seconds: float) -> Data:
    """Batches of a manifest's cuts, spread from the longest to the shortest."""
    own = DataConfig(train=str(path), dev=str(path), features=config)
    found = dataset.load(own, str(path), HEADS)
    groups = group_by_length(found.seconds, batch_seconds)
    count = min(count, len(groups))
    groups = [groups[i] for i in np.linspace(0, len(groups) - 1, count).round().astype(int)]
    seconds = [sum(found.seconds[n] for n in group) for group in groups]
    sizes = {head: len(symbols) for head, symbols in found.inventories.items()}
    return Data([found.batch(group) for group in groups], seconds, sizes)


def prepared(name: str, data: Data) -> Row:
    """A model whose levels give events at the wanted rates."""
    torch.manual_seed(0)
    columns = data.batches[0].features.shape[2]
    model = hierarchy.build_model({"preset": name}, columns, data.sizes)
    initialise: Callable[..., Any] | None = getattr(model, "initialise", None)
    if initialise is not None:
        with torch.no_grad():
            initialise(iter([(batch.features, batch.lengths) for batch in data.batches]))
    own = f"{FEATURES.get(name, LOGMEL).features}, {columns}"
    row = Row(name, model, data, own, optimisation.adamw(model, LEARNING_RATE, 0.01))
    model.train()
    while row.warm_up < WARM_UP or (row.warm_up < MOST and not all(near(row))):
        for number in range(len(data.batches)):
            step(row, number)
        row.warm_up += len(data.batches)
    if not all(near(row)):
        print(f"{name}: events are not at the wanted rates after {row.warm_up} steps")
    return row


def near(row: Row) -> list[bool]:
    """By level with hysteresis: whether as many events go on as are wanted."""
    rates = row.events(len(row.data.batches))
    steps, found = 100.0, []
    for level, events in zip(getattr(row.model, "levels", ()), rates, strict=True):
        steps /= level.config.stride
        if level.config.events == "hysteresis":
            found.append(abs(events / (steps * level.config.keep) - 1) < NEAR)
        steps = events
    return found


def step(row: Row, number: int) -> tuple[float, float]:
    """A step of training; returns its seconds, and those of them in CTC."""
    batch = row.data.batches[number]
    begun, spent = time.perf_counter(), 0.0
    row.model.zero_grad(set_to_none=True)
    output = row.model(batch.features, batch.lengths)
    heads: list[Tensor] = []
    slopes: list[Tensor | None] = []
    for head, weight in WEIGHTS.items():
        log_probs, lengths = output.heads[head]
        before = time.perf_counter()
        leaf = log_probs.detach().requires_grad_()  # so that its gradient can be timed alone
        lost, _ = ctc.loss(leaf, lengths, *batch.targets[head])
        (weight * lost / batch.targets[head][1].sum()).backward()
        spent += time.perf_counter() - before
        heads.append(log_probs)
        slopes.append(leaf.grad)
    losses = list(output.losses.values())
    torch.autograd.backward([*heads, *losses], [*slopes, *[None for _ in losses]])
    optimisation.clip_gradients(row.model, CLIP)
    row.optimiser.step()
    row.counts.append([float(level.passed.mask.sum()) for level in output.levels])
    return time.perf_counter() - begun, spent


def measured(rows: Sequence[Row], rounds: int) -> None:
    """All models in turn, another first in each round, so that what slows one slows all."""
    for turn in range(rounds):
        first = turn % len(rows)
        for row in [*rows[first:], *rows[:first]]:
            times = [step(row, number) for number in range(len(row.data.batches))]
            whole, in_ctc = (sum(column) for column in zip(*times, strict=True))
            row.speeds.append(sum(row.data.seconds) / whole)
            row.shares.append(in_ctc / whole)


def spread(values: Sequence[float], form: str) -> str:
    """Median (least to greatest)."""
    middle, low, high = (format(f(values), form) for f in (statistics.median, min, max))
    return f"{middle} ({low} to {high})"


def page(rows: Sequence[Row], how: str) -> str:
    """The table, and how it was made."""
    against, steps = rows[0], len(rows[0].speeds) * len(rows[0].data.batches)
    body = [
        [
            row.name, row.columns, f"{hierarchy.count_parameters(row.model):,}",
            spread(row.speeds, ".0f"),
            spread([a / b for a, b in zip(row.speeds, against.speeds, strict=True)], ".2f"),
            spread([100 * share for share in row.shares], ".0f"),
            ", ".join(f"{events:.1f}" for events in row.events(steps)) or "-",
        ]
        for row in rows
    ]  # fmt: skip
    head = ["model", "features", "parameters", "hours/hour", f"ratio to {against.name}"]
    return (
        f"# Training throughput\n\n{how}\n\n"
        + table([*head, "CTC, % of the time", "events/s by level"], body)
        + "\nHours of audio trained on in an hour, padding not counted: forward, CTC of phones, "
        "letters and words, backward, clipping and AdamW; without features, which are computed "
        "once. Events a second go on from each level. Median (least to greatest) over rounds; "
        "ratios are taken round by round.\n"
    )


def machine() -> str:
    """Processor, versions, commit and load."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    git = ["git", "-C", str(ROOT), "describe", "--always", "--exclude=*", "--dirty=+"]
    commit = subprocess.run(git, capture_output=True, text=True).stdout.strip() or "unknown"
    load = f", load average {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"{datetime.date.today()}, commit {commit}; {names[0] if names else platform.processor()}, "
        f"{os.cpu_count()} cores{load}; one thread, float32; torch {torch.__version__}"
    )


def main() -> int:
    """The command."""
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = options.add_argument
    add("--models", default="tiny,recurrent,transformer,state-space", help="presets, first: ratio")
    add("--cuts", type=Path, help="manifest to take batches from, with phones and words")
    add("--batches", type=int, default=6, help="in a round")
    add("--batch-seconds", type=float, default=50.0, help="padding included")
    add("--rounds", type=int, default=9)
    add("--quick", action="store_true", help="1 round of 2 batches: does it run?")
    add("--out", type=Path, help="write the page there too")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    count, rounds = (2, 1) if chosen.quick else (chosen.batches, chosen.rounds)
    made: dict[FeatureConfig, Data] = {}
    rows = []
    for name in chosen.models.split(","):
        config = FEATURES.get(name, LOGMEL)
        if config not in made:
            made[config] = (
                real(config, chosen.cuts, count, chosen.batch_seconds)
                if chosen.cuts
                else noise(config, count, chosen.batch_seconds)
            )
        rows.append(prepared(name, made[config]))
    measured(rows, rounds)
    data = rows[0].data
    what = f"cuts of {chosen.cuts.name}" if chosen.cuts else "noise, lengths of short sentences"
    text = page(
        rows,
        f"{machine()}. {rounds} rounds of {len(data.batches)} batches ({what}), together "
        f"{sum(data.seconds):.0f} s in {sum(len(b.ids) for b in data.batches)} utterances. Before "
        f"them {', '.join(f'{row.warm_up} steps of {row.name}' for row in rows)}.",
    )
    print(text)
    if chosen.out:
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        chosen.out.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
