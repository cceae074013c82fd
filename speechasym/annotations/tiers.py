"""Tiers of a recording, whichever of the formats with tiers they are in."""

from pathlib import Path

from speechasym.annotations import timit
from speechasym.annotations.intervals import Interval
from speechasym.annotations.textgrid import read_textgrid
from speechasym.errors import AnnotationError

SUFFIXES = (".textgrid", *timit.TIERS)


def read_tiers(path: str | Path) -> dict[str, list[Interval]]:
    """Read an annotation file: {tier: its intervals}, in the file's order.

    A .PHN gives the tier "phones", a .WRD the tier "words".

    Args:
        path: a .TextGrid, .PHN or .WRD, in any letter case.

    Raises:
        AnnotationError: another kind of file, or one that cannot be read.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        problem = "not a known annotation format"
        raise AnnotationError(path, problem, "Give a .TextGrid, .PHN or .WRD file")
    if suffix == ".textgrid":
        return read_textgrid(path)
    return {timit.TIERS[suffix]: timit.read_timit(path)}


def tiers_beside(recording: str | Path) -> dict[str, list[Interval]]:
    """Read NAME.TextGrid beside a recording, else NAME.WRD and NAME.PHN; {} if there are none.

    The suffixes may have any letter case. Errors as `read_tiers`.
    """
    recording = Path(recording)
    paths = {
        path.suffix.lower(): path
        for path in sorted(recording.parent.glob("*"))
        if path.stem == recording.stem and path.is_file()
    }
    if ".textgrid" in paths:
        return read_tiers(paths[".textgrid"])
    tiers: dict[str, list[Interval]] = {}
    for suffix in timit.TIERS:
        if suffix in paths:
            tiers |= read_tiers(paths[suffix])
    return tiers
