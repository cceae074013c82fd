"""From a recording to phones, letters and words with their times, segment by segment.

Shapes: T samples, S steps of a head, V classes.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise, takewhile
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym.annotations.intervals import Interval
from speechasym.levels import ctc
from speechasym.levels.level import ModelOutput
from speechasym.recognition.confidence import (
    Confidence,
    aligned_heads,
    symbol_evidence,
    word_evidence,
)
from speechasym.recognition.decoder import BY_LEXICON, Decoder
from speechasym.recognition.segments import LONGEST_S, MARGIN_S, normalised, segments
from speechasym.recognition.speech import Logistic
from speechasym.recognition.trained_model import Posteriors, TrainedModel

# How far a symbol reaches beyond its steps where no other is near, s: CTC marks a point within a
# symbol, not its extent
REACH_S = {"phones": 0.08, "letters": 0.08, "words": 0.25, BY_LEXICON: 0.08}
DOUBTFUL = 0.5  # expected share of right words below which the text is marked


class ScoredInterval(NamedTuple):
    """A recognised symbol. `confidence` is explained in `Transcript`."""

    start: float  # s
    end: float  # s
    label: str
    confidence: float  # 0 to 1

    @property
    def middle(self) -> float:
        """Time in s halfway from start to end."""
        return (self.start + self.end) / 2


class Transcript(NamedTuple):
    """What was recognised in a recording.

    The confidence of a symbol is the probability that it is correct, if the model has a
    calibration (`confidence`). Otherwise it is the mean posterior that its head gives it over the
    steps in which CTC's best path writes it; for a word by lexicon, the mean posterior of its
    phones (or letters) over the steps in which its best alignment writes them.
    """

    seconds: float  # length of the recording
    symbols: dict[str, list[ScoredInterval]]  # {head: in order of time}; letters include spaces
    segments: int  # in which the recording was read
    # start and end in s of the stretches with speech; None: the model has no calibration
    speech: list[tuple[float, float]] | None = None
    calibrated: tuple[str, ...] = ()  # heads whose confidences are probabilities of being correct

    def __str__(self) -> str:
        return self.lines()

    def lines(self, unsure: float = 0.0) -> str:
        """One line for each head, with its name, as `text_of`.

        A head without symbols has `(nothing)`, or `(no speech)` if all heads are without. A last
        line warns where most words are likely wrong (`confidence`).
        """
        width = 2 + max(7, *map(len, self.symbols))
        empty = "(nothing)" if any(self.symbols.values()) else "(no speech)"
        lines = [
            f"{head + ':':<{width}}{self.text_of(head, unsure) or empty}" for head in self.symbols
        ]
        if self.confidence is not None and self.confidence < DOUBTFUL:
            share = f"about {self.confidence:.0%} of the words by lexicon"
            lines.append(
                f"({share} are likely right: another language, noise, or an unusual voice?)"
            )
        return "\n".join(lines)

    @property
    def confidence(self) -> float | None:
        """The share of the words by lexicon that are likely right; None if not calibrated."""
        words = self.words_by_lexicon
        if not words or BY_LEXICON not in self.calibrated:
            return None
        return sum(word.confidence for word in words) / len(words)

    def as_json(self) -> dict[str, Any]:
        """Return everything: times in s, labels, confidences, where there is speech."""
        speech = self.speech and [(round(a, 3), round(b, 3)) for a, b in self.speech]
        symbols = {
            head: [
                {
                    "start": round(i.start, 3), "end": round(i.end, 3), "label": i.label,
                    "confidence": round(i.confidence, 3),
                }
                for i in rows
            ]
            for head, rows in self.symbols.items()
        }  # fmt: skip
        return {
            "seconds": self.seconds, "speech": speech, "no_speech": not any(symbols.values()),
            "calibrated": list(self.calibrated), "confidence": self.confidence, "symbols": symbols,
        }  # fmt: skip

    @property
    def text(self) -> str:
        """The words by lexicon if they were read, else the words, the letters, or the phones."""
        order = (BY_LEXICON, "words", "letters", "phones")
        return self.text_of(next(head for head in order if head in self.symbols))

    @property
    def phones(self) -> tuple[ScoredInterval, ...]:
        """The phones; empty if they were not read, as are the others."""
        return tuple(self.symbols.get("phones", ()))

    @property
    def letters(self) -> tuple[ScoredInterval, ...]:
        """The letters, and the spaces between words."""
        return tuple(self.symbols.get("letters", ()))

    @property
    def words(self) -> tuple[ScoredInterval, ...]:
        """The words that the words head reads; `<unk>` for those outside its vocabulary."""
        return tuple(self.symbols.get("words", ()))

    @property
    def words_by_lexicon(self) -> tuple[ScoredInterval, ...]:
        """The words found with a lexicon and a language model."""
        return tuple(self.symbols.get(BY_LEXICON, ()))

    def text_of(self, head: str, unsure: float = 0.0) -> str:
        """The symbols of a head in one line; letters are joined to words.

        Symbols with less confidence than `unsure` have a question mark.
        """
        labels = [
            f"{i.label}?" if i.confidence < unsure and i.label.strip() else i.label
            for i in self.symbols[head]
        ]
        return " ".join("".join(labels).split() if head == "letters" else labels)

    def tiers(self) -> dict[str, list[Interval]]:
        """The tiers of a TextGrid: a tier for each head, without the spaces between words.

        If words by lexicon have a calibrated confidence, a last tier has it, as 0.87.
        """
        tiers = {
            head: [Interval(*i[:3]) for i in symbols if i.label.strip()]
            for head, symbols in self.symbols.items()
        }
        if BY_LEXICON in self.calibrated:
            words = self.words_by_lexicon
            tiers["confidence"] = [Interval(i.start, i.end, f"{i.confidence:.2f}") for i in words]
        return tiers


def transcribe_blocks(
    trained: TrainedModel,
    blocks: Iterable[NDArray[np.float32]],
    heads: Sequence[str],
    longest: float = LONGEST_S,
    decoder: Decoder | None = None,
    confidence: Confidence | None = None,
) -> Transcript:
    """Recognise what is said in blocks of samples (T,) at the model's rate.

    A symbol's time is that of the steps in which CTC writes it. Neighbours that both reach over
    the gap between them (`REACH_S`: 80 ms for phones and letters, 250 ms for words) share it
    equally; otherwise each is extended by its reach. So times are accurate to some tens of ms for
    phones, and for words tell where they are rather than how long.

    A segment of digital silence has no symbols, nor has what a calibrated model takes for music or
    noise. Without a calibration both are read as if they were speech.

    Args:
        heads: the heads to read.
        longest: s that are read at once, with `MARGIN_S` on either side; longer recordings are
            cut at the quietest 0.1 s in the second half of a segment.
        decoder: finds `BY_LEXICON` in each segment too.
        confidence: the model's calibration.

    Raises:
        ConfigError: `longest` is below 1 s.
    """
    config = trained.feature_config
    names = [*heads, *([] if decoder is None else [BY_LEXICON])]
    symbols: dict[str, list[ScoredInterval]] = {name: [] for name in names}
    detector = None if confidence is None else confidence.speech
    calibrated = {} if confidence is None else confidence.calibrated(decoder)
    speech: list[tuple[float, float]] = []
    count, seconds, after_silence = 0, 0.0, True
    for segment in segments(blocks, config, longest):
        read: dict[str, list[ScoredInterval]] = {}
        begin = segment.start / config.rate
        if not segment.silent:
            output = trained.output(normalised(segment.rows, config))
            offset = segment.first / config.rate
            of_all = {h: trained.posteriors(output, h, offset) for h in trained.inventories}
            for head in heads:
                read[head] = best_path(of_all[head], calibrated.get(head))
            if decoder is not None:
                alone = {
                    h: trained.posteriors(output, h, offset, alone=True)
                    for h in decoder.config.heads
                }
                read[BY_LEXICON] = words_by_lexicon(
                    alone, decoder, calibrated.get(BY_LEXICON), of_all
                )
            if detector is not None:
                spans = detector.spans(trained, output, offset)
                read = {head: _within(spans, rows, head) for head, rows in read.items()}
                _extend(speech, spans, begin, segment.until)
        for head in names:
            reach = 0.0 if after_silence or segment.silent else MARGIN_S / 2
            join(symbols[head], read.get(head, []), begin, reach)
            if segment.silent and head == "letters" and symbols[head]:
                # no word extends over silence
                symbols[head].append(ScoredInterval(begin, begin, " ", 1.0))
        count, seconds, after_silence = count + 1, segment.until, segment.silent
    timed = {head: spread(symbols[head], REACH_S[head], seconds) for head in names}
    known = tuple(head for head in names if head in calibrated)
    return Transcript(seconds, timed, count, None if detector is None else speech, known)


def best_path(posteriors: Posteriors, calibration: Logistic | None = None) -> list[ScoredInterval]:
    """Return the symbols of CTC's best path, each from its first to its last step.

    Args:
        calibration: what `symbol_evidence` is worth; default: a confidence is a mean posterior.
    """
    log_probs, times, symbols = posteriors
    runs = ctc.runs(log_probs.argmax(-1))
    rows = []
    for a, b, k in runs:
        posterior = min(1.0, float(log_probs[a:b, k].exp().mean()))
        start, end = float(times[a, 0]), float(times[b - 1, 1])
        rows.append(ScoredInterval(start, end, symbols[k], posterior))
    if calibration is None:
        return rows
    values = calibration(symbol_evidence(log_probs.numpy(), runs)).tolist()
    return [row._replace(confidence=p) for row, p in zip(rows, values, strict=True)]


def words_by_lexicon(
    posteriors: Mapping[str, Posteriors],
    decoder: Decoder,
    calibration: Logistic | None = None,
    witnesses: Mapping[str, Posteriors] | None = None,
) -> list[ScoredInterval]:
    """Return the best words of the decoder, each from its first to its last step.

    Args:
        posteriors: of the decoder's heads, alone.
        calibration: what `word_evidence` is worth; default: a confidence is a mean posterior.
        witnesses: with a calibration, those of `aligned_heads`, in sequence.
    """
    log_probs = {head: p.log_probs for head, p in posteriors.items()}
    found = decoder.decode(log_probs)
    words = found[0].words
    head, spans = decoder.spans(log_probs, words)
    times = posteriors[head].times
    values = [span.score for span in spans]
    if calibration is not None and witnesses is not None:
        rows = {head: witnesses[head].log_probs.numpy() for head in aligned_heads(decoder)}
        values = calibration(word_evidence(rows, decoder, found, spans)).tolist()
    return [
        ScoredInterval(float(times[span.first, 0]), float(times[span.last, 1]), word, value)
        for word, span, value in zip(words, spans, values, strict=True)
    ]


def _within(
    spans: Sequence[tuple[float, float]], rows: Sequence[ScoredInterval], head: str
) -> list[ScoredInterval]:
    """Return the symbols whose middle is in a span; letters left out leave a space."""
    kept: list[ScoredInterval] = []
    for row in rows:
        if any(start <= row.middle <= end for start, end in spans):
            kept.append(row)
        elif head == "letters" and kept and kept[-1].label.strip():
            kept.append(row._replace(label=" ", confidence=1.0))
    return kept


def _extend(
    speech: list[tuple[float, float]],
    spans: Sequence[tuple[float, float]],
    begin: float,
    end: float,
) -> None:
    """Append spans, as far as they are between `begin` and `end` s, joined where they touch."""
    for start, stop in spans:
        start, stop = max(start, begin), min(stop, end)
        if speech and start <= speech[-1][1] < stop:
            speech[-1] = speech[-1][0], stop
        elif start < stop:
            speech.append((start, stop))


def join(
    before: list[ScoredInterval], after: list[ScoredInterval], boundary: float, reach: float
) -> None:
    """Append the symbols of a segment to those before it, which ended at `boundary` s.

    Both have margins. They change over at one time within `reach` s of the boundary, in the
    middle of the widest gap between symbols of either side, so that none is lost or doubled where
    the two sides place it a little differently.
    """
    recent = takewhile(lambda i: i.middle >= boundary - reach, reversed(before))
    near = sorted(i.middle for i in (*recent, *after) if abs(i.middle - boundary) < reach)
    edges = [boundary - reach, *near, boundary + reach]
    _, change = max(((b - a, (a + b) / 2) for a, b in pairwise(edges)), default=(0.0, boundary))
    while before and before[-1].middle >= change:
        before.pop()
    if before:
        before[-1] = before[-1]._replace(end=min(before[-1].end, change))
    later = [i for i in after if i.middle >= change]
    before += [i._replace(start=max(i.start, change)) for i in later[:1]] + later[1:]


def spread(symbols: Sequence[ScoredInterval], reach: float, seconds: float) -> list[ScoredInterval]:
    """Extend symbols by up to `reach` s, to the midpoint between neighbours at most.

    None begins before 0 or ends after `seconds`.
    """
    # the last frame may begin before the end of the samples and end after it
    rows = [[min(i.start, seconds), min(i.end, seconds)] for i in symbols]
    for left, right in pairwise(rows):
        middle = (left[1] + right[0]) / 2
        left[1], right[0] = min(middle, left[1] + reach), max(middle, right[0] - reach)
    if rows:
        rows[0][0] = max(0.0, rows[0][0] - reach)
        rows[-1][1] = min(seconds, rows[-1][1] + reach)
    return [i._replace(start=a, end=b) for (a, b), i in zip(rows, symbols, strict=True)]


def recognised(
    trained: TrainedModel, output: ModelOutput, seconds: float, heads: Sequence[str]
) -> dict[str, list[Interval]]:
    """Return {head: symbols} of an utterance that lasts `seconds`; times as in a transcript."""
    symbols = {head: best_path(trained.posteriors(output, head)) for head in heads}
    spreads = {head: spread(rows, REACH_S[head], seconds) for head, rows in symbols.items()}
    return {head: [Interval(*i[:3]) for i in rows] for head, rows in spreads.items()}
