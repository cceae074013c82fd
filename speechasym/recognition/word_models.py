"""Language models and lexica from texts and manifests of cuts, for the decoder."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from speechasym import files
from speechasym.config import check_count, check_range
from speechasym.corpora import checks, manifests
from speechasym.errors import ConfigError, LexiconError, TextError
from speechasym.language import completion, kneser_ney, letter_to_sound, ngrams, texts
from speechasym.language.lexicon import read_lexicon, restrict, write_lexicon
from speechasym.language.model_files import write_model
from speechasym.progress import progress
from speechasym.training import labels

TEXTS = (".txt", ".txt.gz")  # the files of a folder that are read


class LanguageModelSummary(NamedTuple):
    """Counts of `estimate_lm`."""

    model: ngrams.NgramModel
    sentences: int
    words: int  # tokens of the texts
    unknown: int  # of these, outside the vocabulary
    tests: dict[str, ngrams.Perplexity]  # {file: perplexity and unknown words}

    @property
    def vocabulary(self) -> int:
        """Number of words, without the sentence marks and <unk>."""
        return len(self.model.words) - len(ngrams.SPECIAL)

    @property
    def orders(self) -> list[tuple[int, tuple[float, ...]]]:
        """Number of n-grams and discounts of each order, from 1."""
        return list(zip(self.model.sizes, self.model.discounts, strict=True))


def estimate_lm(
    sources: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    order: int = 3,
    transcripts: Sequence[str | Path] = (),
    vocabulary: str | Path | None = None,
    lexicon: str | Path | None = None,
    least: int = 1,
    least_ngram: int = 1,
    least_bigram: int = 1,
    bits: int | None = None,
    test: Sequence[str | Path] = (),
    show_progress: bool = False,
) -> LanguageModelSummary:
    """Estimate an n-gram model by interpolated modified Kneser-Ney, and write it.

    Args:
        sources: plain texts, gzipped or not, folders of .txt and .txt.gz, or manifests of cuts.
            They are read one after the other; of what was read only the numbers of words are kept.
        out: file to write: ARPA, compressed if it ends in .gz; or .npz, which opens faster.
        order: length of the longest n-grams.
        transcripts: more manifests of cuts.
        vocabulary: file whose lines begin with the words to know; default: all words.
        lexicon: keep only words that it pronounces.
        least: keep only words seen so many times.
        least_ngram: prune n-grams of three words and more seen fewer times.
        least_bigram: prune pairs of words seen fewer times.
        bits: round the logarithms of n-grams to so many bits, 2 to 8; default: exact. An .npz file
            becomes three to four times smaller.
        test: texts, folders or manifests to compute the perplexity of.
        show_progress: show progress on stderr.

    Raises:
        ConfigError: no texts, no word left in the vocabulary, or a number out of range.
        TextError, LexiconError, OutputError: a file that cannot be read or written.

    Example:
        >>> summary = speechasym.estimate_lm("books.txt", "lm.arpa.gz", order=2)
        >>> summary.words, len(summary.model.words)
        (15, 11)
    """
    paths = [*([sources] if isinstance(sources, str | Path) else sources), *transcripts]
    if not paths:
        raise ConfigError("texts", "no texts to learn from", "Give texts or transcripts")
    check_range("bits", bits, "a number from 2 to 8, such as 6", 2, 8)
    tests = {str(path): list(read_sentences([path])) for path in test}
    text = kneser_ney.number_words(read_sentences(paths, show_progress))
    sentences, *times = np.bincount(text.numbers + 1, minlength=1).tolist()  # -1 ends a sentence
    counts = dict(zip(text.words, times, strict=True))
    known = _vocabulary(counts, vocabulary, lexicon, least)
    with progress(2, "n-grams", show_progress) as step:
        model = kneser_ney.estimate(
            text, order, vocabulary=known, least=least_ngram, least_bigram=least_bigram
        )
        if bits is not None:
            model = ngrams.rounded(model, 1 << bits)
        step()
        write_model(out, model)
        step()
    unknown = sum(counts[word] for word in counts.keys() - set(model.words))
    perplexities = {path: model.perplexity(rows) for path, rows in tests.items()}
    return LanguageModelSummary(model, sentences, sum(times), unknown, perplexities)


class LexiconSummary(NamedTuple):
    """Counts of `make_lexicon`."""

    words: int  # distinct words asked for
    tokens: int  # their occurrences
    missing: list[str]  # words that the lexicon lacks, most frequent first
    missing_tokens: int
    derived: int  # missing words pronounced by rule from words of the lexicon
    guessed: int  # missing words pronounced from their spelling


def make_lexicon(
    lexicon: str | Path,
    sources: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    guess: bool = False,
    missing: str | Path | None = None,
    most: int | None = None,
    least: int = 1,
    learn_from: int | None = None,
    show_progress: bool = False,
) -> LexiconSummary:
    """Write the part of a lexicon that texts or cuts need, without stress marks.

    Args:
        lexicon: pronunciations in CMUdict's or LibriSpeech's format.
        sources: plain texts, word lists, folders of .txt and .txt.gz, or manifests of cuts.
        out: lexicon to write.
        guess: pronounce missing words from their spelling; the file marks them.
        missing: file to write the missing words to.
        most: keep only so many most frequent words; default: all.
        least: keep only words seen so many times.
        learn_from: number of pronunciations to learn guessing from; default: all.
        show_progress: show progress on stderr.

    Raises:
        ConfigError: a count below 1, or no word left.
        LexiconError: a lexicon that cannot be read or has none of the words.
        TextError, OutputError: a text that cannot be read, a file that cannot be written.

    Example:
        >>> summary = speechasym.make_lexicon("cmudict.txt", "books.txt", "lexicon.txt")
        >>> summary.words, summary.missing
        (8, ['A'])
    """
    for name, value in (("most", most), ("learn_from", learn_from)):
        if value is not None:
            check_count(name, value)
    known = read_lexicon(lexicon)
    paths = [sources] if isinstance(sources, str | Path) else sources
    counts = Counter(word for row in read_sentences(paths, show_progress) for word in row)
    # ties in alphabetical order, so that the same words are kept each time
    wanted = sorted(counts, key=lambda word: (-counts[word], word))[:most]
    wanted = [word for word in wanted if counts[word] >= least]
    if not wanted:
        raise ConfigError("words", "no word is frequent enough", "Lower --least")
    entries = restrict(known, wanted)
    lacking = [word for word in wanted if word not in entries]
    origins: dict[str, str] = {}  # {guessed word: the words it is derived from, or ""}
    if guess and lacking:
        guesser = letter_to_sound.learn(known, most=learn_from)
        complete, origins = completion.complete(known, wanted, guesser)
        entries = restrict(complete, wanted)
    if not entries:
        problem = f"has none of the {len(wanted):,} words, such as {wanted[0]!r}"
        raise LexiconError(lexicon, problem, "Give a lexicon of their language, or use --guess")
    write_lexicon(out, entries, origins)
    if missing is not None:
        with files.atomic(Path(missing)) as file:
            file.write("".join(f"{word}\n" for word in lacking).encode())
    derived = sum(map(bool, origins.values()))
    tokens, lost = (sum(counts[word] for word in words) for words in (wanted, lacking))
    return LexiconSummary(len(wanted), tokens, lacking, lost, derived, len(origins) - derived)


def read_sentences(paths: Iterable[str | Path], show_progress: bool = False) -> Iterator[list[str]]:
    """Yield the sentences of texts, of folders of texts, and of manifests of cuts, in capitals.

    Raises `TextError` for a folder without texts, and for a file without words.
    """
    found = [file for path in paths for file in _text_files(Path(path))]
    with progress(len(found), "texts", show_progress) as step:
        for path in found:
            if path.name.removesuffix(".gz").endswith(manifests.MANIFEST_SUFFIXES):
                yield from (labels.words_of(cut) for _, cut in manifests.stream_cuts(path))
            else:
                yield from texts.read_sentences(path)
            step()


def _text_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    root, places = checks.files_below(path)
    found = [root / place for place in places if place.lower().endswith(TEXTS)]
    if not found:
        problem = f"no {' or '.join(TEXTS)} below this folder"
        raise TextError(path, problem, "Give a folder of plain texts, or files")
    return found


def _vocabulary(
    counts: Mapping[str, int],
    vocabulary: str | Path | None,
    lexicon: str | Path | None,
    least: int,
) -> set[str] | None:
    """Return the words to know; None: all words of the texts."""
    if vocabulary is None and lexicon is None and least == 1:
        return None
    known = set(counts)
    if vocabulary is not None:  # the first word of each line
        lines = files.read_text(vocabulary, ConfigError).split("\n")
        known = {line.split()[0].upper() for line in lines if line.strip()}
    if least > 1:
        known = {word for word in known if counts.get(word, 0) >= least}
    if lexicon is not None:
        entries = read_lexicon(lexicon)
        known = {word for word in known if entries.pronounce(word)}
    if not known:
        remedy = "Check --vocabulary, --lexicon and --least"
        raise ConfigError("vocabulary", "no word is left", remedy)
    return known
