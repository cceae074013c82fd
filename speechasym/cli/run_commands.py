"""The commands around a training run: `train`, `evaluate`, `transcribe`, and `plot` of a run."""

import shlex
import sys
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

FIGURES = ("curves", "confusion", "units", "ranks", "levels")
WORD_WEIGHTS = (
    "lm_weight", "word_score", "letters_weight", "words_weight", "blank_penalty", "beam",
)  # fmt: skip
WORD_OPTIONS = ("lexicon", "lm", "from", *WORD_WEIGHTS)


def train_parser() -> ArgumentParser:
    """Options of `train`."""
    parser = ArgumentParser(
        description="Train a recogniser of phones, letters and words on prepared cuts. A run that"
        " was stopped goes on with --resume.",
        epilog="Example:  speechasym train --config mini.yaml --out runs/mini --set epochs=40"
        " model.preset=small",
    )
    add = parser.add_argument
    add("--config", required=True, metavar="FILE", help="YAML file: data, model, heads, ...")
    add("--out", required=True, metavar="RUN", help="folder of the run")
    add("--resume", action="store_true", help="go on where the run in --out stopped")
    add(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE",
        help="over the file's values, with dots: data.train=cuts.jsonl.gz, model.levels.0.units=48",
    )  # fmt: skip
    return parser


def evaluate_parser() -> ArgumentParser:
    """Options of `evaluate`."""
    parser = ArgumentParser(
        description="Error rates of a trained run on cuts, with intervals over speakers; events a"
        " second of each level, and the time it takes.",
        epilog="Example:  speechasym evaluate runs/mini --cuts mini/test_cuts.jsonl.gz\n"
        "          ... --lexicon cmudict.txt --lm books.arpa.gz --from both",
    )
    add = parser.add_argument
    add("run", metavar="RUN", help="folder of a finished run")
    add("--cuts", required=True, metavar="CUTS", help="manifest that prepare wrote")
    add(
        "--heads", default=None, metavar="LIST",
        help="of phones, letters, words; null: all that the run has",
    )  # fmt: skip
    add("--out", default=None, metavar="JSON", help="write all figures into this file too")
    add(
        "--hypotheses", default=None, metavar="DIR",
        help="write what was recognised, and what was said, for `speechasym score`",
    )  # fmt: skip
    add("--batch-seconds", type=float, default=120.0, help="of audio at a time")
    add("--device", default="auto", help="auto, cpu or cuda")
    add("--seed", type=int, default=0, help="random seed of the intervals")
    _add_words(parser)
    return parser


def _add_words(parser: ArgumentParser) -> None:
    """Options of words by a lexicon and a language model."""
    add = parser.add_argument
    add("--lexicon", default=None, metavar="FILE", help="pronunciations: find words by them, too")
    add("--lm", default=None, metavar="ARPA", help="n-gram language model of words, for this")
    add("--from", default="phones", metavar="HEAD", help="phones, letters or both")
    add("--lm-weight", type=float, default=None, help="of its log p; null: 0.7")
    add("--word-score", type=float, default=None, help="for each word; null: 0")
    add("--letters-weight", type=float, default=None, help="of the letters' log p; null: 1, or 0")
    add("--words-weight", type=float, default=None, help="of the words head's log p; null: 0")
    add("--blank-penalty", type=float, default=None, help="of the blank's log p; null: 1")
    add("--beam", type=int, default=None, help="hypotheses kept; null: 150")
    add(
        "--spelling", action="store_true",
        help="guess how the words sound that --lexicon lacks, from their spelling",
    )  # fmt: skip


def _decoder(options: Namespace, trained: Any) -> Any:
    """The decoder that the options ask for; None for none."""
    from speechasym.errors import ConfigError
    from speechasym.recognition.decoder import config_of, open_decoder

    given = {name: options[name] for name in WORD_WEIGHTS if options[name] is not None}
    source = options["from"]
    if options.lm is None:
        others = {"lexicon": options.lexicon, "spelling": options.spelling or None, **given}
        if told := [name for name, value in others.items() if value is not None]:
            option = f"--{told[0].replace('_', '-')}"
            raise ConfigError(option, "says nothing without a language model", "Give --lm too")
        return None
    if options.lexicon is None and source != "letters":
        raise ConfigError("--lexicon", "is not given", "Give pronunciations, or --from letters")
    opened = open_decoder(
        trained, options.lexicon, options.lm, config_of(source, **given), spelling=options.spelling
    )
    for warning in opened.warnings():
        print(f"speechasym: {warning}", file=sys.stderr)
    return opened


def transcribe_parser() -> ArgumentParser:
    """Options of `transcribe`."""
    parser = ArgumentParser(
        description="Write the phones, letters and words that a trained run hears in recordings of"
        " any sample rate. Long ones are heard in stretches, cut where they are quietest. Without a"
        " run the model that comes with the package listens, for English read aloud, and words are"
        " found by its lexicon and language model.",
        epilog="Example:  speechasym transcribe talk.flac;"
        "  speechasym transcribe runs/mini talk.flac --textgrid out",
    )
    add = parser.add_argument
    add(
        "inputs", nargs="+", metavar="[RUN] FILE",
        help="folder of a finished run, if any; recordings, folders of them, or globs",
    )  # fmt: skip
    add(
        "--textgrid", default=".", metavar="DIR",
        help="write STEM.TextGrid, a tier a head, there; none: do not",
    )  # fmt: skip
    add("--level", default=None, metavar="HEAD", help="only phones, letters or words; null: all")
    add("--channel", default=None, help="mean, or a channel's number from 0; null: as in training")
    add("--longest", type=float, default=30.0, metavar="S", help="s that are heard at a time")
    _add_words(parser)
    return parser


def add_plot(parser: ArgumentParser) -> None:
    """Options of `plot` that concern a run."""
    add = parser.add_argument
    add(
        "--cuts", default=None, metavar="CUTS",
        help="of a run: cuts to recognise for confusion and ranks; units and levels show one",
    )  # fmt: skip
    add("--cut", default=None, metavar="ID", help="of --cuts, the one to show; null: the first")
    add(
        "--recording", default=None, metavar="FILE",
        help="of a run: for units, ranks and levels, in place of --cuts",
    )  # fmt: skip


def _console() -> Any:
    from rich.console import Console

    return Console(soft_wrap=False, highlight=False)


def run_train(options: Namespace) -> int:
    """Train, and tell what came out. Exit code 130 for a run that was stopped."""
    from rich.table import Table

    from speechasym.recognition.transcription import open_run
    from speechasym.training import config as configs
    from speechasym.training import loop

    config = configs.read(options.config, options["set"])
    done = loop.train(config, options.out, resume=options.resume)
    table = Table(title=f"Run {done['folder']}", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    for head in config.heads.used:
        if (error := done["dev"].get(f"dev_error_{head}")) is not None:
            chosen = head == config.chosen and done["best"] is not None
            best = f"; best {done['best']:.2%}, step {done['best_step']}" if chosen else ""
            table.add_row(f"dev error, {head}", f"{error:.2%}{best}")
    if done["finished"]:
        table.add_row("parameters", f"{open_run(options.out).parameters:,}")
    table.add_row("steps, epochs", f"{done['steps']:,}, {done['epochs']:,}")
    table.add_row("time", f"{done['seconds']:,.0f} s")
    for head, names in done["left_out"].items():
        if names:
            plural = "s" if len(names) > 1 else ""
            table.add_row(
                f"left out of {head}",
                f"{len(names)} cut{plural}, while the model had fewer steps than labels",
            )
    table.add_row("ended", done["reason"])
    _console().print(table, markup=False)
    run = shlex.quote(str(options.out))
    if not done["finished"]:
        print(f"Go on:   {_again(options)}")
        return 130
    print(f"Model:   {Path(options.out, 'model.safetensors')}")
    print(f"Next:    speechasym evaluate {run} --cuts CUTS")
    print(f"         speechasym transcribe {run} RECORDING --textgrid DIR")
    print(f"         speechasym plot {run} --what curves --out curves.png")
    return 0


def _again(options: Namespace) -> str:
    words = ["speechasym", "train", "--config", options.config, "--out", options.out, "--resume"]
    words += ["--set", *options["set"]] if options["set"] else []
    return shlex.join(map(str, words))


def run_evaluate(options: Namespace) -> int:
    """Evaluate, print tables, and write what was asked for."""
    from speechasym import files
    from speechasym.recognition import evaluation
    from speechasym.recognition.transcription import open_run

    trained = open_run(options.run)
    found = evaluation.evaluate(
        trained, options.cuts, heads=_heads(options.heads),
        batch_seconds=options.batch_seconds, device=options.device, seed=options.seed,
        words=_decoder(options, trained),
    )  # fmt: skip
    if options.hypotheses is not None:
        evaluation.write_hypotheses(options.hypotheses, found)
    if options.out is not None:
        command = ["speechasym", "evaluate", options.run]
        plain = ("cuts", "heads", "out", "hypotheses", "batch_seconds", "device", "seed")
        for name in (*plain, *(WORD_OPTIONS if options.lm is not None else ())):
            if options[name] is not None:
                command += [f"--{name.replace('_', '-')}", str(options[name])]
        command += ["--spelling"] if options.spelling else []
        files.write_json(Path(options.out), {"command": shlex.join(command), **found.as_json()})
    _tell(found)
    for path in (options.out, options.hypotheses):
        if path is not None:
            print(path)
    return 0


def _heads(value: str | list[str] | None) -> list[str] | None:
    if value is None:
        return None
    parts = value.split(",") if isinstance(value, str) else value
    return [part.strip() for part in parts if part.strip()]


def _tell(found: Any) -> None:
    from rich.table import Table

    from speechasym.recognition.evaluation import MEASURES

    speakers = len(set(found.speakers.values()))
    console = _console()
    table = Table(
        title=f"{len(found.speakers)} cuts, {found.seconds:.0f} s, {speakers} speaker"
        f"{'s' if speakers > 1 else ''}",
        title_justify="left",
        box=None,  # so that 80 columns hold every figure
        padding=(0, 2, 0, 0),
    )
    for name in ("head", "", "rate", "95 % interval", "N", "S", "D", "I"):
        justify: Any = "left" if name in ("head", "") else "right"
        table.add_column(name, justify=justify, no_wrap=True)
    for name, result in found.scores.items():
        interval = f"{100 * result.low:.1f}-{result.high:.1%}" if result.speakers > 1 else "-"
        counts = (result.counts.length, *result.counts[1:4])
        table.add_row(
            name, MEASURES[name], f"{result.rate:.2%}", interval, *(f"{n:,}" for n in counts)
        )
    console.print(table, markup=False)
    if found.flows:
        table = Table(title="Levels", title_justify="left", box=None, padding=(0, 2, 0, 0))
        for name in ("level", "steps/s", "events/s", "units", "beta", "N", "selectivity"):
            table.add_column(name, justify="right")
        for flow in found.flows:
            numbers = (flow.beta, flow.resolution, flow.selectivity)
            n = "all" if flow.units and flow.resolution is None else None
            said = ["-" if value is None else f"{value:.3g}" for value in numbers]
            said[1] = n or said[1]
            table.add_row(
                str(flow.level), f"{flow.steps:.1f}", f"{flow.events:.1f}",
                str(flow.units or "-"), *said,
            )  # fmt: skip
        console.print(table, markup=False)
    spent = f"model {found.model_seconds / found.seconds:.4f}"
    if found.feature_seconds is not None:
        spent += f", features {found.feature_seconds / found.seconds:.4f}"
    if found.decoding is not None:
        spent += f", words by lexicon {found.decoding['real_time_factor']:.4f}"
    print(f"Real-time factor on {found.device}: {spent}; {found.trained.parameters:,} parameters")
    if found.decoding is not None:
        unknown = found.decoding["unknown_words"]
        shares = {"language model": unknown["lm"], "lexicon": unknown["lexicon"]}
        told = [f"{name} {share:.2%}" for name, share in shares.items() if share is not None]
        print(f"Words said that it does not know: {', '.join(told)}")
    if speakers == 1:
        print("No interval: it needs two speakers")


def _is_run(path: Path) -> bool:
    """Whether this is a folder that `train` made."""
    from speechasym.training import checkpoints, run_folder

    files = (checkpoints.MODEL, run_folder.CONFIG)
    return path.is_dir() and any((path / name).exists() for name in files)


def run_transcribe(options: Namespace) -> int:
    """Transcribe; exit code 1 where some of several recordings failed."""
    from speechasym.errors import AudioError, ConfigError
    from speechasym.feature_extraction.extraction import find
    from speechasym.recognition import pretrained
    from speechasym.recognition.transcription import open_run, transcribe, write_textgrids

    run, *inputs = options.inputs
    if _is_run(Path(run)):
        if not inputs:
            raise ConfigError("FILE", f"none is given beside the run {run}", "Give recordings")
    else:
        run, inputs = None, options.inputs
    found = find(inputs)
    if run is None:
        run = pretrained.folder()
        if options.lm is None and options.level is None:
            options.lm = str(pretrained.lm())
            options.lexicon = options.lexicon or str(pretrained.lexicon())
    trained = open_run(run)
    heads = None if options.level is None else [options.level]
    if heads:
        trained.check_heads(heads, "--level")
    words = _decoder(options, trained)
    failed = 0
    for stem, path in found.items():
        try:
            said = transcribe(
                trained, path, heads=heads, longest=options.longest, channel=options.channel,
                words=words,
            )  # fmt: skip
        except AudioError as error:
            if len(found) == 1:
                raise
            failed += 1
            print(f"speechasym: {error}", file=sys.stderr)
            continue
        print(f"{path}  ({said.seconds:.2f} s)")
        room = 2 + max(7, *map(len, said.symbols))
        for head in said.symbols:
            print(f"  {head + ':':<{room}}{said.text(head) or '(nothing)'}", flush=True)
        if options.textgrid not in (None, "none"):
            for written in write_textgrids(options.textgrid, {stem: said}):
                print(f"  -> {written}", flush=True)
    return 1 if failed else 0


def run_plot(options: Namespace, what: tuple[str, ...]) -> int:
    """Draw a figure of a run."""
    from speechasym.errors import ConfigError
    from speechasym.plots.runs import plot_run

    if len(what) != 1 or what[0] not in FIGURES:
        raise ConfigError(
            "--what",
            f"{','.join(what) or 'nothing'} is asked of {options.file}, which is a folder",
            f"Of a run, draw one of {', '.join(FIGURES)}",
        )
    defaults = {"start": 0.0, "duration": None, "channel": "mean", "tiers": None, "at": 1000.0}
    if given := [name for name, value in defaults.items() if options[name] != value]:
        raise ConfigError(f"--{given[0]}", "says nothing of a run", "Leave it out")
    plot_run(
        options.file, options.out, what[0], cuts=options.cuts, cut=options.cut,
        recording=options.recording,
    )  # fmt: skip
    print(options.out)
    return 0
