"""How deep can a stack be? The theory's block (C10) and pre, post, sandwich, ReZero, LayerScale.

Nets with 6 to 256 blocks learn a short sequence task with Adam. Nets of one depth and kind, with
all seeds and learning rates, run as one (`torch.func.vmap`). See README.md.

Shapes: N nets (rates x seeds), R rates, S seeds, B batch, F frames, D width, L blocks.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

import speechasym
from recipes.provenance import table
from speechasym.levels.block import Block, Stack
from speechasym.levels.config import BlockConfig

STEPS = {6: 200, 24: 150, 96: 100, 256: 80}  # of training, by depth
RATES = [2.5e-4, 1e-3, 4e-3, 1.6e-2, 6.4e-2, 0.256, 1.024]
SEEDS = 5
WIDTH, FRAMES, BATCH = 16, 16, 8
WINDOW, SYMBOLS, NOISE = 5, 4, 0.3
TARGET = 0.8  # nats; guessing gives 1.39, and two blocks reach 1.0
BETAS, EPSILON = (0.9, 0.999), 1e-8  # Adam's
POINTS = 17  # along the depth, at which variances are kept
ROUNDS = 2000  # of resampling, for 95 % intervals
CONFIGS: dict[str, dict[str, Any]] = {
    "theory": {"norm": "theory"},
    "pre": {"norm": "pre"},
    "post": {"norm": "post"},
    "sandwich": {"norm": "sandwich"},
    "rezero": {"norm": "rezero"},
    "layerscale": {"norm": "layerscale"},
    # which part of the theory's block has the effect: the gain by depth, or the compression?
    "theory, gain 1": {"norm": "theory", "gain": 1.0},
    "theory, no compression": {"norm": "theory", "activation": "none"},
}
# Okabe and Ito's palette, distinguishable with any colour vision
COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999")


def symbols(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw noisy symbols (B, F, 2), and how many of the last WINDOW were 1, modulo SYMBOLS (B, F).

    Each convolution sees two frames on either side, and no single block can count modulo: several
    have to work together.
    """
    ones = torch.randint(0, 2, (BATCH, FRAMES), generator=generator)
    padded = functional.pad(ones, (WINDOW - 1, 0))
    count = padded.unfold(1, WINDOW, 1).sum(2) % SYMBOLS
    x = functional.one_hot(ones, 2).float()
    return x + NOISE * torch.randn(x.shape, generator=generator), count


class Net(nn.Module):
    """Alternating convolution and feed-forward blocks between two linear maps."""

    def __init__(self, depth: int, options: dict[str, Any]) -> None:
        super().__init__()
        config = BlockConfig(width=WIDTH, depth=depth, kernel=5, expansion=1, **options)
        kinds = [replace(config, function=name) for name in ("convolution", "feedforward")]
        self.enter = nn.Linear(2, WIDTH)
        self.stack = Stack([Block(kinds[i % 2]) for i in range(depth)])
        self.norm = nn.LayerNorm(WIDTH)
        self.out = nn.Linear(WIDTH, SYMBOLS)

    def forward(self, x: Tensor, probe: bool = False) -> Tensor:
        """Map x (B, F, 2) to scores (B, F, SYMBOLS).

        With `probe`, return the variance of all values around 0 before and after blocks (L + 1,).
        """
        x = self.enter(x)
        if not probe:
            return self.out(self.norm(self.stack(x)))
        variances = [x.square().mean()]
        for block in self.stack.blocks:
            assert isinstance(block, Block)
            x = block(x)
            variances.append(x.square().mean())
        return torch.stack(variances)


class Adam:
    """Adam with a learning rate for each net."""

    def __init__(self, weights: list[Tensor], rate: Tensor) -> None:
        self.weights, self.count = weights, 0
        self.rates = [rate.view(-1, *(1,) * (w.ndim - 1)) for w in weights]
        self.mean = [torch.zeros_like(w) for w in weights]
        self.square = [torch.zeros_like(w) for w in weights]

    @torch.no_grad()
    def step(self) -> None:
        """Update the weights, and clear the gradients."""
        self.count += 1
        grads = [w.grad for w in self.weights if w.grad is not None]
        assert len(grads) == len(self.weights)
        torch._foreach_lerp_(self.mean, grads, 1 - BETAS[0])
        torch._foreach_mul_(self.square, BETAS[1])
        torch._foreach_addcmul_(self.square, grads, grads, 1 - BETAS[1])
        scale = torch._foreach_sqrt(self.square)
        torch._foreach_div_(scale, math.sqrt(1 - BETAS[1] ** self.count))
        torch._foreach_add_(scale, EPSILON)
        move = torch._foreach_div(self.mean, scale)
        torch._foreach_div_(move, -(1 - BETAS[0] ** self.count))
        torch._foreach_mul_(move, self.rates)
        torch._foreach_add_(self.weights, move)
        for w in self.weights:
            w.grad = None


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


def number(x: float) -> float | None:
    """Round to five digits; None for infinity and NaN, which JSON does not have."""
    return float(f"{x:.5g}") if math.isfinite(x) else None


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


# Report


def read(path: Path) -> list[dict[str, Any]]:
    """Read the complete lines."""
    lines = []
    for text in path.read_text().splitlines() if path.exists() else ():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue  # truncated when a run was stopped; it is run again
    return lines


def interval(values: NDArray) -> tuple[float, float, float]:
    """Return the median of (S,) seeds and its bootstrap 95 % interval; infinite: not reached."""
    picks = np.random.default_rng(0).integers(0, len(values), (ROUNDS, len(values)))
    with np.errstate(invalid="ignore"):
        drawn = np.median(values[picks], axis=1)
    low, high = np.quantile(drawn[~np.isnan(drawn)], [0.025, 0.975], method="inverted_cdf")
    return float(np.median(values)), float(low), float(high)


def formatted(values: NDArray, form: Callable[[float], str]) -> str:
    """Return `median (low to high)`, or `-` without values."""
    values = values[~np.isnan(values)]
    if not len(values):
        return "-"
    middle, low, high = (form(v) for v in interval(values))
    return middle if low == high == middle else f"{middle} ({low} to {high})"


def plain(x: float) -> str:
    """Return two digits; powers of ten outside 0.01 to 1000; 'never' for infinity."""
    if math.isinf(x):
        return "never"
    return f"{x:.2g}" if x == 0 or 0.01 <= abs(x) < 1000 else f"{x:.0e}"


class Results:
    """The runs of one configuration and depth, arrays (R, S)."""

    def __init__(self, lines: list[dict[str, Any]]) -> None:
        self.steps = lines[-1]["steps"]  # shorter runs may be in the same file
        self.at = {(line["rate"], line["seed"]): line for line in lines}
        self.seeds = sorted({seed for _, seed in self.at})
        rates = sorted({rate for rate, _ in self.at})
        self.rates = [r for r in rates if all((r, s) in self.at for s in self.seeds)]

    def table(self, key: str) -> NDArray:
        """Return (R, S) of a number; NaN for null."""
        pick = [[self.at[r, s][key] for s in self.seeds] for r in self.rates]
        return np.array(pick, dtype=float)

    @property
    def highest(self) -> NDArray:
        """(S,) highest stable learning rate; 0 for none."""
        return (self.table("stable") * np.array(self.rates)[:, None]).max(0)

    @property
    def reached(self) -> NDArray:
        """(R, S) steps to the target, infinite for never."""
        return np.nan_to_num(self.table("reached"), nan=math.inf)

    @property
    def best(self) -> NDArray:
        """(S,) index of the best rate for the *other* seeds; ties are broken by the final loss."""
        reached, end = self.reached, np.nan_to_num(self.table("end"), nan=math.inf)
        out = []
        for s in range(len(self.seeds)):
            others = [i for i in range(len(self.seeds)) if i != s] or [s]
            # medians are compared first, losses decide ties, such as never reached
            keys = list(
                zip(np.median(reached[:, others], 1), np.median(end[:, others], 1), strict=True)
            )
            out.append(min(range(len(keys)), key=keys.__getitem__))
        return np.array(out)

    def chosen(self, table: NDArray) -> NDArray:
        """Return (S,) of (R, S) at each seed's best rate."""
        return table[self.best, np.arange(len(self.seeds))]

    def growth(self, key: str) -> NDArray:
        """Return (S,) variance after the last block over that before the first, at best rates."""
        out = []
        for s, r in zip(self.seeds, self.best, strict=True):
            first, *_, last = self.at[self.rates[r], s][key]
            out.append(math.inf if first is None or last is None else last / first)
        return np.array(out)

    def track(self, key: str) -> tuple[NDArray, NDArray]:
        """Return relative depth, and the median variance over seeds at the best rate."""
        lines = [self.at[self.rates[r], s] for s, r in zip(self.seeds, self.best, strict=True)]
        values = np.array([line[key] for line in lines], dtype=float)
        known = values[~np.isnan(values).any(1)]
        places = np.array(lines[0]["places"]) / lines[0]["depth"]
        return places, np.median(known, 0) if len(known) else np.full(len(places), np.nan)


def verdict(results: dict[str, Results]) -> str:
    """Return steps of the theory's block minus those of each rival, seed by seed."""
    if "theory" not in results:
        return ""
    ours, words = results["theory"].chosen(results["theory"].reached), []
    for name, other in results.items():
        if name == "theory" or other.seeds != results["theory"].seeds:
            continue
        rival = other.chosen(other.reached)
        if np.isinf(ours).all() and np.isinf(rival).all():
            words.append(f"{name}: neither reached it")
            continue
        # never counts as twice the number of steps: only the sign of the difference matters then
        cap = 2 * results["theory"].steps
        middle, low, high = interval(np.minimum(ours, cap) - np.minimum(rival, cap))
        if len(ours) < 5:
            outcome = "too few seeds"
        else:
            outcome = "fewer" if high < 0 else "more" if low > 0 else "not told apart"
        words.append(f"{name}: {outcome} ({middle:+.0f}, {low:+.0f} to {high:+.0f})")
    return "Steps of the theory's block minus those of " + "; ".join(words) + "."


def report(lines: list[dict[str, Any]], folder: Path) -> str:
    """Return the report in Markdown, and write variance.png to the folder."""
    grouped: dict[int, dict[str, list[dict[str, Any]]]] = {}
    for line in lines:
        grouped.setdefault(line["depth"], {}).setdefault(line["config"], []).append(line)
    depths = {
        depth: {name: Results(kinds[name]) for name in CONFIGS if name in kinds}
        for depth, kinds in sorted(grouped.items())
    }
    depths = {
        depth: {name: r for name, r in results.items() if r.rates}
        for depth, results in depths.items()
        if any(r.rates for r in results.values())
    }
    parts = [
        "# Depth of residual stacks (C10)",
        f"Median over seeds and its bootstrap 95 % interval. Target: a loss of {TARGET}"
        " nats; the rate is the one that was best for the other seeds.",
    ]
    head = [
        "block", "highest stable rate", "steps to target", "loss at the end",
        "variance, last / first: at start", "after training",
        "gradient, first / last: at start", "after training",
    ]  # fmt: skip
    for depth, results in depths.items():
        some = next(iter(results.values()))
        parts.append(
            f"## {depth} blocks, {some.steps} steps, {len(some.seeds)} seeds, "
            f"rates {', '.join(f'{r:g}' for r in some.rates)}"
        )
        rows = []
        for name, r in results.items():
            rows.append(
                [
                    name,
                    formatted(r.highest, lambda v: f"{v:g}" if v else "none"),
                    formatted(
                        r.chosen(r.reached), lambda v: "never" if math.isinf(v) else f"{v:.0f}"
                    ),
                    formatted(r.chosen(r.table("end")), plain),
                    formatted(r.growth("variance_start"), plain),
                    formatted(r.growth("variance_end"), plain),
                    formatted(r.chosen(r.table("gradient_start")), plain),
                    formatted(r.chosen(r.table("gradient_end")), plain),
                ]
            )
        parts.append(table(head, rows).rstrip())
        if text := verdict(results):
            parts.append(text)
    _figure(depths, folder / "variance.png")
    parts.append("![variance through depth](variance.png)")
    return "\n\n".join(parts) + "\n"


def _figure(depths: dict[int, dict[str, Results]], path: Path) -> None:
    """Plot variance through depth, at the start (thin) and after training (thick)."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, row = plt.subplots(
        1, len(depths), figsize=(3.6 * len(depths) + 1.6, 3.6), layout="constrained",
        squeeze=False, sharey=True,
    )  # fmt: skip
    for axis, (depth, results) in zip(row[0], depths.items(), strict=True):
        for name, r in results.items():
            colour = COLOURS[list(CONFIGS).index(name)]
            axis.plot(*r.track("variance_start"), color=colour, lw=0.8, ls="--")
            axis.plot(*r.track("variance_end"), color=colour, lw=1.8, label=name)
        axis.set(title=f"{depth} blocks", xlabel="relative depth", yscale="log")
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
    row[0][0].set_ylabel("mean square of the stream\n(dashed: at the start)")
    row[0][-1].legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8, frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


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
            with args.out.open("a") as file:
                file.write("".join(json.dumps(line) + "\n" for line in lines))
            reached_at = [line["reached"] for line in lines if line["reached"]]
            print(
                f"[{time.monotonic() - began:6.1f} s] {depth} blocks, {name}: "
                f"{sum(line['stable'] for line in lines)} of {len(lines)} stable, "
                f"earliest at the target {min(reached_at, default='never')}",
                flush=True,
            )
    if lines := read(args.out):
        text = report(lines, args.out.parent)
        args.out.with_suffix(".md").write_text(text, "utf-8")
        print(text)
    else:
        parser.error(f"{args.out} contains no results; run without --report")


if __name__ == "__main__":
    main()
