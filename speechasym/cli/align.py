"""`speechasym align`: cuts and their words -> times of words, phones and letters."""

import sys
from argparse import Namespace
from typing import Any

from speechasym.cli.options import optional, print_rich, warn

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
    parser.set_defaults(execute=run)
    add = parser.add_argument
    add("run", metavar="RUN", help="folder of a finished run")
    add("cuts", metavar="CUTS", help="manifest written by prepare")
    add("--out", required=True, metavar="DIR", help="output folder")
    add(
        "--lexicon", default=None, metavar="FILE",
        help="pronunciations, for cuts without phones (default: the lexicon of the run, if any)",
    )  # fmt: skip
    add(
        "--head", type=optional(str), default=None, metavar="HEAD",
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
    from rich.table import Table

    import speechasym

    result = speechasym.align(
        options.run, options.cuts, options.out, lexicon=options.lexicon, head=options.head,
        spelling=options.spelling,
    )  # fmt: skip
    count = len(result.scores)
    table = Table(title=f"{count} of {count + len(result.failed)} cuts aligned", show_header=False)
    table.title_justify = "left"
    for tier, number in result.symbols.items():
        table.add_row(tier, f"{number:,}")
    if result.kept:
        table.add_row("kept from before", f"{result.kept:,}")
    letters = sum(by == "letters" for by in result.heads.values())
    if letters:
        table.add_row("cuts by letters", f"{letters:,}")
    if (mean := result.mean_score) is not None:
        table.add_row("mean log posterior", f"{mean:.2f}")
        low = sorted(result.scores, key=lambda name: result.scores[name])[:SHOWN]
        table.add_row("lowest", ", ".join(f"{name} {result.scores[name]:.2f}" for name in low))
    print_rich(table)
    if rows := result.within():
        table = Table(title="Against the times in the cuts", title_justify="left")
        keys = [key for key in next(iter(rows.values())) if key.startswith("within_")]
        limits = [f"within {1000 * float(key.split('_')[1]):g} ms" for key in keys]
        for name in ("tier", "boundaries", *limits, "median"):
            table.add_column(name, justify="left" if name == "tier" else "right", no_wrap=True)
        for tier, row in rows.items():
            shares = [f"{row[key]:.1%}" for key in keys]
            median = f"{1000 * row['median_s']:.1f} ms"
            table.add_row(tier, f"{int(row['boundaries']):,}", *shares, median)
        print_rich(table)
    for reason in list(result.failed.values())[:SHOWN]:
        warn(reason)
    if len(result.failed) > SHOWN:
        print(f"... and {len(result.failed) - SHOWN} more, in report.json", file=sys.stderr)
    print(result.folder)
    return 1 if result.failed else 0
