"""`speechasym report`: a run -> one HTML page."""

from argparse import Namespace
from typing import Any

import speechasym
from speechasym.cli.options import SEVERAL, add_overwrite, add_run, command_line, replacing
from speechasym.config import names
from speechasym.errors import ConfigError


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "report",
        help="a run -> a page to look at and listen to",
        description="Write one page that shows what a run has learned: error rates, training"
        " curves, confusions, ranks of units, and recordings to listen to, level by level. The"
        " page is a single file and loads nothing from elsewhere. Without a run it shows the model"
        " that comes with the package.",
        epilog="Examples:\n"
        "  speechasym report --cuts librispeech/dev-clean_cuts.jsonl.gz --out report.html\n"
        "  speechasym report runs/mini --cuts mini/test_cuts.jsonl.gz --out report.html\n"
        "      --baseline recurrent=other.json",
    )
    add = parser.add_argument
    add_run(add)
    add("--out", required=True, metavar="HTML", help="page to write")
    add_overwrite(add)
    text = "manifest to evaluate on (default: that of --evaluation, else the run's dev cuts)"
    add("--cuts", metavar="CUTS", help=text)
    text = "results of the run, as written by evaluate --out (default: computed)"
    add("--evaluation", metavar="JSON", help=text)
    text = "results of other runs to compare with, as written by evaluate --out"
    add("--baseline", **SEVERAL, metavar="NAME=JSON", help=text)
    add(
        "--recordings", type=names, metavar="LIST",
        help="comma-separated recordings to show (default: three cuts at the quartiles of the"
        " error rate)",
    )  # fmt: skip


def run(options: Namespace) -> int:
    """Write the page, and print its path."""
    baselines = {}
    for word in options.baseline:
        name, equals, path = word.partition("=")
        if not (name and equals and path):
            raise ConfigError("--baseline", f"must be NAME=JSON, got {word!r}", "Use gru=gru.json")
        baselines[name] = path
    recorded = ("run", "out", "cuts", "evaluation", "recordings", "baseline")
    with replacing(options, "out"):
        speechasym.write_report(
            options.run, options.out, cuts=options.cuts, evaluation=options.evaluation,
            baselines=baselines, recordings=options.recordings or (),
            command=command_line(options, recorded),
        )  # fmt: skip
    print(options.out)
    return 0
