"""`speechasym transcribe`: recordings -> phones, letters and words."""

from argparse import Namespace
from pathlib import Path
from typing import Any

from speechasym.cli.evaluate import add_decoder, open_words
from speechasym.cli.options import optional, warn
from speechasym.errors import AudioError, ConfigError


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
        "  speechasym transcribe runs/mini talk.flac --textgrid out",
    )
    parser.set_defaults(execute=run)
    add = parser.add_argument
    add(
        "inputs", nargs="+", metavar="[RUN] FILE",
        help="folder of a finished run, if any; then recordings, folders or globs",
    )  # fmt: skip
    add(
        "--textgrid", default=".", metavar="DIR",
        help="folder for STEM.TextGrid with one tier for each head; none: write no TextGrid",
    )  # fmt: skip
    add(
        "--heads", "--level", dest="heads", type=optional(str), default=None, metavar="HEAD",
        help="phones, letters or words only (default: all)",
    )  # fmt: skip
    add(
        "--channel", type=optional(str), default=None,
        help="mean, or a number from 0 (default: as in training)",
    )  # fmt: skip
    add("--longest", type=float, default=30.0, metavar="S", help="longest segment, in s")
    add_decoder(parser)


def _is_run(path: Path) -> bool:
    """Return whether this is a folder that `train` wrote."""
    from speechasym.training import checkpoints, run_folder

    files = (checkpoints.MODEL, run_folder.CONFIG)
    return path.is_dir() and any((path / name).exists() for name in files)


def run(options: Namespace) -> int:
    """Transcribe, and print. Exit code 1 if some of several recordings failed."""
    from speechasym.feature_extraction.extraction import find
    from speechasym.recognition import pretrained
    from speechasym.recognition.transcription import open_run, transcribe, write_textgrids

    run, *inputs = options.inputs
    if _is_run(Path(run)):
        if not inputs:
            raise ConfigError("FILE", f"no recordings after the run {run}", "Give recordings")
    else:
        run, inputs = None, options.inputs
    recordings = find(inputs)
    if run is None:
        run = pretrained.folder()
        if options.lm is None and options.heads is None:
            options.lm = str(pretrained.lm())
            options.lexicon = options.lexicon or str(pretrained.lexicon())
    trained = open_run(run)
    heads = None if options.heads is None else [options.heads]
    if heads:
        trained.check_heads(heads, "--heads")
    words = open_words(options, trained)
    failed = 0
    for stem, path in recordings.items():
        try:
            transcript = transcribe(
                trained, path, heads=heads, longest=options.longest, channel=options.channel,
                words=words,
            )  # fmt: skip
        except AudioError as error:
            if len(recordings) == 1:
                raise
            failed += 1
            warn(error)
            continue
        print(f"{path}  ({transcript.seconds:.2f} s)")
        room = 2 + max(7, *map(len, transcript.symbols))
        for head in transcript.symbols:
            print(f"  {head + ':':<{room}}{transcript.text(head) or '(nothing)'}", flush=True)
        if options.textgrid not in (None, "none"):
            for written in write_textgrids(options.textgrid, {stem: transcript}):
                print(f"  -> {written}", flush=True)
    return 1 if failed else 0
