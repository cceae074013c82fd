"""The command `report`: a run as one page."""

import shlex

from jsonargparse import ArgumentParser, Namespace


def report_parser() -> ArgumentParser:
    """Options of `report`."""
    parser = ArgumentParser(
        description="Write one page that shows what a trained run has learned: error rates,"
        " training curves, confusions, ranks of units, and recordings to listen to, level by"
        " level. It holds all its pictures and sound, and loads nothing.",
        epilog="Example:  speechasym report runs/mini --cuts mini/test_cuts.jsonl.gz --out"
        " report.html --baseline recurrent=other.json",
    )
    add = parser.add_argument
    add("run", metavar="RUN", help="folder of a finished run")
    add("--out", required=True, metavar="HTML", help="the page to write")
    add(
        "--cuts", default=None, metavar="CUTS",
        help="manifest to be judged on; null: that of --evaluation, else the run's dev cuts",
    )  # fmt: skip
    add(
        "--evaluation", default=None, metavar="JSON",
        help="the run's figures, as evaluate --out wrote them; null: computed anew",
    )  # fmt: skip
    add(
        "--baseline", nargs="+", action="extend", default=[], metavar="NAME=JSON",
        help="figures of other runs to set beside, as evaluate --out wrote them",
    )  # fmt: skip
    add(
        "--recordings", default=None, metavar="LIST",
        help="recordings to show, with commas; null: three cuts at the quartiles of the error rate",
    )  # fmt: skip
    return parser


def run_report(options: Namespace) -> int:
    """Write the page."""
    from speechasym.errors import ConfigError
    from speechasym.report.document import write_report

    baselines = {}
    for word in options.baseline:
        name, equals, path = word.partition("=")
        if not (name and equals and path):
            raise ConfigError("--baseline", f"{word!r} is not NAME=JSON", "Such as gru=gru.json")
        baselines[name] = path
    recordings = [p for p in (options.recordings or "").split(",") if p.strip()]
    words = ["speechasym", "report", options.run, "--out", options.out]
    for name in ("cuts", "evaluation", "recordings"):
        if options[name] is not None:
            words += [f"--{name}", options[name]]
    for word in options.baseline:
        words += ["--baseline", word]
    write_report(
        options.run, options.out, cuts=options.cuts, figures=options.evaluation,
        baselines=baselines, recordings=recordings, command=shlex.join(map(str, words)),
    )  # fmt: skip
    print(options.out)
    return 0
