"""`speechasym plot`: a recording, its features or a trained run -> a figure."""

import os
from argparse import SUPPRESS, Namespace
from typing import Any

import speechasym
from speechasym.cli.options import add_overwrite, replacing
from speechasym.config import names
from speechasym.errors import ConfigError

RUN_ONLY = ("curves", "learning", "confusion", "units", "ranks")
RUN = (*RUN_ONLY, "levels")  # figures of a run; levels is one of a recording too
OF_RUN = ("cuts", "cut", "recording")
OF_RECORDING = ("start", "duration", "channel", "at", "tiers")


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "plot",
        help="a recording or a run -> a figure",
        description="Draw a recording, a STEM.npy written by extract, or a figure of a run: of the"
        " model that comes with the package if no run is given.",
        argument_default=SUPPRESS,  # the library's, as in help
        epilog="Examples:\n"
        "  speechasym plot speech.wav --out speech.png --what gammatone,frequency\n"
        "  speechasym plot speech.wav --out units.png --what units    # of the pretrained model\n"
        "  speechasym plot runs/mini --out units.png --what units --recording speech.wav",
    )
    add = parser.add_argument
    text = "a recording, a .npy beside its features.json, or the folder of a run (default: the"
    text += " pretrained model)"
    add("file", nargs="?", default=None, metavar="FILE|RUN", help=text)
    add("--out", required=True, metavar="PNG", help="figure to write (.png, .pdf or .svg)")
    add_overwrite(add)
    add(
        "--what", type=names, default=None, metavar="LIST",
        help="comma-separated panels of a recording: waveform, gammatone, frequency, phase"
        " (default: all; of other features, names of columns without their numbers); or one of"
        " its whole figures: levels (asymmetry at each scale), hysteresis (loops of one channel),"
        " summary (rise and fall over the channels); or one figure of a run: curves (losses and"
        " errors of training), learning (gradients and memory of the stages, as learning.meter has"
        " measured them), confusion (of phones), units (activation by level), ranks (of units and"
        " attention heads over training; with --cuts or --recording, of units with both laws),"
        " levels (what each level keeps of the features)",
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
    of_file = options.file is not None and not os.path.isdir(options.file)
    of_file = of_file or (options.file or "").endswith(".npy")
    keywords = {name: chosen[name] for name in OF_RUN if name in chosen}
    if of_file and set(what) & {"units", "ranks"} and not keywords and os.path.isfile(options.file):
        keywords["recording"], options.file, of_file = options.file, None, False
    if not of_file:
        if options.file is None and not what and not keywords:
            remedy = "Give a recording, or --what for a figure of the pretrained model"
            raise ConfigError("FILE|RUN", "is missing", remedy)
        if len(what) != 1:
            problem = f"must be one figure of a run for {options.file or 'the pretrained model'}"
            raise ConfigError(
                "--what",
                f"{problem}, got {','.join(what) or 'none'}",
                f"Use one of {', '.join(RUN)}",
            )
        if wrong := [name for name in OF_RECORDING if name in chosen]:
            raise ConfigError(f"--{wrong[0]}", "does not apply to a run", "Leave it out")
        with replacing(options, "out"):
            speechasym.plot_run(options.file, options.out, what[0], **keywords)
    else:
        wrong = [f"--{name}" for name in keywords]
        wrong += [f"--what {','.join(what)}"] if set(what) & set(RUN_ONLY) else []
        if wrong:
            problem = f"applies to a run, but {options.file} is not the folder of one"
            remedy = "Give the run's folder, or none for the pretrained model, and recordings to"
            remedy += " draw with --recording or --cuts"
            raise ConfigError(wrong[0], problem, remedy)
        keywords = {name: chosen[name] for name in OF_RECORDING if name in chosen}
        with replacing(options, "out"):
            speechasym.plot(options.file, options.out, options.what, **keywords)
    print(options.out)
    return 0
