"""`speechasym evaluate`: a run and cuts -> error rates."""

import shlex
from argparse import Namespace
from typing import Any

from speechasym.cli.options import names, optional, print_rich
from speechasym.errors import ConfigError

BY_LEXICON = "words by lexicon"  # the head of the decoder
WEIGHTS = (
    "lm_weight", "word_score", "letters_weight", "words_weight", "blank_penalty", "beam",
)  # fmt: skip


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "evaluate",
        help="a run's error rates on cuts",
        description="Compute the error rates of a trained run on cuts, with intervals over"
        " speakers, the events per second of each level, and the real-time factor.",
        epilog="Examples:\n"
        "  speechasym evaluate runs/mini --cuts mini/test_cuts.jsonl.gz\n"
        "  speechasym evaluate runs/mini --cuts mini/test_cuts.jsonl.gz --lexicon cmudict.txt\n"
        "      --lm books.arpa.gz --from both",
    )
    parser.set_defaults(execute=run)
    add = parser.add_argument
    add("run", metavar="RUN", help="folder of a finished run")
    add("--cuts", required=True, metavar="CUTS", help="manifest written by prepare")
    add(
        "--heads", type=names, default=None, metavar="LIST",
        help="comma-separated: phones, letters, words (default: all heads of the run)",
    )  # fmt: skip
    add("--out", default=None, metavar="JSON", help="also write all results to this file")
    add(
        "--hypotheses", default=None, metavar="DIR",
        help="write hypotheses and references to this folder, for `speechasym score`",
    )  # fmt: skip
    add("--batch-seconds", type=float, default=120.0, metavar="S", help="audio per batch, in s")
    add("--device", default="auto", help="auto, cpu or cuda")
    add("--seed", type=int, default=0, help="random seed of the intervals")
    add_decoder(parser)


def add_decoder(parser: Any) -> None:
    """Add the options of decoding words by a lexicon and a language model."""
    add = parser.add_argument_group("words by lexicon and language model").add_argument
    add("--lexicon", default=None, metavar="FILE", help="pronunciations of the words to find")
    add("--lm", default=None, metavar="ARPA", help="n-gram language model of words")
    add("--from", default="phones", metavar="HEAD", help="phones, letters or both")
    for name, kind, text in (
        ("--lm-weight", float, "weight of the language model's log probability (default: 0.7)"),
        ("--word-score", float, "score added for each word (default: 0)"),
        ("--letters-weight", float, "weight of the letters head (default: 1 if used)"),
        ("--words-weight", float, "weight of the words head (default: 0)"),
        ("--blank-penalty", float, "factor of the blank's log probability (default: 1)"),
        ("--beam", int, "number of hypotheses kept (default: 150)"),
    ):
        add(name, type=optional(kind), default=None, help=text)
    add(
        "--spelling", action="store_true",
        help="guess from the spelling how words sound that --lexicon lacks",
    )  # fmt: skip


def decoder_options(options: Namespace, *, needs_lm: bool = True) -> dict[str, Any]:
    """Return the options of `Recogniser` that are set."""
    chosen = vars(options)
    given = {k: chosen[k] for k in ("lexicon", "lm", *WEIGHTS) if chosen[k] is not None}
    given |= {"spelling": True} if options.spelling else {}
    if needs_lm and given and options.lm is None:
        option = f"--{next(iter(given)).replace('_', '-')}"
        raise ConfigError(option, "has no effect without a language model", "Give --lm too")
    return given | {"words_from": chosen["from"]}


def run(options: Namespace) -> int:
    """Evaluate, print tables, and write the files asked for."""
    import speechasym

    heads = options.heads
    if heads is not None and options.lm is not None:
        heads = (*heads, BY_LEXICON)
    result = speechasym.evaluate(
        options.run, options.cuts, heads=heads,
        batch_seconds=options.batch_seconds, device=options.device, seed=options.seed,
        out=options.out, hypotheses_dir=options.hypotheses, command=_command(options),
        **decoder_options(options),
    )  # fmt: skip
    print_evaluation(result)
    for path in (options.out, options.hypotheses):
        if path is not None:
            print(path)
    return 0


def _command(options: Namespace) -> str:
    words = ["speechasym", "evaluate", options.run]
    recorded = ["cuts", "heads", "out", "hypotheses", "batch_seconds", "device", "seed"]
    recorded += ["lexicon", "lm", "from", *WEIGHTS] if options.lm is not None else []
    for name in recorded:
        if (value := getattr(options, name)) is not None:
            text = ",".join(value) if isinstance(value, tuple) else str(value)
            words += [f"--{name.replace('_', '-')}", text]
    return shlex.join(words + (["--spelling"] if options.spelling else []))


def print_evaluation(result: Any) -> None:
    """Print error rates, levels and real-time factors."""
    from rich.table import Table

    from speechasym.recognition.evaluation import MEASURES

    speakers = len(set(result.speakers.values()))
    table = Table(
        title=f"{len(result.speakers)} cuts, {result.seconds:.0f} s, {speakers} speaker"
        f"{'s' if speakers > 1 else ''}",
        title_justify="left",
        box=None,  # so that 80 columns hold every figure
        padding=(0, 2, 0, 0),
    )
    for name in ("head", "", "rate", "95 % interval", "N", "S", "D", "I"):
        justify: Any = "left" if name in ("head", "") else "right"
        table.add_column(name, justify=justify, no_wrap=True)
    for name, score in result.scores.items():
        interval = f"{100 * score.low:.1f}-{score.high:.1%}" if score.speakers > 1 else "-"
        counts = (score.counts.length, *score.counts[1:4])
        table.add_row(
            name, MEASURES[name], f"{score.rate:.2%}", interval, *(f"{n:,}" for n in counts)
        )
    print_rich(table)
    if result.levels:
        table = Table(title="Levels", title_justify="left", box=None, padding=(0, 2, 0, 0))
        for name in ("level", "steps/s", "events/s", "units", "beta", "N", "selectivity"):
            table.add_column(name, justify="right")
        for level in result.levels:
            numbers = (level.beta, level.resolution, level.selectivity)
            n = "all" if level.units and level.resolution is None else None
            cells = ["-" if value is None else f"{value:.3g}" for value in numbers]
            cells[1] = n or cells[1]
            table.add_row(
                str(level.level), f"{level.steps:.1f}", f"{level.events:.1f}",
                str(level.units or "-"), *cells,
            )  # fmt: skip
        print_rich(table)
    spent = f"model {result.model_seconds / result.seconds:.4f}"
    if result.feature_seconds is not None:
        spent += f", features {result.feature_seconds / result.seconds:.4f}"
    if result.decoding is not None:
        spent += f", words by lexicon {result.decoding['real_time_factor']:.4f}"
    print(f"Real-time factor on {result.device}: {spent}; {result.trained.parameters:,} parameters")
    if result.decoding is not None:
        unknown = result.decoding["unknown_words"]
        shares = {"language model": unknown["lm"], "lexicon": unknown["lexicon"]}
        parts = [f"{name} {share:.2%}" for name, share in shares.items() if share is not None]
        print(f"Words in the references but unknown: {', '.join(parts)}")
    if speakers == 1:
        print("No interval: at least two speakers are needed")
