"""`speechasym lm`: texts -> an n-gram language model."""

from argparse import Namespace
from typing import Any

import speechasym
from speechasym.cli.options import SEVERAL, add_overwrite, print_table, replacing, split_all
from speechasym.config import plural


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "lm",
        help="texts -> a language model",
        description="Estimate an n-gram language model of words from plain texts and transcripts:"
        " interpolated modified Kneser-Ney, written as an ARPA file or in a binary form.",
        epilog="Example:  speechasym lm books --transcripts train_cuts.jsonl.gz --order 3\n"
        "            --lexicon lexicon.txt --out lm.arpa.gz --test dev_cuts.jsonl.gz",
    )
    add = parser.add_argument
    text = "plain texts, such as books (.txt, .txt.gz), or folders of them"
    add("texts", nargs="*", metavar="TEXT", help=text)
    text = "file to write: ARPA, compressed if it ends in .gz; or .npz, which opens faster"
    add("--out", required=True, metavar="FILE", help=text)
    add_overwrite(add)
    add("--order", type=int, default=3, help="length of the longest n-grams")
    text = "manifests of cuts whose transcripts are added"
    add("--transcripts", **SEVERAL, metavar="CUTS", help=text)
    text = "words of the model, the first of each line (default: all words of the texts)"
    add("--vocabulary", metavar="FILE", help=text)
    add("--lexicon", metavar="FILE", help="keep only words that it pronounces")
    add("--least", type=int, default=1, metavar="N", help="keep only words seen N times")
    text = "prune n-grams of three words and more seen fewer than N times"
    add("--least-ngram", type=int, default=1, metavar="N", help=text)
    text = "prune pairs of words seen fewer than N times"
    add("--least-bigram", type=int, default=1, metavar="N", help=text)
    text = "round the logarithms to N bits, 2 to 8: a smaller .npz (default: exact)"
    add("--bits", type=int, metavar="N", help=text)
    text = "report perplexity and unknown words on these"
    add("--test", **SEVERAL, metavar="CUTS|TEXT", help=text)


def run(options: Namespace) -> int:
    """Estimate and write the model, and print a summary."""
    with replacing(options, "out"):
        result = speechasym.estimate_lm(
            options.texts, options.out, order=options.order,
            transcripts=split_all(options.transcripts), vocabulary=options.vocabulary,
            lexicon=options.lexicon, least=options.least, least_ngram=options.least_ngram,
            least_bigram=options.least_bigram, bits=options.bits,
            test=split_all(options.test), show_progress=True,
        )  # fmt: skip
    rows = [
        ("sentences", f"{result.sentences:,}"),
        ("words", f"{result.words:,}, of which {result.unknown:,} unknown"),
        ("vocabulary", f"{result.vocabulary:,}"),
    ]
    for order, (size, discounts) in enumerate(result.orders, 1):
        text = ", ".join(f"{discount:.3f}" for discount in discounts)
        rows.append((f"{order}-grams", f"{size:,}; discounts {text}"))
    for path, test in result.tests.items():
        text = (
            f"{test.perplexity:.1f} on {path}: {plural(test.sentences, 'sentence')},"
            f" {plural(test.words, 'word')},"
            f" {test.unknown_rate:.2%} unknown"
        )
        rows.append(("perplexity", text))
    print_table(f"Language model {options.out}", rows)
    return 0
