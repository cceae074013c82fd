"""Three remedies for hysteresis: fitted widths, frames of 2 ms, pitch beside (C2, C3).

Each is tried on the tasks where it should help, beside the same sets without hysteresis.
"""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from recipes.claims.direction import features as sets
from recipes.claims.direction import tasks
from recipes.claims.direction.classify import Counts, balanced, evaluate, inputs
from recipes.claims.direction.tasks import Task
from recipes.provenance import table

FITTED, FINER, PITCH = "widths fitted", "500 Hz", "pitch beside"
FACTORS = (0.1, 0.3, 1.0, 3.0)  # of all half-widths, and of r in the signed change
SETS = (sets.POWER, sets.MFCC, sets.HALF_CHANGE, sets.HALF)  # the last one has hysteresis
Found = Mapping[str, Counts]


def planned(task: Task) -> list[str]:
    """Return the remedies that are tried on a task.

    Pitch is for ends of phrases against words nearby, where the time since the last pause tells
    little.
    """
    if task.name.startswith("phrase ends"):
        return [PITCH] if "near" in task.name else []
    return [FITTED, FINER] if task.name.startswith("stop ") else [FITTED]


def _stretched(
    sounds: Mapping[str, NDArray[np.float32]], factor: float, file: str
) -> dict[str, NDArray[np.float32]]:
    """Return the sets of a file with all half-widths times a factor."""
    return sets.features(sounds[file], factor=factor)


def tried(
    remedy: str, task: Task, sounds: Mapping[str, NDArray[np.float32]], known: Found
) -> dict[str, Counts]:
    """Return {set: errors} of `SETS` with a remedy.

    Args:
        remedy: one of `planned`.
        task: what to classify.
        sounds: {file: (T,)} at 16 kHz.
        known: errors without the remedy.
    """
    if remedy == FINER:
        fine = tasks.finer(task)
        x = inputs(fine, lambda file: sets.features(sounds[file], fine.rate), SETS)
        return {name: evaluate(x[name], fine) for name in SETS}
    if remedy == PITCH:
        names = [f"{name} + pitch" for name in SETS]

        def compute(file: str) -> dict[str, NDArray[np.float32]]:
            return sets.with_pitch(sets.features(sounds[file]), sounds[file])

        x = inputs(task, compute, names)
        return {name: evaluate(x[f"{name} + pitch"], task) for name in SETS}
    several = [inputs(task, partial(_stretched, sounds, factor), SETS[2:]) for factor in FACTORS]
    out = {name: evaluate([x[name] for x in several], task) for name in SETS[2:]}
    return {name: known[name] for name in SETS[:2]} | out


def against_strongest(found: Found, before: Found) -> tuple[str, NDArray[np.float64]]:
    """Return the rival with fewest errors, with a remedy or without, and (1 + R,) ours - its."""
    ours = balanced(found[sets.HALF])
    rivals = {name: balanced(found[name]) for name in SETS[:-1]}
    for name in SETS[:-1]:
        rivals.setdefault(f"{name}, without remedy", balanced(before[name]))
    best = min(rivals, key=lambda name: rivals[name][0])
    return best, ours - rivals[best]


def formatted(samples: NDArray[np.float64], signed: bool = False) -> str:
    """Return a share in % with its 95 % interval, of (1 + R,) the value and drawings."""
    low, high = np.nanquantile(samples[1:], [0.025, 0.975])
    sign = "+" if signed else ""
    return f"{100 * samples[0]:{sign}.1f} ({100 * low:{sign}.1f} to {100 * high:{sign}.1f})"


def report(measured: Sequence[tuple[Task, Found, Mapping[str, Found]]]) -> str:
    """Return the tables in Markdown."""
    rows, widths = [], []
    for task, before, remedies in measured:
        for remedy, found in remedies.items():
            best, gap = against_strongest(found, before)
            low, high = np.nanquantile(gap[1:], [0.025, 0.975])
            verdict = "earns its keep" if high < 0 else "loses" if low > 0 else "nothing certain"
            errors = [formatted(balanced(found[name])) for name in SETS]
            gain = formatted(balanced(found[sets.HALF]) - balanced(before[sets.HALF]), True)
            rows.append([remedy, task.name, *errors, best, formatted(gap, True), gain, verdict])
            if remedy == FITTED:
                chosen = [" ".join(f"{FACTORS[i]:g}" for i in found[n].chosen) for n in SETS[2:]]
                widths.append([task.name, *chosen])
    if not rows:
        return ""
    columns = ["remedy", "task", *SETS, "strongest rival", "hysteresis - rival",
               "hysteresis with - without the remedy", "verdict"]  # fmt: skip
    return "\n".join([
        "Remedies, balanced errors in %; verdict against the strongest rival:\n",
        table(columns, rows),
        "Factors of the widths that the training speakers of the four folds chose:\n",
        table(["task", *SETS[2:]], widths),
    ])  # fmt: skip
