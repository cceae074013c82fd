"""Tables in Markdown of what `measure` found.

python -m recipes.discovery.units.report results.json
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from recipes.provenance import commit, machine, table

UNITS = {
    "PNMI, %": ("pnmi", 100), "by chance": ("chance", 100), "purity, %": ("purity", 100),
    "phone error, %": ("phone_error", 100), "segments/s": ("segments", 1), "bits/s": ("bits", 1),
    "units used": ("used", 1), "word F1, %": ("word f1", 100),
}  # fmt: skip
BOUNDARIES = {
    "precision": ("strict precision", 100), "recall": ("strict recall", 100),
    "F1": ("strict f1", 100), "R-value": ("strict r_value", 100),
    "F1, lenient": ("lenient f1", 100), "R-value, lenient": ("lenient r_value", 100),
}  # fmt: skip
WORDS = {
    "F1": ("word f1", 100), "precision of boundaries": ("strict precision", 100),
    "recall": ("strict recall", 100), "F1 of boundaries": ("strict f1", 100),
}  # fmt: skip
ABX = {"within": ("abx within", 100), "across": ("abx across", 100)}
Cells = list[dict[str, dict[str, float]]]


def text(cells: Cells, name: str, scale: float) -> str:
    """Return the mean over seeds, their deviation, and the mean interval over speakers."""
    rows = [cell[name] for cell in cells if name in cell]
    if not rows:
        return "-"
    values = scale * np.array([row["value"] for row in rows])
    words = f"{values.mean():.1f}"
    if len(values) > 1 and values.std() >= 0.05:
        words += f" ±{values.std(ddof=1):.1f}"
    if rows[0].get("low") is not None:
        low, high = (scale * np.mean([row[end] for row in rows]) for end in ("low", "high"))
        words += f" ({low:.1f} to {high:.1f})"
    return words


def tables(results: dict[str, dict]) -> str:
    """Return the tables of all corpora."""
    corpora: dict[str, dict[str, Cells]] = defaultdict(lambda: defaultdict(list))
    for key in sorted(results):
        corpus, system, _ = key.split(" | ")
        corpora[corpus][system].append(results[key])
    parts = [f"Commit {commit()}, {machine()}.\n"]
    for corpus, systems in corpora.items():
        kinds = {"units": UNITS, "boundaries, %": BOUNDARIES, "ABX, %": ABX, "words, %": WORDS}
        for title, columns in kinds.items():
            rows = [
                [system, str(len(cells)), *(text(cells, *column) for column in columns.values())]
                for system, cells in systems.items()
                if system.startswith("words of ") == (columns is WORDS)
                and any(name in cells[0] for name, _ in columns.values())
            ]
            if rows:
                parts += [f"### {corpus}: {title}\n", table(["system", "seeds", *columns], rows)]
    return "\n".join(parts)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(tables(json.loads(Path(sys.argv[1]).read_text("utf-8"))))
