"""Typed errors: each names the file or value, what is wrong with it, and the remedy."""

from typing import Any


class SpeechAsymError(Exception):
    """Base class of the errors that this package raises for bad input.

    Args:
        subject: the file, option or value at fault.
        problem: what is wrong, and what was expected.
        remedy: how to fix it.
    """

    def __init__(self, subject: object, problem: str, remedy: str) -> None:
        super().__init__(str(subject), problem, remedy)  # the args make it picklable

    def __str__(self) -> str:
        subject, problem, remedy = self.args
        stop, end = ("" if text.endswith(("?", "...")) else "." for text in (problem, remedy))
        return f"{subject}: {problem}{stop} {remedy}{end}"


class AlignmentError(SpeechAsymError):
    """Words that cannot be aligned with a recording."""


class MissingWordError(AlignmentError):
    """A word to align that has no pronunciation."""


class AnnotationError(SpeechAsymError):
    """A TextGrid, CTM, .PHN or .WRD file that cannot be read, or has impossible times."""


class ArpaError(SpeechAsymError):
    """A language model that cannot be read, or that is not an ARPA file."""


class AudioError(SpeechAsymError):
    """A recording that cannot be read, or whose samples cannot be used."""


class CheckpointError(SpeechAsymError):
    """A checkpoint or model that is missing, incomplete or of another kind."""


class ConfigError(SpeechAsymError, ValueError):
    """An option outside its range, or options that contradict each other."""


class CorpusError(SpeechAsymError):
    """A corpus that cannot be prepared; with `strict`, any corpus with errors (see `report`)."""

    report: Any = None  # speechasym.corpora.report.PreparationReport


class DecodingError(SpeechAsymError):
    """A lexicon and a language model that do not fit each other, or do not fit the run."""


class ItemError(SpeechAsymError):
    """An ABX item list that cannot be read, or does not fit the features."""


class LabelError(SpeechAsymError):
    """A cut whose labels cannot be read, or that has labels unknown to the training cuts."""


class LexiconError(SpeechAsymError):
    """A lexicon that cannot be read, or that has a malformed pronunciation."""


class OutputError(SpeechAsymError):
    """A result that cannot be written, or that would overwrite another file."""


class ScoringError(SpeechAsymError):
    """Transcripts that cannot be read or scored, or that do not belong together."""


class SynthesisError(SpeechAsymError):
    """Speech that cannot be synthesised: no library, no such voice, or an unmapped phone."""


class TextError(SpeechAsymError):
    """A text that cannot be read, or that contains no words."""


class TrainingError(SpeechAsymError):
    """Training that cannot continue."""
