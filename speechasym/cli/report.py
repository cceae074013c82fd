"""`speechasym report`: a run, or a recording -> one HTML page."""

import os
from argparse import Namespace
from typing import Any

import speechasym
from speechasym.cli.options import SEVERAL, add_overwrite, command_line, replacing, split_runs
from speechasym.config import names
from speechasym.errors import ConfigError


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "report",
        help="a run, or a recording -> a page to look at and listen to",
        description="Write one page that shows what a run has learned: error rates, training"
        " curves, confusions, ranks of units, and recordings to listen to, level by level. The"
        " page is a single file and loads nothing from elsewhere. Without a run it shows the model"
        " that comes with the package. With a recording, the page shows that one: spectrograms,"
        " asymmetry, units, transcription and tiers over time, as read by the run.",
        epilog="Examples:\n"
        "  speechasym report --cuts librispeech/dev-clean_cuts.jsonl.gz --out report.html\n"
        "  speechasym report runs/mini --cuts mini/test_cuts.jsonl.gz --out report.html\n"
        "      --baseline recurrent=other.json\n"
        "  speechasym report speech.wav --textgrid speech.TextGrid --out speech.html",
    )
    add = parser.add_argument
    text = "folder of a finished run (default: the pretrained model, for English read aloud); a"
    text += " recording to show"
    add("inputs", nargs="*", metavar="RUN|FILE", help=text)
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
    add = parser.add_argument_group("one recording").add_argument
    text = ".TextGrid, .PHN or .WRD whose tiers to show, or none (default: the file of the same"
    text += " name beside the recording, if any)"
    add("--textgrid", metavar="FILE", help=text)
    text = "start in s of the part to show (default: 0)"
    add("--from", type=float, metavar="S", help=text)
    text = "end in s, at most 120 s later (default: 60 s later)"
    add("--to", type=float, metavar="S", help=text)
    text = "channel of multichannel audio: mean, or a number from 0 (default: as in training)"
    add("--channel", metavar="N", help=text)


OF_RUN = ("cuts", "evaluation", "recordings", "baseline")
OF_RECORDING = ("textgrid", "from", "to", "channel")


def run(options: Namespace) -> int:
    """Write the page, and print its path."""
    runs, recordings = split_runs(options.inputs)
    if len(runs) > 1 or len(recordings) > 1:
        problem = f"must be at most one run and one recording, got {' '.join(options.inputs)}"
        raise ConfigError("RUN|FILE", problem, "Write one page each")
    options.run = runs[0] if runs else None
    if recordings and os.path.isfile(recordings[0]):
        return _of_recording(options, recordings[0])
    if wrong := [name for name in OF_RECORDING if getattr(options, name) is not None]:
        raise ConfigError(f"--{wrong[0]}", "applies to one recording", "Give a recording")
    if recordings:
        options.run = recordings[0]  # not the folder of a run, as will be said
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


def _of_recording(options: Namespace, recording: str) -> int:
    """Write the page of a recording."""
    if wrong := [name for name in OF_RUN if getattr(options, name)]:
        remedy = "Leave it out, or give the folder of a run alone"
        raise ConfigError(f"--{wrong[0]}", "applies to the page of a run", remedy)
    run, options.run = options.run, [options.run] * bool(options.run) + [recording]
    line = command_line(options, ("run", "out", "textgrid", "from", "to", "channel"))
    with replacing(options, "out"):
        speechasym.write_recording_report(
            recording, options.out, run=run, textgrid=options.textgrid,
            start=getattr(options, "from") or 0.0, end=options.to,
            channel=options.channel, command=line,
        )  # fmt: skip
    print(options.out)
    return 0
