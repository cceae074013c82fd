"""`speechasym transcribe`: recordings -> phones, letters and words."""

import shutil
import signal
import sys
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
        "  speechasym transcribe small talk.flac    # an installed model\n"
        "  speechasym transcribe runs/seed0 runs/seed1 runs/seed2 talk.flac\n"
        "  speechasym transcribe runs/mini talk.flac --textgrid out\n"
        "  speechasym transcribe runs/live --live",
    )
    add = parser.add_argument
    text = "folder of a finished run, or of several that read together, or an installed model, if"
    text += " any; then recordings, folders or globs"
    add("inputs", nargs="*", metavar="[RUN ...] FILE ...", help=text)
    text = "read while it is heard: the microphone, or a file in real time; needs a run trained for"
    text += " that (docs/live.md)"
    add("--live", action="store_true", help=text)
    text = "with --live: number or name of the input device (default: the system's)"
    add("--device", type=optional(str), metavar="N", help=text)
    text = "with --live FILE: times real time, or inf: as fast as possible (default: 1)"
    add("--pace", type=optional(float), metavar="X", help=text)
    text = "also write STEM.TextGrid with one tier for each head to this folder"
    add("--textgrid", type=optional(str), metavar="DIR", help=text)
    text = "also write STEM.json with times, confidences and where there is speech to this folder"
    add("--json", type=optional(str), metavar="DIR", help=text)
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
    check_range("--unsure", options.unsure, "0.5", high=1)
    heads = None if options.heads is None else [options.heads]
    if heads and options.lm is not None:
        heads.append(BY_LEXICON)
    if options.live:
        return _run_live(options, runs, inputs, heads)
    for name in ("device", "pace"):
        if getattr(options, name) is not None:
            raise ConfigError(f"--{name}", "has no effect without --live", "Give --live too")
    if not inputs:
        problem = f"no recordings after the run {runs[-1]}" if runs else "no recordings given"
        raise ConfigError("FILE", problem, "Give recordings")
    failed = 0
    for result in speechasym.transcribe_files(
        inputs, runs or None, textgrids=options.textgrid, jsons=options.json,
        overwrite=options.overwrite, heads=heads,
        longest=options.longest, channel=options.channel,
        **decoder_options(options, runs),
    ):  # fmt: skip
        if result.transcript is None:
            failed += 1
            warn(result.error)
            continue
        print(f"{result.path}  ({result.transcript.seconds:.2f} s)")
        print(textwrap.indent(result.transcript.lines(options.unsure), "  "), flush=True)
        for written in (result.textgrid, result.json):
            if written is not None:
                print(f"  -> {written}", flush=True)
    return 1 if failed else 0


def _run_live(
    options: Namespace, runs: list[str], inputs: list[str], heads: list[str] | None
) -> int:
    """Print what is recognised while it is heard, until the file ends, or Ctrl-C."""
    if len(inputs) > 1:
        problem = f"reads one file at a time, got {len(inputs)}"
        raise ConfigError("--live", problem, "Give one, or leave out --live")
    for name in ("textgrid", "json"):
        if getattr(options, name) is not None:
            raise ConfigError(f"--{name}", "has no effect with --live", "Leave one of them out")
    if inputs and options.device is not None:
        raise ConfigError("--device", "has no effect with a file", "Leave one of them out")
    if not inputs and options.pace is not None:
        raise ConfigError("--pace", "is the speed of a file", "Give one, or leave it out")
    live = speechasym.transcribe_live(
        inputs[0] if inputs else None, runs or None, microphone=options.device,
        pace=1.0 if options.pace is None else options.pace, heads=heads,
        longest=options.longest, channel=options.channel, **decoder_options(options, runs),
    )  # fmt: skip
    before = signal.signal(signal.SIGINT, lambda *_: live.stop())
    if not inputs:
        print("listening; Ctrl-C ends", file=sys.stderr, flush=True)
    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns - 1
    try:
        for result in live:
            clear = "\r\x1b[K" if terminal else ""
            if result.final:
                print(f"{clear}{result.start:.2f} to {result.end:.2f} s")
                print(textwrap.indent(result.transcript.lines(options.unsure), "  "), flush=True)
            elif terminal:
                text = result.transcript.text_of(next(iter(result.transcript.symbols)))
                print(f"{clear}  {text[2 - width :]}", end="", flush=True)
    finally:
        signal.signal(signal.SIGINT, before)
        print(live.report, file=sys.stderr)
    return 0
