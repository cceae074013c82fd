"""`speechasym report`: a run -> one HTML page."""

import shlex
from argparse import Namespace
from typing import Any

from speechasym.cli.options import names
from speechasym.errors import ConfigError


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "report",
        help="a run -> a page to look at and listen to",
        description="Write one page that shows what a trained run has learned: error rates,"
        " training curves, confusions, ranks of units, and recordings to listen to, level by"
        " level. The page is a single file and loads nothing from elsewhere.",
        epilog="Example:  speechasym report runs/mini --cuts mini/test_cuts.jsonl.gz"
        " --out report.html\n            --baseline recurrent=other.json",
    )
    parser.set_defaults(execute=run)
    add = parser.add_argument
    add("run", metavar="RUN", help="folder of a finished run")
    add("--out", required=True, metavar="HTML", help="page to write")
    add(
        "--cuts", default=None, metavar="CUTS",
        help="manifest to evaluate on (default: that of --evaluation, else the run's dev cuts)",
    )  # fmt: skip
    add(
        "--evaluation", default=None, metavar="JSON",
        help="results of the run, as written by evaluate --out (default: computed)",
    )  # fmt: skip
    add(
        "--baseline", nargs="+", action="extend", default=[], metavar="NAME=JSON",
        help="results of other runs to compare with, as written by evaluate --out",
    )  # fmt: skip
    add(
        "--recordings", type=names, default=None, metavar="LIST",
        help="comma-separated recordings to show (default: three cuts at the quartiles of the"
        " error rate)",
    )  # fmt: skip


def run(options: Namespace) -> int:
    """Write the page, and print its path."""
    import speechasym

    baselines = {}
    for word in options.baseline:
        name, equals, path = word.partition("=")
        if not (name and equals and path):
            raise ConfigError("--baseline", f"must be NAME=JSON, got {word!r}", "Use gru=gru.json")
        baselines[name] = path
    recordings = list(options.recordings or ())
    words = ["speechasym", "report", options.run, "--out", options.out]
    for name in ("cuts", "evaluation"):
        if (value := getattr(options, name)) is not None:
            words += [f"--{name}", value]
    words += ["--recordings", ",".join(recordings)] if recordings else []
    for word in options.baseline:
        words += ["--baseline", word]
    speechasym.write_report(
        options.run, options.out, cuts=options.cuts, evaluation=options.evaluation,
        baselines=baselines, recordings=recordings, command=shlex.join(map(str, words)),
    )  # fmt: skip
    print(options.out)
    return 0
