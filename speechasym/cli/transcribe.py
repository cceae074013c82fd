"""`speechasym transcribe`: recordings -> phones, letters and words."""

import textwrap
from argparse import Namespace
from typing import Any

import speechasym
from speechasym.cli.evaluate import BY_LEXICON, add_decoder, decoder_options
from speechasym.cli.options import add_overwrite, optional, split_runs, warn
from speechasym.config import check_range
from speechasym.errors import ConfigError


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "transcribe",
        help="recordings -> phones, letters, words",
        description="Transcribe recordings of any sample rate and length into phones, letters and"
        " words. Without a run the model that comes with the package is used, for English read"
        " aloud, with its lexicon and language model. Long recordings are processed in segments"
        " that end where it is quietest.",
        epilog="Examples:\n"
        "  speechasym transcribe talk.flac\n"
        "  speechasym transcribe runs/seed0 runs/seed1 runs/seed2 talk.flac\n"
        "  speechasym transcribe runs/mini talk.flac --textgrid out",
    )
    add = parser.add_argument
    text = "folder of a finished run, or of several that read together, if any; then recordings,"
    text += " folders or globs"
    add("inputs", nargs="+", metavar="[RUN ...] FILE ...", help=text)
    text = "also write STEM.TextGrid with one tier for each head to this folder"
    add("--textgrid", type=optional(str), metavar="DIR", help=text)
    add_overwrite(add)
    text = "phones, letters or words only (default: all)"
    add("--heads", "--level", dest="heads", type=optional(str), metavar="HEAD", help=text)
    text = "mean, or a number from 0 (default: as in training)"
    add("--channel", type=optional(str), help=text)
    add("--longest", type=float, default=30.0, metavar="S", help="longest segment, in s")
    text = "put a question mark after symbols with less confidence, 0 to 1"
    add("--unsure", type=float, default=0.0, metavar="P", help=text)
    add_decoder(parser)


def run(options: Namespace) -> int:
    """Transcribe, and print. Exit code 1 if some of several recordings failed."""
    runs, inputs = split_runs(options.inputs)
    if not inputs:
        raise ConfigError("FILE", f"no recordings after the run {runs[-1]}", "Give recordings")
    check_range("--unsure", options.unsure, "0.5", high=1)
    heads = None if options.heads is None else [options.heads]
    if heads and options.lm is not None:
        heads.append(BY_LEXICON)
    failed = 0
    for result in speechasym.transcribe_files(
        inputs, runs or None, textgrids=options.textgrid, overwrite=options.overwrite, heads=heads,
        longest=options.longest, channel=options.channel,
        **decoder_options(options, runs),
    ):  # fmt: skip
        if result.transcript is None:
            failed += 1
            warn(result.error)
            continue
        print(f"{result.path}  ({result.transcript.seconds:.2f} s)")
        print(textwrap.indent(result.transcript.lines(options.unsure), "  "), flush=True)
        if result.textgrid is not None:
            print(f"  -> {result.textgrid}", flush=True)
    return 1 if failed else 0
