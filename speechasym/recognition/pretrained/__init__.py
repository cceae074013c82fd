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
    try:
        sums = json.loads((FOLDER / SUMS).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            FOLDER, "has no pretrained model; this installation lacks it", "Give a RUN of your own"
        ) from error
    for name, expected in sums.items():
        path = FOLDER / name
        if files.sha256(path, CheckpointError, "Install the package again") != expected:
            raise CheckpointError(path, "has been changed", "Install the package again")
    return FOLDER


def lexicon() -> Path:
    """Return the file of pronunciations of all words in the language model."""
    return FOLDER / LEXICON


def lm() -> Path:
    """Return the file of the language model, a trigram of books in the public domain."""
    return FOLDER / LM
