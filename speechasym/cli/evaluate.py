"""`speechasym evaluate`: a run and cuts -> error rates."""

from argparse import Namespace
from collections.abc import Sequence
from typing import Any

import speechasym
from speechasym.cli.options import (
    add_overwrite,
    add_run,
    command_line,
    optional,
    print_table,
    replacing,
    warn,
)
from speechasym.config import names, plural
from speechasym.errors import ConfigError

BY_LEXICON = "words by lexicon"  # the head of the decoder
WEIGHTS = ("lm_weight", "word_score", "letters_weight", "words_weight", "blank_penalty", "beam")


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "evaluate",
        help="a run's error rates on cuts",
        description="Compute the error rates of a run on cuts, with intervals over speakers, the"
        " events per second of each level, and the real-time factor. Several runs read together."
        " Without a run the model that comes with the package is used, with its lexicon and"
        " language model.",
        epilog="Examples:\n"
        "  speechasym evaluate --cuts librispeech/dev-clean_cuts.jsonl.gz\n"
        "  speechasym evaluate runs/mini --cuts mini/test_cuts.jsonl.gz\n"
        "  speechasym evaluate runs/mini --cuts mini/test_cuts.jsonl.gz --lexicon cmudict.txt\n"
        "      --lm books.arpa.gz --from both",
    )
    add = parser.add_argument
    add_run(add, several=True)
    add("--cuts", required=True, metavar="CUTS", help="manifest written by prepare")
    text = "comma-separated: phones, letters, words (default: all heads of the run)"
    add("--heads", type=names, metavar="LIST", help=text)
    add("--out", metavar="JSON", help="also write all results to this file")
    add_overwrite(add)
    text = "write hypotheses and references to this folder, for `speechasym score`"
    add("--hypotheses", metavar="DIR", help=text)
    add("--batch-seconds", type=float, default=120.0, metavar="S", help="audio per batch, in s")
    add("--device", default="auto", help="auto, cpu or cuda")
    add("--seed", type=int, default=0, help="random seed of the intervals")
    text = (
        "fit confidences to what is correct in these cuts, of readers whom the run has not heard,"
    )
    text += " and write confidence.json to its folder"
    add("--calibrate", action="store_true", help=text)
    text = "recognise on a dask cluster: tcp://HOST:PORT, or local:N for N processes"
    add("--scheduler", metavar="ADDRESS", help=text)
    add_decoder(parser)


def add_decoder(parser: Any) -> None:
    """Add the options of decoding words by a lexicon and a language model."""
    add = parser.add_argument_group("words by lexicon and language model").add_argument
    text = "pronunciations (default: the run's lexicon, if any)"
    add("--lexicon", metavar="FILE", help=text)
    text = "n-gram language model of words, from `lm` or ARPA (default: the run's, if any)"
    add("--lm", metavar="LM", help=text)
    add("--from", default="phones", metavar="HEAD", help="phones, letters or both")
    for name, kind, text in (
        ("--lm-weight", float, "weight of the language model (default: 0.7; 1 if trained by mmi)"),
        ("--word-score", float, "score added for each word (default: 0)"),
        ("--letters-weight", float, "weight of the letters head (default: 1 if used)"),
        ("--words-weight", float, "weight of the words head (default: 0; 0.15 by mmi)"),
        ("--blank-penalty", float, "subtracted from the blank's log p (default: 1; -0.7 by mmi)"),
        ("--beam", int, "number of hypotheses kept (default: 300; 600 by mmi)"),
    ):
        add(name, type=optional(kind), help=text)
    text = "guess from the spelling how words sound that --lexicon lacks"
    add("--spelling", action="store_true", help=text)


def decoder_options(options: Namespace, runs: Sequence[str], *, aside: str = "") -> dict[str, Any]:
    """Return the options of `Recogniser` that are set; `aside` needs no language model."""
    from speechasym.recognition.installed import run_folder
    from speechasym.recognition.trained_model import LANGUAGE_MODELS

    values = vars(options)
    chosen = {k: values[k] for k in ("lexicon", "lm", *WEIGHTS) if values[k] is not None}
    chosen |= {"spelling": True} if options.spelling else {}
    has_lm = options.lm is not None
    has_lm |= not runs or any((run_folder(runs[0]) / name).is_file() for name in LANGUAGE_MODELS)
    if not has_lm and (idle := [name for name in chosen if name != aside]):
        option = f"--{idle[0].replace('_', '-')}"
        raise ConfigError(option, "has no effect without a language model", "Give --lm too")
    return chosen | {"words_from": values["from"]}


def run(options: Namespace) -> int:
    """Evaluate, print tables, and write the files asked for."""
    heads = options.heads
    recorded = ["run", "cuts", "heads", "out", "hypotheses", "batch_seconds", "device", "seed"]
    recorded += ["calibrate"]
    recorded += ["lexicon", "lm", *(["from"] if options.lm else []), *WEIGHTS, "spelling"]
    if options.lm is not None:
        heads = None if heads is None else (*heads, BY_LEXICON)
    with replacing(options, "out"):
        result = speechasym.evaluate(
            options.run or None, options.cuts, heads=heads,
            batch_seconds=options.batch_seconds, device=options.device, seed=options.seed,
            scheduler=options.scheduler, out=options.out, hypotheses_dir=options.hypotheses,
            command=command_line(options, recorded), calibrate=options.calibrate,
            **decoder_options(options, options.run, aside="lexicon"),
        )  # fmt: skip
    print_evaluation(result)
    if options.lexicon and result.decoding is None and not (result.spelled and result.spelled.cuts):
        warn("--lexicon had no effect: it needs a language model, or cuts without phones")
    for path in (options.out, options.hypotheses, result.calibration):
        if path is not None:
            print(path)
    return 0


def print_evaluation(result: Any) -> None:
    """Print error rates, levels and real-time factors."""
    from speechasym.recognition.evaluation import MEASURES

    speakers = len(set(result.speakers.values()))
    rows: list[Any] = []
    for name, score in result.scores.items():
        interval = f"{100 * score.low:.1f}-{score.high:.1%}" if score.speakers > 1 else "-"
        counts = (f"{n:,}" for n in (score.counts.length, *score.counts[1:4]))
        rows.append((name, MEASURES[name], f"{score.rate:.2%}", interval, *counts))
    title = f"{plural(len(result.speakers), 'cut')}, {result.seconds:.0f} s, "
    columns = ["head", "", "rate", "95 % interval", "N", "S", "D", "I"]
    plain: Any = {"box": None, "padding": (0, 2, 0, 0)}  # so that 80 columns hold every figure
    print_table(title + plural(speakers, "speaker"), rows, columns, words=2, **plain)
    if result.levels:
        rows = []
        for level in result.levels:
            beta, n, selectivity = (
                "-" if value is None else f"{value:.3g}"
                for value in (level.beta, level.resolution, level.selectivity)
            )
            if level.units and level.resolution is None:
                n = "all"
            rates = (f"{level.steps:.1f}", f"{level.events:.1f}")
            rows.append((str(level.level), *rates, str(level.units or "-"), beta, n, selectivity))
        columns = ["level", "steps/s", "events/s", "units", "beta", "N", "selectivity"]
        print_table("Levels", rows, columns, words=0, **plain)
    if result.feedback is not None:
        count, loops = len(result.speakers), result.feedback
        print(f"Feedback: {loops['passes']:.1f} passes on average, {loops['most']} at most; "
              f"{loops['settled']} of {plural(count, 'cut')} settled")  # fmt: skip
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
    for text, errors in (
        ("Calibration error of confidences", result.confidence),
        ("Calibrated on the other speakers", result.crossed),
    ):
        if errors:
            print(f"{text}: " + ", ".join(f"{head} {e:.3f}" for head, e in errors.items()))
    if result.spelled is not None and str(result.spelled):
        print(result.spelled)
    if speakers == 1:
        print("No interval: at least two speakers are needed")
