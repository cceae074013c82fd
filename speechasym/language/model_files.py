"""Read and write n-gram models: as ARPA text for other tools, or in a binary form that opens fast.

The binary form, a file NAME.npz, is numpy's archive of arrays: `format`, the number of this format;
`words`, UTF-8 bytes of the words in order, one a line; and `sizes`, `word`, `first`, `suffix`,
`probability` and `backoff` of `NgramModel`. A model of 320 000 n-grams opens in a twentieth of the
time that its ARPA file takes, and holds the same bits.
"""

import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speechasym import files
from speechasym.errors import ArpaError
from speechasym.language.arpa import read_arpa, write_arpa
from speechasym.language.ngrams import SPECIAL, NgramModel

FORMAT = 1
BINARY = ".npz"
_DAMAGE = (EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile, zlib.error)
_INTEGERS, _LOGARITHMS = ("word", "first", "suffix"), ("probability", "backoff")


def write_model(path: str | Path, model: NgramModel) -> None:
    """Write a model: in binary form if the name ends in .npz, else as `arpa.write_arpa`.

    Equal models give equal bytes.

    Raises:
        OutputError: the file cannot be written.

    Example:
        >>> write_model("lm.npz", read_model("lm.arpa.gz"))
    """
    path = Path(path)
    if path.suffix != BINARY:
        write_arpa(path, model)
        return
    arrays = {name: getattr(model, name) for name in (*_INTEGERS, *_LOGARITHMS)}
    words = np.frombuffer("\n".join(model.words).encode(), np.uint8)
    sizes = np.array(model.sizes, np.int64)
    with files.atomic(path) as file:
        np.savez_compressed(file, format=np.array(FORMAT), words=words, sizes=sizes, **arrays)


def read_model(path: str | Path) -> NgramModel:
    """Read a model in either form; the content decides, not the name.

    Raises:
        ArpaError: see `arpa.read_arpa`; a binary file that is damaged or of another version.
    """
    remedy = "Write it again: lm --out NAME.npz"
    try:
        with Path(path).open("rb") as file:
            if file.read(4) == b"PK\x03\x04":
                file.seek(0)
                archive = np.load(file, allow_pickle=False)
                if (number := int(archive["format"])) != FORMAT:
                    problem = f"expected a language model of format {FORMAT}, got format {number}"
                    raise ArpaError(path, problem, remedy)
                return _checked({name: archive[name] for name in archive.files})
    except _DAMAGE as error:
        problem = f"is not an undamaged language model in binary form ({error})"
        raise ArpaError(path, problem, remedy) from error
    except OSError:
        pass  # `read_arpa` names the reason
    return read_arpa(path)


def _checked(arrays: dict[str, NDArray]) -> NgramModel:
    """Build the model; `ValueError` unless every index is within its array: kernels trust them."""
    words = tuple(arrays["words"].tobytes().decode().split("\n"))
    sizes = tuple(arrays["sizes"].tolist())
    nodes = 1 + sum(sizes)
    word, first, suffix = (arrays[name] for name in _INTEGERS)
    shapes = {name: (nodes + (name == "first"),) for name in (*_INTEGERS, *_LOGARITHMS)}
    for name, shape in shapes.items():
        kind = np.int32 if name in _INTEGERS else np.float32
        if arrays[name].shape != shape or arrays[name].dtype != kind:
            raise ValueError(f"{name}: expected {shape} {kind.__name__}")
    numbers = np.arange(nodes)
    if (
        words[: len(SPECIAL)] != SPECIAL
        or sizes[0] != len(words)
        or not (word[1 : 1 + len(words)] == numbers[: len(words)]).all()
        or not ((word >= -1) & (word < len(words)) & (suffix >= -1) & (suffix < numbers)).all()
        or not ((first[:-1] > numbers) & (first[:-1] <= first[1:])).all()
        or first[-1] != nodes
        or not all(np.isfinite(arrays[name]).all() for name in _LOGARITHMS)
    ):
        raise ValueError("its arrays do not fit each other")
    probability, backoff = (arrays[name] for name in _LOGARITHMS)
    return NgramModel(
        words=words, sizes=sizes, word=word, first=first, suffix=suffix,
        probability=probability, backoff=backoff,
    )  # fmt: skip
