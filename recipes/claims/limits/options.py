"""Options that the commands of this folder share, and how their reports quote a command."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path


def open_parser(name: str, doc: str | None) -> argparse.ArgumentParser:
    """Return a parser for a module of this folder, with --out and the first line of its text."""
    parser = argparse.ArgumentParser(
        prog=f"python -m recipes.claims.limits.{name}", description=(doc or "").splitlines()[0]
    )
    out = Path("out/claims/limits")
    parser.add_argument("--out", type=Path, default=out, help="folder of results")
    return parser


def command(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> str:
    """Return the command that computes the results: the one given (None: sys.argv), no --report."""
    words = sys.argv[1:] if arguments is None else arguments
    return f"{parser.prog} {shlex.join(word for word in words if word != '--report')}"
