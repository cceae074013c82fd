"""Chains of associations: how many steps does an answer take, and how many passes (C13)?

    python -m recipes.claims.feedback.chains --out OUT/chains.jsonl [--seed 0]

An utterance has a step for each of 12 symbols, in any order, which names the symbol and the one
that follows it, and a last step that names where to start. Chains of 1 to 8 links end in a symbol
that is followed by itself. After T passes the answer is to be the symbol T links on, or the end.
Passes share their weights. In training 1 to 4 passes are drawn for each batch, at first 1 only; one
more is allowed whenever the most so far are learned. Rivals take one pass, and are to name the end,
in training at first that of chains of one link, by the same rule.

Shapes: B batch, K symbols, T passes.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from recipes.compare.jobs import read_lines
from recipes.provenance import commit
from speechasym import files
from speechasym.levels.hierarchy import Hierarchy, build_model, count_parameters

SYMBOLS, LONGEST, BATCH = 12, 8, 64
WIDTH, UNITS, RATE = 64, 32, 3e-3
TRAINED = 4  # most passes in training
LEARNED, LEARNED_LOSS = 50, 0.1  # a link more once so many batches have so small a mean loss
TESTED = (1, 2, 3, 4, 5, 6, 7, 8, 10)
TEST_BATCHES = 20


class Task(NamedTuple):
    """Utterances."""

    x: Tensor  # (B, K + 1, 2 K + 1)
    path: Tensor  # (B, 1 + 8) symbol after so many links
    length: Tensor  # (B,) links


def draw(generator: torch.Generator, longest: int = LONGEST, batch: int = BATCH) -> Task:
    """Draw utterances with chains of up to so many links."""
    k = SYMBOLS
    order = torch.rand(batch, k, generator=generator).argsort(1)
    length = torch.randint(1, longest + 1, (batch,), generator=generator)
    place = torch.arange(k)
    loose = torch.rand(batch, k, generator=generator) < 0.4  # symbols beyond the chain
    last = (place == length[:, None]) | (place == k - 1) | (loose & (place > length[:, None]))
    following = torch.where(last, order, order.roll(-1, 1))
    links = torch.empty(batch, k, dtype=torch.long).scatter_(1, order, following)
    path = [order[:, 0]]
    for _ in range(LONGEST):
        path.append(links.gather(1, path[-1][:, None])[:, 0])
    steps = torch.rand(batch, k, generator=generator).argsort(1)
    x = torch.zeros(batch, k + 1, 2 * k + 1)
    x[:, :k, :k] = F.one_hot(steps, k)
    x[:, :k, k : 2 * k] = F.one_hot(links.gather(1, steps), k)
    x[:, k, :k] = F.one_hot(path[0], k)
    x[:, k, 2 * k] = 1
    return Task(x, torch.stack(path, 1), length)


def built(passes: int, repeat: int) -> Hierarchy:
    """Return two levels: one of units, one that attends; with more than one pass, feedback."""
    plain: dict[str, Any] = {"events": "none", "block": {"norm": "pre", "expansion": 2}}
    low = {"width": WIDTH, "functions": ["feedforward"], "units": UNITS, "predict": 0.0}
    top = {"width": WIDTH, "functions": ["attention", "feedforward"], "repeat": repeat, "units": 0}
    model = build_model(
        {
            "levels": [plain | low, plain | top],
            "heads": {"phones": {"level": 1}},
            "feedback": {"passes": passes, "dropout": 0.0, "predict": 0.0},
        },
        2 * SYMBOLS + 1, {"phones": SYMBOLS},
    )  # fmt: skip
    assert isinstance(model, Hierarchy)
    return model


def take(model: Hierarchy, passes: int) -> None:
    """Let a model take another number of passes."""
    model.config = replace(model.config, feedback=replace(model.config.feedback, passes=passes))


def answers(model: Hierarchy, task: Task) -> Tensor:
    """Return log-probabilities (B, K) of the symbols at the last step."""
    lengths = torch.full((len(task.x),), task.x.shape[1])
    return model(task.x, lengths).heads["phones"][0][:, -1, 1:].log_softmax(-1)


def train(
    model: Hierarchy, steps: int, seed: int, longest: int, loops: bool
) -> Iterator[tuple[int, float]]:
    """Train a model; yield each hundredth step, and the mean loss since the last."""
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.0)
    losses: list[float] = []
    most, newest = 1, []  # longest chains so far, and the losses of batches of these
    for step in range(steps):
        share = step / steps
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1.0, 10 * share) * (1 - share) ** 0.5
        if loops:
            links = int(torch.randint(1, most + 1, (), generator=generator))
            take(model, links)
            task = draw(generator)
        else:
            links = LONGEST
            task = draw(generator, most)
        loss = F.nll_loss(answers(model, task), task.path[:, links])
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        losses.append(loss.item())
        if not loops or links == most:
            newest.append(losses[-1])
        if len(newest) >= LEARNED and sum(newest[-LEARNED:]) < LEARNED * LEARNED_LOSS:
            most, newest = min(longest, most + 1), []
        if step % 100 == 99:
            yield step + 1, sum(losses[-100:]) / 100


def accuracy(model: Hierarchy, loops: bool) -> dict[int, list[float]]:
    """Return {T: share of right ends of chains of 1, 2 ... links}; without loops T = 1."""
    generator = torch.Generator().manual_seed(999)
    tasks = [draw(generator) for _ in range(TEST_BATCHES)]
    length = torch.cat([task.length for task in tasks])
    model.eval()
    table = {}
    for passes in TESTED if loops else (1,):
        take(model, passes)
        with torch.no_grad():
            right = [answers(model, task).argmax(-1) == task.path[:, -1] for task in tasks]
        hits = torch.cat(right).float()
        table[passes] = [hits[length == n].mean().item() for n in range(1, LONGEST + 1)]
    return table


SYSTEMS = {  # passes, repeats of the attending level, most links in training
    "feedback": (TRAINED, 1, TRAINED),
    "one pass": (1, 1, LONGEST),
    "as many FLOPs": (1, 7, LONGEST),
    "as many FLOPs, 4 links": (1, 7, TRAINED),
}


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="file of lines, added to")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--only", nargs="*", default=list(SYSTEMS), choices=list(SYSTEMS))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for name in options.only:
        passes, repeat, links = SYSTEMS[name]
        torch.manual_seed(options.seed)
        model, began = built(passes, repeat), time.process_time()
        for step, loss in train(model, options.steps, options.seed, links, passes > 1):
            print(f"{name} {step} {loss:.3f} {time.process_time() - began:.0f} s", flush=True)
        line = {
            "system": name, "seed": options.seed, "steps": options.steps,
            "seconds": time.process_time() - began, "parameters": count_parameters(model),
            "commit": commit(), "right": accuracy(model, passes > 1),
        }  # fmt: skip
        lines = [*read_lines(options.out), line]
        with files.atomic(options.out) as file:
            file.write("".join(json.dumps(line) + "\n" for line in lines).encode())


if __name__ == "__main__":
    main()
