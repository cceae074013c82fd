"""A folder of alignments: what was aligned, and the log that an interrupted call resumes by."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from speechasym import files
from speechasym.errors import AlignmentError, ConfigError, OutputError
from speechasym.recognition.text_fit import TextFit

LOG = "alignments.jsonl"
REPORT = "report.json"
SCORES = "scores.csv"
LIMITS = (0.02, 0.05, 0.1)  # s


@dataclass(kw_only=True)
class AlignedCuts:
    """What the alignment of a manifest, a folder or one recording came to."""

    folder: Path
    scores: dict[str, float] = field(default_factory=dict)  # {cut: mean log posterior}
    misfits: dict[str, float] = field(default_factory=dict)  # {cut: see `text_fit`}, by phones
    heads: dict[str, str] = field(default_factory=dict)  # {cut: head that gave times of words}
    failed: dict[str, str] = field(default_factory=dict)  # {cut: why}
    kept: int = 0  # from an earlier call
    symbols: dict[str, int] = field(default_factory=dict)  # {tier: how many}
    late: dict[str, list[float]] = field(default_factory=dict)  # see `alignment.deviations`
    guessed: dict[str, list[str]] = field(default_factory=dict)  # {cut: words, see `spelling`}
    warned: dict[str, str] = field(default_factory=dict)  # {cut: what to look at, though aligned}
    what: str = "cuts"  # or recordings: then `scores` and the others have them as keys

    @property
    def mean_score(self) -> float | None:
        """Mean over cuts; None if there are none."""
        return sum(self.scores.values()) / len(self.scores) if self.scores else None

    def add_fit(self, name: str, fit: Sequence[Any] | None) -> None:
        """Add how well the text of a recording fits, and a warning if it does not."""
        if fit is not None:
            fit = TextFit(*fit)
            self.misfits[name] = fit.misfit
            if says := fit.warning(name):
                self.warned[name] = says

    def within(self) -> dict[str, dict[str, float]]:
        """{tier: {boundaries, median_s, and the share within each limit}}, against the cuts'."""
        result = {}
        for tier, late in self.late.items():
            off = np.abs(late)
            shares = {f"within_{s:g}_s": float(np.mean(off <= s + 1e-9)) for s in LIMITS}  # 1 ns
            median = round(float(np.median(off)), 6)
            result[tier] = {"boundaries": len(late), "median_s": median, **shares}
        return result

    def write_report(self, key: Mapping[str, Any]) -> None:
        """Write report.json, with what the alignments depend on, and scores.csv."""
        content = asdict(self) | {"boundaries": self.within(), "folder": str(self.folder), **key}
        del content["late"]
        files.write_json(self.folder / REPORT, content | {"mean_score": self.mean_score})
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("Name", "Score", "Misfit", "Head", "Warning"))
        for name, score in self.scores.items():
            row = (score, self.misfits.get(name, ""), self.heads[name], self.warned.get(name, ""))
            writer.writerow((name, *row))
        with files.atomic(self.folder / SCORES) as file:
            file.write(text.getvalue().encode())


def path_below(out: Path, name: str) -> Path:
    """Return the path of a cut's files, without suffix, below the folder.

    Raises `AlignmentError` for an id that is not a path.
    """
    outside = any(part in ("", ".", "..") for part in name.split("/"))
    if len(name.split()) != 1 or outside or "\0" in name:
        raise AlignmentError(f"cut {name}", "is not a valid file name", "Rename it")
    return out / name


class AlignmentLog:
    """A file with a line of JSON for each aligned cut, after one for run, cuts and options."""

    def __init__(self, path: Path, key: dict[str, Any]) -> None:
        self.path = path
        try:
            raw = path.read_bytes() if path.exists() else b""
            whole = raw[: raw.rfind(b"\n") + 1]  # a kill may leave half a line
            lines = [json.loads(line) for line in whole.splitlines()]
            self.entries: dict[str, Any] = {entry["id"]: entry for entry in lines[1:]}
            path.parent.mkdir(parents=True, exist_ok=True)
            if len(whole) < len(raw):
                path.write_bytes(whole)
        except (ValueError, TypeError, KeyError) as error:
            remedy = "Remove it, or choose another folder"
            raise ConfigError(path, "is not a list of alignments", remedy) from error
        except OSError as error:
            problem = f"cannot be used ({error.strerror})"
            raise OutputError(path, problem, "Choose a writable folder") from error
        if not lines:
            self.write(key)
        elif lines[0] != key:
            problem = "holds alignments by another run, of other cuts, or with other options"
            raise ConfigError(path.parent, problem, "Choose another folder, or remove it")

    def write(self, line: dict[str, Any]) -> None:
        """Append a line. Raises `OutputError`."""
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, sort_keys=True) + "\n")
        except OSError as error:
            problem = f"cannot be written ({error.strerror})"
            raise OutputError(self.path, problem, "Free space there") from error
