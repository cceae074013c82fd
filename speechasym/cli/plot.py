"""`speechasym plot`: a recording, its features or a trained run -> a figure."""

import os
from argparse import SUPPRESS, Namespace
from typing import Any

from speechasym.cli.options import names
from speechasym.errors import ConfigError

PANELS = ("waveform", "gammatone", "frequency", "phase")
WHOLE = ("levels", "hysteresis", "summary")  # whole figures of a recording
RUN = ("curves", "confusion", "units", "ranks", "levels")  # figures of a run
OF_RUN = ("cuts", "cut", "recording")
OF_RECORDING = ("start", "duration", "channel", "at", "tiers")


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "plot",
        help="a recording or a run -> a figure",
        description="Draw a recording, a STEM.npy written by extract, or a figure of a trained"
        " run.",
        epilog="Examples:\n"
        "  speechasym plot speech.wav --out speech.png --what gammatone,frequency\n"
        "  speechasym plot runs/mini --out units.png --what units --recording speech.wav",
    )
    parser.set_defaults(execute=run)
    add = parser.add_argument
    add("file", metavar="FILE|RUN", help="a recording, a .npy beside its features.json, or a run")
    add("--out", required=True, metavar="PNG", help="figure to write (.png, .pdf or .svg)")
    add(
        "--what", type=names, default=None, metavar="LIST",
        help=f"comma-separated panels of a recording: {', '.join(PANELS)} (default: all); or one of"
        " its whole figures: levels (asymmetry at each scale), hysteresis (loops of one channel),"
        " summary (rise and fall over the channels); or one figure of a run: curves (losses and"
        " errors of training), confusion (of phones), units (activation by level), ranks (of"
        " units, with both laws), levels (what each level keeps of the features)",
    )  # fmt: skip
    add = parser.add_argument_group("recordings").add_argument
    add("--start", type=float, default=SUPPRESS, metavar="S", help="start in s (default: 0)")
    add(
        "--duration", type=float, default=SUPPRESS, metavar="S",
        help="duration in s (default: to the end, at most 60)",
    )  # fmt: skip
    add(
        "--channel", default=SUPPRESS,
        help="channel of multichannel audio: mean, or a number from 0 (default: mean)",
    )  # fmt: skip
    add(
        "--at", type=float, default=SUPPRESS, metavar="HZ",
        help="frequency of the filter whose hysteresis is drawn (default: 1000)",
    )  # fmt: skip
    add(
        "--tiers", default=SUPPRESS, metavar="FILE",
        help=".TextGrid, .PHN or .WRD to show below the waveform, or none (default: the file of"
        " the same name beside the recording, if any)",
    )  # fmt: skip
    add = parser.add_argument_group("runs").add_argument
    add(
        "--cuts", default=SUPPRESS, metavar="CUTS",
        help="manifest of cuts to recognise for confusion and ranks; units and levels show one",
    )  # fmt: skip
    add("--cut", default=SUPPRESS, metavar="ID", help="cut to show (default: the first)")
    add(
        "--recording", default=SUPPRESS, metavar="FILE",
        help="recording to show in units, ranks and levels, instead of --cuts",
    )  # fmt: skip
    parser.add_config()


def run(options: Namespace) -> int:
    """Draw, and print the path of the figure."""
    import speechasym

    what = options.what
    # os.path.isdir does not raise where the name is too long
    is_run = os.path.isdir(options.file) and not options.file.endswith(".npy")
    chosen = vars(options)
    if is_run:
        if not what or len(what) != 1 or what[0] not in RUN:
            raise ConfigError(
                "--what",
                f"{options.file} is a folder, so --what must be one figure of a run, got"
                f" {','.join(what or ()) or 'none'}",
                f"Use one of {', '.join(RUN)}",
            )
        if given := [name for name in OF_RECORDING if name in chosen]:
            raise ConfigError(f"--{given[0]}", "does not apply to a run", "Leave it out")
        keywords = {name: chosen[name] for name in OF_RUN if name in chosen}
        speechasym.plot_run(options.file, options.out, what[0], **keywords)
    else:
        given = [f"--{name}" for name in OF_RUN if name in chosen]
        if what and set(what) & set(RUN) - set(WHOLE):
            given.append(f"--what {','.join(what)}")
        if given:
            raise ConfigError(
                given[0],
                f"applies to a trained run, but {options.file} is not a folder",
                "Give the run's folder, and recordings to draw with --recording or --cuts",
            )
        if what is not None and (not what or set(what) - set(PANELS) - set(WHOLE)):
            raise ConfigError(
                "--what",
                f"unknown figure {','.join(what)!r}",
                f"Use any of {','.join(PANELS)}, or one of {', '.join(WHOLE)}",
            )
        keywords = {name: chosen[name] for name in OF_RECORDING if name in chosen}
        speechasym.plot(options.file, options.out, what, **keywords)
    print(options.out)
    return 0
