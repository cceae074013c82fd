"""The commands about texts: `lm`, `lexicon`."""

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

SHOWN = 40  # missing words that are told


def lm_parser() -> ArgumentParser:
    """Options of `lm`."""
    parser = ArgumentParser(
        description="Estimate an n-gram language model of words from plain texts and transcripts:"
        " interpolated modified Kneser-Ney, as an ARPA file.",
        epilog="Example:  speechasym lm books/*.txt --transcripts train_cuts.jsonl.gz --order 3"
        " --lexicon lexicon.txt --out lm.arpa.gz --test dev_cuts.jsonl.gz",
    )
    add = parser.add_argument
    add("texts", nargs="*", metavar="TEXT", help="plain texts, such as books")
    add("--out", required=True, metavar="ARPA", help="file to write; packed if it ends in .gz")
    add("--order", type=int, default=3, help="length of the longest n-grams")
    add(
        "--transcripts", nargs="+", action="extend", default=[], metavar="CUTS",
        help="manifests of cuts whose transcripts are learned too; also with commas",
    )  # fmt: skip
    add(
        "--vocabulary", default=None, metavar="FILE",
        help="the words to know, the first of each line; null: all that are seen",
    )  # fmt: skip
    add("--lexicon", default=None, metavar="FILE", help="know only words that it pronounces")
    add("--least", type=int, default=1, metavar="N", help="know only words seen N times")
    add(
        "--least-ngram", type=int, default=1, metavar="N",
        help="prune n-grams of three words and more seen fewer times",
    )  # fmt: skip
    add(
        "--test", nargs="+", action="extend", default=[], metavar="CUTS|TEXT",
        help="tell the perplexity and the unknown words of these",
    )  # fmt: skip
    return parser


def lexicon_parser() -> ArgumentParser:
    """Options of `lexicon`."""
    parser = ArgumentParser(
        description="Write the part of a lexicon that a corpus or a text needs, without stress."
        " Words that it lacks are listed; or guessed from their spelling, and marked so.",
        epilog="Example:  speechasym lexicon cmudict.txt --words train_cuts.jsonl.gz books/*.txt"
        " --out lexicon.txt --guess",
    )
    add = parser.add_argument
    add("lexicon", metavar="LEXICON", help="in CMUdict's or LibriSpeech's format")
    add(
        "--words", nargs="+", action="extend", default=[], required=True,
        metavar="CUTS|TEXT|LIST", help="what to take words from",
    )  # fmt: skip
    add("--out", required=True, metavar="FILE", help="lexicon to write")
    add("--guess", action="store_true", help="guess the words it lacks; the file marks them")
    add("--missing", default=None, metavar="FILE", help="write the words it lacks there")
    add(
        "--most", type=int | None, default=None, metavar="N",
        help="only the N most frequent words; null: all",
    )  # fmt: skip
    add("--least", type=int, default=1, metavar="N", help="only words seen N times")
    add(
        "--learn-from", type=int | None, default=None, metavar="N",
        help="pronunciations to learn guessing from, drawn from the lexicon; null: all",
    )  # fmt: skip
    return parser


def _listed(values: list[str]) -> list[str]:
    return [part for value in values for part in value.split(",") if part]


def _sentences(path: str) -> list[list[str]]:
    """Of a manifest of cuts, else of a plain text."""
    from speechasym.corpora import manifests
    from speechasym.language import texts
    from speechasym.training import labels

    if Path(path).name.removesuffix(".gz").endswith(manifests.MANIFEST_SUFFIXES):
        return [labels.words_of(cut) for cut in manifests.read_cuts(Path(path))]
    return texts.read_text(path)


def _table(title: str) -> Any:
    from rich.table import Table

    table = Table(title=title, show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    return table


def _print(table: Any) -> None:
    from rich.console import Console

    Console(soft_wrap=False, highlight=False).print(table, markup=False)


def run_lm(options: Namespace) -> int:
    """Estimate, write and tell."""
    from speechasym.errors import ConfigError
    from speechasym.language import ngrams

    sources = [*options.texts, *_listed(options.transcripts)]
    if not sources:
        raise ConfigError("TEXT", "nothing to learn from", "Give texts, or --transcripts")
    sentences = [sentence for source in sources for sentence in _sentences(source)]
    tests = {path: _sentences(path) for path in _listed(options.test)}
    vocabulary = _known(options, sentences)
    model = ngrams.estimate(
        sentences, options.order, vocabulary=vocabulary, least=options.least_ngram
    )
    model.write_arpa(options.out)
    own = set(model.words)
    total = sum(map(len, sentences))
    unknown = sum(word not in own for sentence in sentences for word in sentence)
    table = _table(f"Language model {options.out}")
    table.add_row("sentences", f"{len(sentences):,}")
    table.add_row("words", f"{total:,}, of which {unknown:,} unknown")
    table.add_row("vocabulary", f"{len(own) - len(ngrams.SPECIAL):,}")
    for order, (size, discounts) in enumerate(zip(model.sizes, model.discounts, strict=True), 1):
        said = ", ".join(f"{discount:.3f}" for discount in discounts)
        table.add_row(f"{order}-grams", f"{size:,}; discounts {said}")
    for path, test in tests.items():
        found = model.perplexity(test)
        table.add_row(
            "perplexity",
            f"{found.perplexity:.1f} on {path}: {found.sentences:,} sentences, {found.words:,}"
            f" words, {found.unknown_rate:.2%} unknown",
        )
    _print(table)
    return 0


def _known(options: Namespace, sentences: list[list[str]]) -> set[str] | None:
    """The vocabulary that the options ask for; None: all words of the sentences."""
    from collections import Counter

    from speechasym.errors import ConfigError
    from speechasym.language import lexicon

    if options.vocabulary is None and options.lexicon is None and options.least == 1:
        return None
    counts = Counter(word for sentence in sentences for word in sentence)
    known = set(counts) if options.vocabulary is None else _words(options.vocabulary)
    if options.least > 1:
        known = {word for word in known if counts[word] >= options.least}
    if options.lexicon is not None:
        known &= set(lexicon.read(options.lexicon))
    if not known:
        raise ConfigError(
            "vocabulary", "no word is left in it", "Mend --vocabulary, --lexicon or --least"
        )
    return known


def _words(path: str) -> set[str]:
    """The first word of each line, in capitals."""
    from speechasym.errors import ConfigError

    try:
        text = Path(path).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "no UTF-8"
        raise ConfigError(path, f"cannot be read ({why})", "Give a word a line") from error
    return {line.split()[0].upper() for line in text.splitlines() if line.strip()}


def run_lexicon(options: Namespace) -> int:
    """Restrict, complete, write and tell."""
    from collections import Counter

    from speechasym import files
    from speechasym.errors import ConfigError
    from speechasym.language import letter_to_sound, lexicon

    if options.most is not None:
        _at_least_1("--most", options.most)
    if options.learn_from is not None:
        _at_least_1("--learn-from", options.learn_from)
    known = lexicon.read(options.lexicon)
    counts = Counter(
        word for path in _listed(options.words) for row in _sentences(path) for word in row
    )
    # equally frequent ones by the alphabet, so that the same words are kept each time
    wanted = sorted(counts, key=lambda word: (-counts[word], word))[: options.most]
    wanted = [word for word in wanted if counts[word] >= options.least]
    if not wanted:
        raise ConfigError("--words", "no word is left of them", "Lower --least")
    own = letter_to_sound.restricted(known, wanted)
    missing = [word for word in wanted if word not in own]
    made: dict[str, str] = {}
    if options.guess and missing:
        guesser = letter_to_sound.learn(known, most=options.learn_from)
        whole, made = letter_to_sound.complete(known, wanted, guesser)
        own = letter_to_sound.restricted(whole, wanted)
    letter_to_sound.write_lexicon(options.out, own, made)
    if options.missing is not None:
        with files.atomic(Path(options.missing)) as file:
            file.write("".join(f"{word}\n" for word in missing).encode())
    total = sum(counts[word] for word in wanted)
    lacks = sum(counts[word] for word in missing)
    table = _table(f"Lexicon {options.out}")
    table.add_row("words", f"{len(wanted):,}, {total:,} times")
    table.add_row("in the lexicon", f"{len(wanted) - len(missing):,}")
    share = f"{lacks / total:.2%} of the text" if total else "none"
    table.add_row("missing", f"{len(missing):,}, {share}")
    if options.guess:
        derived = sum(map(bool, made.values()))
        table.add_row("derived", f"{derived:,}, from words of the lexicon")
        table.add_row("guessed", f"{len(made) - derived:,}")
        if left := len(missing) - len(made):
            table.add_row("left out", f"{left:,} that cannot be guessed")
    shown = ", ".join(missing[:SHOWN])
    if missing:
        more = f" and {len(missing) - SHOWN:,} more" if len(missing) > SHOWN else ""
        table.add_row("such as" if more else "these", shown + more)
    _print(table)
    return 0


def _at_least_1(option: str, value: int) -> None:
    from speechasym.errors import ConfigError

    if value < 1:
        raise ConfigError(option, f"{value} is less than 1", "Give a number of words")
