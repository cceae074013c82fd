"""`speechasym units`: recordings -> the units that a run has found in speech, without labels."""

from argparse import Namespace
from typing import Any

import speechasym
from speechasym.cli.options import add_overwrite, numbers, print_table, warn
from speechasym.errors import ConfigError


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "units",
        help="recordings -> discovered units",
        description="Find the units of a run's levels in recordings: which one is heard when. Runs"
        " trained without labels have units of their own (docs/units.md). Writes a TextGrid with a"
        " tier for each level and an .npz for each recording, and units.jsonl, from which language"
        " models of units may be trained.",
        epilog="Examples:\n"
        "  speechasym units speech.wav --run runs/units --out units\n"
        "  speechasym units dev_cuts.jsonl.gz --run runs/units --out units --levels 0",
    )
    add = parser.add_argument
    text = "recordings, folders, globs or manifests of cuts"
    add("inputs", nargs="+", metavar="FILE|CUTS", help=text)
    add("--run", metavar="RUN", required=True, help="folder of a finished run (required)")
    add("--out", metavar="DIR", required=True, help="folder for the results (required)")
    text = "levels from 0, the lowest, comma-separated (default: all with units)"
    add("--levels", type=numbers, metavar="N", help=text)
    add_overwrite(add)


def run(options: Namespace) -> int:
    """Find units, and print a table. Exit code 1 if some of several recordings failed."""
    levels = options.levels
    if levels is not None and any(level % 1 for level in levels):
        raise ConfigError("--levels", f"must be whole numbers, got {levels}", "Use 0 or 0,1")
    failed, seconds = 0, 0.0
    rows: dict[int, tuple[int, set[int], int]] = {}
    for result in speechasym.discover_files(
        options.inputs, options.run, options.out, overwrite=options.overwrite,
        levels=None if levels is None else [int(level) for level in levels],
    ):  # fmt: skip
        if result.error is not None:
            failed += 1
            warn(result.error)
            continue
        seconds += result.seconds
        for level in result.levels:
            count, used, _ = rows.get(level.level, (0, set(), 0))
            used = used | set(level.units.tolist())
            rows[level.level] = (count + len(level.units), used, level.size)
    table = [
        [str(level), f"{count:,}", f"{count / max(seconds, 1e-9):.1f}", f"{len(used)} of {size}"]
        for level, (count, used, size) in sorted(rows.items())
    ]
    if table:
        print_table(
            f"{seconds:.1f} s in {options.out}", table,
            ("level", "segments", "a second", "units in use"),
        )  # fmt: skip
    return 1 if failed else 0
