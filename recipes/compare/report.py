"""The report of a comparison: error rates of each system, and differences from ours."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes.compare.intervals import interval, verdict
from recipes.compare.jobs import MEASURES, spread
from recipes.compare.systems import System
from recipes.provenance import table
from speechasym.errors import OutputError

RESULTS, REPORT = "results.jsonl", "results.md"
FEW = 10  # speakers; intervals over fewer are too narrow


def counted(lines: Sequence[Mapping[str, Any]], measure: str) -> NDArray[np.float64]:
    """Return (K, S, 2) errors and tokens, speakers by name.

    Raises `OutputError` if the lines have different speakers.
    """
    rows = [line["counts"][measure] for line in lines if measure in line["counts"]]
    if any(row.keys() != rows[0].keys() for row in rows):
        raise OutputError(RESULTS, "contains lines of other speakers", "Remove those lines")
    counts = [[[sum(row[who][1:]), row[who][0]] for who in sorted(row)] for row in rows]
    return np.array(counts, float) if counts else np.zeros((0, 0, 2))


def report(lines: Sequence[dict[str, Any]], systems: Sequence[System], command: str) -> str:
    """Return the report in Markdown.

    Raises `OutputError` for lines of several test sets.
    """
    tests = {line["data"]["test"]["sha256"] for line in lines}
    if len(tests) > 1:
        raise OutputError(RESULTS, f"contains {len(tests)} test sets", "Choose another --out")
    lines = sorted(lines, key=lambda line: line["seed"])
    by = {s.name: [line for line in lines if line["system"] == s.name] for s in systems}
    measures = [m for m in MEASURES.values() if any(m in line["rates"] for line in lines)]
    counts = {(name, m): counted(runs, m) for name, runs in by.items() for m in measures}
    body, differences, compared, ours = [], [], 0, systems[0].name
    for system in systems:
        runs = by[system.name]
        if not runs:
            continue
        cells = []
        for m in measures:
            cell = spread([100 * line["rates"][m] for line in runs if m in line["rates"]])
            if len(counts[system.name, m]):
                low, high = (100 * value for value in interval(counts[system.name, m]))
                cell += "" if math.isnan(low) else f" [{low:.1f}, {high:.1f}]"
            cells.append(cell)
        seconds = statistics.median(line["seconds"] for line in runs)
        sizes = " / ".join(f"{n:,}" for n in sorted({line["parameters"] for line in runs}))
        body.append([system.name, system.shows, str(len(runs)), sizes, f"{seconds:.0f}", *cells])
        if system.name != ours:
            verdicts = [verdict(counts[ours, m], counts[system.name, m]) for m in measures]
            compared += sum(text.endswith(("worse", "better", "able")) for text in verdicts)
            if any(text != "-" for text in verdicts):
                differences.append([system.name, *verdicts])
    return "\n".join([
        _header(lines, command),
        "Rates in %: median (least to greatest) over seeds [95 % interval over speakers, drawn "
        "with replacement, errors summed over seeds]. Seconds of training with its validations: "
        "the median.\n",
        table(["system", "what it is", "seeds", "parameters", "s", *measures], body),
        *([
            f"Errors of each system relative to those of {ours}: difference in %, errors summed "
            "over all seeds [95 % interval: each drawing has the same speakers for both, and "
            "seeds drawn separately for each system, since a seed gives each a different "
            f"network]. Better: the system makes fewer errors than {ours}; not distinguishable: "
            f"the interval includes 0. Of {compared} comparisons, {compared / 20:.1f} would lie "
            "outside by chance alone.\n",
            table(["system", *measures], differences),
        ] if differences else []),
    ])  # fmt: skip


def _header(lines: Sequence[dict[str, Any]], command: str) -> str:
    """Return what was run, on which data, with which versions."""

    def distinct(get: Callable[[dict[str, Any]], Any]) -> str:
        return "; ".join(sorted({str(get(line)) for line in lines}))

    def cuts(kind: str) -> str:
        return distinct(lambda x: f"{x['data'][kind]['cuts']} ({x['data'][kind]['sha256'][:12]})")

    def decoding(line: dict[str, Any]) -> str:
        d = line["decoding"]
        sources = [(d[k], d[f"{k}_sha256"]) for k in ("lexicon", "lm") if d[k]]
        options = {**d["settings"], "guessed": d["words"]["guessed"]}
        return (", ".join(f"{Path(path).name} ({sha[:12]})" for path, sha in sources)
                + ", " + _flat(options))  # fmt: skip

    speakers = sorted({len(next(iter(line["counts"].values()))) for line in lines})
    decodings = sorted({decoding(line) for line in lines if line["decoding"]})
    versions = sorted({f"{k} {v}" for line in lines for k, v in line["versions"].items()})
    few = f"; fewer than {FEW}: intervals over them are too narrow" if speakers[0] < FEW else ""
    rows = {
        "Command": f"`{command}`",
        "Data": f"train {cuts('train')}, dev {cuts('dev')}, test {cuts('test')}",
        "Split": distinct(lambda line: line["split"]),
        "Convention": distinct(lambda line: _flat(line["labels"])),
        "Test": f"{distinct(lambda line: line['sentences'])} sentences, "
        f"{distinct(lambda line: round(line['audio_seconds']))} s of audio, "
        f"{', '.join(map(str, speakers))} speakers{few}",
        **({"Words by lexicon": "; ".join(decodings)} if decodings else {}),
        "Seeds": ", ".join(map(str, sorted({line["seed"] for line in lines}))),
        "Epochs": distinct(lambda line: line["epochs"]),
        "Commit": distinct(lambda line: line["commit"]),
        "Machine": distinct(lambda line: line["machine"]),
        "Versions": ", ".join(versions),
    }
    return "".join(f"- {name}: {text}\n" for name, text in rows.items())


def _flat(mapping: Mapping[str, Any]) -> str:
    """Return names and values, of a lexicon only the file's name."""
    return ", ".join(
        f"{k} {Path(v).name if k == 'lexicon' and v else 'none' if v is None else v}"
        for k, v in mapping.items()
    )
