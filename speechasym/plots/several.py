"""`plot_files`: a picture of each of several recordings."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from speechasym import files
from speechasym.errors import AnnotationError, ConfigError, OutputError, SpeechAsymError
from speechasym.feature_extraction import extraction
from speechasym.plots.axes import FORMATS
from speechasym.plots.recordings import plot


class FilePicture(NamedTuple):
    """The picture of one of several files."""

    path: Path
    picture: Path | None  # None if it failed
    error: SpeechAsymError | None


def plot_files(
    inputs: Sequence[str | Path],
    out: str | Path,
    what: str | Sequence[str] | None = None,
    *,
    picture_format: str = "png",
    overwrite: bool = False,
    **options: Any,
) -> Iterator[FilePicture]:
    """Draw several recordings or feature files, one picture each, into a folder: STEM.png.

    One that cannot be read, or whose annotation cannot, is reported in its result, and the others
    continue.

    Args:
        inputs: files, folders or glob patterns.
        out: the folder.
        what, options: see `plot`.
        picture_format: png, pdf or svg.
        overwrite: replace pictures that were not written here, or were changed since.

    Raises:
        AnnotationError, ConfigError: bad options, or nothing was found.
        OutputError: a picture cannot be written, or must not be replaced.

    Example:
        >>> for result in speechasym.plot_files(["interviews"], "pictures", "spectrogram"):
        ...     print(result.path, result.picture)
        interviews/a.wav pictures/a.png
        interviews/b.wav pictures/b.png
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
        except OutputError:
            raise
        except SpeechAsymError as error:
            if _of_option(error, path, options):
                raise
            yield FilePicture(path, None, error)
            continue
        files.record_written(pictures[stem])
        yield FilePicture(path, pictures[stem], None)


def _of_option(error: SpeechAsymError, path: Path, options: dict[str, Any]) -> bool:
    """Whether an error is about an option, and so about every file."""
    if isinstance(error, AnnotationError):
        return options.get("tiers") is not None
    return isinstance(error, ConfigError) and str(path) not in str(error)
