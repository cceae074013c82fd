"""Live recognition: from sound as it comes to phones, letters and words, with bounded memory.

The features are one stream. The levels read it in utterances: one ends at a pause, where what waits
in the levels is completed, and the next begins shortly before. So the levels begin as they did in
training, and nothing grows with the length of the stream. Running normalisation continues from the
last symbol: what a pause holds must not become normal, or its noise is read as speech.

Shapes: T samples, F frames, D columns, S steps of a head, V classes.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from speechasym.audio import reading, sources
from speechasym.audio.microphone import Microphone
from speechasym.audio.sources import Source
from speechasym.auditory import filterbank
from speechasym.config import check_range
from speechasym.errors import AudioError, ConfigError
from speechasym.feature_extraction.normalise import Running
from speechasym.levels import ctc, streaming
from speechasym.levels.level import ModelOutput
from speechasym.levels.streaming import StreamState
from speechasym.recognition.decoder import BY_LEXICON
from speechasym.recognition.ensemble import Runs
from speechasym.recognition.recogniser import Recogniser, recogniser_of
from speechasym.recognition.segments import LONGEST_S, Onset, Power
from speechasym.recognition.trained_model import Posteriors, TrainedModel

from speechasym.recognition.transcription import (  # isort: skip
    REACH_S, ScoredInterval, Transcript, best_path, spread, words_by_lexicon,
)  # fmt: skip

FRAMES = 12  # read at once: 120 ms; fewer take more computing, most of which is by call
PAUSE_S = 0.6  # an utterance ends after so much time without a symbol,
IDLE_S = 2.0  # or after this if it had none
BEFORE_S = 0.3  # of the pause are read again with the next utterance
BIN_S, BINS = 0.005, 400  # histogram of latencies


class LiveResult(NamedTuple):
    """What is recognised in an utterance, so far or finally."""

    start: float  # s of the stream, of its first symbol
    end: float  # until which it was read
    final: bool  # otherwise symbols may be added, and the last one of each head may become longer
    transcript: Transcript


class LiveReport(NamedTuple):
    """What was read in a stream, and how fast. Latencies are those of the first head's symbols.

    The latency of a symbol is the time from the end of the first step in which CTC writes it, in
    the sound, to the sample that had been heard when it was yielded; computing comes on top.
    """

    seconds: float  # of sound
    utterances: int  # that had symbols
    symbols: int
    latency: float  # s, median over the symbols
    latest: float  # s, of 99 in 100 symbols
    computing: float  # processor time over the length of the sound
    lost: float  # s of sound that came too fast
    overruns: int  # times that the device reported loss

    def __str__(self) -> str:
        text = f"{self.seconds:.1f} s of sound, utterances: {self.utterances}"
        if self.symbols:
            text += f"; latency {1000 * self.latency:.0f} ms (99 %: {1000 * self.latest:.0f} ms)"
        text += f"; computing {self.computing:.3f} x real time"
        if self.lost or self.overruns:
            text += f"; LOST {self.lost:.1f} s, the device overran {self.overruns} times"
        return text


class LiveTranscription:
    """Results of a stream, as they come: iterate over it. See `transcribe_live`."""

    # called with what the levels compute, and the frame of the stream with which it begins
    watch: Callable[[ModelOutput, int], object] = staticmethod(lambda output, first: None)

    def __init__(
        self, recogniser: Recogniser, source: Iterable[NDArray[np.float32]],
        heads: Sequence[str] | None = None, longest: float = LONGEST_S,
    ) -> None:  # fmt: skip
        check_range("longest", longest, "30", low=1)
        self.trained, self.source, self.longest = recogniser.trained, source, longest
        check(self.trained)
        self.heads, self.decoder = recogniser.choose(heads)
        self.config = self.trained.feature_config
        self._plain = replace(self.config, normalise="none")
        hop = filterbank.hop(self.config.sample_rate, self.config.rate)
        self._block, self._power = FRAMES * hop, Power(hop)
        self.speech = Running(self.config.rate)  # as of the last symbol
        # so that reading at once what a block completes depends on no block's size
        self._late = self._warmed() % FRAMES
        self._latencies, self._utterances = np.zeros(BINS, np.int64), 0
        self._stopped, self._since = False, time.process_time()
        self._utterance: _Utterance | None = None
        self._done, self._onset = 0, Onset(self.config.rate)  # frames that utterances have read

    def stop(self) -> None:
        """End the stream at the next block: what was heard is completed and yielded."""
        self._stopped = True

    @property
    def report(self) -> LiveReport:
        """What was read so far, and how fast."""
        count = self._latencies.cumsum()
        middle, late = (
            BIN_S * float(np.searchsorted(count, max(1, share * count[-1])) + 1)
            for share in (0.5, 0.99)
        )
        seconds = self._power.samples / self.config.sample_rate
        return LiveReport(
            seconds, self._utterances, int(count[-1]), middle, late,
            (time.process_time() - self._since) / max(seconds, 1e-9),
            getattr(self.source, "lost", 0.0), getattr(self.source, "overruns", 0),
        )  # fmt: skip

    def __iter__(self) -> Iterator[LiveResult]:
        rows: NDArray[np.float32] = np.zeros((0, len(self.config.columns())), np.float32)
        before, frame, size = rows, 0, FRAMES - self._late
        most = round(BEFORE_S * self.config.rate)
        failure: AudioError | None = None
        blocks = self._power.watch(self._blocks())
        parts = self._plain.frames(blocks)
        while True:
            try:
                rows = np.concatenate([rows, next(parts)])
            except StopIteration:
                break
            except AudioError as error:  # what was heard before is still good
                failure = error
                break
            while len(rows) >= size:
                yield from self._read(rows[:size], before, frame)
                before, frame = np.concatenate([before, rows[:size]])[-most:], frame + size
                rows, size = rows[size:], FRAMES
        if len(rows):
            yield from self._read(rows, before, frame)
        yield from self._end(frame + len(rows))
        if failure is not None:
            raise failure

    def _blocks(self) -> Iterator[NDArray[np.float32]]:
        for x in self.source:
            if self._stopped:
                return
            # in short blocks, so that files read at once are no less live
            yield from (x[i : i + self._block] for i in range(0, len(x), self._block))

    def _read(self, rows: NDArray, before: NDArray, frame: int) -> Iterator[LiveResult]:
        """Read rows (F, D) that begin at a frame of the stream, after those before."""
        loud = self._onset(self._power.take(len(rows)))
        utterance, rate = self._utterance, self.config.rate
        if utterance is None:
            if not loud:  # the levels rest
                return
            first = frame - len(before)
            utterance = self._utterance = _Utterance(self, first, max(first, self._done) / rate)
            rows, frame = np.concatenate([before, rows]), first
        found = utterance.read(rows)
        now = (frame + len(rows)) / rate
        if found:
            self._utterances += not utterance.yielded
            utterance.yielded = True
            if utterance.normalise is not None:
                self.speech = utterance.normalise.copy()
            heard = self._power.samples / self.config.sample_rate
            for end in found:
                at = int(np.clip((heard - end) / BIN_S, 0, BINS - 1))
                self._latencies[at] += 1
        quiet = now - utterance.latest
        if (
            quiet >= (PAUSE_S if utterance.yielded else IDLE_S)
            or now - utterance.begin >= self.longest
        ):
            yield from self._end(frame + len(rows))
        elif utterance.changed:
            yield utterance.result(now, False)

    def _end(self, frame: int) -> Iterator[LiveResult]:
        """End the utterance, if there is one, after a frame of the stream."""
        utterance, self._utterance, self._done = self._utterance, None, frame
        if utterance is None:
            return
        utterance.read(np.zeros((0, utterance.columns), np.float32), last=True)
        if any(path.closed or path.open for path in utterance.paths.values()):
            self._utterances += not utterance.yielded
            end = min(frame / self.config.rate, self._power.samples / self.config.sample_rate)
            yield utterance.result(end, True)

    def _warmed(self) -> int:
        """Compute a second of zeros, and return by how many frames features are late."""
        count, early, ended = round(self.config.rate), 0, False

        def blocks() -> Iterator[NDArray[np.float32]]:
            nonlocal ended
            yield np.zeros(self._block // FRAMES * count, np.float32)
            ended = True

        for rows in self._plain.frames(blocks()):
            early += 0 if ended else len(rows)
            if len(rows):
                _Utterance(self, 0, 0.0).read(rows[:FRAMES])
        return count - early


class _Utterance:
    """What has been read since the last pause, and the state of normalisation, levels and CTC."""

    def __init__(self, live: LiveTranscription, first: int, begin: float) -> None:
        trained, config = live.trained, live.trained.feature_config
        self.trained, self.first, self.begin, self.latest = trained, first, begin, begin
        self.columns, self.watch = len(config.columns()), live.watch
        self.normalise = live.speech.copy() if config.normalise == "running" else None
        self.state: StreamState | None = None
        self.decoder = live.decoder
        searched = () if live.decoder is None else live.decoder.config.heads
        start = begin - trained.delay - 1e-6  # steps before it belong to the utterance before
        # {(head, alone)}: as heads are read, and alone, as they write, if they are searched
        self.paths = {(head, False): _Path(start) for head in live.heads}
        self.paths |= {(head, True): _Path(start) for head in searched}
        self.heads, self.yielded, self.changed = live.heads, False, False

    def read(self, rows: NDArray, last: bool = False) -> list[float]:
        """Read rows (F, D); return the ends in s of the steps that begin the first head's symbols.

        last: whether the utterance ends here.
        """
        if self.normalise is not None and len(rows):
            rows = self.normalise(rows)
        output, self.state = self.trained.stream(rows, self.state, last)
        self.watch(output, self.first)
        found: list[float] = []
        self.changed = False
        for number, ((head, alone), path) in enumerate(self.paths.items()):
            offset = self.first / self.trained.feature_config.rate
            new = path.read(self.trained.posteriors(output, head, offset, alone))
            self.changed |= bool(new) and not alone
            if number == 0:
                found = new
                self.latest = path.latest
        return found

    def result(self, end: float, final: bool) -> LiveResult:
        """Return what was read until the time `end`."""
        read = {head: self.paths[head, False] for head in self.heads}
        symbols = {head: path.closed + path.open for head, path in read.items()}
        if final:
            if self.decoder is not None:
                paths = {head: self.paths[head, True] for head in self.decoder.config.heads}
                known = all(path.parts for path in paths.values())
                posteriors = {head: _joined(path.parts) for head, path in paths.items() if known}
                words = words_by_lexicon(posteriors, self.decoder) if known else []
                symbols[BY_LEXICON] = words
            symbols = {head: spread(rows, REACH_S[head], end) for head, rows in symbols.items()}
        begun = min((rows[0].start for rows in symbols.values() if rows), default=self.begin)
        return LiveResult(max(self.begin, begun), end, final, Transcript(end, symbols, 1))


class _Path:
    """CTC's best path of a head, as far as it is known."""

    def __init__(self, begin: float) -> None:
        self.begin, self.latest = begin, begin  # s, of the utterance, and end of the last symbol
        self.closed: list[ScoredInterval] = []
        self.parts: list[Posteriors] = []  # all steps
        self.rest: Posteriors | None = None  # those of a symbol that may become longer
        self.open: list[ScoredInterval] = []

    def read(self, new: Posteriors) -> list[float]:
        """Read the next steps; return the ends in s of the first step of each new symbol."""
        fresh = int((new.times[:, 0] < self.begin).sum())
        new = Posteriors(new.log_probs[fresh:], new.times[fresh:], new.symbols)
        if not len(new.times):
            return []
        self.parts.append(new)
        known = len(self.open)
        steps = new if self.rest is None else _joined([self.rest, new])
        runs, rows = ctc.runs(steps.log_probs.argmax(-1)), best_path(steps)
        self.rest, self.open = None, []
        if runs and runs[-1][1] == len(steps.times):
            first = runs[-1][0]
            self.rest = Posteriors(steps.log_probs[first:], steps.times[first:], steps.symbols)
            self.open = rows[-1:]
        self.closed += rows[: len(rows) - len(self.open)]
        if rows:
            self.latest = rows[-1].end
        return [float(steps.times[a, 1]) for a, _, _ in runs[known:]]


def _joined(parts: Sequence[Posteriors]) -> Posteriors:
    log_probs = torch.cat([part.log_probs for part in parts])
    return Posteriors(log_probs, np.concatenate([p.times for p in parts]), parts[0].symbols)


def check(trained: TrainedModel) -> None:
    """Raise `ConfigError` for a run that cannot read live; it names the options to train with."""
    if trained.members:
        raise ConfigError("runs", "several runs cannot read live together", "Give one run")
    config, model = trained.feature_config, trained.config.model
    problems, remedies = [], []
    if config.normalise == "utterance":
        problems.append("its features are normalised over the whole recording")
        remedies.append("data.features.normalise=running")
    if model.kind == "levels" and not all(level.block.causal for level in model.levels):
        problems.append("its levels need later frames")
        remedies.append("model.every.block.causal=true")
    if trained.follow:
        problems.append("it reads phones by what follows them")
        remedies.append("mmi=0")
    if problems:
        remedy = f"Give a run trained with --set {' '.join(remedies)} (docs/live.md)"
        raise ConfigError(trained.name, f"cannot read live: {' and '.join(problems)}", remedy)
    if model.kind == "custom":
        raise ConfigError(trained.name, "its model cannot read live", "Train a hierarchy")
    streaming.check(model)
    if config.features == "mfcc":
        problem = "mfcc needs the whole recording for its slopes"
        raise ConfigError("data.features.features", problem, "Train with asymmetry or logmel")
    for number, level in enumerate(getattr(model, "levels", ())):
        if "attention" in level.functions and level.block.window is None:
            place, problem = f"model.levels.{number}.block.window", "needs ever more memory"
            raise ConfigError(place, problem, "Train with model.every.block.window=100")


def transcribe_live(
    source: Source = None,
    run: Runs | Recogniser = None,
    *,
    microphone: int | str | None = None,
    pace: float = 1.0,
    heads: Sequence[str] | None = None,
    longest: float = LONGEST_S,
    channel: str | int | None = None,
    **options: Any,
) -> LiveTranscription:
    """Recognise speech while it is heard, with a run that was trained to read live.

    Iterate over the result: it yields partial and final results of one utterance after the other.
    Then its `report` has latencies.

    Args:
        source: a recording (see `load`), read at `pace` times real time; or blocks of samples (T,)
            at the rate of the model; default: the microphone.
        run, options: of `Recogniser`.
        microphone: number or part of the name of an input device; default: the system's.
        pace: speed at which a file is read; `inf`: as fast as possible.
        heads: which of the run's heads to read; default: all.
        longest: s of an utterance without a pause.
        channel: "mean" or a number from 0; default: as in training.

    Raises:
        AudioError: a file that cannot be read; a device that does not exist, or stops: what was
            heard before is yielded first.
        ConfigError: a run that cannot read live, with the options to train with; an unknown head;
            sounddevice is not installed.

    Example:
        >>> live = speechasym.transcribe_live("speech.wav", "runs/live", pace=float("inf"))
        >>> texts = [result.transcript.text for result in live if result.final]
        >>> print(live.report)
        3.0 s of sound, utterances: ...
    """
    recogniser = recogniser_of(run, **options)
    check(recogniser.trained)
    config = recogniser.trained.feature_config
    seconds = FRAMES / config.rate
    blocks: Iterable[NDArray[np.float32]]
    if source is None:
        blocks = Microphone(microphone, config.sample_rate, seconds)
    elif sources.is_recording(source):
        if pace != np.inf:
            check_range("pace", pace, "1", above=True)
        chosen = config.channel if channel is None else channel
        if isinstance(source, str | Path):
            reading.info(source)
        blocks = sources.blocks(source, config.sample_rate, chosen, seconds=seconds)
        blocks = _paced(blocks, pace * config.sample_rate)
    else:
        blocks = map(sources.mono, source)
    return LiveTranscription(recogniser, blocks, heads, longest)


def _paced(blocks: Iterable[NDArray[np.float32]], rate: float) -> Iterator[NDArray[np.float32]]:
    """Yield blocks of samples when they would have been heard, at so many samples a second."""
    start, samples = time.monotonic(), 0
    for x in blocks:
        samples += len(x)
        time.sleep(max(0.0, start + samples / rate - time.monotonic()))
        yield x
