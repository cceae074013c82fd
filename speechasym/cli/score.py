"""`speechasym score`: ABX errors of features, or error rates of transcripts."""

from argparse import Namespace
from typing import Any

import speechasym
from speechasym.cli.options import optional

CONVENTIONS = ("kaldi", "optional-silence", "merged", "strict", "all")


def add_parser(commands: Any) -> None:
    """Add the command's parsers, one a measure."""
    parser = commands.add_parser(
        "score",
        help="features or transcripts -> error rates",
        description="Score features, or recognised phones, words and letters.",
    )
    measures = parser.add_subparsers(
        required=True, dest="measure", metavar="MEASURE", title="measures"
    )
    _add_abx(measures)
    for measure, unit in (("per", "phone"), ("wer", "word"), ("ler", "letter")):
        _add_error_rate(measures, measure, unit)


def _add_abx(measures: Any) -> None:
    parser = measures.add_parser(
        "abx",
        help="how well features discriminate phones",
        description="Phone ABX error of features, without training: within and across speakers,"
        " in any context and in the same context. Columns are normalised over each recording.",
        epilog="Example:  speechasym score abx --items timit/ --features mfcc/ --rate 100",
    )
    add = parser.add_argument
    add("--items", required=True, metavar="ITEM|TIMIT", help="an .item file, or a TIMIT folder")
    add("--features", required=True, metavar="DIR", help="folder written by extract")
    add("--rate", type=optional(float), help="frames per second, to be checked")
    distances = ("angular", "euclidean")
    add("--distance", default="angular", choices=distances, help="distance between frames")
    text = "use at most N tokens as A, as B and as X in each cell (default: all)"
    add("--most", type=optional(int), metavar="N", help=text)
    text = "use at most N speakers of X (default: all)"
    add("--most-across", type=optional(int), metavar="N", help=text)
    add("--seed", type=int, default=0, help="random seed of the sampling and of the intervals")


def _add_error_rate(measures: Any, measure: str, unit: str) -> None:
    parser = measures.add_parser(
        measure,
        help=f"{unit} error rate",
        description=f"{unit.capitalize()} error rate of hypotheses against references, each a text"
        " file (`ID token token ...`), CTM, TextGrid, .PHN or .WRD, or a folder of them. The"
        " interval comes from resampling speakers.",
        epilog=f"Example:  speechasym score {measure} ref.txt hyp.ctm"
        + (" --convention all" if measure == "per" else ""),
    )
    add = parser.add_argument
    add("ref", metavar="REF", help="references")
    add("hyp", metavar="HYP", help="hypotheses")
    if measure == "per":
        text = "how TIMIT's phones are folded and silences count (default: symbols unchanged)"
        add("--convention", choices=CONVENTIONS, help=text)
    text = "list the N most frequent confusions"
    add("--confusions", type=int, default=0, metavar="N", help=text)
    add("--speakers", metavar="FILE", help="lines of `ID speaker` (default: derived from the ids)")
    add("--tier", help="tier of TextGrids (default: phones or words)")
    add("--strict", action="store_true", help="treat a missing hypothesis as an error")
    add("--seed", type=int, default=0, help="random seed of the interval")


def run(options: Namespace) -> int:
    """Score, and print the table."""
    if options.measure == "abx":
        print(speechasym.abx(
            options.items, options.features, options.rate, distance=options.distance,
            most=options.most, most_across=options.most_across, seed=options.seed,
            show_progress=True,
        ))  # fmt: skip
    else:
        print(speechasym.score(
            options.ref, options.hyp, options.measure,
            getattr(options, "convention", None), options.speakers, tier=options.tier,
            confusions=options.confusions, strict=options.strict, seed=options.seed,
        ))  # fmt: skip
    return 0
