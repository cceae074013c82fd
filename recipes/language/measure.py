"""Measure language models on unseen books.

    python -m recipes.language.measure RUN ... --data BOOKS --out measured.jsonl

For each run: bits per character of the test books with so many characters before each (`CONTEXTS`),
by book and stretch; FLOPs; how events of levels lie to words; and a text that it writes. Runs that
are in the file already are left out; delete their lines to measure again.
"""

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from recipes.claims.asymmetry.common import log
from recipes.compare.jobs import guarded, read_lines
from recipes.language import data
from recipes.language.train import LanguageConfig, log_probs, open_model
from recipes.provenance import commit
from speechasym import files
from speechasym.language.letters import SPACE
from speechasym.levels.hierarchy import count_parameters
from speechasym.levels.text import TextModel
from speechasym.training.rules.meter import Flops

CONTEXTS = (16, 64, 256, 1024)  # at least so many characters before each, and fewer than twice
WINDOW = 256  # symbols before each, at least, when it writes or finds events
STRETCH = 2000  # characters whose sum is one of the values that intervals are drawn from
SYMBOLS = 40_000  # of each book
OPENING = "IT WAS A FINE MORNING AND "
TEMPERATURE = 0.7
WRITTEN = 400  # symbols of the text that a net writes


def step_flops(model: TextModel, options: LanguageConfig, text: NDArray[np.uint8]) -> float:
    """Return the FLOPs of training for a symbol of a text, without the optimiser's."""
    torch.manual_seed(0)
    rows = max(1, min(4, len(text) // options.length))
    x = torch.from_numpy(text[: rows * options.length].astype(np.int64)).view(rows, -1)
    model.train()
    with Flops() as flops:
        output = model(x)
        loss = F.nll_loss(output.log_probs.flatten(0, 1), x.flatten())
        torch.stack([loss, *output.losses.values()]).sum().backward()
    model.zero_grad(set_to_none=True)
    model.eval()
    return flops.of.total() / x.numel()


@torch.no_grad()
def write(model: TextModel, opening: str, count: int, context: int, seed: int = 0) -> str:
    """Continue a text by so many symbols, drawn at `TEMPERATURE`."""
    text = list(data.encode(opening))
    drawn = torch.Generator().manual_seed(seed)
    for _ in range(count):
        x = torch.tensor([text[-context:]], dtype=torch.long)
        p = (model(x).log_probs[0, -1] / TEMPERATURE).softmax(-1)
        text.append(int(torch.multinomial(p, 1, generator=drawn)))
    return data.decode(text)


@torch.no_grad()
def events(model: TextModel, text: NDArray[np.uint8], context: int) -> list[dict[str, Any]]:
    """Return how long each level's events are, and how their beginnings lie to those of words."""
    context = min(context, len(text) // 2)
    size = len(text) // (2 * context) * 2 * context
    rows = torch.from_numpy(text[:size].astype(np.int64)).view(-1, 2 * context)
    between = (rows == data.SYMBOLS.index(SPACE)) | (rows == 0)
    first_of_word = F.pad(between[:, :-1], (1, 0)) & ~between
    result = []
    starts = None
    for level in model(rows).levels:
        if level.events is None:
            break
        of_step = level.events.of_step
        new = F.pad(of_step[:, 1:] != of_step[:, :-1], (1, 0), value=True) & level.mask
        if starts is None:
            at = new
        else:  # the steps of this level begin where the events below did
            at = torch.zeros_like(rows, dtype=torch.bool)
            at[new.nonzero()[:, 0], starts[new]] = True
        hit = int((at & first_of_word).sum())
        # a word also begins where its space does: an event may end with the word or with the space
        early = int((at[:, :-1] & first_of_word[:, 1:]).sum())
        result.append(
            {
                "symbols": rows.numel() / int(at.sum()),
                "precision": max(hit, early) / int(at.sum()),
                "recall": max(hit, early) / int(first_of_word.sum()),
                "chance": float(first_of_word.float().mean()),
                "sample": "|".join(
                    "".join(part) for part in _cut(data.decode(rows[0, :160].tolist()), at[0])
                ),
            }
        )
        starts = level.passed.start
    return result


def _cut(text: str, at: torch.Tensor) -> list[str]:
    edges = [i for i in range(len(text)) if i == 0 or bool(at[i])]
    return [text[a:b] for a, b in zip(edges, [*edges[1:], len(text)], strict=True)]


def stretches(bits: Tensor, first: int) -> list[float]:
    """Return means over stretches of the bits (T,) of a text, without its first characters."""
    bits = bits[first:]
    whole = bits[: len(bits) // STRETCH * STRETCH].view(-1, STRETCH)
    return [round(float(mean), 6) for mean in whole.mean(1)]


def measure(run: Path, books: data.Books) -> dict[str, Any]:
    """Return the line of a run."""
    model, options = open_model(run)
    first = next(iter(books.test.values()))
    table: dict[str, dict[str, list[float]]] = {}
    for name, book in books.test.items():
        table[name] = {}
        for context in CONTEXTS:
            bits = -log_probs(model, book[:SYMBOLS], context) / math.log(2)
            # the same characters for all contexts, all of which have the longest before them
            table[name][str(context)] = stretches(bits, CONTEXTS[-1])
        log(f"{run.name}: {name}")
    return {
        "parameters": count_parameters(model), "flops": step_flops(model, options, first),
        "bits": table,
        "events": events(model, first[:SYMBOLS], WINDOW),
        "text": write(model, OPENING, WRITTEN, WINDOW),
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", help="folders of recipes.language.train")
    parser.add_argument("--data", type=Path, required=True, help="folder of recipes.language.data")
    parser.add_argument("--out", type=Path, required=True, help="file of results, a line a run")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)

    def act() -> int:
        lines = read_lines(options.out)
        done = {line["run"] for line in lines}
        books = data.load(options.data)
        for run in options.runs:
            if run.name in done:
                continue
            measured = measure(run, books)  # first: it says if this is not a finished run
            meta = json.loads((run / "model.json").read_text("utf-8"))
            about = {key: meta[key] for key in ("system", "seed", "commit")}
            seconds = json.loads((run / "metrics.jsonl").read_text("utf-8").splitlines()[-1])
            lines.append(
                {"run": run.name, **about, "seconds": seconds["seconds"], "measured": commit()}
                | measured
            )
            with files.atomic(options.out) as file:
                file.write("".join(json.dumps(line) + "\n" for line in lines).encode())
        return 0

    return guarded(act)


if __name__ == "__main__":
    raise SystemExit(main())
