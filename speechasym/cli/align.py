"""`speechasym align`: cuts and their words -> times of words, phones and letters."""

import sys
from argparse import Namespace
from typing import Any

import speechasym
from speechasym.cli.options import optional, print_table, warn

SHOWN = 5  # failed cuts, and lowest scores


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "align",
        help="cuts and their words -> times",
        description="Find the times of the known words and phones of cuts. Writes a TextGrid for"
        " each cut, phones.ctm, words.ctm and report.json. An interrupted call resumes when it is"
        " called again.",
        epilog="Example:  speechasym align runs/mini mini/test_cuts.jsonl.gz --out aligned",
    )
    add = parser.add_argument
    add("run", metavar="RUN", help="folder of a finished run")
    add("cuts", metavar="CUTS", help="manifest written by prepare")
    add("--out", required=True, metavar="DIR", help="output folder")
    text = "pronunciations, for cuts without phones (default: the lexicon of the run, if any)"
    add("--lexicon", metavar="FILE", help=text)
    add(
        "--head", type=optional(str), metavar="HEAD",
        help="head that determines the times of words: phones or letters (default: phones where"
        " they are known)",
    )  # fmt: skip
    add(
        "--spelling", action="store_true",
        help="pronounce words that the lexicon lacks by their spelling; where that is impossible,"
        " align the cut by its letters",
    )  # fmt: skip


def run(options: Namespace) -> int:
    """Align, and print a table. Exit code 1 where cuts failed."""
    result = speechasym.align(
        options.run, options.cuts, options.out, lexicon=options.lexicon, head=options.head,
        spelling=options.spelling,
    )  # fmt: skip
    scores, failed = result.scores, list(result.failed.values())
    rows: list[Any] = [(tier, f"{number:,}") for tier, number in result.symbols.items()]
    if result.kept:
        rows.append(("kept from before", f"{result.kept:,}"))
    if letters := sum(by == "letters" for by in result.heads.values()):
        rows.append(("cuts by letters", f"{letters:,}"))
    if (mean := result.mean_score) is not None:
        rows.append(("mean log posterior", f"{mean:.2f}"))
        low = sorted(scores, key=lambda name: scores[name])[:SHOWN]
        rows.append(("lowest", ", ".join(f"{name} {scores[name]:.2f}" for name in low)))
    print_table(f"{len(scores)} of {len(scores) + len(failed)} cuts aligned", rows)
    if tiers := result.within():
        keys = [key for key in next(iter(tiers.values())) if key.startswith("within_")]
        limits = [f"within {1000 * float(key.split('_')[1]):g} ms" for key in keys]
        rows = [
            (tier, f"{int(row['boundaries']):,}", *(f"{row[key]:.1%}" for key in keys),
             f"{1000 * row['median_s']:.1f} ms")
            for tier, row in tiers.items()
        ]  # fmt: skip
        columns = ("tier", "boundaries", *limits, "median")
        print_table("Against the times in the cuts", rows, columns)
    for reason in failed[:SHOWN]:
        warn(reason)
    if len(failed) > SHOWN:
        print(f"... and {len(failed) - SHOWN} more, in report.json", file=sys.stderr)
    print(result.folder)
    return 1 if failed else 0
