"""Is torch's own int8 faster or smaller? Time, size and errors of a run, and time of wider nets.

    python -m recipes.claims.quantisation.speed RUN --cuts CUTS [--lexicon FILE] [--every 7]

Linear maps are quantised dynamically by torch (int8 weights and inputs); everything else stays as
it is. One thread, in turn, medians; times are of the processor.
"""

import argparse
import copy
import io
import statistics
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recipes.claims.quantisation.measure import PACKAGE, answer, utterances
from recipes.claims.quantisation.rounding import matrices
from recipes.claims.topology.lines import rate
from recipes.compare.jobs import guarded
from recipes.provenance import commit, machine, table
from speechasym.levels.hierarchy import build_model, count_parameters
from speechasym.recognition.trained_model import open_run

SECONDS = (1, 3, 10, 60)  # of sound
ROUNDS, WARM = 24, 4


def dynamic_int8(model: nn.Module) -> nn.Module:
    """Return a copy whose linear maps compute in int8, by torch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch says that it will be removed
        quantise: Any = torch.ao.quantization.quantize_dynamic
        result: nn.Module = quantise(copy.deepcopy(model), {nn.Linear}, dtype=torch.qint8)
    return result


@torch.no_grad()
def times(one: nn.Module, other: nn.Module, columns: int, seconds: int) -> tuple[float, float]:
    """Return the median time of the first in ms, and the median of the paired ratios."""
    x = np.random.default_rng(0).standard_normal((1, seconds * 100, columns))
    features, lengths = torch.from_numpy(x).float(), torch.tensor([x.shape[1]])
    pairs = [[_time(m, features, lengths) for m in (one, other)] for _ in range(ROUNDS)][WARM:]
    first = 1000 * statistics.median(a for a, _ in pairs)
    return first, statistics.median(b / a for a, b in pairs)


def _time(model: nn.Module, features: Tensor, lengths: Tensor) -> float:
    start = time.process_time()
    model(features, lengths)
    return time.process_time() - start


def size(model: nn.Module) -> int:
    """Return the bytes of a model's tensors as torch saves them."""
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    return file.tell()


def sizes(model: nn.Module) -> dict[str, int]:
    """Return the bytes of the tensors in float32, float16, and int8 with a scale per channel."""
    axes = matrices(model)
    numbers = sum(t.numel() for t in model.state_dict().values())
    inside = sum(model.get_parameter(name).numel() for name in axes)
    channels = sum(model.get_parameter(name).shape[axis] for name, axis in axes.items())
    int8 = inside + 4 * (channels + numbers - inside)
    return {"float32": 4 * numbers, "float16": 2 * numbers, "int8 per channel": int8}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("run", help="folder of a run, or package")
    add("--cuts", type=Path, required=True)
    add("--lexicon", type=Path, help="for the phones that are said, if the cuts have none")
    add("--every", type=int, default=1, help="read one of so many cuts")
    add("--seconds", type=int, nargs="+", default=list(SECONDS), help="of sound")
    add("--presets", nargs="*", default=["small", "base"], help="wider nets, untrained")
    options = parser.parse_args(arguments)

    def act() -> int:
        torch.set_num_threads(1)
        net = open_run(None if options.run == PACKAGE else options.run)
        columns = len(net.feature_config.columns())
        counts = {head: len(symbols) for head, symbols in net.written.items()}
        models = {net.name: net.model} | {
            name: build_model({"preset": name}, columns, counts).eval() for name in options.presets
        }
        body = []
        for name, model in models.items():
            fast = dynamic_int8(model)
            cells = [name, f"{count_parameters(model):,}", f"{size(fast) / size(model):.2f}"]
            for seconds in options.seconds:
                ms, ratio = times(model, fast, columns, seconds)
                cells.append(f"{ms:.1f} ms, {ratio:.2f}")
            body.append(cells)
        head = [
            "model",
            "parameters",
            "bytes, int8 / float32",
            *(f"{s} s" for s in options.seconds),
        ]
        print(table(head, body))
        print("Time in float32, and the ratio of int8 to it.\n")
        sounds = utterances(net, options.cuts, options.lexicon, options.every)
        rows = []
        for name, model in (("float32", net.model), ("torch's int8", dynamic_int8(net.model))):
            found = answer(net, model, sounds)
            errors = (f"{100 * rate([{'counts': c}]):.2f}" for c in found.errors.values())
            rows.append([name, *errors])
        print(table(["weights", *(f"{head}, %" for head in net.inventories)], rows))
        kept = ", ".join(f"{what} {bytes_:,}" for what, bytes_ in sizes(net.model).items())
        print(f"Bytes of its tensors: {kept}. Torch {torch.__version__}, {machine()}, {commit()}.")
        return 0

    return guarded(act)


if __name__ == "__main__":
    raise SystemExit(main())
