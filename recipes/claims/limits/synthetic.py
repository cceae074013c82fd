"""Train short, test long: does the strongest of N competitors keep its share? (C6)

Nets with one layer of attention learn `tasks` with 16 items and are tested with up to 64 times as
many, for each rule that turns scores into weights. See README.md.

Shapes: N nets (rates x seeds), R rates, S seeds, L lengths.
"""

import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

import speechasym
from recipes.claims.block.depth_report import COLOURS, ROUNDS
from recipes.claims.block.lines import append, number, read
from recipes.claims.block.task import Adam
from recipes.claims.limits.options import command, open_parser
from recipes.claims.limits.tasks import HEADS, RULES, TASKS, Nets, Weigh, classes, draw
from recipes.compare.jobs import publish
from recipes.provenance import commit, machine, table
from speechasym.ranks.laws import selectivity

LENGTH = 16  # items in training
FACTORS = (1, 2, 4, 8, 16, 32, 64)  # times as many in the test
GOAL = 16, 0.5  # at this factor at most this share of the softmax's errors
STEPS, BATCH = 1500, 64
RATES = [1e-3, 3e-3, 1e-2]
SEEDS = 5
TESTS, CHUNK = 512, 64  # test sequences of each length and seed; how many at a time
MEASURES = ("error", "strongest", "entropy", "selectivity")


def train(
    task: str,
    rule: str,
    steps: int,
    rates: list[float],
    seeds: int,
    tests: int = TESTS,
    shortest: int = LENGTH,
) -> Iterator[dict[str, Any]]:
    """Yield a line for each rate and seed, see `fit`."""
    began, count = time.monotonic(), len(rates) * seeds
    nets, final = fit(task, rule, steps, rates, seeds, shortest)
    measured = {factor: test(nets, task, LENGTH * factor, seeds, tests) for factor in FACTORS}
    for n in range(count):
        line: dict[str, Any] = {
            "task": task, "rule": rule, "rate": rates[n // seeds], "seed": n % seeds,
            "steps": steps, "tests": tests, "shortest": shortest, "loss": number(final[n].item()),
            "factors": list(FACTORS),
        }  # fmt: skip
        for at, measure in enumerate(MEASURES):
            line[measure] = [number(measured[f][at, n].item()) for f in FACTORS]
        if nets.weights is not None:
            heads = slice(n * HEADS, (n + 1) * HEADS)
            line["beta"] = [number(v) for v in nets.weights.beta[heads].tolist()]
            line["growth"] = [number(v) for v in nets.weights.growth[heads].tolist()]
        line |= {
            "seconds": round((time.monotonic() - began) / count, 3), "commit": commit(),
            "machine": machine(), "torch": torch.__version__, "speechasym": speechasym.__version__,
        }  # fmt: skip
        yield line


def fit(
    task: str, rule: str, steps: int, rates: list[float], seeds: int, shortest: int = LENGTH
) -> tuple[Nets, torch.Tensor]:
    """Train nets of all rates and seeds as one; return them and their last losses (N,).

    Every rule and rate has the same sequences, of `shortest` to `LENGTH` items, and initial nets.
    The rate falls linearly to 0.
    """
    count = len(rates) * seeds
    nets = Nets([1 + n % seeds for n in range(count)], rule)
    rate = torch.tensor(rates).repeat_interleave(seeds)
    optimiser = Adam(list(nets.parameters()), torch.ones(1))
    generators = [torch.Generator().manual_seed(1000 + seed) for seed in range(seeds)]
    lengths = np.random.default_rng(0).integers(shortest, LENGTH + 1, steps).tolist()
    losses = []
    for step in range(steps):
        falling = rate * (1 - step / steps)
        optimiser.rates = [  # of heads, there are several to a net
            falling.repeat_interleave(len(w) // count).view(-1, *(1,) * (w.ndim - 1))
            for w in optimiser.weights
        ]
        x, query, label = sequences(task, BATCH, lengths[step], generators, len(rates))
        scores, _ = nets(x, query)
        loss = functional.cross_entropy(scores.flatten(0, 1), label.flatten(), reduction="none")
        loss = loss.view(count, -1).mean(1)
        loss.sum().backward()
        optimiser.step()
        losses.append(loss.detach())
    return nets, torch.stack(losses[-max(1, steps // 10) :]).mean(0)


def sequences(
    task: str, batch: int, items: int, generators: list[torch.Generator], rates: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return items (N, B, M, I), queries (N, B, KEY) and classes (N, B), alike for all rates."""
    drawn = [draw(task, batch, items, generator) for generator in generators]
    x, query = (torch.stack([d[i] for d in drawn]) for i in (0, 1))
    label = torch.stack([classes(d[0], d[2]) for d in drawn])
    return x.repeat(rates, 1, 1, 1), query.repeat(rates, 1, 1), label.repeat(rates, 1)


@torch.no_grad()
def test(
    nets: Nets, task: str, items: int, seeds: int, tests: int, weigh: Weigh | None = None
) -> torch.Tensor:
    """Return (4, N) `MEASURES` with this many items; those of the weights are means over heads.

    weigh: as of `Nets.forward`.
    """
    generators = [torch.Generator().manual_seed(2000 + 100 * items + s) for s in range(seeds)]
    rates = len(nets.maps["out"]) // seeds
    total = torch.zeros(len(MEASURES), rates * seeds)
    for start in range(0, tests, CHUNK):
        batch = min(CHUNK, tests - start)
        x, query, label = sequences(task, batch, items, generators, rates)
        scores, p = nets(x, query, weigh)
        entropy = -torch.special.xlogy(p, p).sum(-1)
        for at, value in enumerate((p.amax(-1), entropy, selectivity(p)), 1):
            total[at] += value.mean(2).sum(0)
        total[0] += (scores.argmax(2) != label).sum(1)
    return total / tests


# Report


def trained_with(line: dict[str, Any]) -> str:
    """Return the numbers of items in training, in words."""
    shortest = settings(line)[2]
    return str(LENGTH) if shortest == LENGTH else f"{shortest} to {LENGTH}"


def settings(line: dict[str, Any]) -> tuple[int, int, int]:
    """Return steps, test sequences, and the fewest items in training of a line of results."""
    return line["steps"], line["tests"], line.get("shortest", LENGTH)


class Runs:
    """The runs of one task and rule, arrays (R, S, L)."""

    def __init__(self, lines: list[dict[str, Any]]) -> None:
        self.steps, self.tests, self.shortest = settings(lines[-1])
        lines = [n for n in lines if settings(n) == settings(lines[-1])]
        self.at = {(line["rate"], line["seed"]): line for line in lines}
        self.seeds = sorted({seed for _, seed in self.at})
        rates = sorted({rate for rate, _ in self.at})
        self.rates = [r for r in rates if all((r, s) in self.at for s in self.seeds)]

    def array(self, key: str) -> NDArray:
        """Return (R, S, L) of a measure, or (R, S) of a number; NaN for null."""
        pick = [[self.at[r, s][key] for s in self.seeds] for r in self.rates]
        return np.array(pick, dtype=float)

    @property
    def best(self) -> NDArray:
        """(S,) index of the rate with the least loss in training for the *other* seeds."""
        loss = np.nan_to_num(self.array("loss"), nan=math.inf)
        out = []
        for s in range(len(self.seeds)):
            others = [i for i in range(len(self.seeds)) if i != s] or [s]
            out.append(int(loss[:, others].mean(1).argmin()))
        return np.array(out, dtype=int)

    def chosen(self, key: str) -> NDArray:
        """Return (S, ...) of a measure at each seed's rate."""
        return self.array(key)[self.best, np.arange(len(self.seeds))]


def interval(values: NDArray) -> tuple[float, float, float]:
    """Return the mean of (S,) seeds and its bootstrap 95 % interval."""
    picks = np.random.default_rng(0).integers(0, len(values), (ROUNDS, len(values)))
    low, high = np.quantile(values[picks].mean(1), [0.025, 0.975])
    return float(values.mean()), float(low), float(high)


def written(values: NDArray) -> str:
    """Return `mean (low to high)` of (S,) seeds; the mean if they are alike."""
    mean, low, high = (f"{v:.1f}" for v in interval(values))
    return mean if low == mean == high else f"{mean} ({low} to {high})"


def ratio(ours: NDArray, softmax: NDArray) -> tuple[float, float, float]:
    """Return the errors (S,) over the softmax's and the bootstrap 95 % interval, paired by seed."""
    picks = np.random.default_rng(0).integers(0, len(ours), (ROUNDS, len(ours)))
    drawn = ours[picks].mean(1) / softmax[picks].mean(1).clip(min=1e-12)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(ours.mean() / max(softmax.mean(), 1e-12)), float(low), float(high)


def verdict(runs: dict[str, Runs]) -> str:
    """Say of each rule whether it makes at most half of the softmax's errors at 16 x length."""
    factor, goal = GOAL
    if "softmax" not in runs:
        return "Verdict: undecided, the softmax is missing."
    base, words = runs["softmax"], []
    at = FACTORS.index(factor)
    softmax = base.chosen("error")[:, at]
    if softmax.mean() < 4 / (base.tests * len(softmax)):
        return f"Verdict: undecided, the softmax makes hardly any errors at {factor} x length."
    for rule, other in runs.items():
        if rule == "softmax" or other.seeds != base.seeds:
            continue
        middle, low, high = ratio(other.chosen("error")[:, at], softmax)
        outcome = "holds" if high <= goal else "fails" if low > goal else "undecided"
        if len(base.seeds) < 5:
            outcome = "too few seeds"
        words.append(f"{rule}: {outcome} ({middle:.2f}, {low:.2f} to {high:.2f})")
    rules = "; ".join(words) or "no rival with the same seeds"
    return f"At most {goal:g} of the softmax's errors at {factor} x length? {rules}."


def report(lines: list[dict[str, Any]], command: str, folder: Path) -> str:
    """Return the report in Markdown, and write synthetic.png to the folder."""
    tasks: dict[str, dict[str, Runs]] = {}
    for task in TASKS:
        for rule in RULES:
            if mine := [n for n in lines if (n["task"], n["rule"]) == (task, rule)]:
                tasks.setdefault(task, {})[rule] = Runs(mine)
    last = lines[-1]
    parts = [
        "# Attention and the number of competitors (C6)",
        f"`{command}`, commit {last['commit']}, {last['machine']}, torch {last['torch']}. Mean over"
        f" seeds and its bootstrap 95 % interval; the learning rate is the one with the least"
        f" training loss for the other seeds. Trained with {trained_with(last)} items.",
    ]
    for task, runs in tasks.items():
        some = next(iter(runs.values()))
        rates = ", ".join(f"{r:g}" for r in some.rates)
        parts.append(f"## {task}: {some.steps} steps, seeds 0 to {some.seeds[-1]}, rates {rates}")
        rows = []
        for rule, r in runs.items():
            errors = 100 * r.chosen("error")
            cells = [written(errors[:, i]) for i in range(len(FACTORS))]
            rows.append([rule, *cells])
        parts.append("Errors in %, by the number of items as a multiple of that in training:")
        parts.append(table(["rule", *(f"{f} x" for f in FACTORS)], rows).rstrip())
        rows = []
        for rule, r in runs.items():
            strongest, entropy = r.chosen("strongest").mean(0), r.chosen("entropy").mean(0)
            decided = r.chosen("selectivity").mean(0)
            rows.append(
                [rule]
                + [
                    f"{a:.2f}, {b:.2f}, {c:.2f}"
                    for a, b, c in zip(strongest, entropy, decided, strict=True)
                ]
            )
        parts.append("Share of the strongest item, entropy in nats, selectivity:")
        parts.append(table(["rule", *(f"{f} x" for f in FACTORS)], rows).rstrip())
        parts.append(verdict(runs))
    _figure(tasks, folder / "synthetic.png")
    parts.append("![errors and share of the strongest by length](synthetic.png)")
    return "\n\n".join(parts) + "\n"


def _figure(tasks: dict[str, dict[str, Runs]], path: Path) -> None:
    """Plot errors, and the share of the strongest, by length: a column for each task."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        2, len(tasks), figsize=(3.4 * len(tasks) + 1.6, 5.4), layout="constrained",
        squeeze=False, sharex=True, sharey="row",
    )  # fmt: skip
    for column, (task, runs) in enumerate(tasks.items()):
        for rule, r in runs.items():
            colour = COLOURS[list(RULES).index(rule)]
            for axis, key, scale in zip(
                axes[:, column], ("error", "strongest"), (100, 1), strict=True
            ):
                values = scale * r.chosen(key)
                band = np.array([interval(values[:, i]) for i in range(len(FACTORS))])
                items = LENGTH * np.array(FACTORS)
                axis.plot(items, band[:, 0], color=colour, marker="o", ms=3, label=rule)
                axis.fill_between(items, band[:, 1], band[:, 2], color=colour, alpha=0.15, lw=0)
        axes[0, column].set(title=task)
        axes[1, column].set(xlabel="items", xscale="log")
        axes[1, column].set_xticks(LENGTH * np.array(FACTORS), [str(LENGTH * f) for f in FACTORS])
        axes[1, column].minorticks_off()
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
    axes[0, 0].set_ylabel("errors, %")
    axes[1, 0].set_ylabel("share of the strongest item")
    axes[0, -1].legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8, frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the runs that are missing in --out, then report."""
    parser = open_parser("synthetic", __doc__)
    add = parser.add_argument
    add("--tasks", nargs="+", default=list(TASKS), choices=TASKS, help="tasks to train")
    add("--rules", nargs="+", default=list(RULES), choices=RULES, help="rules to train")
    add("--seeds", type=int, default=SEEDS, help="number of seeds, from 0")
    add("--rates", type=float, nargs="+", default=RATES, help="learning rates")
    add("--steps", type=int, default=STEPS, help="training steps")
    add("--tests", type=int, default=TESTS, help="test sequences of each length and seed")
    add("--shortest", type=int, default=LENGTH, help="fewest items in training, drawn by step")
    add("--threads", type=int, default=1, help="threads of torch")
    add("--report", action="store_true", help="only report finished runs")
    args = parser.parse_args(arguments)
    for name in ("seeds", "steps", "tests", "threads"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} must be >= 1, got {getattr(args, name)}")
    if not 2 <= args.shortest <= LENGTH:
        parser.error(f"--shortest must be from 2 to {LENGTH}, got {args.shortest}")
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    path, began = args.out / "synthetic.jsonl", time.monotonic()
    wanted = {(rate, seed) for rate in args.rates for seed in range(args.seeds)}
    for task in () if args.report else args.tasks:
        for rule in args.rules:
            done = {
                (line["rate"], line["seed"]) for line in read(path)
                if (line["task"], line["rule"], *settings(line))
                == (task, rule, args.steps, args.tests, args.shortest)
            }  # fmt: skip
            if done >= wanted:
                continue
            lines = list(
                train(task, rule, args.steps, args.rates, args.seeds, args.tests, args.shortest)
            )
            append(path, lines)
            errors = min(lines, key=lambda line: line["loss"] or math.inf)["error"]
            print(
                f"[{time.monotonic() - began:6.1f} s] {task}, {rule}: the net of the least loss has"
                f" {100 * errors[0]:.1f} % errors, and"
                f" {100 * errors[FACTORS.index(GOAL[0])]:.1f} % at {GOAL[0]} x length",
                flush=True,
            )
    if not (lines := read(path)):
        parser.error(f"{path} contains no results; run without --report")
    text = report(lines, command(parser, arguments), args.out)
    publish(text, args.out / "synthetic.md")


if __name__ == "__main__":
    main()
