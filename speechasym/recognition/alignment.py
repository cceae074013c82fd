"""Forced alignment: when each known word, phone and letter of a recording is said.

CTC's best path through the known symbols says in which steps each is written [1]. That marks a
place in a symbol, not where it begins and ends, and a step is 30 ms long in the presets. So
- the model hears the features `SHIFTS` times, each time from one frame later on, and a symbol's
  place is the mean over these;
- a boundary is put where the features change most between two places: the split into two parts of
  least squared distance to the parts' means, held near the middle by a weak prior.
docs/decoding.md has what each of these is worth.

Shapes: F frames, D columns, S steps of a head, V classes, L symbols.

[1] L. Kürzinger et al., "CTC-segmentation of large corpora for German end-to-end speech
    recognition", SPECOM 2020: known text on CTC's posteriors.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from speechasym.annotations.intervals import Interval
from speechasym.audio import reading
from speechasym.errors import AlignmentError, ConfigError, MissingWordError
from speechasym.language import phones
from speechasym.language.letters import spell
from speechasym.language.lexicon import Lexicon
from speechasym.levels import ctc
from speechasym.recognition import transcription
from speechasym.recognition.transcription import Trained, open_run
from speechasym.training import feature_cache, labels

if TYPE_CHECKING:
    from lhotse.cut import Cut

SHIFTS = 3  # frames by which the features are shifted: 0, 1, 2, as the presets' stride is 3
PRIOR = 1.0  # on a boundary at a symbol's place, in mean squared distance a column
PAUSE_S = 0.25  # words whose nearest symbols' places are further apart have a pause between them
EDGE_S = 0.25  # a symbol reaches at most so far into a pause,
USUAL_S, USUAL_SPREAD_S = 0.06, 0.2  # and about so far
TOUCH_S = 1e-3  # phones that are so near are neighbours
MOST = 1 << 28  # steps times symbols that are aligned at once: 30 min of speech

Heads = Literal["phones", "letters"]
Spell = Callable[[str], Sequence[tuple[str, ...]]]


class Word(NamedTuple):
    """A word that is said."""

    text: str | None  # None: only phones, as a silence between words
    pronunciations: tuple[tuple[str, ...], ...] = ()  # as the run writes phones; (): none known


class Alignment(NamedTuple):
    """When what is known to be said is said."""

    seconds: float  # of the recording
    tiers: dict[str, list[Interval]]  # phones, words, letters, as far as they are known
    score: float  # mean log posterior of the symbols at their best steps: near 0 is sure


def align(
    run: str | Path | Trained,
    source: "str | Path | NDArray[np.float32] | Cut",
    words: str | Sequence[str | Word] | None = None,
    *,
    lexicon: Lexicon | None = None,
    head: Heads | None = None,
    spell: Spell | None = None,
) -> Alignment:
    """Find when the words of a recording are said.

    Words get their times from their phones where those are known, from the cut or the lexicon;
    else from their letters. Of several pronunciations the most likely one is taken, each word for
    itself while the others have their first one.

    Args:
        run: a finished run's folder, or what `open_run` gave.
        source: a cut, a recording of any rate and number of channels, or its features (F, D) as
            `transcription.features_of` makes them.
        words: what is said; None: the cut's own text, with its own phones where it has an
            alignment (symbols only).
        lexicon: of pronunciations; None: words come from letters, if the cut has no phones.
        head: that tells the times of words; None: phones if they are known.
        spell: gives pronunciations of words that the lexicon has not.

    Raises:
        MissingWordError: a word without pronunciation.
        AlignmentError: a symbol unknown to the run, too few steps for the symbols, or nothing
            to align.
        AudioError, LabelError: a recording or a text that cannot be read; CheckpointError: see
        `open_run`; ConfigError: a head that the run does not have.
    """
    trained = open_run(run)
    config = trained.config.data.features
    if isinstance(source, str | Path):
        x, _ = reading.load(source, config.sample_rate, config.channel)
        name, seconds, rows = str(source), len(x) / config.sample_rate, None
    elif isinstance(source, np.ndarray):
        name, seconds, rows = "features", len(source) / config.rate, source
    else:
        name, seconds, rows = f"cut {source.id}", source.duration, None
    if words is not None:
        said = _given(trained, words, lexicon, spell, name, head)
    elif isinstance(source, str | Path | np.ndarray):
        raise ConfigError("words", "None, where there is no cut to say them", "Give the words")
    else:
        said = spoken(trained, source, lexicon, head=head, spell=spell)
    head = head_for(trained, said, head, name)
    if rows is None and isinstance(source, str | Path):
        rows = transcription.features_of(trained, x)
    elif rows is None:
        rows = feature_cache.features_of(feature_cache.FeatureTask(source, config))
    if rows.ndim != 2 or not len(rows):
        raise ConfigError("features", f"shape {rows.shape}, not (frames, columns)", "Extract them")
    tiers, score = _aligned(trained, rows, said, head, name, seconds)
    return Alignment(seconds, tiers, score)


def head_for(trained: Trained, said: Sequence[Word], head: Heads | None, name: str) -> Heads:
    """The head that tells the times. Raises `ConfigError`, `AlignmentError`."""
    if head is not None:
        trained.check_heads([head], "head")
    known = bool(said) and all(word.pronunciations for word in said)
    if head != "letters" and known and "phones" in trained.inventories:
        return "phones"
    if head == "phones":
        raise AlignmentError(
            name, "its phones are not known", "Give a lexicon, or align by letters"
        )
    if "letters" not in trained.inventories:
        raise AlignmentError(
            name,
            "its phones are not known, and the run has no head for letters",
            "Give a lexicon",
        )
    return "letters"


def spoken(
    trained: Trained,
    cut: "Cut",
    lexicon: Lexicon | None = None,
    *,
    head: Heads | None = None,
    spell: Spell | None = None,
) -> list[Word]:
    """The words of a cut with what is known of their phones.

    Phones of the cut's own alignment go to the word in which the middle of each lies; those
    outside of all words, such as silences, stay alone. Their times are used for nothing else.

    Raises `LabelError` without text, `AlignmentError` for what `align` says.
    """
    texts = labels.words_of(cut)
    name = f"cut {cut.id}"
    if head == "letters" or "phones" not in trained.inventories:
        return [Word(word) for word in texts]
    sounds, places = labels.timed_phones(cut, trained.config.data.labels), _words(cut)
    if sounds and (places or lexicon is None):
        return _own(trained, sounds, places, texts, name)
    return _given(trained, texts, lexicon, spell, name, head)


def _words(cut: "Cut") -> list[Interval]:
    """The cut's words with their times; none where a part of the cut lacks them."""
    found = []
    for supervision in sorted(cut.supervisions, key=lambda s: s.start):
        if not supervision.alignment or "word" not in supervision.alignment:
            return []
        items = supervision.alignment["word"]
        found += [Interval(i.start, i.start + i.duration, i.symbol) for i in items]
    return found


def _own(
    trained: Trained,
    sounds: Sequence[tuple[str, float, float]],
    places: Sequence[Interval],
    texts: Sequence[str],
    name: str,
) -> list[Word]:
    """Words with the phones whose middle lies in them, and what lies between words."""
    names = texts if len(texts) == len(places) else [i.label.upper() for i in places]
    said: list[tuple[int | None, list[str]]] = []
    for symbol, start, end in sounds:
        middle = (start + end) / 2
        inside = [n for n, place in enumerate(places) if place.start <= middle < place.end]
        number = inside[0] if inside else None
        if not said or said[-1][0] != number:
            said.append((number, []))
        said[-1][1].append(_known(trained, symbol, name))
    return [Word(None if number is None else names[number], (tuple(row),)) for number, row in said]


def _given(
    trained: Trained,
    words: str | Sequence[str | Word],
    lexicon: Lexicon | None,
    spell: Spell | None,
    name: str,
    head: Heads | None,
) -> list[Word]:
    """Words with the pronunciations of the lexicon."""
    if isinstance(words, str):
        segment: Any = SimpleNamespace(id=name, supervisions=[SimpleNamespace(start=0, text=words)])
        words = labels.words_of(segment)
    if head == "letters" or lexicon is None or "phones" not in trained.inventories:
        return [word if isinstance(word, Word) else Word(word) for word in words]
    said = []
    for word in words:
        if isinstance(word, Word):
            said.append(word)
            continue
        alternatives: Sequence[tuple[str, ...]] = lexicon.pronounce([word])[0][0]
        if not alternatives and spell is not None:
            alternatives = spell(word)
        if not alternatives:
            raise MissingWordError(
                name,
                f"{word!r} is not in the lexicon",
                "Add it there, or let it be spelled (--spelling), or align by letters",
            )
        rows = dict.fromkeys(_written(trained, symbols, name) for symbols in alternatives)
        said.append(Word(word, tuple(row for row in rows if row)))
    return said


def _written(trained: Trained, symbols: Sequence[str], name: str) -> tuple[str, ...]:
    """A lexicon's phones as the run writes them: folded, without stress."""
    items = [SimpleNamespace(symbol=phones.strip_stress(p), start=0.0, end=0.0) for p in symbols]
    part: Any = SimpleNamespace(
        id=name, supervisions=[SimpleNamespace(start=0.0, alignment={"phone": items})]
    )
    row = labels.tokens(part, "phones", trained.config.data.labels, None)
    return tuple(_known(trained, symbol, name) for symbol in row)


def _known(trained: Trained, symbol: str, name: str) -> str:
    """A phone in the run's own case. Raises `AlignmentError` for one that it does not know."""
    inventory = trained.inventories["phones"]
    for form in (symbol, symbol.lower(), symbol.upper()):
        if form in inventory:
            return form
    raise AlignmentError(
        name,
        f"the run does not know the phone {symbol!r}; it knows {' '.join(inventory[:5])} ...",
        "Use the phones that it was trained on",
    )


class _Places(NamedTuple):
    """Where CTC writes each symbol."""

    centre: NDArray[np.float64]  # (L,) frames
    score: float  # mean log posterior at the best steps


def _aligned(
    trained: Trained,
    rows: NDArray[np.float32],
    said: Sequence[Word],
    head: Heads,
    name: str,
    seconds: float,
) -> tuple[dict[str, list[Interval]], float]:
    texts = [word.text for word in said if word.text is not None]
    if not said:
        raise AlignmentError(name, "it has no words", "Leave it out")
    heads = [head]
    if "letters" in trained.inventories and head != "letters" and texts:
        heads.append("letters")
    heard = _listen(trained, rows, heads)
    rate = trained.config.data.features.rate
    tiers: dict[str, list[Interval]] = {}
    score = 0.0
    for which in heads:
        posteriors = heard[which]
        if which == "phones":
            chosen = _pronounced(trained, posteriors[0], said, name)
            symbols = [symbol for row in chosen for symbol in row]
            words = [number for number, row in enumerate(chosen) for _ in row]
        else:
            symbols = spell(texts)
            words = np.cumsum([symbol == " " for symbol in symbols]).tolist()
        try:
            found = _places(posteriors, trained.inventories[which], symbols, name)
        except AlignmentError:
            if which == head:
                raise
            continue  # letters are an extra; fewer steps than letters is no reason to fail
        if which == head:
            score = found.score
        delay = transcription.delay_of(trained.config.data.features) * rate
        spans = boundaries(rows, np.clip(found.centre - delay, 0, len(rows)), words, rate)
        timed = [
            Interval(min(a / rate, seconds), min(b / rate, seconds), symbol)
            for (a, b), symbol in zip(spans, symbols, strict=True)
        ]
        tiers[which] = [i for i in timed if i.label != " "]
        if which != head:
            continue
        named = [word.text for word in said] if which == "phones" else texts
        tiers["words"] = [
            Interval(own[0].start, own[-1].end, text)
            for number, text in enumerate(named)
            if text is not None
            and (own := [i for i, k in zip(timed, words, strict=True) if k == number])
            and (own := [i for i in own if i.label != " "])
        ]
    order = ("phones", "words", "letters")
    return {tier: tiers[tier] for tier in order if tier in tiers}, score


class _Posterior(NamedTuple):
    log_probs: Tensor  # (S, V)
    centre: NDArray[np.float64]  # (S,) frame in the middle of each step, of features as they are


def _listen(
    trained: Trained, rows: NDArray[np.float32], heads: Sequence[str]
) -> dict[str, list[_Posterior]]:
    """What each head says, from each of the first `SHIFTS` frames on."""
    found: dict[str, list[_Posterior]] = {head: [] for head in heads}
    for shift in range(min(SHIFTS, len(rows))):
        output = transcription.heard(trained, rows[shift:])
        for head in heads:
            log_probs, steps = output.heads[head]
            count = int(steps[0])
            first, last = (span[0, :count].numpy() for span in output.spans[head])
            start, end = transcription.step_times(first, last)
            centre = (start + end) / 2 + shift
            found[head].append(_Posterior(log_probs[0, :count], centre))
    return found


def _classes(inventory: Sequence[str], symbols: Sequence[str]) -> list[int]:
    known = labels.classes(inventory)
    return [known[symbol] for symbol in symbols]


def _pronounced(
    trained: Trained, posterior: _Posterior, said: Sequence[Word], name: str
) -> list[tuple[str, ...]]:
    """The most likely pronunciation of each word, with the first one of all others."""
    first = [word.pronunciations[0] for word in said]
    tried = [(number, row) for number, word in enumerate(said) for row in word.pronunciations[1:]]
    if not tried:
        return first
    inventory, log_probs = trained.inventories["phones"], posterior.log_probs
    whole = [[p for row in first for p in row]]
    for number, row in tried:
        changed = [*first[:number], row, *first[number + 1 :]]
        whole.append([p for own in changed for p in own])
    scores = ctc.log_likelihoods(log_probs, [_classes(inventory, row) for row in whole])
    best = {number: (scores[0], first[number]) for number in range(len(said))}
    for (number, row), score in zip(tried, scores[1:], strict=True):
        if score > best[number][0]:
            best[number] = (score, row)
    return [best[number][1] for number in range(len(said))]


def _places(
    posteriors: Sequence[_Posterior], inventory: Sequence[str], symbols: Sequence[str], name: str
) -> _Places:
    """Mean place of each symbol over what was heard. Raises `AlignmentError` for too few steps."""
    row = _classes(inventory, symbols)
    needed, steps = ctc.steps_needed(row), len(posteriors[0].log_probs)
    if needed > steps:
        raise AlignmentError(
            name,
            f"{len(row)} symbols need {needed} steps of the model, and it has {steps}",
            "Check that this text is what is said, or leave it out",
        )
    if steps * len(row) > MOST:
        raise AlignmentError(
            name, f"{len(row)} symbols in {steps} steps are too many at once", "Cut it at pauses"
        )
    centres, scores = [], []
    for posterior in posteriors:
        if needed > len(posterior.log_probs):
            continue  # a shifted one may have a step less
        values = posterior.log_probs.exp().numpy()
        centre, score = np.empty(len(row)), 0.0
        for number, (a, b) in enumerate(ctc.align(posterior.log_probs, row)):
            weight = values[a:b, row[number]].astype(np.float64) + 1e-9
            centre[number] = (weight * posterior.centre[a:b]).sum() / weight.sum()
            score += float(np.log(weight.max()))
        centres.append(centre)
        scores.append(score / len(row))
    return _Places(np.mean(centres, 0), float(np.mean(scores)))


def boundaries(
    x: NDArray[np.float32], places: Sequence[float] | NDArray, words: Sequence[int], rate: float
) -> list[tuple[float, float]]:
    """From where to where each symbol lasts, in frames.

    Neighbours share a boundary where the features change most between their places. Between words
    whose places are more than `PAUSE_S` apart there is a pause, and each reaches into it up to the
    greatest change within `EDGE_S`, as at the beginning and the end.

    Args:
        x: features (F, D), columns of mean square about 1.
        places: (L,) frames, rising, less the features' delay.
        words: (L,) number of the word that each symbol belongs to.
        rate: frames a second.
    """
    at = np.asarray(places, np.float64)
    edge, usual = EDGE_S * rate, USUAL_S * rate
    wide = USUAL_SPREAD_S * rate

    def begins(place: float, least: float) -> float:
        return _change(x, max(least, place - edge), place, max(least, place - usual), wide)

    def ends(place: float, most: float) -> float:
        return _change(x, place, min(most, place + edge), min(most, place + usual), wide)

    starts, stops = [begins(at[0], 0.0)], []
    for (a, b), (left, right) in zip(pairwise(at), pairwise(words), strict=True):
        middle = (a + b) / 2
        if left != right and b - a > PAUSE_S * rate:
            stops.append(ends(a, middle))
            starts.append(begins(b, middle))
        else:
            place = _change(x, a, b, middle, max(2.0, (b - a) / 2))
            stops.append(place)
            starts.append(place)
    stops.append(ends(at[-1], float(len(x))))
    return [(float(a), float(b)) for a, b in zip(starts, stops, strict=True)]


def _change(x: NDArray, first: float, last: float, expected: float, wide: float) -> float:
    """The frame within first ... last at which the rows on either side differ most.

    Least is the sum of squared distances to the means of both sides, in mean square a column, and
    `PRIOR` times the squared distance from where it is expected, over `wide`.
    """
    low, high = max(0, int(np.floor(first))), min(len(x), int(np.ceil(last)) + 1)
    places = np.arange(max(low + 1, int(np.ceil(first))), min(high, int(np.floor(last)) + 1))
    if len(places) < 2:
        return expected
    part = x[low:high].astype(np.float64)
    sums, squares = part.cumsum(0), (part**2).sum()
    n = (places - low)[:, None]
    left = sums[places - low - 1]
    right = sums[-1] - left
    between = (left**2 / n + right**2 / (len(part) - n)).sum(1)
    cost = (squares - between) / x.shape[1] + PRIOR * ((places - expected) / wide) ** 2
    return float(places[cost.argmin()])


def deviations(trained: Trained, found: Alignment, cut: "Cut") -> dict[str, list[float]]:
    """By how many s boundaries are late, of what the cut has times of, as far as that is the same.

    words: starts and ends. phones: starts of those that begin where the one before ends, with no
    silence that was dropped between them; where the cut's own phones were aligned.
    """
    late: dict[str, list[float]] = {}
    words, own = _words(cut), found.tiers.get("words", [])
    if words and len(words) == len(own):
        late["words"] = [x - y for a, b in zip(own, words, strict=True) for x, y in _ends(a, b)]
    sounds = found.tiers.get("phones", [])
    row = labels.timed_phones(cut, trained.config.data.labels) if sounds else []
    if row and [symbol for symbol, _, _ in row] == [i.label for i in sounds]:
        late["phones"] = [
            mine.start - b[1]
            for mine, (a, b) in zip(sounds[1:], pairwise(row), strict=True)
            if b[1] - a[2] < TOUCH_S
        ]
    return {kind: rows for kind, rows in late.items() if rows}


def _ends(a: Interval, b: Interval) -> tuple[tuple[float, float], tuple[float, float]]:
    return (a.start, b.start), (a.end, b.end)


def within(late: Sequence[float], limits: Sequence[float]) -> dict[float, float]:
    """Share of deviations of at most each limit, in s (and 1 ns for rounding)."""
    off = np.abs(np.asarray(late, np.float64))
    return {limit: float(np.mean(off <= limit + 1e-9)) for limit in limits}
