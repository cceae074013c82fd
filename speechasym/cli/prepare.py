"""`speechasym prepare`: a corpus -> lhotse manifests and a preparation report."""

from argparse import Namespace
from typing import Any

import speechasym
from speechasym.cli.options import numbers, optional
from speechasym.config import names


def add_parser(commands: Any) -> None:
    """Add the command's parsers, one a corpus."""
    parser = commands.add_parser(
        "prepare",
        help="a corpus -> manifests and a report",
        description="Prepare a corpus as lhotse manifests.",
    )
    corpora = parser.add_subparsers(required=True, dest="corpus", metavar="CORPUS", title="corpora")
    timit = _add_corpus(
        corpora, "timit", "TIMIT", "timit /data/TIMIT --out corpora/timit",
        "the LDC disc, a re-packaging, or the free sample",
    )  # fmt: skip
    add = timit.add_argument
    add("root", metavar="ROOT", help="folder of the corpus, in any packaging")
    _add_duplicates(timit)
    add("--sa", action="store_true", help="keep SA1 and SA2, which every speaker reads")
    add(
        "--seed", type=optional(int),
        help="random seed of a split by speakers where the official one is not available"
        " (default: split by TRAIN and TEST)",
    )  # fmt: skip
    librispeech = _add_corpus(
        corpora, "librispeech", "LibriSpeech",
        "librispeech /data/LibriSpeech --out corpora/librispeech",
        "any of its subsets, as FLAC or Opus",
    )  # fmt: skip
    add = librispeech.add_argument
    add("root", metavar="ROOT", help="folder that holds the subsets")
    _add_duplicates(librispeech)
    add("--subsets", type=names, metavar="LIST", help="comma-separated (default: all)")
    folder = _add_corpus(
        corpora, "folder", "your own recordings", "folder recordings --out corpora/own",
        "your own recordings, with texts beside them or a table",
    )  # fmt: skip
    add = folder.add_argument
    text = "folder with NAME.txt, NAME.lab or NAME.TextGrid beside each NAME.wav, or with a table"
    add("root", metavar="DIR|TABLE", help=f"{text} (.csv, .tsv: path, text, speaker, start, end)")
    _add_duplicates(folder)
    text = "a file's speaker is the first N characters of its name (default: its first sub-folder)"
    add("--speaker-characters", type=optional(int), metavar="N", help=text)
    add("--seed", type=int, default=0, help="random seed of the split")
    text = "shares of train, dev and test; 0 leaves a set out (default: 0.8,0.1,0.1)"
    add("--shares", type=numbers, metavar="LIST", default=(0.8, 0.1, 0.1), help=text)
    text = "speakers, or recordings: sets then share speakers"
    add("--split-by", choices=("speakers", "recordings"), default="speakers", help=text)
    add("--lexicon", metavar="FILE", help="report words that this lexicon lacks")
    mini = _add_corpus(
        corpora, "mini", "the mini corpus", "mini --out corpora/mini",
        "speech synthesised here by espeak-ng, with exact times",
    )  # fmt: skip
    add = mini.add_argument
    add("--seed", type=int, default=0, help="random seed of sentences, voices, rooms and noise")
    add("--minutes", type=float, default=25.0, help="approximate duration of the speech")
    add("--workers", type=int, default=2, metavar="N", help="number of processes")
    add("--overwrite", action="store_true", help="replace another mini corpus there")


def _add_corpus(corpora: Any, name: str, title: str, example: str, help: str) -> Any:
    parser = corpora.add_parser(
        name,
        help=help,
        description=f"Prepare {title}: lhotse manifests of recordings, supervisions with the times"
        " of phones and words, and cuts, and a report of all problems found.",
        epilog=f"Example:  speechasym prepare {example}",
    )
    add = parser.add_argument
    add("--out", required=True, metavar="DIR", help="folder for the manifests")
    add("--strict", action="store_true", help="write nothing if there are errors")
    return parser


def _add_duplicates(parser: Any) -> None:
    text = "keep utterances with the same samples as earlier ones"
    parser.add_argument("--keep-duplicates", action="store_true", help=text)


def run(options: Namespace) -> int:
    """Prepare, and print the report. Exit code 1 if the corpus has errors."""
    skip = ("command", "corpus", "root", "out", "strict")
    chosen = {name: value for name, value in vars(options).items() if name not in skip}
    root = getattr(options, "root", options.out)
    result = speechasym.prepare(
        options.corpus, root, options.out, options.strict, show_progress=True, **chosen
    )
    print(result.text)
    print(f"Manifests: {result.out}")
    return 1 if result.corpus.report.number("error") else 0
