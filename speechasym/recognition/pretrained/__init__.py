"""The model that comes with the package, so that `transcribe` works at once.

Its card, with what it was trained on, how often it errs and under which licences it may be used, is
docs/model-card.md. The files are checked against their sha256 as they are opened.
"""

import json
from pathlib import Path

from speechasym import files
from speechasym.errors import CheckpointError

FOLDER = Path(__file__).parent
LEXICON, LM, SUMS = "lexicon.txt", "lm.arpa.gz", "SHA256SUMS.json"


def folder() -> Path:
    """The run's folder, its files as they were made. Raises `CheckpointError`."""
    try:
        sums = json.loads((FOLDER / SUMS).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            FOLDER, "holds no model: it is not part of this installation", "Give a RUN of your own"
        ) from error
    for name, wanted in sums.items():
        path = FOLDER / name
        if files.sha256(path, CheckpointError, "Install the package again") != wanted:
            raise CheckpointError(path, "is not as it was made", "Install the package again")
    return FOLDER


def lexicon() -> Path:
    """Pronunciations of the words that the language model has."""
    return FOLDER / LEXICON


def lm() -> Path:
    """A trigram of books out of copyright."""
    return FOLDER / LM
