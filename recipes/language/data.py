"""Books as symbols: the 28 letters, and the end of a sentence.

    python -m recipes.language.data OUT TEXTS ... --dev NAME ... --test NAME ...

TEXTS are files or folders of books (.txt, .txt.gz), each called by its file's name. OUT gets an
array NAME.npy for each book, and books.json, which says what each is for.
"""

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recipes.compare.jobs import guarded
from speechasym import files
from speechasym.errors import ConfigError, TextError
from speechasym.language import letters, texts

END = "\n"  # of a sentence
SYMBOLS = (END, *letters.LETTERS)
BOOKS = "books.json"
_CODE = {symbol: number for number, symbol in enumerate(SYMBOLS)}


class Books(NamedTuple):
    """Books as arrays of symbols' numbers (T,), by name."""

    train: dict[str, NDArray[np.uint8]]
    dev: dict[str, NDArray[np.uint8]]
    test: dict[str, NDArray[np.uint8]]


def encode(text: str) -> NDArray[np.uint8]:
    """Return the numbers of symbols. Raises `ConfigError` for one that is not among them."""
    if strange := sorted(set(text) - set(SYMBOLS)):
        problem = f"has symbols that the model does not know: {''.join(strange[:10])!r}"
        raise ConfigError("text", problem, "Use letters.normalise, or speechasym.language.texts")
    return np.array([_CODE[symbol] for symbol in text], np.uint8)


def decode(numbers: Iterable[int]) -> str:
    """Return the text of symbols' numbers."""
    return "".join(SYMBOLS[number] for number in numbers)


def read(path: Path) -> NDArray[np.uint8]:
    """Read a book, a sentence after another. Raises `TextError` for a text without words."""
    sentences = texts.read_sentences(path)
    return encode("".join(letters.SPACE.join(words) + END for words in sentences))


def name_of(path: Path) -> str:
    """Return a book's name, such as austen-emma."""
    return path.name.removesuffix(".gz").removesuffix(".txt")


def prepare(
    sources: Sequence[Path], out: Path, dev: Sequence[str], test: Sequence[str]
) -> dict[str, list[str]]:
    """Write the books of files and folders to `out`, and return what each is for.

    Raises `ConfigError` for a held-out book that does not exist, or nothing to train on.
    """
    paths = {name_of(p): p for source in sources for p in _files(source)}
    for name in (*dev, *test):
        if name not in paths:
            problem = f"no such book among {', '.join(sorted(paths)) or 'none'}"
            raise ConfigError(name, problem, "Give the file's name without .txt")
    parts = {"dev": sorted(dev), "test": sorted(test)}
    parts["train"] = sorted(set(paths) - {*dev, *test})
    if not parts["train"]:
        raise ConfigError(str(out), "no book is left to train on", "Hold fewer out")
    out.mkdir(parents=True, exist_ok=True)
    for name, path in paths.items():
        with files.atomic(out / f"{name}.npy") as file:
            np.save(file, read(path), allow_pickle=False)
    files.write_json(out / BOOKS, parts)
    return parts


def load(folder: Path) -> Books:
    """Load what `prepare` wrote. Raises `ConfigError` where it is not there."""
    if not (folder / BOOKS).is_file():
        problem = f"holds no {BOOKS}"
        raise ConfigError(str(folder), problem, "Run recipes.language.data first")
    parts: Mapping[str, list[str]] = json.loads((folder / BOOKS).read_text("utf-8"))
    arrays = {
        part: {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in names}
        for part, names in parts.items()
    }
    return Books(arrays["train"], arrays["dev"], arrays["test"])


def _files(source: Path) -> list[Path]:
    if source.is_file():
        return [source]
    found = [p for p in sorted(source.glob("*.txt*")) if p.suffix in (".txt", ".gz")]
    if not found:
        raise TextError(source, "holds no .txt or .txt.gz", "Give a folder of books")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("texts", type=Path, nargs="+")
    parser.add_argument("--dev", nargs="+", default=[], metavar="NAME", help="books to choose by")
    parser.add_argument("--test", nargs="+", default=[], metavar="NAME", help="books to test on")
    options = parser.parse_args(arguments)

    def act() -> int:
        parts = prepare(options.texts, options.out, options.dev, options.test)
        books = load(options.out)
        for part, arrays in zip(books._fields, books, strict=True):
            count = sum(map(len, arrays.values()))
            print(f"{part}: {len(parts[part])} books, {count / 1e6:.2f} M symbols")
        return 0

    return guarded(act)


if __name__ == "__main__":
    raise SystemExit(main())
