"""Train a language model of letters.

    python -m recipes.language.train SYSTEM --data BOOKS --out RUN [--seed 0] [--set KEY=VALUE ...]

SYSTEM is a name in systems.yaml, BOOKS what `recipes.language.data` wrote. Stopped, the same
command continues from the last validation. RUN gets metrics.jsonl, and the model with the fewest
bits per character on the dev books.
"""

import argparse
import json
import math
import time
from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from recipes.compare.jobs import guarded, interrupt_on_sigterm
from recipes.language import data
from recipes.language.prior import Prior, fit
from recipes.provenance import commit
from speechasym import config, files
from speechasym.errors import ConfigError
from speechasym.language.model_files import read_model, write_model
from speechasym.levels.text import TextConfig, TextModel
from speechasym.progress import progress_bar
from speechasym.training import checkpoints, optimiser

SYSTEMS = Path(__file__).with_name("systems.yaml")
NGRAMS = "ngrams.npz"
CLIP = 1.0  # largest norm of a step's gradients


@dataclass(frozen=True, kw_only=True)
class LanguageConfig:
    """A language model and how it is trained; the keys of a system in systems.yaml."""

    model: TextConfig
    shows: str = ""  # what the system is there for
    steps: int = 2000
    batch: int = 16  # texts of a step
    length: int = 256  # symbols of a text
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warm_up: float = 0.05  # share of the steps
    validate_every: int = 250  # steps
    context: int = 256  # symbols before each that is scored on dev, at least
    dev_symbols: int = 60_000  # of each dev book
    prior: int = 0  # order of the n-gram model of letters that the levels correct; 0: none
    parts: int = 4  # of the books; levels correct, in each, an n-gram model of the others

    def __post_init__(self) -> None:
        config.check_count("prior", self.prior, 0)
        if bool(self.prior) != self.model.corrects:
            problem = f"is {self.prior}, but model.corrects is {self.model.corrects}"
            raise ConfigError("prior", problem, "Set both, such as prior=8, or none")
        for name in ("steps", "batch", "validate_every", "context", "dev_symbols"):
            config.check_count(name, getattr(self, name))
        for name in ("length", "parts"):
            config.check_count(name, getattr(self, name), 2)


def read_config(system: str, overrides: Iterable[str] = ()) -> LanguageConfig:
    """Read a system of systems.yaml, with overrides. Raises `ConfigError`."""
    systems = config.read_yaml(SYSTEMS)
    common = systems.pop("common")
    config.check_choice("SYSTEM", system, systems)
    mapping = deepcopy(common | systems[system])
    for word in overrides:
        config.override(mapping, word)
    return config.build(LanguageConfig, mapping)


def open_model(run: Path) -> tuple[TextModel, LanguageConfig]:
    """Open the model of a run. Raises `CheckpointError`, or `ConfigError` for other symbols."""
    tensors, meta = checkpoints.load_model(run)
    if meta.get("symbols") != list(data.SYMBOLS):
        problem = "was not trained on these symbols"
        raise ConfigError(str(run), problem, "Give a run of recipes.language.train")
    options = config.build(LanguageConfig, meta["config"])
    model = TextModel(options.model, len(data.SYMBOLS))
    checkpoints.restore(model, tensors, run)
    if options.prior:
        model.prior = Prior(read_model(run / NGRAMS))
    return model.eval(), options


def priors(books: Iterable[NDArray[np.uint8]], order: int, count: int) -> list[Prior]:
    """Return n-gram models: for each part of the books one of all others, and one of all parts.

    A model of what it is to predict would be surer than it is of unseen books.
    """
    parts = np.array_split(np.concatenate(list(books)), count)
    others = [[p for other, p in enumerate(parts) if other != part] for part in range(count)]
    return [Prior(fit(some, order)) for some in [*others, parts]]


def batches(
    books: Iterable[NDArray[np.uint8]], options: LanguageConfig, seed: int, first: int = 0
) -> Iterable[tuple[Tensor, list[int]]]:
    """Yield stretches (B, length + 1) of the books and the part (B,) of the books of each.

    They are drawn at random, from a step on for ever.
    """
    text = np.concatenate(list(books))
    sizes = [len(part) for part in np.array_split(text, options.parts)]
    part = np.repeat(np.arange(options.parts), sizes)
    if len(text) <= options.length + 1:
        problem = f"have {len(text)} symbols, fewer than a text of length {options.length}"
        raise ConfigError("books", problem, "Train on more, or set length=64")
    while True:
        drawn = np.random.default_rng((seed, first))
        starts = drawn.integers(0, len(text) - options.length, options.batch)
        rows = text[starts[:, None] + np.arange(options.length + 1)]
        yield torch.from_numpy(rows.astype(np.int64)), part[starts].tolist()
        first += 1


@torch.no_grad()
def distributions(
    model: TextModel, text: NDArray[np.uint8], context: int, batch: int = 16
) -> Tensor:
    """Return the log-probabilities (T - 1, V) of all symbols at each place of a text but the first.

    Windows of 2 `context` symbols overlap by half, so that each but those at the beginning is
    predicted from at least `context` symbols before it, and from fewer than 2 `context`.
    """
    rows = torch.from_numpy(text.astype(np.int64))[:-1]
    starts = list(range(0, max(1, len(rows) - context), context))
    parts: list[Tensor] = []
    for at in range(0, len(starts), batch):
        windows = [rows[s : s + 2 * context] for s in starts[at : at + batch]]
        lengths = torch.tensor([len(window) for window in windows])
        x = torch.nn.utils.rnn.pad_sequence(windows, batch_first=True)
        output = model(x, lengths).log_probs
        for start, row, length in zip(starts[at : at + batch], output, lengths, strict=True):
            parts.append(row[context if start else 0 : length])
    return torch.cat(parts)


def log_probs(model: TextModel, text: NDArray[np.uint8], context: int) -> Tensor:
    """Return the log-probability (T - 1,) of each symbol of a text but the first, base e."""
    following = torch.from_numpy(text[1:].astype(np.int64))[:, None]
    return distributions(model, text, context).gather(1, following)[:, 0]


def bits(model: TextModel, books: dict[str, NDArray[np.uint8]], options: LanguageConfig) -> float:
    """Return the bits per character of the beginnings of books."""
    parts = [
        log_probs(model, book[: options.dev_symbols], options.context) for book in books.values()
    ]
    return -float(torch.cat(parts).mean()) / math.log(2)


def train(system: str, books: data.Books, out: Path, seed: int, overrides: Sequence[str]) -> None:
    """Train a model, or continue its run. Raises `ConfigError`."""
    options = read_config(system, overrides)
    meta: dict[str, Any] = {
        "system": system, "seed": seed, "config": config.to_dict(options), "commit": commit(),
        "symbols": list(data.SYMBOLS),
    }  # fmt: skip
    torch.manual_seed(seed)
    model = TextModel(options.model, len(data.SYMBOLS))
    first, _ = next(iter(batches(books.train.values(), options, seed)))
    model.initialise(first[:, :-1])
    known = []
    if options.prior:
        known = priors(books.train.values(), options.prior, options.parts)
    optim = optimiser.adamw(model, options.learning_rate, options.weight_decay)
    step, seconds, best = 0, 0.0, math.inf
    lines: list[dict[str, Any]] = []
    if checkpoints.exists(out):
        tensors, old = checkpoints.load(out)
        if old["config"] != meta["config"]:
            raise ConfigError(str(out), "holds a run with other settings", "Give another --out")
        checkpoints.restore(model, tensors, out, "model.")
        optimiser.set_moments(model, optim, checkpoints.with_prefix(tensors, "moments."))
        step, lines = old["step"], old["lines"]
        seconds, best = lines[-1]["seconds"], min(line["dev"] for line in lines)
    losses: list[float] = []
    began = time.process_time() - seconds
    with progress_bar(out.name) as report:
        for rows, parts in batches(books.train.values(), options, seed, step):
            if step >= options.steps:
                break
            factor = optimiser.rate_factor(step / options.steps, options.warm_up, "cosine")
            for group in optim.param_groups:
                group["lr"] = options.learning_rate * factor
            torch.manual_seed(seed * 1_000_003 + step)
            if known:
                model.prior = partial(_by_part, known, parts)
            losses.append(_step(model, optim, rows))
            step += 1
            report(step / options.steps, f"{losses[-1] / math.log(2):.2f} bits")
            if step % options.validate_every and step < options.steps:
                continue
            seconds = time.process_time() - began
            model.prior = known[-1] if known else None
            dev = bits(model.eval(), books.dev, options)
            model.train()
            began = time.process_time() - seconds
            mean = sum(losses) / len(losses) / math.log(2)
            lines.append({"step": step, "train": mean, "dev": dev, "seconds": seconds})
            losses = []
            tensors = {f"model.{n}": t for n, t in model.state_dict().items()}
            tensors |= {f"moments.{n}": t for n, t in optimiser.moments(model, optim).items()}
            checkpoints.save(out, step, tensors, meta | {"lines": lines}, dev < best)
            best = min(best, dev)
            report(-1, f"step {step}: {mean:.3f} bits per character, dev {dev:.3f}")
    with files.atomic(out / "metrics.jsonl") as file:
        file.write("".join(json.dumps(line) + "\n" for line in lines).encode())
    if known:
        write_model(out / NGRAMS, known[-1].model)
    tensors, _ = checkpoints.load(out, checkpoints.BEST)
    checkpoints.save_model(out, checkpoints.with_prefix(tensors, "model."), meta)


def _by_part(known: Sequence[Prior], parts: Sequence[int], symbols: Tensor) -> Tensor:
    """Return what models that do not know the text say of each row."""
    rows = zip(parts, symbols, strict=True)
    return torch.cat([known[part](row[None]) for part, row in rows])


def _step(model: TextModel, optim: torch.optim.Optimizer, rows: Tensor) -> float:
    """Make a step, and return the mean negative log-probability of a symbol."""
    output = model(rows[:, :-1])
    loss = F.nll_loss(output.log_probs.flatten(0, 1), rows[:, 1:].flatten())
    torch.stack([loss, *output.losses.values()]).sum().backward()
    optimiser.clip_gradients(model.parameters(), CLIP)
    optim.step()
    optim.zero_grad(set_to_none=True)
    return float(loss.detach())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("system", help="name in systems.yaml")
    parser.add_argument("--data", type=Path, required=True, help="folder of recipes.language.data")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE")
    options = parser.parse_args(arguments)
    interrupt_on_sigterm()
    torch.set_num_threads(1)

    def act() -> int:
        books = data.load(options.data)
        train(options.system, books, options.out, options.seed, options.set)
        return 0

    return guarded(act)


if __name__ == "__main__":
    raise SystemExit(main())
