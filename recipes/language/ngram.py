"""The simplest strong rival: an n-gram model of letters, interpolated modified Kneser-Ney.

    python -m recipes.language.ngram --data BOOKS --out measured.jsonl

Its order is chosen on the dev books. The line it adds is as those of `recipes.language.measure`.
"""

import argparse
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recipes.compare.jobs import guarded, read_lines
from recipes.language import data, measure
from recipes.language.prior import Prior, fit
from recipes.provenance import commit
from speechasym import files
from speechasym.errors import ConfigError
from speechasym.language.ngrams import MAX_ORDER

NAME = "n-gram"
ORDERS = range(4, MAX_ORDER + 1)
DEV_SYMBOLS = 60_000  # of each dev book


def bits(prior: Prior, text: NDArray[np.uint8]) -> torch.Tensor:
    """Return the bits (T - 1,) of each symbol of a text but the first."""
    rows = torch.from_numpy(text.astype(np.int64))[None]
    log_probs = prior(rows[:, :-1]).gather(2, rows[:, 1:, None])
    return -log_probs[0, :, 0] / math.log(2)


def line(books: data.Books) -> dict[str, Any]:
    """Fit, choose the order, and measure. Raises `ConfigError` without dev books."""
    if not books.dev:
        raise ConfigError("books", "no dev book chooses the order", "Prepare them with --dev")
    began = time.process_time()
    models = {order: Prior(fit(books.train.values(), order)) for order in ORDERS}
    seconds = time.process_time() - began
    dev = {
        order: float(torch.cat([bits(m, b[:DEV_SYMBOLS]) for b in books.dev.values()]).mean())
        for order, m in models.items()
    }
    order = min(dev, key=lambda o: dev[o])
    print({o: round(value, 3) for o, value in dev.items()}, f"-> {order}")
    table: dict[str, dict[str, list[float]]] = {}
    for name, book in books.test.items():
        # a window has no meaning for a model that remembers `order` letters: all are the same
        rows = measure.stretches(bits(models[order], book[: measure.SYMBOLS]), measure.CONTEXTS[-1])
        table[name] = {str(context): rows for context in measure.CONTEXTS}
    return {
        "run": f"{NAME} of {order} letters", "system": NAME, "seed": 0, "commit": commit(),
        "seconds": seconds / len(ORDERS), "measured": commit(),
        "parameters": len(models[order].model.word), "flops": 0.0, "bits": table,
        "events": [], "text": "",
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of recipes.language.data")
    parser.add_argument("--out", type=Path, required=True, help="file of results, a line a run")
    options = parser.parse_args(arguments)

    def act() -> int:
        lines = [old for old in read_lines(options.out) if old["system"] != NAME]
        lines.append(line(data.load(options.data)))
        with files.atomic(options.out) as file:
            file.write("".join(json.dumps(each) + "\n" for each in lines).encode())
        return 0

    return guarded(act)


if __name__ == "__main__":
    raise SystemExit(main())
