"""From tiny to huge beta and N: where is a law of scores useful, and where is it uniform? (C6)

python -m recipes.claims.limits.sweep --out DIR writes sweep.jsonl, sweep.md and sweep.png. Nothing
is trained: scores are drawn, and the weights of each law measured. See README.md.

Shapes: D draws, N competitors, B values of beta.
"""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recipes.claims.limits.options import command, open_parser
from recipes.compare.jobs import publish
from recipes.provenance import commit, machine, table
from speechasym.ranks import laws

COUNTS = (2, 4, 16, 64, 256, 1024, 4096, 16384)
BETAS = tuple(10 ** (k / 4) for k in range(-8, 9))  # 0.01 to 100, the bounds of a learned beta
DRAWS = 64
MARGIN = 3.0  # lead of the strongest over all others
UNIFORM, DECIDED = 0.05, 0.95  # selectivity below, share of the strongest above
Law = Callable[[Tensor, float], Tensor]


def entmax(x: Tensor, beta: float) -> Tensor:
    """Return the 1.5-entmax of distances x (D, N)."""
    return laws.entmax15(laws.logits(x, beta, None))


LAWS: dict[str, Law] = {"geometric": laws.geometric, "power": laws.power, "entmax": entmax}


def scores(kind: str, draws: int, count: int, generator: torch.Generator) -> Tensor:
    """Draw scores (D, N): normal and exponential with deviation 1, uniform in 0 ... 1, or a lead.

    With a lead, one is `MARGIN` above all others, which are equal.
    """
    if kind == "normal":
        return torch.randn(draws, count, generator=generator, dtype=torch.float64)
    if kind == "lead":
        x = torch.zeros(draws, count, dtype=torch.float64)
        x[:, 0] = MARGIN
        return x
    x = torch.rand(draws, count, generator=generator, dtype=torch.float64)
    return x if kind == "uniform" else -torch.log1p(-x)


KINDS = ("normal", "exponential", "uniform", "lead")


def measure(law: Law, x: Tensor, beta: float) -> dict[str, float]:
    """Return mean share of the strongest, entropy (nats) and selectivity of scores (D, N)."""
    p = law(x.amax(-1, keepdim=True) - x, beta)
    return {
        "strongest": p.amax(-1).mean().item(),
        "entropy": -torch.special.xlogy(p, p).sum(-1).mean().item(),
        "selectivity": laws.selectivity(p).mean().item(),
    }


def sweep(
    counts: Sequence[int], betas: Sequence[float], draws: int, seed: int
) -> list[dict[str, Any]]:
    """Return a line for each kind of scores, law, N and beta; all share the scores of their N."""
    lines = []
    for kind in KINDS:
        for count in counts:
            generator = torch.Generator().manual_seed(seed + count)
            x = scores(kind, draws, count, generator)
            for name, law in LAWS.items():
                for beta in betas:
                    at = {"scores": kind, "law": name, "count": count, "beta": beta}
                    lines.append(at | {k: round(v, 6) for k, v in measure(law, x, beta).items()})
    return lines


def crossing(betas: Sequence[float], values: Sequence[float], level: float) -> float:
    """Return the beta at which values, which fall with beta, pass a level.

    Interpolated in log beta; 0 or infinity if they are below or above it at all betas.
    """
    if values[0] < level:
        return 0.0
    for i in range(1, len(values)):
        if values[i] < level:
            share = (values[i - 1] - level) / (values[i - 1] - values[i])
            ends = math.log(betas[i - 1]), math.log(betas[i])
            return math.exp(ends[0] + share * (ends[1] - ends[0]))
    return math.inf


def ranges(lines: list[dict[str, Any]], kind: str, law: str) -> dict[int, tuple[float, float]]:
    """Return {N: (beta below which one takes all, beta above which weights are uniform)}."""
    found = {}
    mine = [n for n in lines if (n["scores"], n["law"]) == (kind, law)]
    for count in sorted({n["count"] for n in mine}):
        row = sorted((n for n in mine if n["count"] == count), key=lambda n: n["beta"])
        betas = [n["beta"] for n in row]
        found[count] = (
            crossing(betas, [n["strongest"] for n in row], DECIDED),
            crossing(betas, [n["selectivity"] for n in row], UNIFORM),
        )
    return found


def edge(beta: float) -> str:
    """Return a bound of beta in words: below or above all that were tried is said so."""
    if beta == 0:
        return f"< {BETAS[0]:g}"
    return f"> {BETAS[-1]:g}" if math.isinf(beta) else f"{beta:.2g}"


def exponent(lines: list[dict[str, Any]], kind: str, measured: str, level: float) -> float:
    """Return a of 1 / beta ~ (log N)^a at which the softmax keeps a measure at a level, N >= 16.

    NaN with fewer than three N at which the measure passes the level.
    """
    mine = [n for n in lines if (n["scores"], n["law"]) == (kind, "geometric")]
    x: list[float] = []
    y: list[float] = []
    for count in sorted({n["count"] for n in mine if n["count"] >= 16}):
        row = sorted((n for n in mine if n["count"] == count), key=lambda n: n["beta"])
        beta = crossing([n["beta"] for n in row], [n[measured] for n in row], level)
        if 0 < beta < math.inf:
            x.append(math.log(math.log(count)))
            y.append(-math.log(beta))
    return float(np.polyfit(x, y, 1)[0]) if len(x) > 2 else math.nan


def verdict(lines: list[dict[str, Any]]) -> str:
    """Say how beta has to fall with N under the law of the softmax."""
    words = []
    for kind in KINDS:
        half = exponent(lines, kind, "strongest", 0.5)
        chosen = exponent(lines, kind, "selectivity", UNIFORM)
        words.append(f"{kind} {half:.2f}, {chosen:.2f}")
    return (
        "1 / beta has to grow as (log N)^a, so that the strongest keeps half, and so that"
        f" selectivity stays at {UNIFORM:.0%}: a = {'; '.join(words)} (fitted from 16 competitors"
        " on). Theory, for large N: normal scores 0.5, a lead 1, exponential ones 0 for the"
        " strongest."
    )


def report(lines: list[dict[str, Any]], command: str, folder: Path) -> str:
    """Return the report in Markdown, and write sweep.png to the folder."""
    parts = [
        "# Useful range of beta by the number of competitors (C6)",
        f"`{command}`, commit {commit()}, {machine()}. Below the first beta, one competitor has"
        f" more than {DECIDED:.0%}; above the second, selectivity is less than {UNIFORM:.0%}:"
        " uniform.",
    ]
    counts = sorted({n["count"] for n in lines})
    for kind in KINDS:
        rows = []
        for law in LAWS:
            found = ranges(lines, kind, law)
            rows.append([law, *(f"{edge(found[c][0])} to {edge(found[c][1])}" for c in counts)])
        parts += [f"## Scores: {kind}", table(["law", *map(str, counts)], rows).rstrip()]
    parts.append(verdict(lines))
    _figure(lines, folder / "sweep.png")
    parts.append("![selectivity by beta and N](sweep.png)")
    return "\n\n".join(parts) + "\n"


def _grid(lines: list[dict[str, Any]], kind: str, law: str, key: str) -> NDArray:
    """Return (betas, counts) of a measure."""
    mine = {
        (n["beta"], n["count"]): n[key] for n in lines if (n["scores"], n["law"]) == (kind, law)
    }
    betas, counts = (sorted({k[i] for k in mine}) for i in (0, 1))
    return np.array([[mine[b, c] for c in counts] for b in betas])


def _figure(lines: list[dict[str, Any]], path: Path) -> None:
    """Draw selectivity over N and beta, with the line where the strongest has half."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    counts, betas = (sorted({n[k] for n in lines}) for k in ("count", "beta"))
    figure, axes = plt.subplots(
        len(LAWS), len(KINDS), figsize=(11, 7), layout="constrained", sharex=True, sharey=True
    )
    for row, law in zip(axes, LAWS, strict=True):
        for axis, kind in zip(row, KINDS, strict=True):
            drawn = axis.pcolormesh(
                counts, betas, _grid(lines, kind, law, "selectivity"), vmin=0, vmax=1,
                cmap="cividis", shading="nearest",
            )  # fmt: skip
            half = _grid(lines, kind, law, "strongest")
            if half.min() < 0.5 < half.max():
                axis.contour(counts, betas, half, [0.5], colors="white", linewidths=1.5)
            axis.set(xscale="log", yscale="log")
            if law == "geometric":
                axis.set_title("one leads the others" if kind == "lead" else f"{kind} scores")
        row[0].set_ylabel(f"{law}\nbeta")
    for axis in axes[-1]:
        axis.set_xlabel("N")
    figure.colorbar(drawn, ax=axes, label="selectivity (white: the strongest has half)")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the report."""
    parser = open_parser("sweep", __doc__)
    add = parser.add_argument
    add("--counts", type=int, nargs="+", default=list(COUNTS), help="numbers of competitors")
    add("--draws", type=int, default=DRAWS, help="rows of scores for each number")
    add("--seed", type=int, default=0, help="of the scores")
    args = parser.parse_args(arguments)
    if min(args.counts) < 2 or args.draws < 1:
        parser.error("--counts must be >= 2 and --draws >= 1")
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    lines = sweep(args.counts, BETAS, args.draws, args.seed)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (args.out / "sweep.jsonl").write_text(text, "utf-8")
    publish(report(lines, command(parser, arguments), args.out), args.out / "sweep.md")


if __name__ == "__main__":
    main()
