"""The command: parse, call one public function, print one result."""

import logging
import os
import sys
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from speechasym.cli import run_commands as runs
from speechasym.cli.align import align_parser, run_align
from speechasym.cli.commands import add_prepare, add_score, run_prepare, run_score
from speechasym.cli.report import report_parser, run_report
from speechasym.cli.text_commands import lexicon_parser, lm_parser, run_lexicon, run_lm
from speechasym.errors import ConfigError, SpeechAsymError

WHAT = ("waveform", "gammatone", "frequency", "phase")
WHOLE = ("levels", "hysteresis", "summary")


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="speechasym",
        description="Speech perception from asymmetries: features, pictures, checks.",
        epilog="First steps:  speechasym doctor;  speechasym plot speech.wav --out speech.png",
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subcommands(required=True, dest="command")
    commands.add_subcommand("extract", _extract_parser(), help="recordings -> feature files")
    commands.add_subcommand("plot", _plot_parser(), help="a recording or a run -> picture")
    score = ArgumentParser(description="Score features, or recognised phones, words and letters.")
    commands.add_subcommand("score", score, help="features or transcripts -> error rates")
    prepare = ArgumentParser(description="Prepare a corpus as lhotse manifests.")
    commands.add_subcommand("prepare", prepare, help="a corpus -> manifests and a report")
    commands.add_subcommand("train", runs.train_parser(), help="cuts -> a trained run")
    commands.add_subcommand("evaluate", runs.evaluate_parser(), help="a run's error rates on cuts")
    commands.add_subcommand(
        "transcribe", runs.transcribe_parser(), help="recordings -> phones, letters, words"
    )
    commands.add_subcommand("align", align_parser(), help="cuts and their words -> times")
    commands.add_subcommand("report", report_parser(), help="a run -> a page to look at and hear")
    commands.add_subcommand("lm", lm_parser(), help="texts -> a language model")
    commands.add_subcommand("lexicon", lexicon_parser(), help="words -> their pronunciations")
    commands.add_subcommand("doctor", _doctor_parser(), help="is everything here that is needed?")
    add_score(score)  # only now: jsonargparse wants an upper level whole before the lower one
    add_prepare(prepare)
    return parser


def _extract_parser() -> ArgumentParser:
    parser = ArgumentParser(
        description="Extract features: for each recording one STEM.npy, float32 (frames, columns),"
        " and one features.json that says what the columns are. A run that was cut goes on where"
        " it stopped when called again.",
        epilog="Example:  speechasym extract corpus/ --out features --tracks level,frequency",
    )
    add = parser.add_argument
    add(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="file, folder (any depth, its tree is kept) or glob",
    )
    add("--out", required=True, metavar="DIR", help="folder to fill")
    add(
        "--features", default="gammatone", choices=("gammatone", "asymmetry", "logmel", "mfcc"),
        help="gammatone: levels in dB; asymmetry: hysteresis on amplitude, frequency and phase by"
        " level; logmel: 80 in dB; mfcc: 13 + delta + delta-delta",
    )  # fmt: skip
    add(
        "--tracks", default="level", metavar="LIST",
        help="of gammatone, with commas: level (dB), frequency (ERB off centre), phase (cycles)",
    )  # fmt: skip
    add("--rate", type=float, default=100.0, help="frames a second")
    add("--sample-rate", type=int, default=16000, help="Hz; recordings are resampled to it")
    add("--channel", default="mean", help="of multichannel audio: mean, or its number from 0")
    add("--channels", type=int, default=64, help="number of gammatone filters")
    add("--low-hz", type=float, default=50.0, help="lowest centre frequency (Hz)")
    add(
        "--high-hz", type=float | None, default=None, metavar="HZ",
        help="highest centre frequency (Hz); null: min(7600, 0.95 Nyquist)",
    )  # fmt: skip
    add("--align", action="store_true", help="remove the channels' different delays")
    add(
        "--compact", action="store_true",
        help="of asymmetry: 33 columns, decorrelated over channels, in place of all",
    )  # fmt: skip
    add("--kinds", default="amplitude,frequency,phase", metavar="LIST", help="of asymmetry")
    add(
        "--outputs", default="track,stop,asymmetry", metavar="LIST",
        help="of asymmetry: track; and by level stop (-1 to 1), asymmetry (-1 to 1), rise, fall",
    )  # fmt: skip
    for name, unit, default in (
        ("ms", "time constants, ms", "5,25,100,500"),
        ("db", "half-widths of amplitude, dB", "1.5,3,6,12"),
        ("erb", "half-widths of frequency, ERB", "0.05,0.1,0.2,0.4"),
        ("cycles", "half-widths of phase, cycles", "0.02,0.04,0.08,0.16"),
    ):
        add(f"--level-{name}", default=default, metavar="LIST", help=f"levels of asymmetry: {unit}")
    add(
        "--noise-test", type=int, default=0, metavar="N",
        help="of asymmetry: compare each recording with N noises of its own spectrum (39: 5 %%)",
    )  # fmt: skip
    add(
        "--normalise", default="none", choices=("none", "utterance", "running"),
        help="each column to mean 0 and deviation 1: of the recording, or of what was heard so far",
    )  # fmt: skip
    add("--workers", type=int, default=1, metavar="N", help="processes")
    add("--overwrite", action="store_true", help="replace features of another configuration")
    add("--verbose", action="store_true", help="tell about every recording")
    parser.add_argument("--config", action="config", help="YAML file with any of these options")
    return parser


def _plot_parser() -> ArgumentParser:
    parser = ArgumentParser(
        description="Draw aligned panels of a recording, or of a STEM.npy made by extract; or a"
        " figure of a trained run.",
        epilog="Example:  speechasym plot speech.wav --out speech.png --what gammatone,frequency;"
        "  speechasym plot runs/mini --out units.png --what units --recording speech.wav",
    )
    add = parser.add_argument
    add("file", metavar="FILE|RUN", help="a recording, a .npy beside its features.json, or a run")
    add("--out", required=True, metavar="PNG", help="picture to write (.png, .pdf or .svg)")
    add(
        "--what",
        default=None,
        metavar="LIST",
        help=f"comma-separated panels: {', '.join(WHAT)}; null: all there is. Or one whole figure"
        " of a recording: levels (asymmetry by level), hysteresis (loops of one channel), summary"
        " (rise and fall work over the channels). Of a run, one of: curves (losses and errors of"
        " training), confusion (of phones), units (activation by level), ranks (of units, with"
        " both laws), levels (what each holds of the features)",
    )
    add("--start", type=float, default=0.0, help="first second to draw")
    add(
        "--duration",
        type=float,
        default=None,
        help="seconds to draw; null: to the end, 60 s at most",
    )
    add("--channel", default="mean", help="of multichannel audio: mean, or its number from 0")
    add(
        "--at", type=float, default=1000.0, metavar="HZ",
        help="hysteresis: of the filterbank's channel nearest to it",
    )  # fmt: skip
    add(
        "--tiers", default=None, metavar="FILE",
        help=".TextGrid, .PHN or .WRD to show below the waveform; none: nothing; null: what lies"
        " beside the recording under its name",
    )  # fmt: skip
    runs.add_plot(parser)
    parser.add_argument("--config", action="config", help="YAML file with any of these options")
    return parser


def _doctor_parser() -> ArgumentParser:
    return ArgumentParser(
        description="Check versions, libraries, formats and folders; say what to do where"
        " something is off. Exit code 1 if something is."
    )


def _version() -> str:
    from speechasym import __version__

    return f"speechasym {__version__}"


def main(arguments: list[str] | None = None) -> int:
    """Run the command. Returns its exit code: 0 well, 1 some recordings failed, 2 bad input."""
    parsed = _parser().parse_args(arguments)
    options = parsed[parsed.command]
    run = {
        "extract": _extract, "plot": _plot, "score": run_score, "prepare": run_prepare,
        "train": runs.run_train, "evaluate": runs.run_evaluate, "transcribe": runs.run_transcribe,
        "align": run_align, "report": run_report, "lm": run_lm, "lexicon": run_lexicon,
        "doctor": _doctor,
    }  # fmt: skip
    command = run[parsed.command]
    level = logging.INFO if options.get("verbose") else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s")
    try:
        return command(options)
    except SpeechAsymError as error:
        print(f"speechasym: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        more = "; the same command goes on from here" if parsed.command == "extract" else ""
        print(f"speechasym: stopped{more}", file=sys.stderr)
        return 130


def _listed(value: str | list[Any]) -> tuple[str, ...]:
    """A list with commas, as the command line has it, or a list of a YAML file."""
    parts = value.split(",") if isinstance(value, str) else map(str, value)
    return tuple(part.strip() for part in parts if part.strip())


def _numbers(name: str, value: str | list[float]) -> tuple[float, ...]:
    try:
        return tuple(map(float, _listed(value)))
    except ValueError as error:
        option = "--" + name.replace("_", "-")
        raise ConfigError(
            option, f"{value!r} is not a list of numbers", "Such as 1,3,10"
        ) from error


def _extract(options: Namespace) -> int:
    from speechasym.feature_extraction.extraction import extract

    chosen: dict[str, Any] = {k: v for k, v in vars(options).items() if k != "config"}
    del chosen["verbose"]
    for name in ("tracks", "kinds", "outputs"):
        chosen[name] = _listed(chosen[name])
    for name in ("level_ms", "level_db", "level_erb", "level_cycles"):
        chosen[name] = _numbers(name, chosen[name])
    inputs, out = chosen.pop("inputs"), chosen.pop("out")
    result = extract(inputs, out, show_progress=True, **chosen)
    kept = f", {len(result.kept)} kept from before" if result.kept else ""
    failed = f", {len(result.failed)} failed" if result.failed else ""
    plural = "" if len(result.made) == 1 else "s"
    print(f"{len(result.made)} recording{plural} -> {out}{kept}{failed}")
    if result.mixed:
        print(f"{len(result.mixed)} had several channels: took {chosen['channel']} (--channel)")
    if result.warned:
        stem, why = next(iter(result.warned.items()))
        print(f"{len(result.warned)} look damaged (see features.json), such as {stem}: {why}")
    if result.unlike_noise:
        print("recordings whose asymmetry is unlike noise (p <= 0.05), by level:")
        for track in dict.fromkeys(track for track, _ in result.unlike_noise):
            own = [v for (name, _), v in sorted(result.unlike_noise.items()) if name == track]
            print(f"  {track:<10}" + "".join(f"{n:5} of {of}" for n, of in own))
    if result.failed:
        from rich.console import Console
        from rich.table import Table

        table = Table("recording", "why it failed", title="Failed", show_lines=True)
        for stem, reason in result.failed.items():
            table.add_row(stem, reason)
        Console(stderr=True, soft_wrap=False).print(table, markup=False)
    return 1 if result.failed else 0


def _plot(options: Namespace) -> int:
    from speechasym.plots.signal import plot

    what = None if options.what is None else _listed(options.what)
    # os.path's raises nothing where the name is too long
    if os.path.isdir(options.file) and not options.file.endswith(".npy"):
        return runs.run_plot(options, what or ())
    asked = [f"--{name}" for name in ("cuts", "cut", "recording") if options[name] is not None]
    if what and set(what) & set(runs.FIGURES) - set(WHOLE):
        asked.append(f"--what {options.what}")
    if asked:
        raise ConfigError(
            asked[0], f"is of a trained run, and {options.file} is no folder",
            "Give the run's folder, and recordings to draw it with by --recording or --cuts",
        )  # fmt: skip
    if what is not None and (not what or set(what) - set(WHAT) - set(WHOLE)):
        raise ConfigError(
            "--what",
            f"{options.what!r} is not known",
            f"Use any of {','.join(WHAT)}, or one of {', '.join(WHOLE)}",
        )
    plot(
        options.file, options.out, what, options.start, options.duration, options.channel,
        options.tiers, options.at,
    )  # fmt: skip
    print(options.out)
    return 0


def _doctor(options: Namespace) -> int:
    from speechasym.cli.doctor import report

    return report()
