"""`speechasym models`: which models are at hand; install one from a file."""

from argparse import Namespace
from typing import Any

import speechasym
from speechasym.cli.options import add_overwrite, print_table


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "models",
        help="list models, install one",
        description="List the model that comes with the package, those installed from files, and"
        " finished runs below folders. The name of an installed model is taken wherever a run is.",
        epilog="Examples:\n"
        "  speechasym models out\n"
        "  speechasym models --install speechasym-small.zip\n"
        "  speechasym transcribe small talk.flac",
    )
    add = parser.add_argument
    add("folders", nargs="*", metavar="DIR", help="folder to look for runs in")
    text = "install a model from a file that scripts/ship_model.py --zip made"
    add("--install", metavar="FILE", help=text)
    add_overwrite(add)


def run(options: Namespace) -> int:
    """Install, if asked to, and print a table."""
    from speechasym.recognition.installed import models_folder

    if options.install is not None:
        print(speechasym.install_model(options.install, overwrite=options.overwrite))
    rows = [
        (
            model.name, ", ".join(model.heads), f"{model.parameters:,}", f"{model.megabytes:.1f}",
            "yes" if model.words else "no",
        )
        for model in speechasym.models(options.folders)
    ]  # fmt: skip
    columns = ("model", "heads", "parameters", "MB", "lexicon, LM")
    print_table("Models", rows, columns, words=2, box=None, padding=(0, 2, 0, 0))
    print(f"Models are installed in {models_folder()}")
    return 0
