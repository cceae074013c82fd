"""The model that comes with the package, with its lexicon and language model.

docs/model-card.md describes its training data, error rates and licences. The files are checked
against their sha256 when they are opened.
"""

import json
from pathlib import Path

from speechasym import files
from speechasym.errors import CheckpointError

FOLDER = Path(__file__).parent
LEXICON, LM, SUMS = "lexicon.txt", "lm.npz", "SHA256SUMS.json"


def folder() -> Path:
    """Return the run's folder after checking its files. Raises `CheckpointError`."""
    return checked(FOLDER)


def checked(folder: Path) -> Path:
    """Return the folder of a shipped or installed model after checking its files.

    Raises `CheckpointError` for a file that is missing or was changed.
    """
    try:
        sums = json.loads((folder / SUMS).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            folder, "has no pretrained model; this installation lacks it", "Give a RUN of your own"
        ) from error
    for name, expected in sums.items():
        if files.sha256(folder / name, CheckpointError, "Install it again") != expected:
            raise CheckpointError(folder / name, "has been changed", "Install it again")
    return folder


def lexicon() -> Path:
    """Return the file of pronunciations of all words in the language model."""
    return FOLDER / LEXICON


def lm() -> Path:
    """Return the file of the language model, a trigram of books in the public domain."""
    return FOLDER / LM
