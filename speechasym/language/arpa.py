"""N-gram models in files: the ARPA format, gzipped or not.

The format began with the language models of the ARPA tasks; it is that of SRILM: A. Stolcke,
"SRILM - an extensible language modeling toolkit", ICSLP 2002.
"""

import gzip
import math
import re
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym import files
from speechasym.errors import ArpaError
from speechasym.language.ngrams import (
    END,
    MAX_ORDER,
    NEVER,
    SPECIAL,
    START,
    UNKNOWN,
    NgramModel,
    Order,
    build_model,
)

_SIZE = re.compile(r"ngram\s+(\d+)\s*=\s*(\d+)")
_FLOAT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|-inf")
_BLANKS = re.compile(r"[ \t]+")  # others, such as U+00A0, may occur in a word
# how toolkits write <unk>: SRILM, HTK (!!UNK), and others
_UNKNOWN = re.compile(r"<unk>|!!unk|\[unk\]|<oov>|<unknown>", re.IGNORECASE)


def write_arpa(path: str | Path, model: NgramModel) -> None:
    """Write a model, gzipped if the name ends in .gz; `read_arpa` returns the same bits.

    Equal models give equal bytes.

    Raises:
        OutputError: the file cannot be written.
    """
    path = Path(path)
    with files.atomic(path) as file:
        if path.suffix == ".gz":
            with gzip.GzipFile("", "wb", 6, file, 0) as packed:  # no name and no time in it
                _write(model, packed)
        else:
            _write(model, file)


def _write(model: NgramModel, file: "IO[bytes] | gzip.GzipFile") -> None:
    sizes = "".join(f"ngram {n}={size}\n" for n, size in enumerate(model.sizes, 1))
    file.write(f"\\data\\\n{sizes}".encode())
    for order in range(1, model.order + 1):
        file.write(f"\n\\{order}-grams:\n".encode())
        last = order == model.order
        lines = (
            f"{p:.9g}\t{' '.join(words)}" + ("\n" if last else f"\t{backoff:.9g}\n")
            for words, p, backoff in model.ngrams(order)
        )
        file.writelines(line.encode() for line in lines)
    file.write(b"\n\\end\\\n")


def read_arpa(path: str | Path) -> NgramModel:
    """Read a model. <s> may have the log probability 0 or -99; -inf is read as -99.

    <unk> may be missing, or be written <UNK>, !!UNK (HTK), [UNK], <OOV> or <unknown>, in any case.
    A back-off of the highest order has no meaning, and is ignored.

    Raises:
        ArpaError: the file cannot be read or is truncated; a count that differs from its section;
            a number that is invalid, or a log probability above 0; an n-gram that is a duplicate,
            or has a word that is not a unigram or a history that is not an n-gram; no <s> or </s>.
    """
    lines = _Lines(path)
    sizes = _read_sizes(lines)
    sections = [_read_section(lines, n, size, len(sizes)) for n, size in enumerate(sizes, 1)]
    lines.expect("\\end\\", "Check whether the file is truncated")
    return _link(lines, sections)


class _Lines:
    """The lines of a file, stripped, without empty ones; `line` is None at the end."""

    def __init__(self, path: str | Path) -> None:
        self.path, self.number = path, 0
        # not splitlines: it splits at characters that may occur in a word
        self._lines = files.read_text(path, ArpaError).rstrip().split("\n")
        self.line: str | None = ""
        self.next()

    def next(self) -> None:
        self.line = None
        while not self.line and self.number < len(self._lines):
            self.line = self._lines[self.number].strip(" \t")
            self.number += 1

    def expect(self, line: str, remedy: str = "Write the file again") -> None:
        """Raise an error unless the current line is the one expected."""
        if self.line != line:
            raise self.error(f"expected `{line}`, got {self.quoted}", remedy)

    @property
    def quoted(self) -> str:
        if self.line is None:
            return "the end of the file"
        return repr(self.line if len(self.line) < 60 else self.line[:57] + "...")

    def error(self, problem: str, remedy: str, number: int | None = None) -> ArpaError:
        return ArpaError(f"{self.path}:{number or self.number}", problem, remedy)


def _read_sizes(lines: _Lines) -> list[int]:
    """Read the header: the number of n-grams of each order."""
    while lines.line is not None and lines.line != "\\data\\":
        lines.next()  # text before it is a comment
    if lines.line is None:
        raise ArpaError(lines.path, "has no line `\\data\\`", "Give an ARPA file")
    lines.next()
    sizes: list[int] = []
    while lines.line is not None and (match := _SIZE.fullmatch(lines.line)):
        if int(match[1]) != len(sizes) + 1:
            problem = f"expected `ngram {len(sizes) + 1}=COUNT`, got {lines.quoted}"
            raise lines.error(problem, "Sort the lines")
        sizes.append(int(match[2]))
        lines.next()
    if not sizes:
        lines.expect("ngram 1=COUNT")
    if len(sizes) > MAX_ORDER:
        problem = f"order must be at most {MAX_ORDER}, got {len(sizes)}"
        raise lines.error(problem, "Use a model of a lower order")
    return sizes


class _Section(NamedTuple):
    """The n-grams of one order as written."""

    words: list[list[str]]
    probability: list[float]
    backoff: list[float]
    line: list[int]


def _read_section(lines: _Lines, order: int, size: int, last: int) -> _Section:
    lines.expect(f"\\{order}-grams:")
    lines.next()
    section = _Section([], [], [], [])
    while (line := lines.line) is not None and not (line[0] == "\\" and line[-1] in ":\\"):
        fields = _BLANKS.split(line)
        if order == last and len(fields) == order + 2 and _FLOAT.fullmatch(fields[-1]):
            fields.pop()
        if not order < len(fields) <= order + (2 if order < last else 1):
            fields_expected = f"a number, {order} words{' and maybe a number' * (order < last)}"
            raise lines.error(f"expected {fields_expected}, got {lines.quoted}", "Fix the line")
        probability = _number(lines, fields[0])
        if probability > 0:
            problem = f"log probability must be <= 0, got {fields[0]}"
            raise lines.error(problem, "Use logarithms to the base 10")
        section.probability.append(probability)
        section.backoff.append(_number(lines, fields[-1]) if len(fields) > order + 1 else 0.0)
        section.words.append(fields[1 : order + 1])
        section.line.append(lines.number)
        lines.next()
    if len(section.words) != size:
        truncated = "Check whether the file is truncated"
        problem = (
            f"expected {size} n-grams of order {order} by the header, got {len(section.words)}"
        )
        raise lines.error(problem, truncated if lines.line is None else "Fix the header")
    return section


def _number(lines: _Lines, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if value == -math.inf:
        return NEVER
    if not math.isfinite(value):
        raise lines.error(f"{text!r} is not a finite number", "Fix the line")
    return value


def _find(
    orders: list[NDArray[np.int64]], words: int, rows: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the nodes of n-grams (n, k); -1 for those that are missing.

    Args:
        orders: the sorted keys of each order, from 1: node of the history x words + last word.
    """
    nodes, first = np.zeros(len(rows), np.int64), 1
    for keys, column in zip(orders, rows.T, strict=False):
        if not len(keys):
            return np.full(len(rows), -1)
        wanted = nodes * words + column
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        nodes = np.where((keys[at] == wanted) & (nodes >= 0), at + first, -1)
        first += len(keys)
    return nodes


def _link(lines: _Lines, sections: list[_Section]) -> NgramModel:
    """Build the tree of the n-grams of each order, which may come in any sequence."""
    unigrams = sections[0]
    for word in (START, END):
        if [word] not in unigrams.words:
            raise ArpaError(lines.path, f"has no unigram {word}", "Use a model of whole sentences")
    names = {word for (word,) in unigrams.words}
    spellings = [UNKNOWN] if UNKNOWN in names else sorted(filter(_UNKNOWN.fullmatch, names))
    if len(spellings) > 1:
        problem = f"{' and '.join(spellings)} are both unigrams for unknown words"
        raise ArpaError(lines.path, problem, f"Rename the right one {UNKNOWN}")
    if not spellings:
        unigrams.words.append([UNKNOWN])
        unigrams.probability.append(NEVER)
        unigrams.backoff.append(0.0)
        unigrams.line.append(0)
        names.add(UNKNOWN)
    words = SPECIAL + tuple(sorted(names.difference(SPECIAL, spellings)))
    numbers = {word: number for number, word in enumerate(words)} | dict.fromkeys(spellings, 0)
    orders: list[Order] = []
    keys_of: list[NDArray[np.int64]] = []  # of each order, see `_find`
    for order, section in enumerate(sections, 1):
        try:
            flat = [numbers[word] for row in section.words for word in row]
        except KeyError as error:
            line = next(
                n for n, r in zip(section.line, section.words, strict=True) if set(r) - names
            )
            problem = f"{error.args[0]!r} is not a unigram"
            raise lines.error(problem, "Fix the line, or add it", line) from error
        rows = np.array(flat, np.int64).reshape(-1, order)
        parent = _find(keys_of, len(words), rows[:, :-1])
        if (parent < 0).any():
            i = int(np.flatnonzero(parent < 0)[0])
            problem = f"the history {' '.join(section.words[i][:-1])!r} is not an n-gram"
            raise lines.error(problem, "Add it, with its back-off", section.line[i])
        keys = parent * len(words) + rows[:, -1]
        sort = np.argsort(keys, kind="stable")
        keys = keys[sort]
        if len(repeated := np.flatnonzero(keys[1:] == keys[:-1])):
            i = int(sort[repeated[0] + 1])
            problem = f"{' '.join(section.words[i])!r} is a duplicate"
            raise lines.error(problem, "Remove one of them", section.line[i])
        suffix = np.full(len(rows), -1)
        for k in range(1, order + 1):  # if the next shorter n-gram is missing, one shorter still
            shorter = _find(keys_of, len(words), rows[:, k:])
            suffix = np.where(suffix < 0, shorter, suffix)
        probability, backoff = np.array(section.probability), np.array(section.backoff)
        order_rows = Order(parent, rows[:, -1], suffix, probability, backoff)
        orders.append(Order._make(column[sort] for column in order_rows))
        keys_of.append(keys)
    return build_model(words, orders)
