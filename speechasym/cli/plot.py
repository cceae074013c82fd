"""`speechasym plot`: recordings, features or a trained run -> figures."""

import os
from argparse import SUPPRESS, Namespace
from typing import Any

import speechasym
from speechasym.cli.options import add_overwrite, numbers, replacing, warn
from speechasym.config import names
from speechasym.errors import ConfigError

RUN_ONLY = ("curves", "learning", "confusion", "units", "ranks")
RUN = (*RUN_ONLY, "levels")  # figures of a run; levels is one of a recording too
OF_RUN = ("cuts", "cut", "recording")
OF_RECORDING = (
    *("start", "end", "duration", "channel", "at", "tiers", "overlay", "window_ms"),
    *("picture_format",),
)
STYLE = ("size", "dpi", "font_size", "caption")


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "plot",
        help="recordings or a run -> figures",
        description="Draw recordings, features written by extract, or a figure of a run: of the"
        " model that comes with the package if no run is given. Several recordings are drawn into a"
        " folder, one picture each.",
        argument_default=SUPPRESS,  # the library's, as in help
        epilog="Examples:\n"
        "  speechasym plot speech.wav --out speech.png --what gammatone,frequency\n"
        "  speechasym plot speech.wav --out part.svg --what spectrogram,pitch --from 2 --to 5\n"
        "  speechasym plot a.wav b.wav --out pictures --size 6,4 --dpi 300 --font-size 8\n"
        "  speechasym plot speech.wav --out units.png --what units    # of the pretrained model\n"
        "  speechasym plot runs/mini --out units.png --what units --recording speech.wav",
    )
    add = parser.add_argument
    text = "recordings, feature files (.npy, .csv, .parquet, .h5 or .Matrix) beside their"
    text += " features.json, or the folder of a run (default: the pretrained model)"
    add("files", nargs="*", default=[], metavar="FILE|RUN", help=text)
    text = "figure to write (.png, .pdf or .svg); of several recordings, the folder to write into"
    add("--out", required=True, metavar="PNG|DIR", help=text)
    add_overwrite(add)
    add(
        "--what", type=names, default=None, metavar="LIST",
        help="comma-separated panels of a recording: waveform, gammatone, frequency, phase,"
        " spectrogram, constant-q, pitch (default: the first four; of other features, names of"
        " columns without their numbers); or one of its whole figures: levels (asymmetry at each"
        " scale), hysteresis (loops of one channel), summary (rise and fall over the channels); or"
        " one figure of a run: curves (losses and errors of training), learning (gradients and"
        " memory of the stages, as learning.meter has measured them), confusion (of phones), units"
        " (activation by level), ranks (of units and attention heads over training; with --cuts or"
        " --recording, of units with both laws), levels (what each level keeps of the features)",
    )  # fmt: skip
    add = parser.add_argument_group("recordings").add_argument
    add("--start", "--from", type=float, metavar="S", help="start in s (default: 0)")
    add("--to", dest="end", type=float, metavar="S", help="end in s, instead of a duration")
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
    text = "comma-separated tracks of Praat to draw over spectrograms: formants, intensity, pitch;"
    text += " needs pip install 'speechasym[praat]'"
    add("--overlay", type=names, metavar="LIST", help=text)
    text = "window of the spectrogram in ms: 10 shows formants, 40 harmonics (default: 10)"
    add("--window-ms", type=float, metavar="MS", help=text)
    text = "format of several pictures: png, pdf or svg (default: png)"
    add("--format", dest="picture_format", metavar="F", help=text)
    add = parser.add_argument_group("all figures").add_argument
    text = "width and height in inches (default: as the panels need)"
    add("--size", type=numbers, metavar="W,H", help=text)
    add("--dpi", type=float, help="pixels per inch (default: 150)")
    text = "size of plain text in points (default: 10)"
    add("--font-size", type=float, metavar="PT", help=text)
    text = "leave out the text that says how to read the figure"
    add("--no-caption", dest="caption", action="store_false", help=text)
    add = parser.add_argument_group("runs").add_argument
    text = "manifest of cuts to recognise for confusion and ranks; units and levels show one"
    add("--cuts", metavar="CUTS", help=text)
    add("--cut", metavar="ID", help="cut to show (default: the first)")
    text = "recording to show in units, ranks and levels, instead of --cuts"
    add("--recording", metavar="FILE", help=text)
    parser.add_config()


def run(options: Namespace) -> int:
    """Draw, and print the paths of the figures."""
    chosen, given = vars(options), options.files
    style = {name: chosen[name] for name in STYLE if name in chosen}
    file = given[0] if given else None
    # os.path.isdir does not raise where the name is too long
    of_file = len(given) > 1 or (file is not None and not os.path.isdir(file))
    of_file = of_file or (file or "").endswith(".npy")
    keywords = {name: chosen[name] for name in OF_RUN if name in chosen}
    with_model = set(options.what or ()) & {"units", "ranks"}
    if of_file and len(given) == 1 and with_model and not keywords and os.path.isfile(file or ""):
        keywords["recording"], file, of_file = file, None, False
    if not of_file:
        return _run_of_run(options, file, keywords, style)
    what = set(options.what or ())
    wrong = [f"--{name}" for name in keywords]
    wrong += [f"--what {','.join(options.what)}"] if what & set(RUN_ONLY) else []
    if wrong:
        problem = f"applies to a run, but {file} is not the folder of one"
        remedy = "Give the run's folder, or none for the pretrained model, and recordings to"
        remedy += " draw with --recording or --cuts"
        raise ConfigError(wrong[0], problem, remedy)
    keywords = style | {name: chosen[name] for name in OF_RECORDING if name in chosen}
    if len(given) == 1 and "picture_format" in keywords:
        remedy = "End --out in .png, .pdf or .svg, or give several recordings"
        raise ConfigError("--format", "applies to several recordings", remedy)
    if len(given) == 1:
        with replacing(options, "out"):
            speechasym.plot(given[0], options.out, options.what, **keywords)
        print(options.out)
        return 0
    failed = []
    for result in speechasym.plot_files(
        given, options.out, options.what, overwrite=options.overwrite, **keywords
    ):
        if result.picture is None:
            failed.append(result.error)
        else:
            print(result.picture, flush=True)
    for error in failed:
        warn(error)
    return 1 if failed else 0


def _run_of_run(
    options: Namespace, run: str | None, keywords: dict[str, Any], style: dict[str, Any]
) -> int:
    """Draw a figure of a run."""
    what: tuple[str, ...] = options.what or ()
    if run is None and not what and not keywords:
        remedy = "Give a recording, or --what for a figure of the pretrained model"
        raise ConfigError("FILE|RUN", "is missing", remedy)
    if len(what) != 1:
        problem = f"must be one figure of a run for {run or 'the pretrained model'}"
        raise ConfigError(
            "--what",
            f"{problem}, got {','.join(what) or 'none'}",
            f"Use one of {', '.join(RUN)}",
        )
    if wrong := [name for name in OF_RECORDING if name in vars(options)]:
        raise ConfigError(f"--{wrong[0]}", "does not apply to a run", "Leave it out")
    with replacing(options, "out"):
        speechasym.plot_run(run, options.out, what[0], **keywords, **style)
    print(options.out)
    return 0
