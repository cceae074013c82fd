"""Fill in the figures of the texts that come from tables, or check them.

    python scripts/fill_figures.py [--check]

In a markdown page a figure that a table holds is followed by a comment that says where it is from:

    1.3<!-- docs/benchmarks.md; speechasym cpu, 1 thread; ratio to mel --> times as long

that is file; first cell of the row; column. The first table of the file that has both counts. The
figure keeps its number of decimals.
"""

import argparse
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FIGURE = re.compile(r"(-?\d[\d,]*(?:\.(\d+))?)<!-- ([^;>]+\.md); ([^;>]+); ([^;>]+) -->")
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


def tables(text: str) -> Iterator[list[list[str]]]:
    """Yield each table of a page as rows of cells, the names of its columns first."""
    rows: list[list[str]] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            rows.append([cell.strip().replace("`", "") for cell in line.strip("|").split("|")])
        elif rows:
            yield rows
            rows = []


def lookup(page: str, row: str, column: str) -> float:
    """Return the first number of a cell, from the first table that has both row and column.

    Raises `ValueError` if there is no such cell, or no number in it.
    """
    cells = [
        line[table[0].index(column)]
        for table in tables(page)
        if column in table[0]
        for line in table[1:]
        if line[0] == row
    ]
    if not cells:
        raise ValueError(f"no table has row {row!r} and column {column!r}")
    number = NUMBER.match(cells[0].lstrip("+*"))
    if not number:
        raise ValueError(f"row {row!r}, column {column!r} has {cells[0]!r}, expected a number")
    return float(number[0].replace(",", ""))


def filled(text: str, root: Path = ROOT) -> str:
    """Return a page with all its figures as the tables have them. Raises `ValueError`."""

    def figure(match: re.Match[str]) -> str:
        old, decimals, file, row, column = match.groups()
        value = lookup((root / file).read_text("utf-8"), row, column)
        new = f"{value:,.{len(decimals or '')}f}"
        return match[0].replace(old, new, 1)

    return FIGURE.sub(figure, text)


def pages(root: Path = ROOT) -> list[Path]:
    """Return the pages that may have figures."""
    return sorted([*root.glob("*.md"), *root.glob("docs/*.md"), *root.glob("recipes/**/*.md")])


def main(arguments: Sequence[str] | None = None) -> int:
    """Fill in or check all pages; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing; status 1 if needed")
    options = parser.parse_args(arguments)
    status = 0
    for page in pages():
        old = page.read_text("utf-8")
        try:
            new = filled(old)
        except ValueError as error:
            parser.exit(2, f"fill_figures: {page.relative_to(ROOT)}: {error}\n")
        for before, after in zip(old.splitlines(), new.splitlines(), strict=True):
            if before != after:
                status = int(options.check)
                print(f"{page.relative_to(ROOT)}:\n- {before}\n+ {after}")
        if new != old and not options.check:
            page.write_text(new, "utf-8")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
