"""Tables of what `measure` wrote, and whether the goal is met.

    python -m recipes.claims.feedback.report OUT [--out OUT/report.md]

OUT holds folders of `recipes.compare`, one a corpus. Shapes: K seeds, S speakers; the last axis
holds errors and symbols said.
"""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes.claims.feedback.measure import MEASURED, OF_VARIANTS
from recipes.compare.intervals import difference
from recipes.compare.jobs import guarded, publish, read_lines, spread
from recipes.provenance import table
from speechasym.errors import OutputError

OURS = "feedback"
RIVALS = ("parameters", "deeper", "wider")
NOISY = ("5 dB", "0 dB")  # together: the goal's
GOAL = -8.0  # % of the rival's errors
Line = Mapping[str, Any]


def counted(
    lines: Sequence[Line], sounds: Iterable[str], head: str, net: str = ""
) -> NDArray[np.float64]:
    """Return (K, S, 2) of these sounds together."""
    sides = []
    for line in lines:
        heard = [line["sounds"][net][sound][head] for sound in sounds]
        rows = [[[n[who][1], n[who][0]] for who in sorted(n)] for n in heard]
        sides.append(np.sum(rows, 0))
    return np.array(sides, float)


def relative(ours: NDArray[np.float64], other: NDArray[np.float64]) -> str:
    """Return how many more errors ours makes than another, in % [95 % interval]."""
    middle, low, high = (100 * value for value in difference(other, ours))
    sure = "**" if low > 0 or high < 0 else ""
    return f"{sure}{middle:+.1f}{sure} [{low:+.1f}, {high:+.1f}]"


def rates(counts: NDArray[np.float64]) -> str:
    """Return the median error rate over seeds, in %, and the extremes if there are several."""
    values = [100 * errors / said for errors, said in counts.sum(1)]
    return spread(values) if len(values) > 1 else f"{values[0]:.1f}"


def corpus_report(lines: Sequence[Line], name: str, head: str = "phones", ours: str = OURS) -> str:
    """Return the tables of one corpus. Raises `OutputError` without a run of ours."""
    by: dict[str, list[Line]] = {}
    for line in sorted(lines, key=lambda line: line["seed"]):
        by.setdefault(line["system"], []).append(line)
    if ours not in by:
        raise OutputError(name, f"contains no measured run of {ours}", "Run measure first")
    first = by[ours][0]["sounds"]
    sounds = {sound: [sound] for sound in first[""]} | {" and ".join(NOISY): list(NOISY)}
    others = [system for system in by if system != ours]
    sizes = [
        [system, str(len(own)), f"{own[0]['parameters']:,}", f"{own[0]['flops'] / 1e9:.1f}",
         spread([line["seconds"] for line in own])]
        for system, own in by.items()
    ]  # fmt: skip
    body, differences = [], []
    for sound, parts in sounds.items():
        counts = {system: counted(own, parts, head) for system, own in by.items()}
        body.append([sound, *(rates(n) for n in counts.values())])
        differences.append([sound, *(relative(counts[ours], counts[system]) for system in others)])
    inside = [
        [system, net or "as trained",
         *(rates(counted(own, [sound], head, net)) for sound in OF_VARIANTS)]
        for system, own in by.items() for net in own[0]["sounds"] if len(own[0]["sounds"]) > 1
    ]  # fmt: skip
    return "\n".join([
        f"### {name}, {head}\n",
        "FLOPs (10⁹) of a training step on noise, without the heads' losses; seconds of training: "
        "median (least to greatest).\n",
        table(["system", "seeds", "parameters", "FLOPs", "s"], sizes),
        "Error rates in %: median (least to greatest) over seeds.\n",
        table(["sound", *by], body),
        *([
            f"Errors of {ours} relative to each of the others, in % [95 % interval: the same "
            "speakers drawn for both, seeds drawn for each]; **bold** where it excludes 0.\n",
            table(["sound", *others], differences),
        ] if others else []),
        "With other numbers of passes, and without parts of what is sent:\n",
        table(["system", "read", *OF_VARIANTS], inside),
        verdict(by, head, ours),
    ])  # fmt: skip


def verdict(by: Mapping[str, Sequence[Line]], head: str, ours: str = OURS) -> str:
    """Return whether ours has so many errors fewer than every rival at hand."""
    known = [system for system in RIVALS if system in by]
    values: dict[str, float] = {}
    clean: dict[str, float] = {}
    for system in known:
        for table_, parts in ((values, NOISY), (clean, ("clean",))):
            pair = (counted(by[n], parts, head) for n in (system, ours))
            table_[system] = 100 * difference(*pair)[0]
    met = bool(known) and max(values.values()) <= GOAL and max(clean.values()) <= 0
    text = ", ".join(f"{n} {values[n]:+.1f} % (clean {clean[n]:+.1f} %)" for n in known)
    return f"Goal ({GOAL:.0f} % at {' and '.join(NOISY)}, clean not worse): " + (
        f"{'met' if met else 'missed'}; against {text}\n" if known else "no rival measured\n"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.claims.feedback.report",
        description=(__doc__ or "").splitlines()[0],
    )
    parser.add_argument("folders", type=Path, nargs="+", help="read together, by corpus")
    parser.add_argument("--ours", default=OURS, help="system whose errors are compared")
    parser.add_argument("--out", type=Path, required=True, help="file, Markdown")
    options = parser.parse_args(arguments)

    def act() -> int:
        lines: dict[str, list[Line]] = {}
        for path in sorted(p for f in options.folders for p in f.glob(f"*/{MEASURED}")):
            lines.setdefault(path.parent.name, []).extend(read_lines(path))
        if not lines:
            raise OutputError(options.folders[0], f"contains no */{MEASURED}", "Run measure first")
        parts = [corpus_report(own, name, ours=options.ours) for name, own in lines.items()]
        publish("\n".join(parts), options.out)
        return 0

    return guarded(act)


if __name__ == "__main__":
    raise SystemExit(main())
