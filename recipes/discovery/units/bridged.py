"""Table of phone errors after a few minutes of labels, from nothing and from units.

    python -m recipes.discovery.units.bridged FOLDER

FOLDER holds bridge-MINUTES-START-SEED.json, as `speechasym evaluate` writes them.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recipes.compare.intervals import difference, interval
from recipes.provenance import table

NOTHING = "nothing"


def counts(path: Path) -> NDArray[np.float64]:
    """Return errors and phones of each speaker (S, 2)."""
    speakers = json.loads(path.read_text("utf-8"))["scores"]["phones"]["speakers"]
    rows = [speakers[name] for name in sorted(speakers)]
    return np.array([[row["D"] + row["I"] + row["S"], row["N"]] for row in rows], float)


def report(folder: Path) -> str:
    """Return the table in Markdown."""
    found: dict[tuple[float, str], list[NDArray]] = defaultdict(list)
    for path in sorted(folder.glob("bridge-*.json")):
        _, label, start, _ = path.stem.split("-")
        found[float(label), start].append(counts(path))
    rows = []
    for (minutes, start), seeds in sorted(found.items()):
        values = 100 * np.array([one[:, 0].sum() / one[:, 1].sum() for one in seeds])
        low, high = (100 * end for end in interval(np.stack(seeds)))
        cells = [f"{minutes:g}", start, " ".join(f"{v:.1f}" for v in values)]
        cells.append(f"{values.mean():.1f} ({low:.1f} to {high:.1f})")
        if start == NOTHING or (minutes, NOTHING) not in found:
            rows.append([*cells, "-"])
            continue
        gap = difference(np.stack(found[minutes, NOTHING]), np.stack(seeds))
        value, low, high = (100 * part for part in gap)
        rows.append([*cells, f"{value:+.1f} % ({low:+.1f} to {high:+.1f})"])
    columns = ["minutes", "start", "seeds", "phone errors, %", "of those from nothing"]
    return table(columns, rows)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(report(Path(sys.argv[1])))
