"""`speechasym lexicon`: words -> their pronunciations."""

from argparse import Namespace
from typing import Any

import speechasym
from speechasym.cli.options import (
    SEVERAL,
    add_overwrite,
    optional,
    print_table,
    replacing,
    split_all,
)  # fmt: skip

LISTED = 40  # missing words that are printed


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "lexicon",
        help="words -> their pronunciations",
        description="Write the part of a lexicon that a corpus or a text needs, without stress"
        " marks. Words that it lacks are listed, or guessed from their spelling and marked so.",
        epilog="Example:  speechasym lexicon cmudict.txt --words train_cuts.jsonl.gz books\n"
        "            --out lexicon.txt --guess",
    )
    add = parser.add_argument
    add("lexicon", metavar="LEXICON", help="lexicon in CMUdict's or LibriSpeech's format")
    text = "manifests, texts, lists, or folders of .txt and .txt.gz to take words from"
    add("--words", **SEVERAL, required=True, metavar="CUTS|TEXT|LIST", help=text)
    add("--out", required=True, metavar="FILE", help="lexicon to write")
    add_overwrite(add)
    add("--guess", action="store_true", help="guess the missing words; the file marks them")
    add("--missing", metavar="FILE", help="write the missing words to this file")
    text = "keep only the N most frequent words (default: all)"
    add("--most", type=optional(int), metavar="N", help=text)
    add("--least", type=int, default=1, metavar="N", help="keep only words seen N times")
    text = "learn guessing from N pronunciations drawn from the lexicon (default: all)"
    add("--learn-from", type=optional(int), metavar="N", help=text)


def run(options: Namespace) -> int:
    """Write the lexicon, and print a summary."""
    with replacing(options, "out", "missing"):
        result = speechasym.make_lexicon(
            options.lexicon, split_all(options.words), options.out, guess=options.guess,
            missing=options.missing, most=options.most, least=options.least,
            learn_from=options.learn_from, show_progress=True,
        )  # fmt: skip
    missing = result.missing
    share = f"{result.missing_tokens / result.tokens:.2%} of the text" if result.tokens else "none"
    rows = [
        ("words", f"{result.words:,}, {result.tokens:,} times"),
        ("in the lexicon", f"{result.words - len(missing):,}"),
        ("missing", f"{len(missing):,}, {share}"),
    ]
    if options.guess:
        rows.append(("derived", f"{result.derived:,}, from words of the lexicon"))
        rows.append(("guessed", f"{result.guessed:,}"))
        if left_out := len(missing) - result.derived - result.guessed:
            rows.append(("left out", f"{left_out:,} that cannot be guessed"))
    if missing:
        more = f" and {len(missing) - LISTED:,} more" if len(missing) > LISTED else ""
        rows.append(("such as" if more else "these", ", ".join(missing[:LISTED]) + more))
    print_table(f"Lexicon {options.out}", rows)
    return 0
