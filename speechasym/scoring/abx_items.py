"""Items of an ABX task: tokens of phones, from a ZeroSpeech .item file or a TIMIT folder."""

import math
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from speechasym import files
from speechasym.annotations import timit
from speechasym.errors import ItemError
from speechasym.language import phones

HEADER = "#file onset offset #phone prev-phone next-phone speaker"


class Item(NamedTuple):
    """One token of a phone."""

    file: str  # path of its recording and features below their folders, without suffix; or the
    # end of this path, such as the name alone, where only one recording has it
    onset: str  # s, as written: a decimal or a fraction, so that rounding cannot move a frame
    offset: str  # s
    phone: str
    before: str  # the previous phone
    after: str  # the next phone
    speaker: str


def read_items(path: str | Path) -> list[Item]:
    """Read a ZeroSpeech .item file: a header, then one token a line, times in s.

    Raises:
        ItemError: the file cannot be read, a line does not have seven columns, or its times are
            not increasing.
    """
    lines = files.read_text(path, ItemError).split("\n")
    rows = [(number, line.split()) for number, line in enumerate(lines, 1) if line.strip()]
    if rows[0][1] != HEADER.split():
        raise ItemError(path, f"the first line must be the header {HEADER!r}", "Check the file")
    items = []
    for number, row in rows[1:]:
        if len(row) != 7:
            problem = f"expected 7 columns, got {len(row)}"
            raise ItemError(f"{path}:{number}", problem, f"They are: {HEADER}")
        items.append(_checked(f"{path}:{number}", Item(*row)))
    if not items:
        raise ItemError(path, "no items below the header", "Check the file")
    return items


def _checked(place: str, item: Item) -> Item:
    try:
        valid = 0 <= Fraction(item.onset) < Fraction(item.offset)
    except (ValueError, ZeroDivisionError):
        valid = False
    if not valid:
        problem = f"onset {item.onset} and offset {item.offset} are not increasing times in s"
        raise ItemError(place, problem, "Fix them; both count from the recording's start")
    return item


def timit_items(root: str | Path) -> list[Item]:
    """List the tokens of the 39 folded phones, without silences, in the .PHN files below a folder.

    SA sentences, which all speakers share, are left out. Files are named by their path below
    `root` without suffix, speakers by their folder. The first and the last phone of a file, which
    lack a neighbour, are silences in TIMIT anyway.

    Raises:
        ItemError: there are none, or a symbol is not one of TIMIT's 61.
        AnnotationError: a .PHN file that cannot be read.
    """
    root = Path(root)
    items = []
    paths = sorted(p for p in root.rglob("*") if p.suffix.lower() == ".phn")
    if not paths:
        raise ItemError(root, "no .PHN files below this folder", "Give the folder with TRAIN, TEST")
    for path in paths:
        if path.stem.upper() in ("SA1", "SA2"):
            continue
        rows = timit.read_samples(path)
        if unknown := [row.label for row in rows if row.label not in phones.TIMIT_61]:
            problem = f"{unknown[0]!r} is not one of TIMIT's 61 symbols"
            raise ItemError(path, problem, "Fix the file")
        rows = [
            r._replace(label=phones.FOLD_39[r.label]) for r in rows if r.label in phones.FOLD_39
        ]
        stem = path.relative_to(root).with_suffix("").as_posix()
        for before, row, after in zip(rows, rows[1:], rows[2:], strict=False):
            if row.label != phones.SILENCE:
                onset, offset = (
                    str(Fraction(samples, timit.SAMPLE_RATE)) for samples in (row.start, row.end)
                )
                symbols = row.label, before.label, after.label
                item = Item(stem, onset, offset, *symbols, path.parent.name)
                items.append(_checked(str(path), item))
    return items


def frames_of(item: Item, rate: float) -> tuple[int, int]:
    """Return the first frame of an item and the one after its last.

    Its frames are those whose centres lie between onset and offset.
    """
    exact = Fraction(rate).limit_denominator(1000)
    half = Fraction(1, 2)
    first = math.ceil(Fraction(item.onset) * exact - half)
    return first, math.floor(Fraction(item.offset) * exact - half) + 1
