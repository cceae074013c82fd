"""Typed errors: each names the file or value, what is wrong with it, and the remedy."""


class SpeechAsymError(Exception):
    """Root of every error this package raises for bad input.

    Args:
        subject: the file, option or value at fault.
        problem: what was found and what was expected.
        remedy: what the reader can do about it.
    """

    def __init__(self, subject: object, problem: str, remedy: str) -> None:
        super().__init__(str(subject), problem, remedy)  # the args make it picklable

    def __str__(self) -> str:
        subject, problem, remedy = self.args
        stop = "" if problem.endswith("?") else "."
        return f"{subject}: {problem}{stop} {remedy}."


class AudioError(SpeechAsymError):
    """A recording that cannot be read, or whose samples cannot be used."""


class ConfigError(SpeechAsymError, ValueError):
    """An option outside its range, or options that contradict each other."""


class OutputError(SpeechAsymError):
    """A result that cannot be written, or that would overwrite something else."""
