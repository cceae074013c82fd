"""How deep can a stack be? The theory's block (C10) and pre, post, sandwich, ReZero, LayerScale.

Nets with 6 to 256 blocks learn a short sequence task with Adam. Nets of one depth and kind, with
all seeds and learning rates, run as one (`torch.func.vmap`). See README.md.

Shapes: N nets (rates x seeds), R rates, S seeds, B batch, F frames, D width, L blocks.
"""

import argparse
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

import speechasym
from recipes.claims.block.depth_report import report
from recipes.claims.block.lines import append, number, read
from recipes.claims.block.task import CONFIGS, SYMBOLS, TARGET, Adam, Net, symbols
from recipes.compare.jobs import publish

STEPS = {6: 200, 24: 150, 96: 100, 256: 80}  # of training, by depth
RATES = [2.5e-4, 1e-3, 4e-3, 1.6e-2, 6.4e-2, 0.256, 1.024]
SEEDS = 5
POINTS = 17  # along the depth, at which variances are kept


def block_gradient(weights: dict[str, Tensor], number: int) -> Tensor:
    """Return (N,) norms of the gradient of one block."""
    grads = [
        w.grad.reshape(len(w), -1) for name, w in weights.items()
        if name.startswith(f"stack.blocks.{number}.") and w.grad is not None
    ]  # fmt: skip
    return torch.cat(grads, 1).norm(dim=1)


def train(
    name: str, depth: int, steps: int, rates: list[float], seeds: int
) -> Iterator[dict[str, Any]]:
    """Yield a line for each rate and seed; all nets run as one. `name` is one of CONFIGS."""
    began = time.monotonic()
    nets = []
    for seed in range(seeds):
        torch.manual_seed(seed)
        nets.append(Net(depth, CONFIGS[name]))
    single, _ = torch.func.stack_module_state(nets)
    copies = len(rates)  # every rate starts from the same nets and gets the same data
    weights = {
        key: w.detach().repeat(copies, *(1,) * (w.ndim - 1)).requires_grad_()
        for key, w in single.items()
    }

    def run(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(nets[0], parameters, (x,))

    def probe(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(nets[0], parameters, (x, True))

    generators = [torch.Generator().manual_seed(1000 + seed) for seed in range(seeds)]

    def batch() -> tuple[Tensor, Tensor]:
        drawn = [symbols(g) for g in generators]
        x, y = (torch.stack(t) for t in zip(*drawn, strict=True))
        return x.repeat(copies, 1, 1, 1), y.repeat(copies, 1, 1)

    x, y = batch()
    with torch.no_grad():
        alone = nets[-1](x[seeds - 1])
        assert torch.allclose(torch.func.vmap(run)(weights, x)[seeds - 1], alone, atol=1e-4)
        variance = [torch.func.vmap(probe)(weights, x)]
    rate = torch.tensor(rates).repeat_interleave(seeds)
    optimiser = Adam(list(weights.values()), rate)
    losses, ratio = [], []
    for step in range(steps):
        scores = torch.func.vmap(run)(weights, x)
        loss = functional.cross_entropy(scores.permute(0, 3, 1, 2), y, reduction="none")
        loss = loss.mean((1, 2))
        loss.sum().backward()
        if step in (0, steps - 1):  # the first and the last convolution
            ratio.append(block_gradient(weights, 0) / block_gradient(weights, depth - 2))
        losses.append(loss.detach())
        optimiser.step()
        x, y = batch()
    with torch.no_grad():
        variance.append(torch.func.vmap(probe)(weights, x))
    curve = torch.stack(losses, 1).double().numpy()  # (N, steps)
    places = sorted({round(p) for p in np.linspace(0, depth, POINTS)})
    for n in range(len(rate)):
        yield {
            "config": name,
            "depth": depth,
            "rate": rates[n // seeds],
            "seed": n % seeds,
            "steps": steps,
            "start": number(curve[n, 0]),
            "end": number(curve[n, -max(1, steps // 10) :].mean()),
            "stable": stable(curve[n]),
            "reached": reached(curve[n]),
            "places": places,
            "variance_start": [number(v) for v in variance[0][n, places].tolist()],
            "variance_end": [number(v) for v in variance[1][n, places].tolist()],
            "gradient_start": number(ratio[0][n].item()),
            "gradient_end": number(ratio[-1][n].item()),
            "seconds": round((time.monotonic() - began) / len(rate), 3),
            "torch": torch.__version__,
            "speechasym": speechasym.__version__,
        }


def stable(curve: NDArray) -> bool:
    """Return whether a loss is always finite, and ends 2 % below both the start and guessing."""
    end = curve[-max(1, len(curve) // 10) :].mean()
    return bool(np.isfinite(curve).all() and end < 0.98 * min(curve[0], math.log(SYMBOLS)))


def reached(curve: NDArray) -> int | None:
    """Return the first step after which the mean loss of five steps is below TARGET."""
    if len(curve) < 5 or not np.isfinite(curve).all():
        return None
    mean = np.convolve(curve, np.full(5, 0.2), "valid")
    return int(np.argmax(mean < TARGET)) + 5 if (mean < TARGET).any() else None


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the runs that are missing in --out, then report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("out/claims/block/depth.jsonl"))
    parser.add_argument("--depths", type=int, nargs="+", default=list(STEPS))
    parser.add_argument("--configs", nargs="+", default=list(CONFIGS), choices=CONFIGS)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--rates", type=float, nargs="+", default=RATES)
    parser.add_argument("--steps", type=int, help="for every depth (default: by depth)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--report", action="store_true", help="only report finished runs")
    args = parser.parse_args(arguments)
    if min(args.depths) < 2 or args.seeds < 1 or (args.steps or 1) < 1:
        parser.error("--depths takes 2 or more, --seeds and --steps 1 or more")
    torch.set_num_threads(args.threads)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    for depth in () if args.report else args.depths:
        near = min(STEPS, key=lambda d: abs(math.log(d / depth)))
        steps = args.steps or STEPS[near]
        for name in args.configs:
            done = {
                (line["rate"], line["seed"]) for line in read(args.out)
                if (line["config"], line["depth"], line["steps"]) == (name, depth, steps)
            }  # fmt: skip
            if done >= {(rate, seed) for rate in args.rates for seed in range(args.seeds)}:
                continue
            lines = list(train(name, depth, steps, args.rates, args.seeds))
            append(args.out, lines)
            reached_at = [line["reached"] for line in lines if line["reached"]]
            print(
                f"[{time.monotonic() - began:6.1f} s] {depth} blocks, {name}: "
                f"{sum(line['stable'] for line in lines)} of {len(lines)} stable, "
                f"earliest at the target {min(reached_at, default='never')}",
                flush=True,
            )
    if lines := read(args.out):
        publish(report(lines, args.out.parent), args.out.with_suffix(".md"))
    else:
        parser.error(f"{args.out} contains no results; run without --report")


if __name__ == "__main__":
    main()
