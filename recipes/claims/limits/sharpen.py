"""Is it the weights, or the scores? Nets trained with the softmax, with other weights in the test.

python -m recipes.claims.limits.sharpen --out DIR writes sharpen.jsonl and sharpen.md. If `hard`,
where the strongest takes all, makes the softmax's errors too, no rule of weights can help: the
scores are wrong. Else the weights blur, and the others say how fast 1 / beta has to grow.
"""

import json
import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from recipes.claims.block.lines import number
from recipes.claims.limits import synthetic
from recipes.claims.limits.options import command, open_parser
from recipes.claims.limits.tasks import TASKS, Weigh
from recipes.compare.jobs import publish
from recipes.provenance import commit, machine, table


def sharper(power: float) -> Weigh:
    """Return the softmax of scores times (log N / log of N in training)^power."""

    def weigh(scores: Tensor) -> Tensor:
        ratio = math.log(scores.shape[-1]) / math.log(synthetic.LENGTH)
        return (scores * ratio**power).softmax(-1)

    return weigh


def hard(scores: Tensor) -> Tensor:
    """Give everything to the strongest."""
    return functional.one_hot(scores.argmax(-1), scores.shape[-1]).to(scores)


WEIGHTS = {
    "softmax": sharper(0), "root of log N": sharper(0.5), "log N": sharper(1),
    "square of log N": sharper(2), "hard": hard,
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Train a net for each task, rate and seed, and test it with all weights."""
    parser = open_parser("sharpen", __doc__)
    add = parser.add_argument
    add("--tasks", nargs="+", default=list(TASKS), choices=TASKS, help="tasks to train")
    add("--seeds", type=int, default=synthetic.SEEDS, help="number of seeds, from 0")
    add("--rates", type=float, nargs="+", default=synthetic.RATES, help="learning rates")
    add("--steps", type=int, default=synthetic.STEPS, help="training steps")
    add("--tests", type=int, default=synthetic.TESTS, help="test sequences of each length and seed")
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    parts = [
        "# The softmax in training, other weights in the test",
        f"`{command(parser, arguments)}`, commit {commit()}, {machine()}, torch"
        f" {torch.__version__}. Errors in %: mean over seeds and bootstrap 95 % interval.",
    ]
    with (args.out / "sharpen.jsonl").open("w") as file:
        for task in args.tasks:
            nets, loss = synthetic.fit(task, "softmax", args.steps, args.rates, args.seeds)
            rows = []
            for name, weigh in WEIGHTS.items():
                errors = [
                    synthetic.test(nets, task, synthetic.LENGTH * f, args.seeds, args.tests,
                                   weigh)[0]
                    for f in synthetic.FACTORS
                ]  # fmt: skip
                lines = [
                    {"task": task, "rule": name, "rate": args.rates[n // args.seeds],
                     "seed": n % args.seeds, "steps": args.steps, "tests": args.tests,
                     "loss": number(loss[n].item()), "error": [number(e[n].item()) for e in errors]}
                    for n in range(len(loss))
                ]  # fmt: skip
                file.write("".join(json.dumps(line) + "\n" for line in lines))
                chosen = 100 * synthetic.Runs(lines).chosen("error")
                rows.append([name, *(synthetic.written(column) for column in chosen.T)])
            parts.append(f"## {task}")
            parts.append(table(["weights", *(f"{f} x" for f in synthetic.FACTORS)], rows).rstrip())
    publish("\n\n".join(parts) + "\n", args.out / "sharpen.md")


if __name__ == "__main__":
    main()
