"""`speechasym align`: cuts and their words -> times of words, phones and letters."""

import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import speechasym
from speechasym import files
from speechasym.annotations.tier_files import paths_of
from speechasym.cli.options import add_overwrite, optional, print_table, split_runs, warn
from speechasym.config import names, plural
from speechasym.errors import ConfigError, TextError

REMEDY = "Give a text file with what is said, or the words themselves, in quotes"
SHOWN = 5  # failed cuts, and lowest scores


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "align",
        help="recordings and their words -> times",
        description="Find the times of the known words and phones of a recording, of a folder of"
        " recordings with their texts beside them (.txt, .lab, .TextGrid, or a table), or of cuts."
        " It writes a TextGrid for each; of cuts also phones.ctm, words.ctm and, to train with,"
        " aligned_cuts.jsonl.gz; of folders and cuts report.json. An interrupted call resumes when"
        " it is called again. Without a run the model that comes with the package is used, for"
        " English read aloud, with its lexicon.",
        epilog="Examples:\n"
        "  speechasym align speech.wav speech.txt --out aligned\n"
        "  speechasym align recordings --out aligned --format textgrid,csv,srt\n"
        "  speechasym align speech.wav 'he was not an ill disposed young man' --out aligned\n"
        "  speechasym align runs/mini mini/test_cuts.jsonl.gz --out aligned",
    )
    add = parser.add_argument
    text = "folder of a finished run, if any; then a folder of recordings and texts, or a table"
    text += " (.csv, .tsv) of them; a manifest written by prepare; or a recording and a text file"
    text += " with what is said (or the words themselves, in quotes)"
    add("inputs", nargs="+", metavar="[RUN] DIR | CUTS | FILE TEXT", help=text)
    add("--out", required=True, metavar="DIR", help="output folder")
    add_overwrite(add)
    text = "comma-separated: textgrid, ctm, csv, json, srt (default: textgrid)"
    add("--format", type=names, default=("textgrid",), metavar="LIST", help=text)
    text = "pronunciations, where phones are not known (default: the run's lexicon, if any)"
    add("--lexicon", metavar="FILE", help=text)
    add(
        "--head", type=optional(str), metavar="HEAD",
        help="head that determines the times of words: phones or letters (default: phones where"
        " they are known)",
    )  # fmt: skip
    add(
        "--spelling", action="store_true",
        help="pronounce words that the lexicon lacks by their spelling; where that is impossible,"
        " align by letters (always done with the run's own lexicon)",
    )  # fmt: skip


def _text(words: list[str], run: str | None) -> str | None:
    """Return what is said in a recording, the second of the words; None for cuts or a folder."""
    from speechasym.audio.reading import EXTENSIONS
    from speechasym.language.letters import WRITTEN

    if len(words) == 1:
        if Path(words[0]).suffix.lower() in EXTENSIONS and not os.path.isdir(words[0]):
            raise ConfigError(words[0], "its text is missing", REMEDY)
        return None
    if len(words) != 2:
        problem = (
            f"expected a folder, cuts, or a recording and its text, got {len(words)} arguments"
        )
        raise ConfigError("DIR|CUTS|FILE TEXT", problem, "Put a text in quotes")
    source, text = words
    if run is None and not os.path.isfile(source):
        problem = "is neither the folder of a run nor a recording"
        raise ConfigError(source, problem, "Check the path")
    if not os.path.isfile(text):
        if len(text.split()) > 1 or WRITTEN.fullmatch(text.upper()):
            return text
        raise ConfigError(text, "no such file", REMEDY)
    return files.read_text(text, TextError, utf16=True, latin1=True)


def run(options: Namespace) -> int:
    """Align, and print a table. Exit code 1 where cuts failed."""
    runs, inputs = split_runs(options.inputs)
    run = runs[0] if runs else None
    if len(runs) > 1:
        raise ConfigError(runs[1], "is a second run, but runs cannot align together", "Give one")
    if not inputs:
        problem = f"nothing to align after the run {run}"
        raise ConfigError("DIR|CUTS|FILE TEXT", problem, "Give a folder or a manifest of cuts")
    text = _text(inputs, run)
    result = speechasym.align(
        run, inputs[0], options.out, text, lexicon=options.lexicon, head=options.head,
        spelling=options.spelling or None, formats=options.format, overwrite=options.overwrite,
    )  # fmt: skip
    if text is not None:
        return _print_one(result, options.format)
    for warning in list(result.warned.values())[:SHOWN]:
        warn(warning)
    if len(result.warned) > SHOWN:
        warn(f"{len(result.warned) - SHOWN} more warnings, in report.json")
    scores, failed = result.scores, list(result.failed.values())
    rows: list[Any] = [(tier, f"{number:,}") for tier, number in result.symbols.items()]
    if result.kept:
        rows.append(("kept from before", f"{result.kept:,}"))
    if letters := sum(by == "letters" for by in result.heads.values()):
        rows.append((f"{result.what} by letters", f"{letters:,}"))
    if result.guessed:
        rows.append(("words guessed from the spelling", _guessed(result)))
    if (mean := result.mean_score) is not None:
        rows.append(("mean log posterior", f"{mean:.2f}"))
        low = sorted(scores, key=lambda name: scores[name])[:SHOWN]
        rows.append(("lowest", ", ".join(f"{name} {scores[name]:.2f}" for name in low)))
    print_table(f"{len(scores)} of {len(scores) + len(failed)} {result.what} aligned", rows)
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


def _guessed(result: Any) -> str:
    """Return how many words were guessed, and the first of them."""
    words = [word for row in result.guessed.values() for word in row]
    names = list(dict.fromkeys(words))
    more = ", ..." if len(names) > SHOWN else ""
    return f"{len(words):,}: {', '.join(names[:SHOWN])}{more}"


def _print_one(result: Any, formats: Sequence[str]) -> int:
    """Print what became of one recording."""
    ((name, score),) = result.scores.items()
    counts = ", ".join(
        plural(number, tier.removesuffix("s")) for tier, number in result.symbols.items()
    )
    print(f"{counts}; times of words by {result.heads[name]}, mean log posterior {score:.2f}")
    if result.guessed:
        print(f"Words guessed from the spelling: {_guessed(result)}")
    for warning in result.warned.values():
        warn(warning)
    for path in paths_of(result.folder / name, formats):
        if path.exists():
            print(path)
    return 0
