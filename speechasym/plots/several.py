"""`plot_files`: a picture of each of several recordings."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from speechasym import files
from speechasym.errors import AudioError, ConfigError, OutputError
from speechasym.feature_extraction import extraction
from speechasym.plots.axes import FORMATS
from speechasym.plots.recordings import plot


class FilePicture(NamedTuple):
    """The picture of one of several files."""

    path: Path
    picture: Path | None  # None if it failed
    error: AudioError | None


def plot_files(
    inputs: Sequence[str | Path],
    out: str | Path,
    what: str | Sequence[str] | None = None,
    *,
    picture_format: str = "png",
    overwrite: bool = False,
    **options: Any,
) -> Iterator[FilePicture]:
    """Draw several recordings, one picture each, into a folder: STEM.png.

    One that cannot be read is reported in its result, and the others continue.

    Args:
        inputs: files, folders or glob patterns.
        out: the folder.
        what, options: see `plot`.
        picture_format: png, pdf or svg.
        overwrite: replace pictures that were not written here, or were changed since.

    Raises:
        AudioError: nothing was found.
        AnnotationError, ConfigError: bad options.
        OutputError: a picture cannot be written, or must not be replaced.
    """
    if f".{picture_format.lower()}" not in FORMATS:
        problem = f"must be png, pdf or svg, got {picture_format!r}"
        raise ConfigError("format", problem, "Use png")
    paths, folder = extraction.find(inputs), Path(out)
    if folder.is_file() or folder.suffix.lower() in FORMATS:
        problem = "is the name of a file, and several pictures need a folder"
        raise OutputError(folder, problem, "Give another name")
    pictures = {stem: folder / f"{stem}.{picture_format.lower()}" for stem in paths}
    if not overwrite:
        files.check_replaceable(pictures.values())
    for stem, path in paths.items():
        try:
            plot(path, pictures[stem], what, **options)
        except AudioError as error:
            yield FilePicture(path, None, error)
            continue
        files.record_written(pictures[stem])
        yield FilePicture(path, pictures[stem], None)
