"""RTTM files, which speaker diarisation uses: a line for each stretch of speech."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from speechasym import files
from speechasym.annotations.intervals import Interval
from speechasym.errors import AnnotationError


def check_names(path: str | Path, recordings: Iterable[str]) -> None:
    """Raise `AnnotationError` for a recording whose name an RTTM file cannot hold."""
    for recording in recordings:
        if len(recording.split()) != 1:
            fault = "contains spaces, which separate columns in RTTM" if recording else "is empty"
            problem, remedy = (
                f"the name {recording!r} {fault}",
                "Rename it, or choose another format",
            )
            raise AnnotationError(path, problem, remedy)


def write_rttm(path: str | Path, recording: str, intervals: Sequence[Interval]) -> None:
    """Write intervals as SPEAKER lines of one recording, with the label as the speaker's name.

    Times are in s, with three decimals.

    Raises:
        AnnotationError: the recording's name or a label contains spaces or is empty.
        OutputError: the file cannot be written.
    """
    check_names(path, [recording, *(interval.label for interval in intervals)])
    lines = [
        f"SPEAKER {recording} 1 {start:.3f} {end - start:.3f} <NA> <NA> {label} <NA> <NA>\n"
        for start, end, label in intervals
    ]
    with files.atomic(Path(path)) as file:
        file.write("".join(lines).encode())
