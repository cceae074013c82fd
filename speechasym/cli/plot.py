"""`speechasym plot`: a recording, its features or a trained run -> a figure."""

import os
from argparse import SUPPRESS, Namespace
from typing import Any

import speechasym
from speechasym.cli.options import add_overwrite, names, replacing
from speechasym.errors import ConfigError

RUN_ONLY = ("curves", "confusion", "units", "ranks")
RUN = (*RUN_ONLY, "levels")  # figures of a run; levels is one of a recording too
OF_RUN = ("cuts", "cut", "recording")
OF_RECORDING = ("start", "duration", "channel", "at", "tiers")


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "plot",
        help="a recording or a run -> a figure",
        description="Draw a recording, a STEM.npy written by extract, or a figure of a trained"
        " run.",
        argument_default=SUPPRESS,  # the library's, as in help
        epilog="Examples:\n"
        "  speechasym plot speech.wav --out speech.png --what gammatone,frequency\n"
        "  speechasym plot runs/mini --out units.png --what units --recording speech.wav",
    )
    add = parser.add_argument
    add("file", metavar="FILE|RUN", help="a recording, a .npy beside its features.json, or a run")
    add("--out", required=True, metavar="PNG", help="figure to write (.png, .pdf or .svg)")
    add_overwrite(add)
    add(
        "--what", type=names, default=None, metavar="LIST",
        help="comma-separated panels of a recording: waveform, gammatone, frequency, phase"
        " (default: all; of other features, names of columns without their numbers); or one of"
        " its whole figures: levels (asymmetry at each scale), hysteresis (loops of one channel),"
        " summary (rise and fall over the channels); or one figure of a run: curves (losses and"
        " errors of training), confusion (of phones), units (activation by level), ranks (of"
        " units, with both laws), levels (what each level keeps of the features)",
    )  # fmt: skip
    add = parser.add_argument_group("recordings").add_argument
    add("--start", type=float, metavar="S", help="start in s (default: 0)")
    text = "duration in s (default: to the end, at most 60)"
    add("--duration", type=float, metavar="S", help=text)
    add("--channel", help="channel of multichannel audio: mean, or a number from 0 (default: mean)")
    text = "frequency of the filter whose hysteresis is drawn (default: 1000)"
    add("--at", type=float, metavar="HZ", help=text)
    add(
        "--tiers", metavar="FILE",
        help=".TextGrid, .PHN or .WRD to show below the waveform, or none (default: the file of"
        " the same name beside the recording, if any)",
    )  # fmt: skip
    add = parser.add_argument_group("runs").add_argument
    text = "manifest of cuts to recognise for confusion and ranks; units and levels show one"
    add("--cuts", metavar="CUTS", help=text)
    add("--cut", metavar="ID", help="cut to show (default: the first)")
    text = "recording to show in units, ranks and levels, instead of --cuts"
    add("--recording", metavar="FILE", help=text)
    parser.add_config()


def run(options: Namespace) -> int:
    """Draw, and print the path of the figure."""
    what: tuple[str, ...] = options.what or ()
    chosen = vars(options)
    # os.path.isdir does not raise where the name is too long
    if os.path.isdir(options.file) and not options.file.endswith(".npy"):
        if len(what) != 1:
            problem = f"{options.file} is a folder, so --what must be one figure of a run, got "
            problem += ",".join(what) or "none"
            raise ConfigError("--what", problem, f"Use one of {', '.join(RUN)}")
        if wrong := [name for name in OF_RECORDING if name in chosen]:
            raise ConfigError(f"--{wrong[0]}", "does not apply to a run", "Leave it out")
        keywords = {name: chosen[name] for name in OF_RUN if name in chosen}
        with replacing(options, "out"):
            speechasym.plot_run(options.file, options.out, what[0], **keywords)
    else:
        wrong = [f"--{name}" for name in OF_RUN if name in chosen]
        wrong += [f"--what {','.join(what)}"] if set(what) & set(RUN_ONLY) else []
        if wrong:
            problem = f"applies to a trained run, but {options.file} is not a folder"
            remedy = "Give the run's folder, and recordings to draw with --recording or --cuts"
            raise ConfigError(wrong[0], problem, remedy)
        keywords = {name: chosen[name] for name in OF_RECORDING if name in chosen}
        with replacing(options, "out"):
            speechasym.plot(options.file, options.out, options.what, **keywords)
    print(options.out)
    return 0
