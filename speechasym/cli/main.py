"""The command `speechasym`: parse, call one public function, print its result."""

import atexit
import io
import logging
import os
import sys
from contextlib import suppress
from importlib import import_module
from types import ModuleType
from typing import NoReturn

from speechasym.cli.options import CommandParser, warn
from speechasym.errors import SpeechAsymError
from speechasym.progress import announce_compiling

COMMANDS = (
    *("extract", "plot", "score", "prepare", "train", "evaluate", "transcribe", "align"),
    *("segments", "units", "explore", "report", "lm", "lexicon", "models", "doctor"),
)


def build_parser() -> CommandParser:
    """Build the parser of all commands."""
    from speechasym import __version__

    parser = CommandParser(
        prog="speechasym",
        description="Speech perception from asymmetries: features, recognisers, figures.",
        epilog="First steps:  speechasym doctor\n"
        "              speechasym transcribe speech.wav\n"
        "              speechasym plot speech.wav --out speech.png",
    )
    parser.add_argument("--version", action="version", version=f"speechasym {__version__}")
    commands = parser.add_subparsers(
        required=True, dest="command", metavar="COMMAND", title="commands"
    )
    for name in COMMANDS:
        _command(name).add_parser(commands)
    return parser


def _command(name: str) -> ModuleType:
    return import_module(f"speechasym.cli.{name}")


def command() -> NoReturn:
    """Run the command and end the process: what `speechasym` in a terminal calls.

    The interpreter is not torn down, which takes 0.3 s once numba is loaded, with torch 0.6 s and
    110 MB more.
    """
    code = main()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, AttributeError):  # a pipe whose reader has gone; no console
            stream.flush()
    os._exit(code)


def main(arguments: list[str] | None = None) -> int:
    """Run the command.

    Returns:
        Exit code: 0 success, 1 some recordings failed, 2 bad input, 130 interrupted.
    """
    _escape_output()
    try:
        try:
            return _run(arguments)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # at exit it would be too late to notice a closed pipe
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _escape_output() -> None:
    """Let characters that the terminal's code page lacks be printed as escapes: \\u0283."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")


def _run(arguments: list[str] | None) -> int:
    resumes = False
    try:
        parser = build_parser()
        if not (sys.argv[1:] if arguments is None else arguments):
            parser.print_help()
            return 0
        options = parser.parse_args(arguments)
        resumes = options.command in ("extract", "align")
        level = logging.INFO if getattr(options, "verbose", False) else logging.WARNING
        logging.basicConfig(level=level, format="speechasym: %(message)s")
        with announce_compiling():
            code: int = _command(options.command).run(options)
        return code
    except SpeechAsymError as error:
        warn(error)
        return 2
    except KeyboardInterrupt:
        warn("interrupted" + ("; the same command resumes here" if resumes else ""))
        return 130
