"""A trained run, or the model that comes with the package, with its lexicon and language model.

Shapes: T samples, F frames, S steps, V classes.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym import files
from speechasym.annotations.textgrid import write_textgrid
from speechasym.audio import sources
from speechasym.audio.sources import Source
from speechasym.errors import AudioError, ConfigError
from speechasym.feature_extraction import extraction
from speechasym.language.lexicon import read_lexicon
from speechasym.recognition import alignment
from speechasym.recognition.alignment import Alignment, AlignmentHead
from speechasym.recognition.confidence import Confidence, read_confidence
from speechasym.recognition.decoder import BY_LEXICON, Decoder, open_decoder
from speechasym.recognition.ensemble import Runs, open_runs
from speechasym.recognition.installed import folder_of
from speechasym.recognition.pronounced_words import Pronounce, pronouncer
from speechasym.recognition.search import config_of
from speechasym.recognition.segments import LONGEST_S
from speechasym.recognition.trained_model import (
    LevelActivations,
    Posteriors,
)
from speechasym.recognition.transcription import Transcript, transcribe_blocks
from speechasym.training import environment

# Defaults of the search if phones were trained beside their rivals: they know by heart less of what
# follows what, so that more words stay possible. Chosen on held-out readers, see
# recipes/librispeech/RESULTS.md
MMI_SEARCH: dict[str, Any] = {"blank_penalty": -0.7, "lm_weight": 1.0, "beam": 600}
MMI_WORDS_WEIGHT = 0.15  # of a head that reads words, where there is one


class Recogniser:
    """Recognise phones, letters and words with a trained run or the pretrained model.

    A `source` is a file of any sample rate, length and number of channels, samples, or a recording
    in memory that knows its rate, such as a dict of `datasets` or a lhotse cut: see
    `speechasym.load`.

    Args:
        run: folder of a finished run, or what `open_run` returned; several in a list read together
            (see `ensemble.open_runs`); default: the pretrained model for English read aloud.
        size: name of an installed model instead, such as small (see `models`); tiny: the pretrained
            one.
        lexicon: file of pronunciations, to find words by them and `lm`, and to align; default: the
            one that the run was trained with, or else lexicon.txt in its folder, if any.
        lm: n-gram language model of words, ARPA (may be compressed) or binary; default: lm.npz or
            lm.arpa.gz in the run's folder, if any. The pretrained model has both.
        words_from: head that is searched for the words: phones, letters or both.
        spelling: guess the pronunciation of words that the lexicon lacks from their spelling; to
            align with the default lexicon, that is always done.
        device: cpu, cuda, or auto (CUDA if available).
        decoding: other fields of `DecodingConfig`: lm_weight, word_score, beam, ... A run trained
            with `mmi` has other defaults of some (`MMI_SEARCH`, `MMI_WORDS_WEIGHT`).

    Raises:
        CheckpointError: see `open_run` and `read_confidence`.
        ConfigError: a size that is not installed; runs that cannot read together; decoding options
            without a language model, or out of range.
        LexiconError, ArpaError, DecodingError: see `open_decoder`.

    Example:
        >>> transcript = speechasym.Recogniser().transcribe("speech.wav")
        >>> print(transcript.text)
        HE WAS NOT AN ILL DISPOSED YOUNG MAN
        >>> for word in transcript.words_by_lexicon[:2]:
        ...     print(f"{word.start:.2f} {word.end:.2f} {word.label} {word.confidence:.2f}")
        0.15 0.35 HE 0.9...
        0.35 0.54 WAS 0.9...
    """

    def __init__(
        self,
        run: Runs = None,
        *,
        size: str | None = None,
        lexicon: str | Path | None = None,
        lm: str | Path | None = None,
        words_from: str = "phones",
        spelling: bool = False,
        device: str = "cpu",
        **decoding: Any,
    ) -> None:
        if size is not None:
            if run is not None:
                raise ConfigError("size", "names a model, but a run is given too", "Give one")
            run = folder_of(size)
        self.trained = open_runs(run)
        self.lexicon, self.lm = lexicon or self.trained.lexicon, lm or self.trained.lm
        self.spelling, self._guesses = spelling, spelling or lexicon is None
        self.confidence: Confidence | None = read_confidence(self.trained)
        self.trained.model.to(environment.select_device(device))
        if self.lm is None and (spelling or decoding):
            name = "spelling" if spelling else next(iter(decoding))
            raise ConfigError(name, "needs a language model", "Give lm too")
        if self.lm is not None:
            usual = MMI_SEARCH if self.trained.follow else {}
            if self.trained.follow and "words" in self.trained.inventories:
                usual = {**usual, "words_weight": MMI_WORDS_WEIGHT}
            self.decoding = config_of(words_from, **usual | decoding)
        if lm is not None:
            _ = self.decoder  # find errors in files now; the run's own are read when needed
        elif lexicon is not None:
            read_lexicon(lexicon)

    @cached_property
    def decoder(self) -> Decoder | None:
        """The search for words by lexicon and language model; None without a language model."""
        if self.lm is None:
            return None
        return open_decoder(
            self.trained.written, self.lexicon, self.lm, self.decoding,
            merged=self.trained.merged, spelling=self.spelling,
        )  # fmt: skip

    @property
    def heads(self) -> list[str]:
        """The heads of the run, and `words by lexicon` if there is a language model."""
        return [*self.trained.inventories, *([] if self.lm is None else [BY_LEXICON])]

    def choose(self, heads: Sequence[str] | None) -> tuple[list[str], Decoder | None]:
        """Return the run's heads among `heads` (default: all), and the decoder if it is needed.

        Raises `ConfigError` for a head that the run does not have.
        """
        if not self.trained.inventories:
            problem = "has no heads: it was trained without labels, and finds units"
            raise ConfigError(self.trained.name, problem, "Use `speechasym units` with it")
        heads = self.heads if heads is None else list(heads)
        of_run = [head for head in heads if head != BY_LEXICON or self.lm is None]
        self.trained.check_heads(of_run, "heads")
        return of_run, self.decoder if BY_LEXICON in heads else None

    def transcribe(
        self,
        source: Source,
        sample_rate: int | None = None,
        *,
        heads: Sequence[str] | None = None,
        longest: float = LONGEST_S,
        channel: str | int | None = None,
    ) -> Transcript:
        """Recognise what is said in a recording of any length; see `transcribe_blocks`.

        Args:
            sample_rate: of samples that do not tell it, Hz; default: that of the model.
            heads: which of `heads` to read; default: all.
            longest: s that are read at once; longer recordings are cut where they are quietest.
            channel: "mean" or a number from 0; default: as in training.

        Raises:
            AudioError: a recording that cannot be read or used.
            ConfigError: samples that cannot be used, another rate than theirs, an unknown head.
        """
        chosen, decoder = self.choose(heads)
        blocks = self._blocks(source, sample_rate, channel)
        return transcribe_blocks(self.trained, blocks, chosen, longest, decoder, self.confidence)

    def posteriors(
        self, source: Source, sample_rate: int | None = None, head: str = "phones"
    ) -> Posteriors:
        """Return log-probabilities (S, V) of a head, the times (S, 2) of its steps, its symbols.

        The recording is read as a whole: seconds to minutes. Args and errors as `transcribe`.
        """
        self.trained.check_heads([head], "head")
        output = self.trained.output(self._features(source, sample_rate))
        return self.trained.posteriors(output, head)

    def activations(self, source: Source, sample_rate: int | None = None) -> list[LevelActivations]:
        """Return what each level computes for a recording read as a whole, lowest first.

        Args and errors as `transcribe`, and `ConfigError` for a run without levels.

        Example:
            >>> levels = Recogniser("out/mini/run").activations("speech.wav")
            >>> levels[0].units.shape, levels[0].times.shape  # (steps, units), (steps, 2)
        """
        return self.trained.activations(self._features(source, sample_rate))

    def align(
        self,
        source: Source,
        text: str,
        sample_rate: int | None = None,
        *,
        head: AlignmentHead | None = None,
    ) -> Alignment:
        """Find when the words of a text, their phones and letters are said; see `alignment.align`.

        Words get pronunciations from the lexicon, or without one are aligned by their letters.

        Args:
            source, sample_rate: see `transcribe`.
            head: the head that determines the times of words; default: phones if all
                pronunciations are known.
        """
        x = self.samples(source, sample_rate)
        name = sources.name_of(source)
        pronounce = self._pronounce
        return alignment.align(self.trained, x, text, pronounce=pronounce, head=head, name=name)

    @cached_property
    def _pronounce(self) -> Pronounce | None:
        if self.lexicon is None:
            return None
        return pronouncer(read_lexicon(self.lexicon), self._guesses)

    def samples(self, source: Source, sample_rate: int | None = None) -> NDArray[np.float32]:
        """Return a recording as a whole (T,) at the rate of the model. Errors as `transcribe`."""
        return np.concatenate(list(self._blocks(source, sample_rate)))

    def _blocks(
        self, source: Source, sample_rate: int | None, channel: str | int | None = None
    ) -> Iterator[NDArray[np.float32]]:
        """Blocks of samples (T,) at the rate of the model."""
        config = self.trained.feature_config
        chosen = config.channel if channel is None else channel
        if sample_rate is None and not sources.is_recording(source):
            sample_rate = config.sample_rate
        return sources.blocks(source, config.sample_rate, chosen, sample_rate)

    def _features(self, source: Source, sample_rate: int | None) -> NDArray[np.float32]:
        return self.trained.features(self.samples(source, sample_rate))


class FileTranscript(NamedTuple):
    """The transcript of one of several files."""

    path: Path
    transcript: Transcript | None  # None if it failed
    error: AudioError | None
    textgrid: Path | None  # where it was written
    json: Path | None = None  # the same


def recogniser_of(run: "Runs | Recogniser", **options: Any) -> Recogniser:
    """Return an open recogniser unchanged, or open one with these options."""
    if not isinstance(run, Recogniser):
        return Recogniser(run, **options)
    if options:
        name = next(iter(options))
        raise ConfigError(name, "the recogniser is open already", "Give it to Recogniser")
    return run


def transcribe(
    source: Source,
    run: Runs | Recogniser = None,
    sample_rate: int | None = None,
    *,
    heads: Sequence[str] | None = None,
    longest: float = LONGEST_S,
    channel: str | int | None = None,
    **options: Any,
) -> Transcript:
    """Recognise what is said in one recording, by default with the pretrained model.

    `run` and `options` are those of `Recogniser`, the others those of `Recogniser.transcribe`.

    Example:
        >>> print(speechasym.transcribe("speech.wav").text)
        HE WAS NOT AN ILL DISPOSED YOUNG MAN
    """
    recogniser = recogniser_of(run, **options)
    return recogniser.transcribe(source, sample_rate, heads=heads, longest=longest, channel=channel)


def transcribe_files(
    inputs: Sequence[str | Path],
    run: Runs | Recogniser = None,
    *,
    textgrids: str | Path | None = None,
    jsons: str | Path | None = None,
    overwrite: bool = False,
    heads: Sequence[str] | None = None,
    longest: float = LONGEST_S,
    channel: str | int | None = None,
    **options: Any,
) -> Iterator[FileTranscript]:
    """Transcribe files one after another, and write a TextGrid, or JSON, of each.

    Of several files, one that cannot be read is reported in its result, and the others continue.

    Args:
        inputs: files, folders or glob patterns.
        textgrids: folder for STEM.TextGrid; default: none are written.
        jsons: folder for STEM.json, see `Transcript.as_json`; default: none are written.
        overwrite: replace files that were not written here, or were changed since.
        run, options, heads, longest, channel: see `Recogniser` and `Recogniser.transcribe`.

    Raises:
        AudioError: nothing was found, or the only file cannot be read.
        OutputError: a file cannot be written, or must not be replaced; and the errors of
            `Recogniser`.

    Example:
        >>> for result in speechasym.transcribe_files(["talks"], textgrids="textgrids"):
        ...     print(result.path, result.textgrid)
        talks/one.flac textgrids/one.TextGrid
    """
    paths = extraction.find(inputs)
    targets = [
        (None if folder is None else Path(folder), ending)
        for folder, ending in ((textgrids, "TextGrid"), (jsons, "json"))
    ]
    for folder, ending in targets:
        if folder is not None and not overwrite:
            files.check_replaceable(folder / f"{stem}.{ending}" for stem in paths)
    recogniser = recogniser_of(run, **options)
    recogniser.choose(heads)
    for stem, path in paths.items():
        try:
            transcript = recogniser.transcribe(path, heads=heads, longest=longest, channel=channel)
        except AudioError as error:
            if len(paths) == 1:
                raise
            yield FileTranscript(path, None, error, None)
            continue
        grid, table = (f and f / f"{stem}.{ending}" for f, ending in targets)
        if grid is not None:
            write_textgrid(grid, transcript.tiers(), transcript.seconds)
            files.record_written(grid)
        if table is not None:
            files.write_json(table, {"file": str(path), **transcript.as_json()})
            files.record_written(table)
        yield FileTranscript(path, transcript, None, grid, table)


def activations(
    source: Source,
    run: Runs | Recogniser = None,
    sample_rate: int | None = None,
) -> list[LevelActivations]:
    """Return what each level computes for a recording; see `Recogniser.activations`.

    Example:
        >>> for level in speechasym.activations("speech.wav"):
        ...     print(level.units.shape)  # (steps, units)
        torch.Size([100, 64])
        torch.Size([100, 96])
        torch.Size([..., 128])
    """
    return recogniser_of(run).activations(source, sample_rate)
