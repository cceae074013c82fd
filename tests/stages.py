"""Small hierarchies that learn by stages, for the tests of learning rules."""

import json

import tiny
import torch

from speechasym.levels.hierarchy import build_model
from speechasym.plots.curves import read_metrics
from speechasym.training import loop, models
from speechasym.training.config import read_config
from speechasym.training.on_device import Batch
from speechasym.training.rules.errors import Task
from speechasym.training.rules.learner import Learner
from speechasym.training.run_folder import METRICS

CPU = torch.device("cpu")
SIZES = {"phones": 5, "letters": 4, "words": 3}
SMALL = "model.every={width: 8, units: 6, block: {heads: 2}}"
HEADS = "heads={phones: 1, letters: 0.5, words: 0.3}"
BROADCAST = ("learning.feedback=broadcast", "learning.blocks=2")


def settings(rule, *more):
    basic = ("data.train=a", "data.dev=b", SMALL, HEADS, "model.levels.0.stride=1")
    return read_config(None, [*basic, f"learning.rule={rule}", *more])


def learner_of(config, seed=0):
    torch.manual_seed(seed)
    model = build_model(config.model, 7, {h: SIZES[h] for h in config.heads.used})
    models.add_learning_nets(model, config)
    return Learner(model, config, CPU)


def task(number=0, seed=1):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.tensor([40, 31, 22])
    labels = {h: torch.randint(1, n + 1, (3, 4), generator=generator) for h, n in SIZES.items()}
    counts = torch.tensor([4, 3, 1])
    batch = Batch(
        ["a", "b", "c"], torch.randn(3, 40, 7, generator=generator), lengths,
        {head: (rows, counts) for head, rows in labels.items()},
        torch.randint(0, 6, (3, 40), generator=generator),
    )  # fmt: skip
    return Task(batch, dict.fromkeys(SIZES, 8), 1.0, number)


def train(words, out, rule, *more, **options):
    basic = ("threads=1", "batch_seconds=3", "epochs=2", "device=cpu", "learning_rate=1e-2",
             "model.every={width: 16, units: 8, block: {dropout: 0.1}}", HEADS,
             "model.levels.0.stride=1", f"learning.rule={rule}", *tiny.FEATURES)  # fmt: skip
    config = read_config(None, [*words, *basic, *more])
    return loop.train(config, out, show_progress=False, **options)


def measured(folder, stages, epochs=3, short=False):
    """Write the metrics of a run with so many stages, two to a level."""
    lines = []
    for epoch in range(epochs):
        rows = [
            {"stage": n, "level": n // 2, "blocks": [3 * (n % 2), 3 + n % 2], "update": 0.01,
             "cosine": 0.2 * epoch + 0.01 * n, "gradient": 2.0, "gradient_true": 3.0,
             "memory": 2**20 * (n + 1), "memory_backprop": None if short else 2**21 * (n + 1),
             "flops": 10**9, "flops_backprop": 10**9, "sent": 2**20 if n < stages - 1 else None,
             "sent_back": 2**20, "sent_error": 0}
            for n in range(stages)
        ]  # fmt: skip
        place = {"step": 2 * epoch + 1, "epoch": epoch}
        memory = {"memory": 2**22 + epoch, "memory_backprop": None if short else 2**23}
        lines.append(place | memory | {"stages": rows})
        step = {"epoch": epoch, "loss": 1.0, "loss_phones": 1.0, "learning_rate": 1e-3}
        lines += [step | {"step": 2 * epoch + n} for n in (1, 2)]
    (folder / METRICS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return read_metrics(folder)


def watched(folder, levels=2, blocks=1, epochs=3, short=False):
    """Write the metrics of a run whose ranks were watched; `short`: too little for any fit."""
    lines = []
    law = {"beta": 2.0, "resolution": 8.0, "bic": 100.0}
    for epoch in range(1, epochs + 1):
        fitted = None if short else {"geometric": law, "power": law | {"bic": 90.0 + 30 * epoch}}
        left = None if short else {"error": 0.3, "added": 0.1 * epoch}
        place = {"step": epoch, "epoch": epoch}
        step = {"step": epoch, "epoch": epoch - 1, "loss": 1.0, "loss_phones": 1.0}
        lines += [step | {"learning_rate": 1e-3}, place | {"dev_error_phones": 0.5}]
        units = [
            {"level": n, "law": "geometric", "beta": 1.0 / epoch, "resolution": None, "units": 8,
             "head": "phones", "wins": [0.5, 0.3, 0.2][: 1 if short else 3], "dead": 0.625,
             "selectivity": 0.1 * epoch, "entropy": 0.5, "explained": 0.4, "labels": left,
             "following": left, "laws": fitted}
            for n in range(levels)
        ]  # fmt: skip
        heads = [
            {"level": 0, "block": 2 * b, "head": h, "weights_by": "scaled" if h else "softmax",
             "beta": 1.0 if h else None, "growth": None, "weights": [0.6, 0.4], "keys": 2.0,
             "selectivity": 0.2 * h, "span": 0.1 * (h + 1), "laws": fitted}
            for b in range(blocks) for h in range(2)
        ]  # fmt: skip
        lines.append(place | {"levels": units, "attention": heads})
    (folder / METRICS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return read_metrics(folder)
