"""`speechasym segments`: recordings -> where there is speech, noise and silence."""

from argparse import Namespace
from typing import Any

import speechasym
from speechasym.cli.options import add_overwrite, optional, print_table, warn
from speechasym.config import plural
from speechasym.errors import ConfigError

NAME = 36  # characters of a recording's name in the table


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "segments",
        help="recordings -> speech, noise, silence",
        description="Find speech, noise and silence in recordings of any sample rate and length, in"
        " any language. Prints the seconds of each; with --out, writes a file of segments for each"
        " recording. docs/segments.md says how often it errs.",
        epilog="Examples:\n"
        "  speechasym segments talk.flac\n"
        "  speechasym segments talks/ --out segments\n"
        "  speechasym segments talks/ --out segments --format csv --threshold 0.9",
    )
    add = parser.add_argument
    add("inputs", nargs="+", metavar="FILE", help="recordings, folders or globs")
    text = "folder for STEM.TextGrid, or another format (default: none are written)"
    add("--out", type=optional(str), metavar="DIR", help=text)
    text = "textgrid, csv, rttm (speech alone) or json (default: textgrid)"
    add("--format", type=optional(str), metavar="FORMAT", help=text)
    add_overwrite(add)
    add("--channel", default="mean", help="mean, or a number from 0")
    text = "probability at which speech begins: higher for less speech"
    add("--threshold", type=float, default=0.75, metavar="P", help=text)
    text = "shorter sounds are not speech, in s"
    add("--shortest-speech", type=float, default=0.2, metavar="S", help=text)
    text = "shorter gaps in speech do not count, in s"
    add("--shortest-gap", type=float, default=0.2, metavar="S", help=text)
    text = "level in dB re full scale below which there is silence"
    add("--silence-db", type=float, default=-60.0, metavar="DB", help=text)


def _short(name: str) -> str:
    """Return the end of a long name, so that the numbers beside it fit into the terminal."""
    return name if len(name) <= NAME else "..." + name[3 - NAME :]


def run(options: Namespace) -> int:
    """Find segments, and print a table. Exit code 1 if some of several recordings failed."""
    if options.format is not None and options.out is None:
        raise ConfigError("--format", "has no effect without --out", "Give --out too")
    failed, rows, totals, written = 0, [], [0.0] * 4, 0
    for result in speechasym.segment_files(
        options.inputs, options.out, format=options.format or "textgrid",
        channel=options.channel, overwrite=options.overwrite, threshold=options.threshold,
        shortest_speech=options.shortest_speech, shortest_gap=options.shortest_gap,
        silence_db=options.silence_db,
    ):  # fmt: skip
        if result.activity is None:
            failed += 1
            warn(result.error)
            continue
        found = result.activity
        seconds = [found.seconds, *(found.total(k) for k in ("speech", "noise", "silence"))]
        totals = [a + b for a, b in zip(totals, seconds, strict=True)]
        rows.append([_short(str(result.path)), *(f"{s:.2f}" for s in seconds)])
        written += result.written is not None
    if len(rows) > 1:
        rows.append(["all", *(f"{s:.2f}" for s in totals)])
    if rows:
        print_table("Seconds", rows, ("recording", "length", "speech", "noise", "silence"))
    if written:
        print(f"{plural(written, 'file')} in {options.out}")
    return 1 if failed else 0
