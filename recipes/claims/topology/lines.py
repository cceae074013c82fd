"""Lines of results, and errors by speaker in them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes.compare.jobs import read_lines
from speechasym import files
from speechasym.scoring.error_rates import Counts

Line = dict[str, Any]


def append(path: Path, line: Mapping[str, Any]) -> None:
    """Add a line to a file of results, complete or not at all."""
    lines = [*read_lines(path), line]
    with files.atomic(path) as file:
        file.write("".join(json.dumps(n) + "\n" for n in lines).encode())


def counts(score: Mapping[str, Counts]) -> dict[str, list[int]]:
    """Return {speaker: [errors, symbols]}."""
    return {who: [c.errors, c.length] for who, c in score.items()}


def by_speaker(lines: Sequence[Line]) -> NDArray[np.float64]:
    """Return errors and symbols (lines, speakers, 2) of lines with `counts`."""
    speakers = sorted(lines[0]["counts"])
    return np.array([[line["counts"][who] for who in speakers] for line in lines], float)


def rate(lines: Sequence[Line]) -> float:
    """Return the error rate over lines."""
    errors, symbols = by_speaker(lines).sum((0, 1))
    return float(errors / symbols)
