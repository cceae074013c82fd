"""Scoring: error rates of phones, words and letters, TIMIT's conventions.

An error rate is (S + D + I) / N: substitutions, deletions and insertions of an alignment with the
fewest of them, over the tokens of all references. docs/scoring.md states every rule.

[1] K.-F. Lee, H.-W. Hon, "Speaker-independent phone recognition using hidden Markov models", IEEE
    Trans. ASSP 37, 1641-1648, 1989: the folding to 39.
[2] Kaldi, egs/timit/s5/local: score_basic.sh (silences are phones like others), score_sclite.sh
    (those of the reference are optional).
[3] NIST SCTK, sclite, option -D: an optional word that is deleted counts as correct.
[4] M. Bisani, H. Ney, "Bootstrap estimates for confidence intervals in ASR performance
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
UNITS = {"per": "phone", "wer": "word", "ler": "letter"}


# --- Alignment ------------------------------------------------------------------------------------

Pair = tuple[str, str]  # token of the reference and of the hypothesis, GAP for none


def align(reference: Sequence[str], hypothesis: Sequence[str]) -> list[Pair]:
    """An alignment with the fewest substitutions, deletions and insertions, each counting one.

    Among alignments with equally few it is the one that rapidfuzz finds: the sum S + D + I is
    certain, its parts and the confusions may differ from another scorer's.
    """
    numbers: dict[str, int] = {}
    a = [numbers.setdefault(token, len(numbers)) for token in reference]
    b = [numbers.setdefault(token, len(numbers)) for token in hypothesis]
    pairs: list[Pair] = []
    for op in Levenshtein.opcodes(a, b):
        ours, theirs = reference[op.src_start : op.src_end], hypothesis[op.dest_start : op.dest_end]
        if op.tag == "delete":
            pairs += [(token, GAP) for token in ours]
        elif op.tag == "insert":
            pairs += [(GAP, token) for token in theirs]
        else:
            pairs += zip(ours, theirs, strict=True)
    return pairs


def align_optional(
    reference: Sequence[str], hypothesis: Sequence[str], optional: str = phones.SILENCE
) -> list[Pair]:
    """As `align`, but deleting an `optional` token of the reference costs nothing.

    Its insertion, and its substitution, cost one as any other's. Among alignments that cost
    equally little, one that keeps a token is preferred to one that deletes or inserts, and
    deleting to inserting.
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


# --- Error rates ----------------------------------------------------------------------------------


class Counts(NamedTuple):
    """Tokens by what became of them."""

    hits: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    excused: int = 0  # optional tokens that were deleted: no errors, and part of N

    @property
    def length(self) -> int:
        """N, the tokens of the reference."""
        return self.hits + self.substitutions + self.deletions + self.excused

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Errors over N; nan, as it is not defined, where the reference is empty."""
        return self.errors / self.length if self.length else math.nan


class Result(NamedTuple):
    """An error rate, 0 to 1 or more, with a 95 % interval by resampling speakers."""

    rate: float
    low: float  # nan, as `high`, for a single speaker
    high: float
    counts: Counts
    utterances: dict[str, Counts]
    confusions: Counter[Pair]  # (reference, hypothesis): how often; (x, x) are the hits
    speakers: int
    missing: tuple[str, ...]  # utterances without hypothesis: scored as if it was empty
    extra: tuple[str, ...]  # hypotheses without reference: left out
    empty: tuple[str, ...]  # utterances with an empty reference: their insertions count
    samples: NDArray[np.float64]  # the rate for each drawing of speakers; the same drawings for
    # the same speakers and seed, so that a difference between two results can have an interval


def speaker_of(utterance: str) -> str:
    """The speaker as commonly written into an id: 84 of 84-121123-0000, FCKE0 of FCKE0_SI1111.

    With a path it is the folder: TEST/DR1/FAKS0/SI943 -> TEST/DR1/FAKS0. Else what stands before
    the first - or _.
    """
    if "/" in utterance:
        return utterance.rsplit("/", 1)[0]
    return utterance.replace("_", "-").split("-", 1)[0]


def read_speakers(path: str | Path) -> dict[str, str]:
    """{utterance: speaker} of lines `utterance speaker`, Kaldi's utt2spk.

    Raises `ScoringError` as `read_transcripts`, and for a line that has not two columns.
    """
    found = read_transcripts(path)
    for name, tokens in found.items():
        if len(tokens) != 1:
            raise ScoringError(
                found.places[name],
                f"{len(tokens) + 1} columns instead of `utterance speaker`",
                "Mend the line",
            )
    return {name: tokens[0] for name, tokens in found.items()}


def score(
    references: Mapping[str, Sequence[str]],
    hypotheses: Mapping[str, Sequence[str]],
    *,
    optional: str | None = None,
    speakers: Callable[[str], str] | Mapping[str, str] = speaker_of,
    strict: bool = False,
    seed: int = 0,
    rounds: int = 1000,
) -> Result:
    """Error rate of hypotheses.

    An utterance whose reference is empty has no rate of its own; its insertions count in the
    total. One without hypothesis is scored as if that was empty: all deletions. A hypothesis
    without reference is left out. The result names all three.

    Args:
        references, hypotheses: {utterance: tokens}.
        optional: a token that may be deleted from the reference at no cost, see
            `align_optional`.
        speakers: the speaker of an utterance, by a function or a table.
        strict: utterances without hypothesis, or hypotheses without reference, are errors.
        seed, rounds: of the bootstrap [4], which draws speakers with replacement.

    Raises:
        ScoringError: no reference has a token; no id is in both; an utterance has no speaker;
            with `strict`, utterances without hypothesis or reference.
    """
    if references and hypotheses and not references.keys() & hypotheses.keys():
        raise ScoringError(
            "hypotheses",
            f"none of the {len(hypotheses)} has the id of a reference: {next(iter(hypotheses))!r} "
            f"is not like {next(iter(references))!r}",
            "Name utterances alike in both",
        )
    missing = tuple(name for name in references if name not in hypotheses)
    extra = tuple(name for name in hypotheses if name not in references)
    if strict and missing:
        raise ScoringError(
            place_of(references, missing[0]),
            f"no hypothesis for it, and for {len(missing)} of {len(references)} utterances in all",
            "Recognise them too, or score without strict, which counts them as empty",
        )
    if strict and extra:
        raise ScoringError(
            place_of(hypotheses, extra[0]),
            f"no reference for it, and for {len(extra)} of {len(hypotheses)} hypotheses in all",
            "Remove them, or score without strict, which leaves them out",
        )
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
    total = _add(utterances.values())
    if not total.length:
        raise ScoringError(
            "references",
            f"none of the {len(references)} has a token, so that no error rate is defined",
            "Check the references",
        )
    samples, count = _bootstrap(utterances, references, speakers, seed, rounds)
    low, high = np.nanquantile(samples, [0.025, 0.975]) if count > 1 else (math.nan, math.nan)
    empty = tuple(name for name, tokens in references.items() if not tokens)
    return Result(
        total.rate,
        float(low),
        float(high),
        total,
        utterances,
        confusions,
        count,
        missing,
        extra,
        empty,
        samples,
    )


def _count(pairs: Iterable[Pair], optional: str | None) -> Counts:
    hits = substitutions = deletions = insertions = excused = 0
    for token, other in pairs:
        if token == other:
            hits += 1
        elif token == GAP:
            insertions += 1
        elif other != GAP:
            substitutions += 1
        elif token == optional:
            excused += 1
        else:
            deletions += 1
    return Counts(hits, substitutions, deletions, insertions, excused)


def _add(counts: Iterable[Counts]) -> Counts:
    return Counts(*map(sum, zip(*counts, strict=True)))


def _bootstrap(
    utterances: Mapping[str, Counts],
    references: Mapping[str, Sequence[str]],
    speakers: Callable[[str], str] | Mapping[str, str],
    seed: int,
    rounds: int,
) -> tuple[NDArray[np.float64], int]:
    """(rounds,) error rates over speakers drawn with replacement, and the number of speakers.

    A drawing of speakers who all have empty references has the rate nan.
    """
    sums: dict[str, list[int]] = {}
    for name, counts in utterances.items():
        if isinstance(speakers, Mapping):
            if name not in speakers:
                raise ScoringError(
                    place_of(references, name),
                    f"its speaker is not among the {len(speakers)} utterances with one",
                    "Complete the list of speakers",
                )
            who = speakers[name]
        else:
            who = speakers(name)
        own = sums.setdefault(who, [0, 0])
        own[0] += counts.errors
        own[1] += counts.length
    table = np.array([sums[who] for who in sorted(sums)], float)  # (speakers, 2)
    size = len(table)
    draws = np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), rounds)
    errors, length = (draws @ table).T
    rates = np.divide(errors, length, out=np.full(rounds, math.nan), where=length > 0)
    return rates, size


class PhoneRow(NamedTuple):
    """What became of one token of the references."""

    token: str
    length: int  # how often the references have it
    hits: int
    substitutions: int
    deletions: int  # with an optional token, those that cost nothing too
    insertions: int  # of this token
    confused: str  # the token that most often stood for it; "" for none


def table(result: Result) -> list[PhoneRow]:
    """A row for each token, by name."""
    rows = []
    tokens = sorted({token for pair in result.confusions for token in pair} - {GAP})
    by_reference: dict[str, dict[str, int]] = {token: {} for token in tokens}
    for (token, other), count in result.confusions.items():
        if token != GAP:
            by_reference[token][other] = count
    for token in tokens:
        others = by_reference[token]
        wrong = {o: n for o, n in others.items() if o not in (token, GAP)}
        rows.append(
            PhoneRow(
                token,
                sum(others.values()),
                others.get(token, 0),
                sum(wrong.values()),
                others.get(GAP, 0),
                result.confusions.get((GAP, token), 0),
                min(wrong, key=lambda o: (-wrong[o], o)) if wrong else "",
            )
        )
    return rows


def confusion_matrix(result: Result) -> tuple[list[str], NDArray[np.int64]]:
    """The tokens, and (K + 1, K + 1) counts: rows of the reference, columns of the hypothesis.

    The last row holds insertions, the last column deletions.
    """
    tokens = sorted({token for pair in result.confusions for token in pair} - {GAP})
    place = {token: i for i, token in enumerate([*tokens, GAP])}
    matrix = np.zeros((len(place), len(place)), np.int64)
    for (token, other), count in result.confusions.items():
        matrix[place[token], place[other]] = count
    return tokens, matrix


def letters(words: Iterable[str]) -> list[str]:
    """The characters of words joined by a space, the spaces among them."""
    return list(" ".join(words))


# --- TIMIT's conventions --------------------------------------------------------------------------


class Convention(NamedTuple):
    """How TIMIT's symbols are prepared, and silences counted, before they are compared."""

    fold: bool  # to 39 classes, q dropped [1]; else the 61 as they are
    merge: bool  # runs of silences become one
    optional: bool  # silences of the reference may be deleted at no cost


CONVENTIONS = {
    "kaldi": Convention(fold=True, merge=False, optional=False),  # [2] score_basic.sh
    "optional-silence": Convention(fold=True, merge=False, optional=True),  # [2] score_sclite.sh
    "merged": Convention(fold=True, merge=True, optional=False),
    "strict": Convention(fold=False, merge=False, optional=False),
}


def prepare(transcripts: Mapping[str, Sequence[str]], convention: str) -> dict[str, list[str]]:
    """Transcripts as a convention compares them.

    Those that fold take symbols of 61, 48 or 39, mixed if need be, as each class is one of its
    symbols or sil, cl or vcl.

    Raises:
        ScoringError: a symbol of none of these inventories; another convention.
    """
    rule = _rule(convention)
    known = phones.FOLD_ANY_TO_39 if rule.fold else {symbol: symbol for symbol in phones.TIMIT_61}
    prepared: dict[str, list[str]] = {}
    for name, tokens in transcripts.items():
        row: list[str] = []
        for token in tokens:
            if rule.fold and token == phones.GLOTTAL_STOP:
                continue
            if token not in known:
                inventory = "61, 48 or 39" if rule.fold else "61"
                raise ScoringError(
                    place_of(transcripts, name),
                    f"{token!r} is no symbol of TIMIT's {inventory}, which the convention "
                    f"{convention} takes",
                    "Give other transcripts, or another convention",
                )
            phone = known[token]
            # q is gone by now: silences on both of its sides become one too
            if not (rule.merge and phone == phones.SILENCE and row[-1:] == [phone]):
                row.append(phone)
        prepared[name] = row
    return prepared


def _rule(convention: str) -> Convention:
    if convention not in CONVENTIONS:
        raise ScoringError(convention, "no such convention", f"They are: {', '.join(CONVENTIONS)}")
    return CONVENTIONS[convention]


def score_timit(
    references: Mapping[str, Sequence[str]],
    hypotheses: Mapping[str, Sequence[str]],
    convention: str,
    *,
    speakers: Callable[[str], str] | Mapping[str, str] = speaker_of,
    strict: bool = False,
    seed: int = 0,
) -> Result:
    """Phone error rate under one of `CONVENTIONS`; args and errors as `score` and `prepare`.

    Utterances are empty, in the sense of `score`, if they are once prepared.
    """
    optional = phones.SILENCE if _rule(convention).optional else None
    return score(
        prepare(references, convention),
        prepare(hypotheses, convention),
        optional=optional,
        speakers=speakers,
        strict=strict,
        seed=seed,
    )


def folded(transcripts: Mapping[str, Sequence[str]]) -> str | None:
    """A symbol of the 48 or 39 classes that is none of the 61, if there is one.

    Such transcripts, which hold sil, cl or vcl, cannot be scored strictly.
    """
    classes = set(phones.TIMIT_48) - set(phones.TIMIT_61)
    return min({t for tokens in transcripts.values() for t in tokens if t in classes}, default=None)


def conventions(
    references: Mapping[str, Sequence[str]],
    hypotheses: Mapping[str, Sequence[str]],
    *,
    speakers: Callable[[str], str] | Mapping[str, str] = speaker_of,
    strict: bool = False,
    seed: int = 0,
) -> dict[str, Result]:
    """{convention: its result} of the same hypotheses; args and errors as `score_timit`.

    `strict` is left out where references or hypotheses are folded already, see `folded`.
    """
    names = list(CONVENTIONS)
    if folded(references) or folded(hypotheses):
        names.remove("strict")
    return {
        name: score_timit(references, hypotheses, name, speakers=speakers, strict=strict, seed=seed)
        for name in names
    }


# --- Report ---------------------------------------------------------------------------------------


def report(
    ref_path: str | Path,
    hyp_path: str | Path,
    unit: str = "per",
    convention: str | None = None,
    speakers: Callable[[str], str] | Mapping[str, str] | str | Path | None = None,
    *,
    tier: str | None = None,
    confusions: int = 0,
    strict: bool = False,
    seed: int = 0,
) -> str:
    """Score a file or folder of hypotheses; a table as text, at most 80 columns wide.

    Args:
        unit: per, wer or ler: phones, words, or the letters of words.
        convention: one of `CONVENTIONS`, or "all", for TIMIT's phones; None compares the tokens
            as they are.
        speakers: as in `score`, or a file for `read_speakers`; None: `speaker_of`.
        tier: of TextGrids; None: "phones" for per, else "words".
        confusions: how many of the most frequent to list, with a table of every token.
        strict, seed: as in `score`.

    Raises:
        ScoringError, AnnotationError: as `read_transcripts`, `score` and `prepare`.
    """
    if unit not in UNITS:
        raise ScoringError(unit, "no such unit", f"They are: {', '.join(UNITS)}")
    if convention is not None and unit != "per":
        raise ScoringError(
            convention, f"a convention for phones, not for {UNITS[unit]}s", "Leave it out"
        )
    if convention not in (None, "all"):
        _rule(str(convention))
    tier = tier or ("phones" if unit == "per" else "words")
    references, hypotheses = read_transcripts(ref_path, tier), read_transcripts(hyp_path, tier)
    if unit == "ler":
        for transcripts in (references, hypotheses):
            transcripts.update({name: letters(words) for name, words in transcripts.items()})
    who: Callable[[str], str] | Mapping[str, str]
    if isinstance(speakers, str | Path):
        who = read_speakers(speakers)
    else:
        who = speaker_of if speakers is None else speakers
    notes = []
    if convention is None:
        scored = {"-": score(references, hypotheses, speakers=who, strict=strict, seed=seed)}
    elif convention == "all":
        scored = conventions(references, hypotheses, speakers=who, strict=strict, seed=seed)
        if symbol := folded(references) or folded(hypotheses):
            notes.append(f"strict is left out: {symbol} is none of TIMIT's 61 symbols")
    else:
        scored = {
            convention: score_timit(
                references, hypotheses, convention, speakers=who, strict=strict, seed=seed
            )
        }
    one = next(iter(scored.values()))
    lines = [
        f"{UNITS[unit].capitalize()} error rate, {len(references)} utterances, "
        f"{one.speakers} speaker{'s' if one.speakers > 1 else ''}",
        "",
        f"{'convention':<16} {'rate':>7} {'95 % interval':>16} "
        f"{'N':>7} {'S':>6} {'D':>6} {'I':>6} {'excused':>7}",
    ]
    lines += [_line(name, result) for name, result in scored.items()]
    if one.speakers == 1:
        notes.append("no interval: it needs two speakers")
    if one.missing:
        notes.append(f"{_some(one.missing)} without hypothesis, scored as empty")
    if one.extra:
        notes.append(f"{_some(one.extra)} without reference, left out")
    empty = max((result.empty for result in scored.values()), key=len)
    if empty:
        notes.append(f"{_some(empty)} with empty reference: insertions count")
    if notes:
        lines += ["", *notes]
    for name, result in scored.items():
        if confusions > 0:
            lines += ["", *_details(name, result, confusions)]
    return "\n".join(line.rstrip() for line in lines)


def _line(name: str, result: Result) -> str:
    interval = f"{result.low:.2%} - {result.high:.2%}" if result.speakers > 1 else "-"
    c = result.counts
    return (
        f"{name:<16} {result.rate:>7.2%} {interval:>16} {c.length:>7} "
        f"{c.substitutions:>6} {c.deletions:>6} {c.insertions:>6} {c.excused:>7}"
    )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(name if len(name) <= 20 else f"...{name[-17:]}" for name in names[:1])
    return f"{len(names)} ({shown}{', ...' if len(names) > 1 else ''})"


def _details(name: str, result: Result, most: int) -> list[str]:
    wrong = [(pair, n) for pair, n in result.confusions.items() if pair[0] != pair[1]]
    wrong.sort(key=lambda entry: (-entry[1], entry[0]))
    lines = [f"{name}: most frequent errors", f"{'reference':<16} {'hypothesis':<16} {'times':>7}"]
    lines += [f"{_shown(a):<16} {_shown(b):<16} {n:>7}" for (a, b), n in wrong[:most]]
    lines += [
        "",
        f"{name}: each token",
        f"{'token':<16} {'N':>7} {'hits':>7} {'S':>6} {'D':>6} {'I':>6} most often taken for",
    ]
    lines += [
        f"{_shown(row.token):<16} {row.length:>7} {row.hits:>7} {row.substitutions:>6} "
        f"{row.deletions:>6} {row.insertions:>6} {_shown(row.confused) if row.confused else ''}"
        for row in table(result)
    ]
    return lines


def _shown(token: str) -> str:
    token = {GAP: "(none)", " ": "(space)"}.get(token, token)
    return token if len(token) <= 16 else token[:13] + "..."
