"""Scores of whole files, and tables of what was confused with what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym.annotations.transcripts import Transcripts, read_transcripts
from speechasym.config import plural
from speechasym.errors import ScoringError
from speechasym.language import phones
from speechasym.language.letters import spell
from speechasym.scoring import timit
from speechasym.scoring.error_rates import (
    GAP,
    ErrorRate,
    Pair,
    Speakers,
    error_rate,
    read_speakers,
    speaker_of,
)

MEASURES = {"per": "phone", "wer": "word", "ler": "letter"}


class TokenRow(NamedTuple):
    """What became of one token of the references, or of a class of tokens."""

    token: str
    length: int  # its number in the references
    hits: int
    substitutions: int
    deletions: int  # with an optional token, also those at no cost
    insertions: int  # of this token
    confused: str  # the token it was most often replaced by; "" for none

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions."""
        return self.substitutions + self.deletions + self.insertions


def confusion_matrix(result: ErrorRate) -> tuple[list[str], NDArray[np.int64]]:
    """Return the K tokens, and (K + 1, K + 1) counts: reference in rows, hypothesis in columns.

    The last row holds insertions, the last column deletions.
    """
    tokens = sorted({token for pair in result.confusions for token in pair} - {GAP})
    index = {token: i for i, token in enumerate([*tokens, GAP])}
    matrix = np.zeros((len(index), len(index)), np.int64)
    for (token, other), count in result.confusions.items():
        matrix[index[token], index[other]] = count
    return tokens, matrix


def token_rows(result: ErrorRate) -> list[TokenRow]:
    """Return a row for each token, sorted by token."""
    tokens, matrix = confusion_matrix(result)
    rows = []
    for i, token in enumerate(tokens):
        *counts, deletions = matrix[i].tolist()
        hits, counts[i] = counts[i], 0
        wrong = max(counts)
        confused = tokens[counts.index(wrong)] if wrong else ""  # the first of equals
        insertions = int(matrix[-1, i])
        length = hits + sum(counts) + deletions
        rows.append(TokenRow(token, length, hits, sum(counts), deletions, insertions, confused))
    return rows


def frequent_errors(result: ErrorRate) -> list[tuple[Pair, int]]:
    """Return each pair of reference and hypothesis that differ, and its count, most first."""
    wrong = [(pair, n) for pair, n in result.confusions.items() if pair[0] != pair[1]]
    return sorted(wrong, key=lambda entry: (-entry[1], entry[0]))


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Error rates; as a string, the report that the command prints, at most 80 columns wide."""

    measure: str  # per, wer or ler
    utterances: int
    rates: dict[str, ErrorRate]  # {convention: error rate}; the key is "-" without a convention
    folded: str | None = None  # the symbol because of which "strict" is left out
    confusions: int = 0  # how many to list

    def __str__(self) -> str:
        first = next(iter(self.rates.values()))
        lines = [
            f"{MEASURES[self.measure].capitalize()} error rate, "
            f"{plural(self.utterances, 'utterance')}, {plural(first.speakers, 'speaker')}",
            "",
            f"{'convention':<16} {'rate':>7} {'95 % interval':>16} "
            f"{'N':>7} {'S':>6} {'D':>6} {'I':>6} {'excused':>7}",
            *(_rate_line(name, result) for name, result in self.rates.items()),
        ]
        notes = []
        if self.folded:
            notes.append(f"strict is left out: {self.folded} is not one of TIMIT's 61 symbols")
        if first.speakers == 1:
            notes.append("no interval: it needs two speakers")
        if first.missing:
            notes.append(f"{_some(first.missing)} without hypothesis, scored as empty")
        if first.extra:
            notes.append(f"{_some(first.extra)} without reference, left out")
        if empty := max((result.empty for result in self.rates.values()), key=len):
            notes.append(f"{_some(empty)} with empty reference: insertions count")
        if notes:
            lines += ["", *notes]
        if self.confusions > 0:
            for name, result in self.rates.items():
                lines += ["", *_detail_lines(name, result, self.confusions)]
        return "\n".join(line.rstrip() for line in lines)


def score(
    references: str | Path | Mapping[str, Sequence[str]],
    hypotheses: str | Path | Mapping[str, Sequence[str]],
    measure: str = "per",
    convention: str | None = None,
    speakers: Speakers | str | Path | None = None,
    *,
    tier: str | None = None,
    confusions: int = 0,
    strict: bool = False,
    seed: int = 0,
) -> Scores:
    """Score hypotheses against references.

    Args:
        references, hypotheses: files or folders for `read_transcripts`, or {utterance: tokens}.
        measure: per, wer or ler: the error rate of phones, of words, or of the letters of words.
        convention: one of `timit.CONVENTIONS`, for TIMIT's phones, or "all" that the transcripts
            allow; None compares the tokens unchanged.
        speakers: as in `error_rate`, or a file for `read_speakers`; None: `speaker_of`.
        tier: which tier of TextGrids; None: "phones" for per, else "words".
        confusions: how many of the most frequent to print, with a table of every token.
        strict, seed: as in `error_rate`.

    Returns:
        The error rates; `print` shows them as a table.

    Raises:
        ScoringError, AnnotationError: as `read_transcripts`, `error_rate`, `apply_convention`.

    Example:
        >>> said = {"anna-1": ["one", "two", "three"], "ben-1": ["four", "five"]}
        >>> read = {"anna-1": ["one", "too", "three"], "ben-1": ["four", "five"]}
        >>> print(speechasym.score(said, read, "wer"))
        Word error rate, 2 utterances, 2 speakers
        ...
        -                 20.00%   0.00% - 33.33%       5      1      0      0       0
    """
    if measure not in MEASURES:
        raise ScoringError(measure, "unknown measure", f"Use one of {', '.join(MEASURES)}")
    if convention is not None and measure != "per":
        problem = f"is a convention for phones, not for {MEASURES[measure]}s"
        raise ScoringError(convention, problem, "Leave it out")
    if convention not in (None, "all"):
        timit.convention_of(convention)
    tier = tier or ("phones" if measure == "per" else "words")
    references, hypotheses = (
        _tokens(source, tier, measure == "ler") for source in (references, hypotheses)
    )
    if isinstance(speakers, str | Path):
        speakers = read_speakers(speakers)
    speakers = speakers or speaker_of
    folded = None
    options: Any = {"speakers": speakers, "strict": strict, "seed": seed}
    if convention is None:
        rates = {"-": error_rate(references, hypotheses, **options)}
    else:
        names = [convention]
        if convention == "all":
            folded = timit.folded_symbol(references) or timit.folded_symbol(hypotheses)
            names = [name for name in timit.CONVENTIONS if not (folded and name == "strict")]
        rates = {
            name: error_rate(
                timit.apply_convention(references, name),
                timit.apply_convention(hypotheses, name),
                optional=phones.SILENCE if timit.convention_of(name).optional else None,
                **options,
            )
            for name in names
        }
    utterances = len(references)
    return Scores(
        measure=measure, utterances=utterances, rates=rates, folded=folded, confusions=confusions
    )


def _tokens(
    source: str | Path | Mapping[str, Sequence[str]], tier: str, letters: bool
) -> Mapping[str, Sequence[str]]:
    transcripts = read_transcripts(source, tier) if isinstance(source, str | Path) else source
    if not letters:
        return transcripts
    spelled = Transcripts()
    spelled.update({name: spell(words) for name, words in transcripts.items()})
    if isinstance(transcripts, Transcripts):
        spelled.places = transcripts.places
    return spelled


def _rate_line(name: str, result: ErrorRate) -> str:
    interval = f"{result.low:.2%} - {result.high:.2%}" if result.speakers > 1 else "-"
    c = result.counts
    return (
        f"{name:<16} {result.rate:>7.2%} {interval:>16} {c.length:>7} "
        f"{c.substitutions:>6} {c.deletions:>6} {c.insertions:>6} {c.excused:>7}"
    )


def _some(names: Sequence[str]) -> str:
    first = names[0] if len(names[0]) <= 20 else f"...{names[0][-17:]}"
    return f"{len(names)} ({first}{', ...' if len(names) > 1 else ''})"


def _detail_lines(name: str, result: ErrorRate, most: int) -> list[str]:
    return [
        f"{name}: most frequent errors",
        f"{'reference':<16} {'hypothesis':<16} {'times':>7}",
        *(
            f"{_display(a):<16} {_display(b):<16} {n:>7}"
            for (a, b), n in frequent_errors(result)[:most]
        ),
        "",
        f"{name}: each token",
        f"{'token':<16} {'N':>7} {'hits':>7} {'S':>6} {'D':>6} {'I':>6} most often taken for",
        *(
            f"{_display(row.token):<16} {row.length:>7} {row.hits:>7} {row.substitutions:>6} "
            f"{row.deletions:>6} {row.insertions:>6} "
            f"{_display(row.confused) if row.confused else ''}"
            for row in token_rows(result)
        ),
    ]


def _display(token: str) -> str:
    token = {GAP: "(none)", " ": "(space)"}.get(token, token)
    return token if len(token) <= 16 else token[:13] + "..."
