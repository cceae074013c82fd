"""The preparation report of a corpus: counts for each set, and every problem."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from speechasym.errors import CorpusError

Published = Mapping[str, tuple[int, int]]  # speakers and sentences of the official sets
SEVERITIES = ("error", "warning", "note")
MOST_PLACES = 3  # named on a screen for each kind of problem; report.txt and report.json name all


class Problem(NamedTuple):
    """One problem of a file, an utterance or a set.

    An error leaves its utterance out; an error about sets leaves them unchanged. What a warning or
    a note is about is kept, unless the note says that it is left out.
    """

    severity: str  # one of SEVERITIES
    kind: str  # the same words for the same kind of problem
    place: str  # path below the corpus's root, id, or names of sets
    detail: str = ""


class Problems(list[Problem]):
    """The problems so far."""

    def add(self, severity: str, kind: str, place: str, detail: str = "") -> None:
        """Append a problem."""
        self.append(Problem(severity, kind, place, detail))


class Count(NamedTuple):
    """The size of a set."""

    speakers: int
    sentences: int
    seconds: float
    words: int
    phones: int  # tokens, silences and closures included; 0 where the corpus has no phone times


@dataclass(frozen=True)
class PreparationReport:
    """Counts and problems of a prepared corpus."""

    corpus: str
    split: str  # description of the split, official or local
    counts: Mapping[str, Count]
    published: Published
    problems: Problems

    def number(self, severity: str) -> int:
        """Return the number of problems of a severity."""
        return sum(problem.severity == severity for problem in self.problems)

    def summary(self) -> str:
        """Return the numbers of problems, for example "1 error, 0 warnings, 3 notes"."""
        numbers = {severity: self.number(severity) for severity in SEVERITIES}
        return ", ".join(f"{n} {severity}{'s' * (n != 1)}" for severity, n in numbers.items())

    def kinds(self, severity: str) -> dict[str, list[Problem]]:
        """Return the problems of a severity by kind, in the order of their first places."""
        kinds: dict[str, list[Problem]] = {}
        for problem in self.problems:
            if problem.severity == severity:
                kinds.setdefault(problem.kind, []).append(problem)
        return kinds

    def text(self, limit: int | None = MOST_PLACES) -> str:
        """Return the report as text.

        Args:
            limit: number of places named for each kind of problem; None names all.
        """
        lines = [f"{self.corpus}: {self.split}", ""]
        lines += _table(self.counts, self.published)
        lines += ["", self.summary()]
        for severity in SEVERITIES:
            for kind, problems in self.kinds(severity).items():
                lines.append(f"{severity}: {kind} ({len(problems)})")
                for problem in problems[:limit]:
                    colon = ": " if problem.detail else ""
                    lines.append(f"    {problem.place}{colon}{problem.detail}")
                if limit is not None and len(problems) > limit:
                    lines.append(f"    and {len(problems) - limit} more: see report.txt")
        text = "\n".join(lines) + "\n"
        return text.encode("utf-8", "backslashreplace").decode()  # file names may not be UTF-8

    def as_dict(self) -> dict[str, Any]:
        """Return the content of report.json."""
        return {
            "corpus": self.corpus,
            "split": self.split,
            "sets": {name: count._asdict() for name, count in self.counts.items()},
            "published": {
                name: dict(zip(("speakers", "sentences"), numbers, strict=True))
                for name, numbers in self.published.items()
            },
            "problems": [problem._asdict() for problem in self.problems],
        }

    def check(self, root: object) -> None:
        """Raise `CorpusError`, which carries this report, if there are errors."""
        if self.number("error"):
            kinds = [f"{kind} ({len(places)})" for kind, places in self.kinds("error").items()]
            problem = f"{self.summary()}: {', '.join(kinds)}"
            remedy = "Fix them, or prepare without strict, which leaves such utterances out"
            error = CorpusError(root, problem, remedy)
            error.report = self
            raise error


def _table(counts: Mapping[str, Count], published: Published) -> list[str]:
    rows: list[tuple[str, ...]] = [
        ("set", "speakers", "sentences", "minutes", "words", "phones", "published")
    ]
    for name, count in counts.items():
        numbers = count.speakers, count.sentences, f"{count.seconds / 60:.2f}", count.words
        official = published.get(name)
        last = "{} speakers, {} sentences".format(*official) if official else ""
        rows.append((name, *map(str, numbers), str(count.phones or "-"), last))
    first, *widths = (max(map(len, column)) for column in list(zip(*rows, strict=True))[:-1])
    line = "  ".join([f"{{:{first}}}", *(f"{{:>{width}}}" for width in widths), "{}"])
    return [line.format(*row).rstrip() for row in rows]
