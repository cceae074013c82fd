"""Error rates of phones, words and letters, with intervals by resampling speakers.

An error rate is (S + D + I) / N: substitutions, deletions and insertions of an alignment with the
fewest of them, over the tokens of all references. docs/scoring.md states every rule.

[1] NIST SCTK, sclite, option -D: an optional word that is deleted counts as correct.
[2] M. Bisani, H. Ney, "Bootstrap estimates for confidence intervals in ASR performance
    evaluation", ICASSP 2004.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

from speechasym.annotations.transcripts import place_of, read_transcripts
from speechasym.errors import ScoringError
from speechasym.language import phones

GAP = ""  # stands for no token: (GAP, x) is an insertion of x, (x, GAP) a deletion

Pair = tuple[str, str]  # token of the reference and of the hypothesis, GAP for none
Speakers = Callable[[str], str] | Mapping[str, str]  # the speaker of an utterance


def align(reference: Sequence[str], hypothesis: Sequence[str]) -> list[Pair]:
    """Align with the fewest substitutions, deletions and insertions, each counting one.

    Of equally good alignments it is the one that rapidfuzz returns: the sum S + D + I is
    certain, its parts and the confusions may differ from another scorer's.
    """
    numbers: dict[str, int] = {}
    a = [numbers.setdefault(token, len(numbers)) for token in reference]
    b = [numbers.setdefault(token, len(numbers)) for token in hypothesis]
    pairs: list[Pair] = []
    for op in Levenshtein.opcodes(a, b):
        tokens = reference[op.src_start : op.src_end]
        others = hypothesis[op.dest_start : op.dest_end]
        if op.tag == "delete":
            pairs += [(token, GAP) for token in tokens]
        elif op.tag == "insert":
            pairs += [(GAP, token) for token in others]
        else:
            pairs += zip(tokens, others, strict=True)
    return pairs


def align_optional(
    reference: Sequence[str], hypothesis: Sequence[str], optional: str = phones.SILENCE
) -> list[Pair]:
    """Align like `align`, but deleting an `optional` token of the reference costs nothing [1].

    Inserting or substituting it costs one, as for any token. Of equally good alignments, one that
    pairs tokens is preferred to one that deletes or inserts, and deleting to inserting.
    """
    drop = [0 if token == optional else 1 for token in reference]
    # cost[i][j]: of the first i tokens of the reference and the first j of the hypothesis
    cost = [list(range(len(hypothesis) + 1))]
    for token, free in zip(reference, drop, strict=True):
        before = cost[-1]
        row = [before[0] + free]
        for j, other in enumerate(hypothesis):
            row.append(min(before[j] + (token != other), before[j + 1] + free, row[j] + 1))
        cost.append(row)
    i, j = len(reference), len(hypothesis)
    pairs: list[Pair] = []
    while i or j:
        here = cost[i][j]
        if i and j and here == cost[i - 1][j - 1] + (reference[i - 1] != hypothesis[j - 1]):
            i, j = i - 1, j - 1
            pairs.append((reference[i], hypothesis[j]))
        elif i and here == cost[i - 1][j] + drop[i - 1]:
            i -= 1
            pairs.append((reference[i], GAP))
        else:
            j -= 1
            pairs.append((GAP, hypothesis[j]))
    return pairs[::-1]


class Counts(NamedTuple):
    """Tokens by what became of them."""

    hits: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    excused: int = 0  # optional tokens that were deleted: no errors, but part of N

    @property
    def length(self) -> int:
        """N, the tokens of the reference."""
        return self.hits + self.substitutions + self.deletions + self.excused

    @property
    def errors(self) -> int:
        """S + D + I."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors over N; nan, since undefined, for an empty reference."""
        return self.errors / self.length if self.length else math.nan


class ErrorRate(NamedTuple):
    """An error rate, 0 to 1 or more, with a 95 % interval by resampling speakers."""

    rate: float
    low: float  # nan, like `high`, for a single speaker
    high: float
    counts: Counts
    utterances: dict[str, Counts]
    confusions: Counter[Pair]  # {(reference, hypothesis): count}; (x, x) are the hits
    speakers: int
    missing: tuple[str, ...]  # utterances without hypothesis: scored as if it were empty
    extra: tuple[str, ...]  # hypotheses without reference: left out
    empty: tuple[str, ...]  # utterances with an empty reference: their insertions count
    samples: NDArray[np.float64]  # the rate for each resampling; the same speakers are drawn for
    # the same seed, so that a difference between two results can have an interval


def speaker_of(utterance: str) -> str:
    """Return the speaker that an id commonly contains: 84 of 84-121123-0000, FCKE0 of FCKE0_SI1111.

    For a path it is the folder: TEST/DR1/FAKS0 of TEST/DR1/FAKS0/SI943. Else what precedes the
    first - or _.
    """
    if "/" in utterance:
        return utterance.rsplit("/", 1)[0]
    return utterance.replace("_", "-").split("-", 1)[0]


def read_speakers(path: str | Path) -> dict[str, str]:
    """Read {utterance: speaker} from lines `utterance speaker`, Kaldi's utt2spk.

    Raises:
        ScoringError: as `read_transcripts`, or a line does not have two columns.
    """
    rows = read_transcripts(path)
    for name, tokens in rows.items():
        if len(tokens) != 1:
            problem = f"expected 2 columns `utterance speaker`, got {len(tokens) + 1}"
            raise ScoringError(rows.places[name], problem, "Fix the line")
    return {name: tokens[0] for name, tokens in rows.items()}


def error_rate(
    references: Mapping[str, Sequence[str]],
    hypotheses: Mapping[str, Sequence[str]],
    *,
    optional: str | None = None,
    speakers: Speakers = speaker_of,
    strict: bool = False,
    seed: int = 0,
    rounds: int = 1000,
) -> ErrorRate:
    """Measure the error rate of hypotheses.

    An utterance with an empty reference has no rate; its insertions count in the total. A missing
    hypothesis is scored as if it were empty: all deletions. A hypothesis without reference is left
    out. The result lists all three.

    Args:
        references, hypotheses: {utterance: tokens}.
        optional: a token of the reference whose deletion costs nothing, see `align_optional`.
        speakers: the speaker of an utterance, as a function or a table.
        strict: utterances without hypothesis, or hypotheses without reference, are errors.
        seed, rounds: of the bootstrap [2], which draws speakers with replacement.

    Raises:
        ScoringError: no reference has a token; no id is in both; an utterance has no speaker;
            with `strict`, utterances without hypothesis or reference.
    """
    if references and hypotheses and not references.keys() & hypotheses.keys():
        raise ScoringError(
            "hypotheses",
            f"none of the {len(hypotheses)} ids is that of a reference, such as "
            f"{next(iter(hypotheses))!r}; references have ids such as {next(iter(references))!r}",
            "Give utterances the same ids in both",
        )
    missing = tuple(name for name in references if name not in hypotheses)
    extra = tuple(name for name in hypotheses if name not in references)
    if strict and missing:
        problem = f"has no hypothesis, like {len(missing)} of {len(references)} in all"
        remedy = "Recognise them too, or score without strict, which counts them as empty"
        raise ScoringError(place_of(references, missing[0]), problem, remedy)
    if strict and extra:
        problem = f"has no reference, like {len(extra)} of {len(hypotheses)} in all"
        remedy = "Remove them, or score without strict, which leaves them out"
        raise ScoringError(place_of(hypotheses, extra[0]), problem, remedy)
    utterances: dict[str, Counts] = {}
    confusions: Counter[Pair] = Counter()
    for name, tokens in references.items():
        answer = hypotheses.get(name, [])
        if optional is None:
            pairs = align(tokens, answer)
        else:
            pairs = align_optional(tokens, answer, optional)
        confusions.update(pairs)
        utterances[name] = _count(pairs, optional)
    total = Counts(*map(sum, zip(*utterances.values(), strict=True)))
    if not total.length:
        problem = f"all {len(references)} are empty, so that no error rate is defined"
        raise ScoringError("references", problem, "Check the references")
    samples, count = _bootstrap(utterances, references, speakers, seed, rounds)
    low, high = np.nanquantile(samples, [0.025, 0.975]) if count > 1 else (math.nan, math.nan)
    return ErrorRate(
        rate=total.rate,
        low=float(low),
        high=float(high),
        counts=total,
        utterances=utterances,
        confusions=confusions,
        speakers=count,
        missing=missing,
        extra=extra,
        empty=tuple(name for name, tokens in references.items() if not tokens),
        samples=samples,
    )


def _count(pairs: Iterable[Pair], optional: str | None) -> Counts:
    kinds = Counter(
        "hits" if token == other
        else "insertions" if token == GAP
        else "substitutions" if other != GAP
        else "excused" if token == optional
        else "deletions"
        for token, other in pairs
    )  # fmt: skip
    return Counts(**kinds)


def _bootstrap(
    utterances: Mapping[str, Counts],
    references: Mapping[str, Sequence[str]],
    speakers: Speakers,
    seed: int,
    rounds: int,
) -> tuple[NDArray[np.float64], int]:
    """Return (rounds,) error rates over speakers drawn with replacement, and how many there are.

    The rate is nan where all the speakers drawn have empty references.
    """
    sums: dict[str, list[int]] = {}
    for name, counts in utterances.items():
        if isinstance(speakers, Mapping):
            if name not in speakers:
                raise ScoringError(
                    place_of(references, name),
                    f"has no speaker among the {len(speakers)} utterances of the list",
                    "Complete the list of speakers",
                )
            speaker = speakers[name]
        else:
            speaker = speakers(name)
        row = sums.setdefault(speaker, [0, 0])
        row[0] += counts.errors
        row[1] += counts.length
    table = np.array([sums[speaker] for speaker in sorted(sums)], float)  # (speakers, 2)
    size = len(table)
    draws = np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), rounds)
    errors, length = (draws @ table).T
    rates = np.divide(errors, length, out=np.full(rounds, math.nan), where=length > 0)
    return rates, size
