"""Typed errors: each names the file or value, what is wrong with it, and the remedy."""

from typing import Any


class SpeechAsymError(Exception):
    """Base class of the errors that this package raises for bad input.

    Args:
        subject: the file, option or value at fault.
        problem: what is wrong, and what was expected.
        remedy: how to fix it.

    Example:
        >>> try:
        ...     speechasym.load("missing.wav")
        ... except speechasym.SpeechAsymError as error:
        ...     print(error)
        missing.wav: no such file. Check the path.
    """

    def __init__(self, subject: object, problem: str, remedy: str) -> None:
        super().__init__(str(subject), problem, remedy)  # the args make it picklable

    def __str__(self) -> str:
        subject, problem, remedy = self.args
        stop, end = ("" if text.endswith(("?", "...")) else "." for text in (problem, remedy))
        return f"{subject}: {problem}{stop} {remedy}{end}"


class AlignmentError(SpeechAsymError):
    """Words that cannot be aligned with a recording.

    Example:
        >>> speechasym.align(None, "speech.wav", "aligned", "young man " * 40)
        Traceback (most recent call last):
        speechasym.errors.AlignmentError: speech.wav: 240 symbols need 240 steps of ...
    """


class MissingWordError(AlignmentError):
    """A word to align that has no pronunciation.

    Example:
        >>> speechasym.align(None, "speech.wav", "aligned", "he was xqzt", spelling=False)
        Traceback (most recent call last):
        speechasym.errors.MissingWordError: speech.wav: 'XQZT' is not in the lexicon. ...
    """


class AnnotationError(SpeechAsymError):
    """A TextGrid, CTM, .PHN or .WRD file that cannot be read, or has impossible times.

    Example:
        >>> speechasym.plot("speech.wav", tiers="broken.TextGrid")
        Traceback (most recent call last):
        speechasym.errors.AnnotationError: broken.TextGrid:1: not a TextGrid; ...
    """


class ArpaError(SpeechAsymError):
    """A language model that cannot be read, or that is not an ARPA file.

    Example:
        >>> speechasym.Recogniser(lm="broken.arpa")
        Traceback (most recent call last):
        speechasym.errors.ArpaError: broken.arpa: has no line ... Give an ARPA file.
    """


class AudioError(SpeechAsymError):
    """A recording that cannot be read, or whose samples cannot be used.

    Example:
        >>> speechasym.load("missing.wav")
        Traceback (most recent call last):
        speechasym.errors.AudioError: missing.wav: no such file. Check the path.
    """


class CheckpointError(SpeechAsymError):
    """A checkpoint or model that is missing, incomplete or of another kind.

    Example:
        >>> speechasym.Recogniser("features")
        Traceback (most recent call last):
        speechasym.errors.CheckpointError: features: holds no model.safetensors. ...
    """


class ConfigError(SpeechAsymError, ValueError):
    """An option outside its range, or options that contradict each other.

    Example:
        >>> speechasym.Gammatone(16000, channels=0)
        Traceback (most recent call last):
        speechasym.errors.ConfigError: channels: must be an integer >= 1, got 0. Use 1 or more.
    """


class CorpusError(SpeechAsymError):
    """A corpus that cannot be prepared; with `strict`, any corpus with errors (see `report`).

    Example:
        >>> speechasym.prepare("timit", "recordings", "out")
        Traceback (most recent call last):
        speechasym.errors.CorpusError: ...: recordings such as ... not found below it. ...
    """

    report: Any = None  # speechasym.corpora.report.PreparationReport


class DecodingError(SpeechAsymError):
    """A lexicon and a language model that do not fit each other, or do not fit the run.

    Example:
        >>> speechasym.Recogniser("run", lexicon="cmudict.txt", lm="lm.arpa")
        Traceback (most recent call last):
        speechasym.errors.DecodingError: lexicon: the run's phones head does not write ...
    """


class ItemError(SpeechAsymError):
    """An ABX item list that cannot be read, or does not fit the features.

    Example:
        >>> speechasym.abx("broken.item", "features")
        Traceback (most recent call last):
        speechasym.errors.ItemError: broken.item: the first line must be the header ...
    """


class LabelError(SpeechAsymError):
    """A cut whose labels cannot be read, or that has labels unknown to the training cuts.

    Example:
        >>> speechasym.evaluate("run", "prepared/train_cuts.jsonl.gz")
        Traceback (most recent call last):
        speechasym.errors.LabelError: ...: it has no phones, ...
    """


class LexiconError(SpeechAsymError):
    """A lexicon that cannot be read, or that has a malformed pronunciation.

    Example:
        >>> speechasym.make_lexicon("broken.txt", "books.txt", "lexicon.txt")
        Traceback (most recent call last):
        speechasym.errors.LexiconError: broken.txt:1: 'HELLO' has no phones, ...
    """


class OutputError(SpeechAsymError):
    """A result that cannot be written, or that would overwrite another file.

    Example:
        >>> speechasym.make_lexicon("cmudict.txt", "books.txt", "features")
        Traceback (most recent call last):
        speechasym.errors.OutputError: features: cannot be written (Is a directory). ...
    """


class ScoringError(SpeechAsymError):
    """Transcripts that cannot be read or scored, or that do not belong together.

    Example:
        >>> speechasym.score({"anna": ["one"]}, {}, "wer", strict=True)
        Traceback (most recent call last):
        speechasym.errors.ScoringError: ...
    """


class SynthesisError(SpeechAsymError):
    """Speech that cannot be synthesised: no library, no such voice, or an unmapped phone.

    Example:
        >>> speechasym.prepare("mini", "corpora/mini", "corpora/mini")
        Traceback (most recent call last):
        speechasym.errors.SynthesisError: espeak-ng: cannot be loaded (...). pip install ...
    """


class TextError(SpeechAsymError):
    """A text that cannot be read, or that contains no words.

    Example:
        >>> speechasym.estimate_lm("missing.txt", "lm.arpa")
        Traceback (most recent call last):
        speechasym.errors.TextError: missing.txt: cannot be read (No such file or directory). ...
    """


class TrainingError(SpeechAsymError):
    """Training that cannot continue.

    Example:
        >>> speechasym.train("run.yaml", "wild", overrides=["learning_rate=1e30"])
        Traceback (most recent call last):
        speechasym.errors.TrainingError: step 3: loss nan, gradient norm nan: ...
    """
