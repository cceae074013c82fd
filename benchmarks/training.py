"""Measure the speed of training: forward, CTC, backward and AdamW, on one thread, in turn.

PYTHONPATH=. python benchmarks/training.py [--out FILE] [--cuts MANIFEST] [--rounds 9] [--quick]

All models train on the same batches, each on its features: without a manifest, on noise with the
lengths and labels of short sentences (2.4 s; 11.4 phones, 16.6 letters, 3.4 words per second).

Shapes: B batch, F frames, D columns, L labels.
"""

import argparse
import datetime
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from measure import load, table
from torch import Tensor, nn

from recipes.provenance import commit, machine
from speechasym.config import names
from speechasym.feature_extraction.sets import AsymmetryFeatures, FeatureConfig, LogMelFeatures
from speechasym.levels import ctc, hierarchy
from speechasym.training import dataset
from speechasym.training import optimiser as optimisation
from speechasym.training.batches import group_by_length, pad_labels
from speechasym.training.config import HEADS, DataConfig, HeadWeights
from speechasym.training.on_device import Batch

COMPACT = AsymmetryFeatures(compact=True, normalise="utterance")
LOGMEL = LogMelFeatures(normalise="utterance")
FEATURES = {"tiny": COMPACT, "small": COMPACT, "base": COMPACT}  # of the others: log-mel
WEIGHTS = HeadWeights(phones=1, letters=0.5, words=0.5).used
SIZES = {"phones": 39, "letters": 28, "words": 98}  # symbols, and their rates per second
RATES = {"phones": 11.4, "letters": 16.6, "words": 3.4}
# At 0 units stay as initialised, so that events keep their target rates: early in training they do
# not, and a level with fewer events has less to compute. Otherwise the rate does not affect speed
LEARNING_RATE, CLIP = 0.0, 5.0
WARM_UP = 30  # steps in which the widths of hysteresis adapt to the target rates of events
MAX_WARM_UP = 300
TOLERANCE = 0.2  # of the rates after that, relative


class Data(NamedTuple):
    """Batches, and the seconds of audio in each without padding."""

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
    speeds: list[float] = field(default_factory=list)  # hours of audio per hour, by round
    shares: list[float] = field(default_factory=list)  # fraction of time in CTC and its gradient
    counts: list[list[float]] = field(default_factory=list)  # events by level, of each step
    warm_up: int = 0  # steps

    def events(self, steps: int) -> list[float]:
        """Return the events per second of each level in the last steps, which are whole rounds."""
        seconds = sum(self.data.seconds) * steps / len(self.data.batches)
        return [sum(column) / seconds for column in zip(*self.counts[-steps:], strict=True)]


def noise(config: FeatureConfig, count: int, batch_seconds: float) -> Data:
    """Return batches of noise, whose lengths and labels do not depend on the columns."""
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
    """Return batches of the cuts of a manifest, from the longest to the shortest."""
    data_config = DataConfig(train=str(path), dev=str(path), features=config)
    data = dataset.load(data_config, str(path), HEADS)
    lengths = data.seconds.tolist()
    groups = group_by_length(lengths, batch_seconds)
    count = min(count, len(groups))
    groups = [groups[i] for i in np.linspace(0, len(groups) - 1, count).round().astype(int)]
    seconds = [sum(lengths[n] for n in group) for group in groups]
    sizes = {head: len(symbols) for head, symbols in data.inventories.items()}
    return Data([data.batch(group) for group in groups], seconds, sizes)


def prepare(name: str, data: Data) -> Row:
    """Return a model whose levels produce events at their target rates."""
    torch.manual_seed(0)
    columns = data.batches[0].features.shape[2]
    model = hierarchy.build_model({"preset": name}, columns, data.sizes)
    initialise: Callable[..., Any] | None = getattr(model, "initialise", None)
    if initialise is not None:
        with torch.no_grad():
            initialise(iter([(batch.features, batch.lengths) for batch in data.batches]))
    features = f"{FEATURES.get(name, LOGMEL).features}, {columns}"
    row = Row(name, model, data, features, optimisation.adamw(model, LEARNING_RATE, 0.01))
    model.train()
    while row.warm_up < WARM_UP or (row.warm_up < MAX_WARM_UP and not all(on_target(row))):
        for number in range(len(data.batches)):
            step(row, number)
        row.warm_up += len(data.batches)
    if not all(on_target(row)):
        print(f"{name}: events are not at their target rates after {row.warm_up} steps")
    return row


def on_target(row: Row) -> list[bool]:
    """Return whether each level with hysteresis passes on as many events as its target."""
    rates = row.events(len(row.data.batches))
    steps, result = 100.0, []
    for level, events in zip(getattr(row.model, "levels", ()), rates, strict=True):
        steps /= level.config.stride
        if level.config.events == "hysteresis":
            result.append(abs(events / (steps * level.config.keep) - 1) < TOLERANCE)
        steps = events
    return result


def step(row: Row, number: int) -> tuple[float, float]:
    """Run a training step; return its duration in s, and the part of it in CTC."""
    batch = row.data.batches[number]
    start, spent = time.perf_counter(), 0.0
    row.model.zero_grad(set_to_none=True)
    output = row.model(batch.features, batch.lengths)
    heads: list[Tensor] = []
    gradients: list[Tensor | None] = []
    for head, weight in WEIGHTS.items():
        log_probs, lengths = output.heads[head]
        before = time.perf_counter()
        leaf = log_probs.detach().requires_grad_()  # so that its gradient can be timed alone
        loss, _ = ctc.loss(leaf, lengths, *batch.targets[head])
        (weight * loss / batch.targets[head][1].sum()).backward()
        spent += time.perf_counter() - before
        heads.append(log_probs)
        gradients.append(leaf.grad)
    losses = list(output.losses.values())
    torch.autograd.backward([*heads, *losses], [*gradients, *[None for _ in losses]])
    optimisation.clip_gradients(row.model.parameters(), CLIP)
    row.optimiser.step()
    row.counts.append([float(level.passed.mask.sum()) for level in output.levels])
    return time.perf_counter() - start, spent


def measure(rows: Sequence[Row], rounds: int) -> None:
    """Time all models in turn, another first in each round, so that other load affects them all."""
    for turn in range(rounds):
        first = turn % len(rows)
        for row in [*rows[first:], *rows[:first]]:
            times = [step(row, number) for number in range(len(row.data.batches))]
            whole, in_ctc = (sum(column) for column in zip(*times, strict=True))
            row.speeds.append(sum(row.data.seconds) / whole)
            row.shares.append(in_ctc / whole)


def spread(values: Sequence[float], form: str) -> str:
    """Return the text "median (minimum to maximum)"."""
    middle, low, high = (format(f(values), form) for f in (statistics.median, min, max))
    return f"{middle} ({low} to {high})"


def page(rows: Sequence[Row], how: str) -> str:
    """Return the table, and how it was measured."""
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
        + "\nHours of audio per hour of training, without padding: forward, CTC of phones, letters "
        "and words, backward, clipping and AdamW; without features, which are computed once. "
        "Events per second are those that each level passes on. Median (minimum to maximum) over "
        "rounds; ratios are taken round by round.\n"
    )


def circumstances() -> str:
    """Return commit, processor, load and versions as text."""
    return (
        f"{datetime.date.today()}, commit {commit()}; {machine()}, {os.cpu_count()} cores, "
        f"load average {load()}; one thread, float32; torch {torch.__version__}"
    )


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add(
        "--models",
        default="tiny,recurrent,transformer,state-space",
        help="presets, comma-separated; ratios are to the first",
    )
    add("--cuts", type=Path, help="manifest of cuts with phones and words")
    add("--batches", type=int, default=6, help="per round")
    add("--batch-seconds", type=float, default=50.0, help="including padding")
    add("--rounds", type=int, default=9)
    add("--quick", action="store_true", help="smoke test: 1 round of 2 batches")
    add("--out", type=Path, help="write the page to this file too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    count, rounds = (2, 1) if options.quick else (options.batches, options.rounds)
    data_of: dict[FeatureConfig, Data] = {}
    rows = []
    for name in names(options.models):
        config = FEATURES.get(name, LOGMEL)
        if config not in data_of:
            data_of[config] = (
                real(config, options.cuts, count, options.batch_seconds)
                if options.cuts
                else noise(config, count, options.batch_seconds)
            )
        rows.append(prepare(name, data_of[config]))
    measure(rows, rounds)
    data = rows[0].data
    what = (
        f"cuts of {options.cuts.name}"
        if options.cuts
        else "noise with the lengths of short sentences"
    )
    text = page(
        rows,
        f"{circumstances()}. {rounds} rounds of {len(data.batches)} batches ({what}), together "
        f"{sum(data.seconds):.0f} s in {sum(len(b.ids) for b in data.batches)} utterances. "
        f"Warm-up: {', '.join(f'{row.warm_up} steps of {row.name}' for row in rows)}.",
    )
    print(text)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
