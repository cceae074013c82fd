"""Features with and without hysteresis where direction in time matters (C2, C3).

python -m recipes.claims.direction.run --timit ROOT --out out/claims/direction

Writes results.json, report.md and direction.png. Without --timit only sounds that are computed.
Run again, it keeps the tasks that are in results.json.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from recipes.claims.asymmetry.common import COLOURS, RATE, axes, log, save
from recipes.claims.direction import features as sets
from recipes.claims.direction import remedies, tasks
from recipes.claims.direction.classify import HIDDEN, Counts, balanced, evaluate, inputs
from recipes.claims.direction.remedies import formatted
from recipes.claims.direction.tasks import Task
from recipes.compare.jobs import guarded, publish
from recipes.provenance import commit, machine, table
from speechasym import files
from speechasym.corpora.manifests import check_writable
from speechasym.errors import OutputError

ELAPSED = "time since the last pause"
# one with hysteresis, and the set that it has to beat
COMPARED = (
    (sets.HALF, sets.POWER), (sets.HALF, sets.MFCC), (sets.HALF, sets.HALF_CHANGE),
    (sets.SIGNED, sets.CHANGE), (sets.TRACKS, sets.CHANGE), (sets.COMPACT, sets.MFCC),
)  # fmt: skip
RIVALS = (sets.POWER, sets.MFCC, sets.HALF_CHANGE)
WITH = (sets.SIGNED, sets.TRACKS, sets.HALF, sets.COMPACT)
NETS = ("direction of a room", "ramped or damped")  # also classified by a net with a hidden layer
BY_NETS = (sets.POWER, sets.MFCC, sets.HALF_CHANGE, sets.HALF)


class Measured(NamedTuple):
    """A task, the errors of each set, and those with a remedy."""

    task: Task
    counts: dict[str, Counts]
    remedies: dict[str, dict[str, Counts]]


def measure(
    task: Task, sounds: Mapping[str, NDArray[np.float32]], controls: Mapping[str, NDArray]
) -> dict[str, Counts]:
    """Return {set: errors} of a task; {set, net} of `NETS` too.

    Args:
        task: what to classify.
        sounds: {file: (T,)} at 16 kHz.
        controls: {name: (N, D)} inputs that replace the features.
    """
    out = {}
    for name, x in inputs(task, lambda file: sets.features(sounds[file]), sets.SETS).items():
        out[name] = evaluate(x, task)
        if task.name in NETS and name in BY_NETS:
            out[f"{name}, net"] = evaluate(x, task, HIDDEN)
    return out | {name: evaluate(x.astype(np.float32), task) for name, x in controls.items()}


def elapsed(task: Task, data: list[tasks.Sentence]) -> dict[str, NDArray]:
    """Return how long ago the pause before each token ended, and its square and cube."""
    starts = {
        s.file: np.array([r.end / RATE for r in s.phones
                          if r.label in tasks.PAUSES and r.end - r.start >= 0.1 * RATE])
        for s in data
    }  # fmt: skip
    rows = []
    for token in task.tokens:
        before = starts[token.file][starts[token.file] < token.at]
        rows.append(token.at - (before.max() if len(before) else 0.0))
    t = np.array(rows)[:, None]
    return {ELAPSED: np.concatenate([t, t**2, t**3], 1)}


def results(
    root: Path | None,
    read: tuple[Path, Path] | None,
    known: dict[str, dict],
    done: Callable[[], None],
) -> list[Measured]:
    """Return each task with the errors of each set; `known` ones are not measured again.

    Args:
        root: TIMIT's folder.
        read: cuts, and the folder of their TextGrids.
        known: {task: {set: [speakers, counts, chosen]}}, to which what is measured is added; those
            with a remedy are called "TASK | REMEDY".
        done: called after each task.

    Raises `ItemError` as the readers do.
    """
    out: list[Measured] = []

    def kept(name: str, task: Task, compute: Callable[[], dict[str, Counts]]) -> dict[str, Counts]:
        if name not in known:
            log(f"{name}: {len(task.tokens)} tokens")
            known[name] = {
                n: [c.speakers, c.values.tolist(), c.chosen] for n, c in compute().items()
            }
            done()
        stored = known[name].items()
        return {n: Counts(tuple(w), np.array(c), tuple(*more)) for n, (w, c, *more) in stored}

    def add(task: Task, sounds: Mapping[str, NDArray], controls: Mapping[str, NDArray]) -> None:
        counts = kept(task.name, task, lambda: measure(task, sounds, controls))
        tried = {
            remedy: kept(
                f"{task.name} | {remedy}", task,
                lambda r=remedy: remedies.tried(r, task, sounds, counts),  # type: ignore[misc]
            )
            for remedy in remedies.planned(task)
        }  # fmt: skip
        out.append(Measured(task, counts, tried))

    add(*tasks.of_envelopes(), {})
    if root is not None:
        data = tasks.sentences(root)
        sounds = {s.file: s.sound for s in data}
        add(*tasks.of_rooms(data), {})
        for task in tasks.of_phones(data):
            add(task, sounds, {})
        one = tasks.joined(data)
        for task in tasks.of_phrases(one):
            add(task, {s.file: s.sound for s in one}, elapsed(task, one))
    if read is not None:
        data = tasks.aligned(*read)
        sounds = {s.file: s.sound for s in data}
        for task in tasks.of_read_stops(data):
            add(task, sounds, {})
        for task in tasks.of_phrases(data):
            task = task._replace(name=f"{task.name}, read books")
            add(task, sounds, elapsed(task, data))
    return out


def verdict(errors: Mapping[str, NDArray[np.float64]]) -> str:
    """Return whether hysteresis in half of the columns beats all three sets without it."""
    gaps = [errors[sets.HALF] - errors[rival] for rival in RIVALS]
    bounds = [np.nanquantile(gap[1:], [0.025, 0.975]) for gap in gaps]
    if all(high < 0 for _, high in bounds):
        return "earns its keep"
    worse = [rival for rival, (low, _) in zip(RIVALS, bounds, strict=True) if low > 0]
    if worse:
        return f"loses to {' and '.join(worse)}"
    better = [rival for rival, (_, high) in zip(RIVALS, bounds, strict=True) if high < 0]
    return f"better than {' and '.join(better)} only" if better else "nothing certain"


def report(measured: list[Measured]) -> str:
    """Return the tables in Markdown."""
    parts = [f"Commit {commit()}, {machine()}.\n"]
    rows, gaps, sizes = [], [], []
    for task, counts, _ in measured:
        errors = {name: balanced(c) for name, c in counts.items()}
        numbers = {
            k: sum(t.label == k for t in task.tokens) for k in {t.label for t in task.tokens}
        }
        labels = ", ".join(f"{k} {numbers[k]}" for k in sorted(numbers))
        speakers = len(counts[sets.POWER].speakers)
        sizes.append([task.name, task.question, labels, str(speakers)])
        rows.append([task.name, *(formatted(errors[name]) for name in sets.SETS), verdict(errors)])
        gaps.append([task.name, *(formatted(errors[a] - errors[b], True) for a, b in COMPARED)])
    parts += ["Tasks:\n", table(["task", "what is told apart", "tokens", "speakers"], sizes)]
    parts += [
        "Balanced errors in %, the mean over classes; 95 % intervals over speakers:\n",
        table(["task", *sets.SETS, "verdict"], rows),
        "Errors of one set minus those of another, in points, the same speakers drawn for both:\n",
        table(["task", *(f"{a} - {b}" for a, b in COMPARED)], gaps),
    ]
    extra = []
    for task, counts, _ in measured:
        others = [name for name in counts if name not in sets.SETS]
        extra += [[task.name, name, formatted(balanced(counts[name]))] for name in others]
    if extra:
        parts += ["Nets with a hidden layer, and controls:\n",
                  table(["task", "inputs", "error"], extra)]  # fmt: skip
    parts.append(remedies.report(measured))
    return "\n".join(parts)


def figure(measured: list[Measured], out: Path) -> None:
    """Plot the balanced errors of each task; filled: sets with hysteresis."""
    fig, (axis,) = axes(1, 9, 0.62 * len(measured) + 2.2)
    for n, name in enumerate(sets.SETS):
        values = [balanced(counts[name]) for _, counts, _ in measured]
        middle = np.array([100 * v[0] for v in values])
        low, high = np.array([100 * np.nanquantile(v[1:], [0.025, 0.975]) for v in values]).T
        at = np.arange(len(measured)) + 0.09 * (n - 3.5)
        hollow = {} if name in WITH else {"markerfacecolor": "white"}
        axis.errorbar(
            middle, at, xerr=[middle - low, high - middle], fmt="o" if name in WITH else "s",
            color=[*COLOURS, "0.45"][n], ms=4.5, lw=1, label=name, **hollow,
        )  # fmt: skip
    axis.set_yticks(range(len(measured)), [task.name for task, _, _ in measured])
    axis.invert_yaxis()
    axis.set(xlabel="balanced error, % (95 % interval over speakers)", xlim=(0, None))
    fig.legend(frameon=False, fontsize=8, loc="outside right upper", title="filled: hysteresis")
    save(fig, out)


def _known(path: Path) -> dict[str, dict]:
    """Read what was measured before. Raises `OutputError` if it cannot be read."""
    if not path.exists():
        return {}
    text = files.read_text(path, OutputError)
    try:
        return dict(json.loads(text))
    except ValueError as error:
        raise OutputError(path, f"is not JSON ({error})", "Remove it") from error


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.claims.direction.run", description=(__doc__ or "").split("\n")[0]
    )
    add = parser.add_argument
    add("--timit", type=Path, metavar="ROOT", help="folder with TIMIT's .WAV, .PHN and .WRD files")
    add(
        "--read", type=Path, nargs=2, metavar=("CUTS", "FOLDER"),
        help="cuts of read books, and the folder of their TextGrids that speechasym align wrote",
    )  # fmt: skip
    add("--out", type=Path, default=Path("out/claims/direction"), help="folder of the results")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)

    def act() -> int:
        path = check_writable(options.out) / "results.json"
        known = _known(path)
        options.out.mkdir(parents=True, exist_ok=True)
        measured = results(
            options.timit, options.read, known, lambda: files.write_json(path, known)
        )
        publish(report(measured), options.out / "report.md")
        figure(measured, options.out / "direction.png")
        return 0

    return guarded(act)


if __name__ == "__main__":
    raise SystemExit(main())
