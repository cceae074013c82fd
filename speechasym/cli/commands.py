"""The commands `score` and `prepare`: their options, and the one public function each calls."""

from jsonargparse import ArgumentParser, Namespace

CONVENTIONS = ("kaldi", "optional-silence", "merged", "strict", "all")


def add_score(score: ArgumentParser) -> None:
    """`score abx|per|wer|ler`; to be called once `score` itself is a subcommand."""
    measures = score.add_subcommands(required=True, dest="measure")
    measures.add_subcommand("abx", _abx_parser(), help="how well features tell phones apart")
    for unit, what in (("per", "phone"), ("wer", "word"), ("ler", "letter")):
        measures.add_subcommand(unit, _errors_parser(unit, what), help=f"{what} error rate")


def _abx_parser() -> ArgumentParser:
    parser = ArgumentParser(
        description="Phone ABX error of features, without training: within and across speakers,"
        " between any and the same neighbours. Columns are normalised over each recording.",
        epilog="Example:  speechasym score abx --items timit/ --features mfcc/ --rate 100",
    )
    add = parser.add_argument
    add("--items", required=True, metavar="ITEM|TIMIT", help="a .item file, or a TIMIT folder")
    add("--features", required=True, metavar="DIR", help="folder made by extract")
    add("--rate", type=float | None, default=None, help="frames a second; checked if given")
    add("--distance", default="angular", choices=("angular", "euclidean"), help="of frames")
    add(
        "--most", type=int | None, default=None,
        help="at most so many tokens of A, of B and of X per cell; null: all",
    )  # fmt: skip
    add(
        "--most-across", type=int | None, default=None,
        help="at most so many speakers of X; null: all",
    )  # fmt: skip
    add("--seed", type=int, default=0, help="random seed of the drawing and of the intervals")
    return parser


def _errors_parser(unit: str, what: str) -> ArgumentParser:
    parser = ArgumentParser(
        description=f"{what.capitalize()} error rate of hypotheses against references: text"
        " (`ID token token ...`), CTM, TextGrid, .PHN or .WRD, or a folder of them; with an"
        " interval by resampling speakers.",
        epilog=f"Example:  speechasym score {unit} ref.txt hyp.ctm"
        + (" --convention all" if unit == "per" else ""),
    )
    add = parser.add_argument
    add("ref", metavar="REF", help="references")
    add("hyp", metavar="HYP", help="hypotheses")
    if unit == "per":
        add(
            "--convention", default=None, choices=CONVENTIONS,
            help="how TIMIT's phones are folded and silences count; null: as they are",
        )  # fmt: skip
    add("--confusions", type=int, default=0, metavar="N", help="list the N most frequent")
    add(
        "--speakers", default=None, metavar="FILE",
        help="`ID speaker` a line; null: from the ids",
    )  # fmt: skip
    add("--tier", default=None, help="of TextGrids; null: phones or words")
    add("--strict", action="store_true", help="missing hypotheses are an error, not empty ones")
    add("--seed", type=int, default=0, help="random seed of the interval")
    return parser


def run_score(options: Namespace) -> int:
    """Score, and print."""
    chosen = options[options.measure]
    if options.measure == "abx":
        return _abx(chosen)
    from speechasym.scoring.error_rates import report

    print(
        report(
            chosen.ref, chosen.hyp, options.measure, chosen.get("convention"), chosen.speakers,
            tier=chosen.tier, confusions=chosen.confusions, strict=chosen.strict, seed=chosen.seed,
        )
    )  # fmt: skip
    return 0


def _abx(chosen: Namespace) -> int:
    from speechasym.scoring.abx import abx

    result = abx(
        chosen["items"],  # `chosen.items` is a method of every namespace
        chosen.features,
        chosen.rate,
        distance=chosen.distance,
        most=chosen.most,
        most_across=chosen.most_across,
        seed=chosen.seed,
    )
    print(result)
    return 0


def add_prepare(prepare: ArgumentParser) -> None:
    """`prepare timit|librispeech|mini`; to be called once `prepare` itself is a subcommand."""
    corpora = prepare.add_subcommands(required=True, dest="corpus")
    for name, make, what in (
        ("timit", _timit_parser, "the LDC disc, a re-packaging, or the free sample"),
        ("librispeech", _librispeech_parser, "any of its subsets"),
        ("mini", _mini_parser, "speech made here by espeak-ng, with exact times"),
    ):
        corpora.add_subcommand(name, make(), help=what)


def _corpus_parser(name: str, example: str) -> ArgumentParser:
    parser = ArgumentParser(
        description=f"Prepare {name}: lhotse manifests of recordings, supervisions with the times"
        " of phones and words, and cuts, and one report of all that was found.",
        epilog=f"Example:  speechasym prepare {example}",
    )
    return parser


def _out_and_strict(parser: ArgumentParser) -> None:
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for manifests")
    parser.add_argument("--strict", action="store_true", help="write nothing if there are errors")


def _timit_parser() -> ArgumentParser:
    parser = _corpus_parser("TIMIT", "timit /data/TIMIT --out corpora/timit")
    parser.add_argument("root", metavar="ROOT", help="its folder, however packed")
    _out_and_strict(parser)
    parser.add_argument(
        "--sa", action="store_true", help="keep SA1 and SA2, which all speakers read"
    )
    parser.add_argument(
        "--seed", type=int | None, default=None,
        help="of a split by speakers, where there is no official one; null: TRAIN and TEST",
    )  # fmt: skip
    return parser


def _librispeech_parser() -> ArgumentParser:
    parser = _corpus_parser("LibriSpeech", "librispeech /data/LibriSpeech --out corpora/libri")
    parser.add_argument("root", metavar="ROOT", help="the folder of its subsets")
    _out_and_strict(parser)
    parser.add_argument("--subsets", default=None, metavar="LIST", help="with commas; null: all")
    return parser


def _mini_parser() -> ArgumentParser:
    parser = _corpus_parser("the mini corpus", "mini --out corpora/mini")
    _out_and_strict(parser)
    parser.add_argument("--seed", type=int, default=0, help="of sentences, voices, rooms and noise")
    parser.add_argument("--minutes", type=float, default=25.0, help="of speech, about")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="processes")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace another mini corpus there"
    )
    return parser


def run_prepare(options: Namespace) -> int:
    """Prepare a corpus, and print its report."""
    from speechasym import corpora

    chosen = dict(vars(options[options.corpus]))
    out, strict = chosen.pop("out"), chosen.pop("strict")
    root = chosen.pop("root", out)
    if chosen.get("subsets", ""):
        chosen["subsets"] = [part.strip() for part in chosen["subsets"].split(",")]
    done = corpora.prepare(options.corpus, root, out, strict, show_progress=True, **chosen)
    print(done.text)
    print(f"Manifests: {done.out}")
    return 1 if done.corpus.report.number("error") else 0
