"""What preparing a corpus found: counts for each set, and every problem, in one report."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from speechasym.errors import CorpusError

SEVERITIES = ("error", "warning", "note")
SHOWN = 3  # places a kind of problem names on a screen; report.txt and report.json name all


class Problem(NamedTuple):
    """One finding.

    An error about one utterance leaves it out; one about the sets leaves them as they are. What a
    warning or a note is about is kept, unless the note says that it is left out.
    """

    severity: str  # one of SEVERITIES
    kind: str  # the same words for the same finding
    place: str  # path below the corpus's root, id, or names of sets
    detail: str = ""


class Count(NamedTuple):
    """What a set holds."""

    speakers: int
    sentences: int
    seconds: float
    words: int
    phones: int  # tokens, silences and closures included; 0 where the corpus has no phone times


@dataclass(frozen=True, kw_only=True)
class Report:
    """Counts and problems of a prepared corpus."""

    corpus: str
    split: str  # which split it is, in words: official or local
    counts: Mapping[str, Count]
    published: Mapping[str, tuple[int, int]]  # speakers and sentences of the official sets
    problems: list[Problem] = field(default_factory=list)

    def number(self, severity: str) -> int:
        """How many problems are of this severity."""
        return sum(problem.severity == severity for problem in self.problems)

    def summary(self) -> str:
        """Such as "1 error, 0 warnings, 3 notes"."""
        numbers = {severity: self.number(severity) for severity in SEVERITIES}
        return ", ".join(f"{n} {severity}{'s' * (n != 1)}" for severity, n in numbers.items())

    def kinds(self, severity: str) -> dict[str, list[Problem]]:
        """Problems of one severity, by kind, in the order of their first places."""
        found: dict[str, list[Problem]] = {}
        for problem in self.problems:
            if problem.severity == severity:
                found.setdefault(problem.kind, []).append(problem)
        return found

    def text(self, shown: int | None = SHOWN) -> str:
        """The report for a person; `shown`: places named for each kind of problem, None: all."""
        lines = [f"{self.corpus}: {self.split}", ""]
        lines += _table(self.counts, self.published)
        lines += ["", self.summary()]
        for severity in SEVERITIES:
            for kind, problems in self.kinds(severity).items():
                lines.append(f"{severity}: {kind} ({len(problems)})")
                for problem in problems[:shown]:
                    colon = ": " if problem.detail else ""
                    lines.append(f"    {problem.place}{colon}{problem.detail}")
                if shown is not None and len(problems) > shown:
                    lines.append(f"    and {len(problems) - shown} more: see report.txt")
        text = "\n".join(lines) + "\n"
        return text.encode("utf-8", "backslashreplace").decode()  # names that are no UTF-8

    def as_dict(self) -> dict[str, Any]:
        """The report for a program."""
        return {
            "corpus": self.corpus,
            "split": self.split,
            "sets": {name: count._asdict() for name, count in self.counts.items()},
            "published": {
                name: {"speakers": speakers, "sentences": sentences}
                for name, (speakers, sentences) in self.published.items()
            },
            "problems": [problem._asdict() for problem in self.problems],
        }

    def check(self, root: object) -> None:
        """Raises `CorpusError`, with this report, if there are errors."""
        if self.number("error"):
            listed = [f"{kind} ({len(found)})" for kind, found in self.kinds("error").items()]
            error = CorpusError(
                root,
                f"{self.summary()}: {', '.join(listed)}",
                "Mend them, or prepare it without strict, which leaves such utterances out",
            )
            error.report = self
            raise error


def _table(counts: Mapping[str, Count], published: Mapping[str, tuple[int, int]]) -> list[str]:
    rows = [("set", "speakers", "sentences", "minutes", "words", "phones", "published")]
    for name, count in counts.items():
        official = ""
        if name in published:
            official = "{} speakers, {} sentences".format(*published[name])
        rows.append(
            (
                name,
                str(count.speakers),
                str(count.sentences),
                f"{count.seconds / 60:.2f}",
                str(count.words),
                str(count.phones or "-"),
                official,
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *middle, last in rows:
        cells = [cell.rjust(width) for cell, width in zip(middle, widths[1:-1], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells, last]).rstrip())
    return lines
