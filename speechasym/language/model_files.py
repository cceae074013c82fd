"""Read and write n-gram models: as ARPA text for other tools, or in a binary form that opens fast.

The binary form, a file NAME.npz, is a zip archive of numpy's arrays:

- `format`, the number of this format, and `sizes` of `NgramModel`;
- `words`, UTF-8 bytes of the words in order, one a line;
- `word` of `NgramModel`, and `children`, how many each node has, from which the rest of the tree
  is found again;
- `probability1`, `probability2`, ... and `backoff1`, ...: the logarithms of each order, or, where
  they have at most 256 values, `probability2_values` and 8 bits for each n-gram.

It holds the same bits as the ARPA file. A model of a million n-grams whose logarithms are rounded
to four bits (`ngrams.rounded`) takes two megabytes.
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
from speechasym.ops import cpu_ngrams

FORMAT = 2
BINARY = ".npz"
_DAMAGE = (EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile, zlib.error)
_LOGARITHMS = ("probability", "backoff")
CODES = 256  # values that 8 bits tell apart


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
    arrays = {
        "format": np.array(FORMAT),
        "words": np.frombuffer("\n".join(model.words).encode(), np.uint8),
        "sizes": np.array(model.sizes, np.int64),
        "word": model.word,
        "children": np.diff(model.first).astype(np.int32),
    }
    for name in _LOGARITHMS:
        for order, part in enumerate(model.by_order(getattr(model, name)), 1):
            values, codes = np.unique(part, return_inverse=True)
            if len(values) <= CODES:
                arrays[f"{name}{order}_values"] = values
                part = codes.astype(np.uint8)
            arrays[f"{name}{order}"] = part
    with files.atomic(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy")  # of no date: equal models give equal bytes
            floats = array.dtype == np.float32  # LZMA takes long, and gains little
            info.compress_type = zipfile.ZIP_DEFLATED if floats else zipfile.ZIP_LZMA
            with archive.open(info, "w") as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


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
                if (number := int(archive["format"])) not in (1, FORMAT):
                    problem = f"expected a language model of format {FORMAT}, got format {number}"
                    raise ArpaError(path, problem, remedy)
                arrays = {name: archive[name] for name in archive.files}
                return _checked(arrays if number == FORMAT else _of_format_1(arrays))
    except _DAMAGE as error:
        problem = f"is not an undamaged language model in binary form ({error})"
        raise ArpaError(path, problem, remedy) from error
    except OSError:
        pass  # `read_arpa` names the reason
    return read_arpa(path)


def _of_format_1(arrays: dict[str, NDArray]) -> dict[str, NDArray]:
    """Return the arrays of a file of version 0.1 as they are written now."""
    ends = np.cumsum(arrays["sizes"])[:-1]
    parts = {
        f"{name}{order}": part
        for name in _LOGARITHMS
        for order, part in enumerate(np.split(arrays[name][1:], ends), 1)
    }
    return arrays | parts | {"children": np.diff(arrays["first"])}


def _checked(arrays: dict[str, NDArray]) -> NgramModel:
    """Build the model; `ValueError` unless every index is within its array: kernels trust them."""
    words = tuple(arrays["words"].tobytes().decode().split("\n"))
    sizes = tuple(arrays["sizes"].tolist())
    word, children = arrays["word"], arrays["children"]
    nodes = 1 + sum(sizes)
    for name, integers in (("word", word), ("children", children)):
        if integers.shape != (nodes,) or integers.dtype != np.int32:
            raise ValueError(f"{name}: expected {nodes} int32")
    first = 1 + np.concatenate([[0], np.cumsum(children, dtype=np.int64)])
    if (
        words[: len(SPECIAL)] != SPECIAL
        or sizes[0] != len(words)
        or not (word[1 : 1 + len(words)] == np.arange(len(words))).all()
        or not ((word[1:] >= 0) & (word[1:] < len(words))).all()
        or not ((children >= 0) & (first[:-1] > np.arange(nodes))).all()
        or first[-1] != nodes
    ):
        raise ValueError("its arrays do not fit each other")
    first = first.astype(np.int32)
    probability, backoff = (_logarithms(arrays, name, sizes) for name in _LOGARITHMS)
    return NgramModel(
        words=words, sizes=sizes, word=word, first=first,
        suffix=cpu_ngrams.longest_suffixes(word, first), probability=probability, backoff=backoff,
    )  # fmt: skip


def _logarithms(
    arrays: dict[str, NDArray], name: str, sizes: tuple[int, ...]
) -> NDArray[np.float32]:
    """Return `probability` or `backoff` of all nodes; `ValueError` unless they are numbers."""
    parts = [np.zeros(1, np.float32)]
    for order, size in enumerate(sizes, 1):
        part = arrays[f"{name}{order}"]
        if (values := arrays.get(f"{name}{order}_values")) is not None:
            if part.dtype != np.uint8 or part.max(initial=0) >= len(values):
                raise ValueError(f"{name}{order}: expected 8 bits below {len(values)}")
            part = values[part]
        if part.shape != (size,) or part.dtype != np.float32 or not np.isfinite(part).all():
            raise ValueError(f"{name}{order}: expected {size} finite float32")
        parts.append(part)
    return np.concatenate(parts)
