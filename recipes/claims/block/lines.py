"""Lines of results in JSON; a run that was stopped may have left the last one incomplete."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def read(path: Path) -> list[dict[str, Any]]:
    """Read the complete lines."""
    lines = []
    for text in path.read_text().splitlines() if path.exists() else ():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            continue  # truncated when a run was stopped; it is run again
    return lines


def append(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Add lines to a file."""
    with path.open("a") as file:
        file.write("".join(json.dumps(line) + "\n" for line in lines))


def number(x: float) -> float | None:
    """Round to five digits; None for infinity and NaN, which JSON does not have."""
    return float(f"{x:.5g}") if math.isfinite(x) else None
