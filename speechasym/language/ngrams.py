"""N-gram language models: modified Kneser-Ney estimates [1], and files in the ARPA format [2].

A model is a tree of n-grams: node 0 is the empty history, its children are the unigrams, theirs
the bigrams. Nodes are numbered order by order, and children of a node follow one another, sorted
by word, so that everything is a handful of flat arrays.

Conventions, those of the common estimators [3]:
- Each sentence is wrapped in <s> and </s>; n-grams do not reach over its ends.
- Counts of the highest order are raw; a lower one counts the different words that come before an
  n-gram. N-grams that begin with <s> have none before them: their counts stay raw.
- <s> is never predicted: its log probability is -99, and it has no share in any distribution.
- Words outside the vocabulary count as <unk>. Unigrams are interpolated with a uniform
  distribution over the vocabulary with <unk> and </s>: this share is all that unseen words have.
- Probabilities are kept as float32 logarithms to the base 10.

Shapes: M nodes (1 + all n-grams), V words with <unk>, <s> and </s>.

[1] S. F. Chen, J. Goodman, "An empirical study of smoothing techniques for language modeling",
    Computer Speech & Language 13, 359-394, 1999: section 3.
[2] The format that began with the language models of the ARPA tasks; as read and written by SRILM:
    A. Stolcke, "SRILM - an extensible language modeling toolkit", ICSLP 2002.
[3] K. Heafield et al., "Scalable modified Kneser-Ney language model estimation", ACL 2013.
"""

import gzip
import logging
import math
import re
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym import files
from speechasym.errors import ArpaError, ConfigError
from speechasym.ops import cpu_ngrams

UNKNOWN, START, END = "<unk>", "<s>", "</s>"
SPECIAL = (UNKNOWN, START, END)  # their numbers are 0, 1, 2 in every model
NEVER = -99.0  # log10 of what is not predicted, by the format's custom
FALLBACK = (0.5, 1.0, 1.5)  # discounts of counts 1, 2, 3 and more, where a text is too small
MOST = 9  # highest order

_log = logging.getLogger(__name__)


class Perplexity(NamedTuple):
    """How well a model predicts a text; </s> is predicted too, <s> is not."""

    perplexity: float  # of the words that the model knows
    with_unknown: float  # of all, the others as <unk>
    sentences: int
    words: int  # without </s>
    unknown: int  # words that the model does not know

    @property
    def unknown_rate(self) -> float:
        """Share of the words that the model does not know (OOV rate)."""
        return self.unknown / self.words if self.words else 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A back-off model. A state is the number of the node of a history, 0 for none."""

    words: tuple[str, ...]  # (V,) by number: <unk>, <s>, </s>, then sorted
    sizes: tuple[int, ...]  # n-grams of each order
    word: NDArray[np.int32]  # (M,) last word of each n-gram; -1 at node 0
    first: NDArray[np.int32]  # (M + 1,) children of node n are first[n] to first[n + 1] - 1
    suffix: NDArray[np.int32]  # (M,) node without the first word, the longest there is; -1 at 0
    probability: NDArray[np.float32]  # (M,) log10
    backoff: NDArray[np.float32]  # (M,) log10
    discounts: tuple[tuple[float, float, float], ...] = ()  # by order; () if read from a file

    @property
    def order(self) -> int:
        """Length of the longest n-grams."""
        return len(self.sizes)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """{word: its number}."""
        return {word: number for number, word in enumerate(self.words)}

    @cached_property
    def state_of(self) -> NDArray[np.int32]:
        """(M,) the shortest history that predicts the same as each node: states to remember."""
        return cpu_ngrams.shortest_states(self.first, self.suffix, self.backoff)

    @property
    def start(self) -> int:
        """The state at the beginning of a sentence."""
        return int(self.state_of[1 + SPECIAL.index(START)])

    def number(self, word: str) -> int:
        """A word's number; that of <unk> where the model does not know it."""
        return self.numbers.get(word, 0)

    def step(self, state: int, number: int) -> tuple[float, int]:
        """log10 p(word | state), and the state after the word. Equal states are equal futures."""
        total, node = cpu_ngrams.next_state(
            self.word, self.first, self.suffix, self.probability, self.backoff, state, number
        )
        return total, int(self.state_of[node])

    def state(self, history: Iterable[str]) -> int:
        """The state after any words; they may begin with <s>, and are not taken to."""
        state = 0
        for word in history:
            state = self.step(state, self.number(word))[1]
        return state

    def log10(self, word: str, history: Iterable[str] = ()) -> float:
        """log10 p(word | history); only the last order - 1 words of the history matter."""
        return self.step(self.state(history), self.number(word))[0]

    def score(self, sentence: Iterable[str]) -> float:
        """log10 of the probability of a whole sentence with its </s>, unknown words as <unk>."""
        return float(self._scores([list(sentence)])[0].sum())

    def _scores(
        self, sentences: Iterable[Sequence[str]]
    ) -> tuple[NDArray[np.float64], NDArray[np.int32], int]:
        """log10 of each word and </s>; their numbers; how many sentences."""
        numbers: list[int] = []
        count = 0
        for sentence in sentences:
            numbers += [self.number(word) for word in sentence] + [SPECIAL.index(END)]
            count += 1
        told = np.array(numbers, np.int32)
        scores = cpu_ngrams.sentence_scores(
            self.word, self.first, self.suffix, self.probability, self.backoff, self.start, told
        )
        return scores, told, count

    def perplexity(self, sentences: Iterable[Sequence[str]]) -> Perplexity:
        """10^(-mean log10 p) over the words and the </s> of sentences.

        Raises:
            ConfigError: no sentences.
        """
        scores, numbers, count = self._scores(sentences)
        if not count:
            raise ConfigError("sentences", "there are none", "Give a text that has words")
        known = numbers != 0
        return Perplexity(
            float(10 ** -scores[known].mean()),
            float(10 ** -scores.mean()),
            count,
            len(numbers) - count,
            int((~known).sum()),
        )

    def ngrams(self, order: int) -> Iterator[tuple[tuple[str, ...], float, float]]:
        """Each n-gram of an order, with its log10 probability and back-off."""
        begin = 1 + sum(self.sizes[: order - 1])
        nodes = np.arange(begin, begin + self.sizes[order - 1])
        columns = [self.word[nodes]]
        for _ in range(order - 1):
            nodes = np.searchsorted(self.first, nodes, "right") - 1  # parents
            columns.insert(0, self.word[nodes])
        rows = np.stack(columns, 1).tolist()
        end = begin + self.sizes[order - 1]
        values = zip(
            self.probability[begin:end].tolist(), self.backoff[begin:end].tolist(), strict=True
        )
        for row, (probability, backoff) in zip(rows, values, strict=True):
            yield tuple(self.words[number] for number in row), probability, backoff

    def write_arpa(self, path: str | Path) -> None:
        """Write an ARPA file, packed if it ends in .gz; what is read back is equal to the bit.

        Raises:
            OutputError: it cannot be written.
        """
        path = Path(path)
        with files.atomic(path) as file:
            if path.suffix == ".gz":  # no name and no time in it: equal models, equal bytes
                with gzip.GzipFile("", "wb", 6, file, 0) as packed:
                    self._write(packed)
            else:
                self._write(file)

    def _write(self, file: "IO[bytes] | gzip.GzipFile") -> None:
        head = [f"ngram {n + 1}={size}\n" for n, size in enumerate(self.sizes)]
        file.write(f"\\data\\\n{''.join(head)}".encode())
        for order in range(1, self.order + 1):
            file.write(f"\n\\{order}-grams:\n".encode())
            last = order == self.order
            lines = (
                f"{p:.9g}\t{' '.join(words)}" + ("\n" if last else f"\t{backoff:.9g}\n")
                for words, p, backoff in self.ngrams(order)
            )
            file.writelines(line.encode() for line in lines)
        file.write(b"\n\\end\\\n")


# --- the tree -------------------------------------------------------------------------------------


def _built(
    words: tuple[str, ...],
    parents: list[NDArray[np.int64]],
    numbers: list[NDArray[np.int64]],
    suffixes: list[NDArray[np.int64]],
    probabilities: list[NDArray[np.float64]],
    backoffs: list[NDArray[np.float64]],
    discounts: tuple[tuple[float, float, float], ...] = (),
) -> Model:
    """A model of what is told of each order: nodes of parents and suffixes, in order of nodes."""
    parent = np.concatenate(parents)
    count = 1 + len(parent)
    first = 1 + np.searchsorted(parent, np.arange(count + 1))
    return Model(
        words=words,
        sizes=tuple(map(len, parents)),
        word=np.concatenate([[-1], *numbers]).astype(np.int32),
        first=first.astype(np.int32),
        suffix=np.concatenate([[-1], *suffixes]).astype(np.int32),
        probability=np.concatenate([[0.0], *probabilities]).astype(np.float32),
        backoff=np.concatenate([[0.0], *backoffs]).astype(np.float32),
        discounts=discounts,
    )


# --- estimation -----------------------------------------------------------------------------------


def estimate(
    sentences: Iterable[Sequence[str]],
    order: int = 3,
    *,
    vocabulary: Collection[str] | None = None,
    least: int = 1,
) -> Model:
    """Interpolated modified Kneser-Ney [1].

    With c the count of an n-gram h w, and D of it the discount D1, D2 or D3+ of its order,

        p(w | h) = (c(h w) - D(c)) / sum_v c(h v) + g(h) p(w | h without its first word)
        g(h) = sum_v D(c(h v)) / sum_v c(h v)
        Dk = k - (k + 1) Y n_{k+1} / n_k,  Y = n1 / (n1 + 2 n2),  n_k n-grams counted k times

    Where one of n1 to n4 is 0, as in tiny texts, or a discount is outside 0 to k, the order gets
    the discounts 0.5, 1 and 1.5, and a warning is logged.

    Args:
        sentences: each a sequence of words, without <s> and </s>; an empty one counts.
        order: the longest n-grams, 1 to 9.
        vocabulary: words to know, seen or not; all others count as <unk>. None: all that are seen.
        least: n-grams of three words and more that occur less often are pruned: their mass goes to
            the back-off. Discounts are found before.

    Raises:
        ConfigError: no sentences, an order or `least` outside its range, a word that has blanks or
            is <s> or </s>, an empty vocabulary.
    """
    if not 1 <= order <= MOST:
        raise ConfigError("order", f"{order} is not within 1 to {MOST}", "3 is usual")
    if least < 1:
        raise ConfigError("least", f"{least} is less than 1", "1 keeps all n-grams")
    kept = [list(sentence) for sentence in sentences]
    if not kept:
        raise ConfigError("sentences", "there are none", "Give a text that has words")
    words = _vocabulary(kept, vocabulary)
    tokens, ends = _numbered(kept, words)
    counted = _count(tokens, ends, order, len(words))
    return _smoothed(words, counted, least)


def _vocabulary(sentences: list[list[str]], known: Collection[str] | None) -> tuple[str, ...]:
    found = {word for sentence in sentences for word in sentence} if known is None else set(known)
    if known is not None and not found - set(SPECIAL):
        raise ConfigError("vocabulary", "it has no words", "Give None to take all that are seen")
    if bad := [word for word in found if not word or word.split() != [word]]:
        raise ConfigError("word", f"{min(bad)!r} is empty or has blanks", "Split it at blanks")
    return SPECIAL + tuple(sorted(found - set(SPECIAL)))


def _numbered(
    sentences: list[list[str]], words: tuple[str, ...]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All sentences, <s> ... </s>, in a row; and for each token where its sentence ends."""
    numbers = {word: number for number, word in enumerate(words)}
    start, end = SPECIAL.index(START), SPECIAL.index(END)
    row: list[int] = []
    lengths = []
    for sentence in sentences:
        row.append(start)
        row += [numbers.get(word, 0) for word in sentence]
        row.append(end)
        lengths.append(len(sentence) + 2)
    if row.count(start) + row.count(end) != 2 * len(sentences):
        raise ConfigError("sentences", f"one has {START} or {END}", "Leave these out")
    ends = np.repeat(np.cumsum(lengths), lengths)
    return np.array(row, np.int64), ends


class _Counts(NamedTuple):
    """The n-grams of one order, sorted; indices are of the order below."""

    prefix: NDArray[np.int64]
    number: NDArray[np.int64]  # of the last word
    suffix: NDArray[np.int64]
    raw: NDArray[np.int64]
    adjusted: NDArray[np.int64]


def _count(
    tokens: NDArray[np.int64], ends: NDArray[np.int64], order: int, words: int
) -> list[_Counts]:
    start = SPECIAL.index(START)
    index = tokens  # of the n-gram that begins at each place, one order lower
    nothing = np.zeros(words, np.int64)
    found = [
        _Counts(nothing, np.arange(words), nothing, np.bincount(tokens, minlength=words), nothing)
    ]
    begins = np.arange(words) == start  # whether the n-gram begins with <s>
    beginning = [begins]
    for n in range(2, order + 1):
        places = np.arange(len(index) - 1)
        places = places[places + n <= ends[: len(places)]]
        keys = index[places] * words + tokens[places + n - 1]
        unique, at, inverse, raw = np.unique(
            keys, return_index=True, return_inverse=True, return_counts=True
        )
        where = places[at]
        found.append(_Counts(unique // words, unique % words, index[where + 1], raw, raw))
        beginning.append(tokens[where] == start)
        index = np.full(len(tokens), -1)
        index[places] = inverse
    for n in range(order - 1):  # the highest order keeps its raw counts
        before = np.bincount(found[n + 1].suffix, minlength=len(found[n].raw))
        adjusted = np.where(beginning[n], found[n].raw, before)
        found[n] = found[n]._replace(adjusted=adjusted)
    if order == 1:
        found[0] = found[0]._replace(adjusted=found[0].raw.copy())
    found[0].adjusted[start] = 0  # never predicted
    return found


def discounts_of(counts: NDArray[np.int64], order: int) -> tuple[float, float, float]:
    """D1, D2, D3+ of the counts of an order's n-grams, as `estimate` says."""
    n1, n2, n3, n4 = (int((counts == k).sum()) for k in (1, 2, 3, 4))
    if min(n1, n2, n3, n4) > 0:
        y = n1 / (n1 + 2 * n2)
        found = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
        if all(0 <= d <= k for k, d in enumerate(found, 1)):
            return found
    _log.warning(
        "order %d: n-grams counted 1, 2, 3, 4 times: %d, %d, %d, %d. These give no discounts: the"
        " text is small. Taken: %s",
        order, n1, n2, n3, n4, ", ".join(map(str, FALLBACK)),
    )  # fmt: skip
    return FALLBACK


def _smoothed(words: tuple[str, ...], counted: list[_Counts], least: int) -> Model:
    discounts = tuple(discounts_of(c.adjusted, n) for n, c in enumerate(counted, 1))
    predicted = len(words) - 1  # all but <s>
    lower = np.full(1, 1 / predicted)  # probabilities of the order below, here the uniform one
    kept_below = np.ones(1, bool)
    parents, numbers, suffixes, probabilities, backoffs = [], [], [], [], []
    begin, begin_below = 1, 0  # nodes of this order, of the order below
    for n, (counts, discount) in enumerate(zip(counted, discounts, strict=True), 1):
        kept = counts.raw >= least if n > 2 else np.ones(len(counts.raw), bool)
        c = counts.adjusted
        held = np.array([0.0, *discount])[np.minimum(c, 3)]  # what an n-gram gives to the back-off
        held = np.where(kept, held, c)
        sums = np.bincount(counts.prefix, c, len(lower))
        given = np.bincount(counts.prefix, held, len(lower))
        # a history that nothing follows gives all
        backoff = np.divide(given, sums, out=np.ones(len(lower)), where=sums > 0)
        own = (c - held) / np.maximum(sums, 1)[counts.prefix]
        p = own + backoff[counts.prefix] * lower[counts.suffix]
        if n > 1:
            backoffs.append(np.log10(np.where(backoff > 0, backoff, 10**NEVER))[kept_below])
        # prefixes and suffixes occur at least as often, so they are kept as well
        renumbered = np.cumsum(kept_below) - 1 + begin_below
        parents.append(renumbered[counts.prefix[kept]])
        suffixes.append(renumbered[counts.suffix[kept]])
        numbers.append(counts.number[kept])
        probabilities.append(np.log10(np.where(p > 0, p, 10**NEVER))[kept])
        begin_below, begin = begin, begin + int(kept.sum())
        lower, kept_below = p, kept
    backoffs.append(np.zeros(int(kept_below.sum())))
    probabilities[0][SPECIAL.index(START)] = NEVER
    return _built(words, parents, numbers, suffixes, probabilities, backoffs, discounts)


# --- files ----------------------------------------------------------------------------------------

_DECLARED = re.compile(r"ngram\s+(\d+)\s*=\s*(\d+)")
_WRITE_AGAIN = "Write the file again"


def read_arpa(path: str | Path) -> Model:
    """Read an ARPA file, packed or not. <s> may have the log probability 0 or -99; <unk> may lack.

    Raises:
        ArpaError: no file or an empty one, no `\\data\\`, counts that are not those of the
            sections, a number that is none or is above 0, an n-gram with a word that is no
            unigram, with a history that is no n-gram, or told twice, no <s> or </s>, no `\\end\\`.
    """
    path = Path(path)
    lines = _Lines(path)
    declared = _declared(lines)
    sections = [_section(lines, n, size, len(declared)) for n, size in enumerate(declared, 1)]
    if lines.line != "\\end\\":
        raise lines.error(f"`\\end\\` is expected, not {lines.shown}", "The file may be cut off")
    return _linked(path, sections)


class _Lines:
    """The lines of a file, stripped, without empty ones; `line` is None at the end."""

    def __init__(self, path: Path) -> None:
        self.path, self.number = path, 0
        try:
            raw = path.read_bytes()
            if raw[:2] == b"\x1f\x8b":
                raw = gzip.decompress(raw)
            # not splitlines: that splits at signs that may be in a word
            self._lines = raw.decode("utf-8-sig").rstrip().split("\n")
        except OSError as error:
            why = error.strerror or str(error)
            raise ArpaError(path, f"cannot be read ({why})", "Check the path") from error
        except (EOFError, zlib.error) as error:
            raise ArpaError(path, "is packed and not whole", _WRITE_AGAIN) from error
        except UnicodeDecodeError as error:
            raise ArpaError(path, "is no text", "Give an ARPA file, in UTF-8") from error
        if not raw.strip():
            raise ArpaError(path, "is empty", _WRITE_AGAIN)
        self.line: str | None = ""
        self.next()

    def next(self) -> None:
        while self.number < len(self._lines):
            self.line = self._lines[self.number].strip(" \t\r")
            self.number += 1
            if self.line:
                return
        self.line = None

    @property
    def shown(self) -> str:
        if self.line is None:
            return "the end of the file"
        return repr(self.line if len(self.line) < 60 else self.line[:57] + "...")

    def error(self, problem: str, remedy: str) -> ArpaError:
        return ArpaError(f"{self.path}:{self.number}", problem, remedy)


def _declared(lines: _Lines) -> list[int]:
    """The numbers of n-grams, as the header has them."""
    while lines.line is not None and lines.line != "\\data\\":
        lines.next()  # text before it is a comment
    if lines.line is None:
        raise ArpaError(lines.path, "has no line `\\data\\`", "Give an ARPA file")
    lines.next()
    sizes: list[int] = []
    while lines.line is not None and (match := _DECLARED.fullmatch(lines.line)):
        if int(match[1]) != len(sizes) + 1:
            raise lines.error(f"`ngram {len(sizes) + 1}=` is expected, not {lines.shown}", "Sort")
        sizes.append(int(match[2]))
        lines.next()
    if not sizes:
        raise lines.error(f"`ngram 1=COUNT` is expected, not {lines.shown}", _WRITE_AGAIN)
    if len(sizes) > MOST:
        raise lines.error(f"order {len(sizes)} is above {MOST}", "Give a shorter model")
    return sizes


class _Section(NamedTuple):
    words: list[list[str]]
    probability: list[float]
    backoff: list[float]
    line: list[int]


def _section(lines: _Lines, order: int, size: int, last: int) -> _Section:
    title = f"\\{order}-grams:"
    if lines.line != title:
        raise lines.error(f"`{title}` is expected, not {lines.shown}", _WRITE_AGAIN)
    lines.next()
    found = _Section([], [], [], [])
    most = order + (2 if order < last else 1)
    while (line := lines.line) is not None and not (line[0] == "\\" and line[-1] in ":\\"):
        fields = line.split()
        if not order < len(fields) <= most:
            raise lines.error(
                f"{lines.shown}: a number, {order} words"
                f"{' and maybe a number' if order < last else ''} are expected",
                "Mend the line",
            )
        found.probability.append(_number(lines, fields[0], True))
        found.backoff.append(_number(lines, fields[-1], False) if len(fields) > order + 1 else 0.0)
        found.words.append(fields[1 : order + 1])
        found.line.append(lines.number)
        lines.next()
    if len(found.words) != size:
        raise lines.error(
            f"{len(found.words)} n-grams of order {order}, and the header says {size}",
            "The file may be cut off" if lines.line is None else "Mend the header",
        )
    return found


def _number(lines: _Lines, text: str, probability: bool) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise lines.error(f"{text!r} is no number", "Mend the line")
    if probability and value > 0:
        raise lines.error(f"log probability {text} is above 0", "Give logarithms to the base 10")
    return value


def _linked(path: Path, sections: list[_Section]) -> Model:
    """The tree of the n-grams of each order, in any order within it."""
    one = sections[0]
    for word in (START, END):
        if [word] not in one.words:
            raise ArpaError(path, f"has no unigram {word}", "Give a model of whole sentences")
    if [UNKNOWN] not in one.words:
        one = _Section(
            [*one.words, [UNKNOWN]], [*one.probability, NEVER], [*one.backoff, 0.0], [*one.line, 0]
        )
        sections = [one, *sections[1:]]
    names = {word for (word,) in one.words}
    words = SPECIAL + tuple(sorted(names - set(SPECIAL)))
    numbers = {word: number for number, word in enumerate(words)}
    count = len(words)
    parents: list[NDArray[np.int64]] = []
    lasts, suffixes, probabilities, backoffs = [], [], [], []
    keys: list[NDArray[np.int64]] = []  # of each order: node of the parent x V + word
    begins: list[int] = []  # node of the first n-gram of each order
    begin = 1

    def find(rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Nodes of n-grams (n, k); -1 where there is none."""
        nodes = np.zeros(len(rows), np.int64)
        for k in range(rows.shape[1]):
            wanted = nodes * count + rows[:, k]
            at = np.minimum(np.searchsorted(keys[k], wanted), max(len(keys[k]) - 1, 0))
            there = (keys[k][at] == wanted) if len(keys[k]) else np.zeros(len(rows), bool)
            nodes = np.where(there & (nodes >= 0), at + begins[k], -1)
        return nodes

    for order, section in enumerate(sections, 1):
        try:
            flat = [numbers[word] for row in section.words for word in row]
        except KeyError as error:
            row = next(i for i, row in enumerate(section.words) if set(row) - names)
            raise ArpaError(
                f"{path}:{section.line[row]}",
                f"{error.args[0]!r} is no unigram",
                "Mend the line, or add it",
            ) from error
        rows = np.array(flat, np.int64).reshape(-1, order)
        parent = find(rows[:, :-1])
        if (parent < 0).any():
            row = int(np.flatnonzero(parent < 0)[0])
            raise ArpaError(
                f"{path}:{section.line[row]}",
                f"the history {' '.join(section.words[row][:-1])!r} is no n-gram",
                "Add it, with its back-off",
            )
        key = parent * count + rows[:, -1]
        sort = np.argsort(key, kind="stable")
        key = key[sort]
        if len(twice := np.flatnonzero(key[1:] == key[:-1])):
            row = int(sort[twice[0] + 1])
            raise ArpaError(
                f"{path}:{section.line[row]}",
                f"{' '.join(section.words[row])!r} is there twice",
                "Remove one",
            )
        suffix = np.full(len(rows), -1)
        for k in range(1, order + 1):  # where the next shorter n-gram lacks, one shorter still
            suffix = np.where(suffix < 0, find(rows[:, k:]), suffix)
        parents.append(parent[sort])
        lasts.append(rows[sort, -1])
        suffixes.append(suffix[sort])
        probabilities.append(np.array(section.probability)[sort])
        backoffs.append(np.array(section.backoff)[sort])
        keys.append(key)
        begins.append(begin)
        begin += len(rows)
    probabilities[0][SPECIAL.index(START)] = NEVER
    return _built(words, parents, lasts, suffixes, probabilities, backoffs)
