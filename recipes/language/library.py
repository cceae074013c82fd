"""A library of nets, each taught its part of the books, answers together: who is heard (C14)?

    python -m recipes.language.library RUN RUN ... --one RUN --data BOOKS --out library.json

The runs are of `recipes.language.train`, `--one` is a net of their total size that was taught all
books. BOOKS has dev books, on which the few numbers of each rule are chosen and the gate is
trained, and test books. Nets that decide themselves who is heard weigh their distributions by what
they know without a label: how selective each is about the next symbol, and how well each said the
last ones.

Shapes: K nets, T symbols, V symbols known, F features of a net.
"""

import argparse
import itertools
import json
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recipes.claims.asymmetry.common import log
from recipes.compare.jobs import guarded
from recipes.language import data
from recipes.language.measure import stretches
from recipes.language.train import distributions, open_model
from recipes.provenance import commit
from speechasym import files
from speechasym.levels.hierarchy import count_parameters
from speechasym.levels.text import TextModel

CONTEXT = 256
SYMBOLS = 60_000  # of each book
FACTORS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
DECAYS = (0.9, 0.97, 0.99, 0.997)  # of the past, a symbol
GATE_STEPS = 300


class Answers(NamedTuple):
    """What nets say of a text."""

    log_probs: Tensor  # (K, T, V)
    following: Tensor  # (T,) the symbols themselves
    entropy: Tensor  # (K, T) of each net's own distribution, nats
    past: Tensor  # (K, T, decays) mean surprise of each net by the symbols before

    @property
    def own(self) -> Tensor:
        """(K, T) log-probabilities of the symbols themselves."""
        index = self.following.expand(len(self.log_probs), -1)[..., None]
        return self.log_probs.gather(2, index)[..., 0]

    def bits(self, weights: Tensor) -> Tensor:
        """Return the bits (T,) of each symbol by the mean of distributions, weights (K, T) log."""
        return -torch.logsumexp(self.own + weights.log_softmax(0), 0) / math.log(2)


def answers(models: Sequence[TextModel], text: NDArray[np.uint8]) -> Answers:
    """Return what nets say of the beginning of a text."""
    text = text[:SYMBOLS]
    table = torch.stack([distributions(model, text, CONTEXT) for model in models])
    following = torch.from_numpy(text[1:].astype(np.int64))
    own = table.gather(2, following.expand(len(table), -1)[..., None])[..., 0]
    return Answers(
        table,
        following,
        torch.special.entr(table.exp()).sum(-1),
        torch.stack([_past(-own, d) for d in DECAYS], -1),
    )


def _past(surprise: Tensor, decay: float) -> Tensor:
    """Return the mean (K, T) of what came before each symbol, the older the less; 0 at first."""
    result = torch.zeros_like(surprise)
    total, weight = torch.zeros(len(surprise)), 0.0
    for t in range(1, surprise.shape[1]):
        total = decay * total + surprise[:, t - 1]
        weight = decay * weight + 1
        result[:, t] = total / weight
    return result


def voices(selectivity: float, past: float, decay: int) -> Callable[[Answers], Tensor]:
    """Return a rule: log-weights (K, T) by entropy and by mean surprise, times their factors.

    The past counts as many symbols as it remembers, 1 / (1 - decay).
    """
    memory = 1 / (1 - DECAYS[decay])
    return lambda a: -selectivity * a.entropy - past * memory * a.past[..., decay]


def heard(rule: Callable[[Answers], Tensor], a: Answers) -> Tensor:
    """Return the bits (T,) of an answer by the weights of a rule."""
    return a.bits(rule(a))


def mean_log(a: Answers) -> Tensor:
    """Return the bits (T,) of the normalised mean of log-probabilities."""
    mean = a.log_probs.mean(0).log_softmax(-1)
    return -mean.gather(1, a.following[:, None])[:, 0] / math.log(2)


class Gate(nn.Module):
    """A learned gate: from all nets' features at a place to log-weights."""

    def __init__(self, nets: int) -> None:
        super().__init__()
        features = nets * (1 + len(DECAYS))
        self.net = nn.Sequential(nn.Linear(features, 32), nn.SiLU(), nn.Linear(32, nets))

    def forward(self, a: Answers) -> Tensor:
        """Return log-weights (K, T)."""
        x = torch.cat([a.entropy[..., None], a.past], -1)  # (K, T, F)
        weights: Tensor = self.net(x.transpose(0, 1).flatten(1))
        return weights.T


def trained_gate(dev: Sequence[Answers]) -> Gate:
    """Train a gate on the dev books."""
    torch.manual_seed(0)
    gate = Gate(len(dev[0].log_probs))
    optimiser = torch.optim.AdamW(gate.parameters(), 1e-2, weight_decay=1e-2)
    for _ in range(GATE_STEPS):
        loss = torch.stack([a.bits(gate(a)).mean() for a in dev]).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return gate.eval()


def chosen(
    dev: Sequence[Answers], options: Iterator[tuple[float, float, int]]
) -> tuple[float, float, int]:
    """Return the factors and decay with the fewest bits on the dev books."""

    def cost(option: tuple[float, float, int]) -> float:
        return sum(float(a.bits(voices(*option)(a)).mean()) for a in dev)

    return min(options, key=cost)


def rules(
    dev: Sequence[Answers],
) -> tuple[dict[str, Callable[[Answers], Tensor]], dict[str, object]]:
    """Return {rule: bits (T,) of an answer}, and what was chosen on the dev books."""
    decays = range(len(DECAYS))
    picked = {
        "voices by selectivity": chosen(dev, itertools.product(FACTORS, [0.0], [0])),
        "voices by past surprise": chosen(dev, itertools.product([0.0], FACTORS, decays)),
        "voices by both": chosen(dev, itertools.product(FACTORS, FACTORS, decays)),
    }
    gate = trained_gate(dev)

    def gated(a: Answers) -> Tensor:
        with torch.no_grad():
            return a.bits(gate(a))

    table: dict[str, Callable[[Answers], Tensor]] = {
        "mean of log-probabilities": mean_log,
        "mean of probabilities": lambda a: a.bits(torch.zeros_like(a.entropy)),
        **{name: partial(heard, voices(*option)) for name, option in picked.items()},
        "learned gate": gated,
        "the best net, known afterwards": lambda a: -a.own[a.own.mean(1).argmax()] / math.log(2),
    }
    about: dict[str, object] = {
        name: {"selectivity": s, "past": p, "decay": DECAYS[d]}
        for name, (s, p, d) in picked.items()
    }
    return table, about | {"gate parameters": count_parameters(gate)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", help="folders of recipes.language.train")
    parser.add_argument(
        "--one", type=Path, required=True, help="run of the same size, on all books"
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of recipes.language.data")
    parser.add_argument("--out", type=Path, required=True, help="file of results, JSON")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)

    def act() -> int:
        books = data.load(options.data)
        models = [open_model(run)[0] for run in options.runs]
        one = open_model(options.one)[0]
        dev = [answers(models, book) for book in books.dev.values()]
        table, about = rules(dev)
        result: dict[str, dict[str, list[float]]] = {}
        for name, book in books.test.items():
            said = answers(models, book)
            result[name] = {rule: stretches(bits(said), CONTEXT) for rule, bits in table.items()}
            alone = answers([one], book)
            result[name]["one net of the same size"] = stretches(
                -alone.own[0] / math.log(2), CONTEXT
            )
            log(name)
        line = {
            "runs": [run.name for run in options.runs], "one": options.one.name, "commit": commit(),
            "parameters": [sum(map(count_parameters, models)), count_parameters(one)],
            "chosen": about, "bits": result,
        }  # fmt: skip
        files.write_json(options.out, line)
        for name, row in result.items():
            print(name, {rule: round(float(np.mean(values)), 3) for rule, values in row.items()})
        print(json.dumps(about))
        return 0

    return guarded(act)


if __name__ == "__main__":
    raise SystemExit(main())
