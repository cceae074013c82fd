"""Speech activity of many recordings, one file of segments each."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from speechasym import files
from speechasym.annotations.rttm import check_names, write_rttm
from speechasym.annotations.textgrid import write_textgrid
from speechasym.errors import AudioError, ConfigError
from speechasym.feature_extraction import extraction
from speechasym.recognition.activity import LABELS, Activity, ActivityConfig, activity

SegmentFormat = Literal["textgrid", "csv", "rttm", "json"]
ENDINGS = {"textgrid": "TextGrid", "csv": "csv", "rttm": "rttm", "json": "json"}
TIER = "activity"


class SegmentedFile(NamedTuple):
    """The segments of one of several files."""

    path: Path
    activity: Activity | None  # None if it failed
    error: AudioError | None
    written: Path | None


def segment_files(
    inputs: Sequence[str | Path], out: str | Path | None = None, *,
    format: SegmentFormat = "textgrid", channel: str | int = "mean", overwrite: bool = False,
    **options: float,
) -> Iterator[SegmentedFile]:  # fmt: skip
    """Find speech, noise and silence in files one after another, and write a file of each.

    Of several files, one that cannot be read is reported in its result, and the others continue.

    Args:
        inputs: files, folders or glob patterns.
        out: folder for STEM.TextGrid, STEM.csv, STEM.rttm or STEM.json; default: none are written.
        format: textgrid, csv, rttm or json; an RTTM file holds the speech alone.
        channel: "mean" or a number from 0.
        overwrite: replace files that were not written here, or were changed since.
        options: fields of `ActivityConfig`, see `segments`.

    Raises:
        AudioError: the only file cannot be read.
        ConfigError: no recordings, an unknown format, or an option out of range.
        AnnotationError: a name with spaces, for RTTM.
        OutputError: a file cannot be written, or must not be replaced.

    Example:
        >>> for result in speechasym.segment_files(["talks"], "segments", format="csv"):
        ...     print(result.path, result.written)
        talks/one.flac segments/one.csv
    """
    config = ActivityConfig(**options)
    if format not in ENDINGS:
        problem = f"must be one of {', '.join(ENDINGS)}, got {format!r}"
        raise ConfigError("format", problem, "Use textgrid")
    paths = extraction.find(inputs)
    folder, ending = None if out is None else Path(out), ENDINGS[format]
    if folder is not None and format == "rttm":
        check_names(folder, (Path(stem).name for stem in paths))
    if folder is not None and not overwrite:
        files.check_replaceable(folder / f"{stem}.{ending}" for stem in paths)
    for stem, path in paths.items():
        try:
            found = activity(path, channel=channel, config=config)
        except AudioError as error:
            if len(paths) == 1:
                raise
            yield SegmentedFile(path, None, error, None)
            continue
        target = None if folder is None else folder / f"{stem}.{ending}"
        if target is not None:
            write_segments(target, found, format, path)
            files.record_written(target)
        yield SegmentedFile(path, found, None, target)


def write_segments(path: Path, found: Activity, format: SegmentFormat, recording: Path) -> None:
    """Write the segments of a recording in a format."""
    if format == "textgrid":
        write_textgrid(path, {TIER: found.intervals}, found.seconds)
    elif format == "rttm":
        speech = [interval for interval in found.intervals if interval.label == "speech"]
        write_rttm(path, recording.stem, speech)
    elif format == "json":
        totals = {f"{label}_s": round(found.total(label), 3) for label in LABELS}
        content = {"file": str(recording), "seconds": found.seconds, **totals}
        files.write_json(path, content | {"segments": rows(found)})
    else:
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["file", *rows(found)[0]])
        table.writerows([str(recording), *row.values()] for row in rows(found))
        with files.atomic(path) as file:
            file.write(text.getvalue().encode("utf-8", "backslashreplace"))


def rows(found: Activity) -> list[dict[str, float | str]]:
    """Return start and end in s, label, probability of speech, and level in dB of each segment."""
    return [
        {
            "start": round(i.start, 4), "end": round(i.end, 4), "label": i.label,
            "speech": round(found.probability(i), 4), "level_db": round(found.level(i), 1),
        }
        for i in found.intervals
    ]  # fmt: skip
