"""`speechasym extract`: recordings -> feature files."""

from argparse import SUPPRESS, Namespace
from typing import Any

import speechasym
from speechasym.cli.options import numbers, optional, warn
from speechasym.config import names, plural


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "extract",
        help="recordings -> feature files",
        description="Extract features: for each recording one STEM.npy, float32 (frames, columns),"
        " or a table of another format, and one features.json that describes the columns. An"
        " interrupted run resumes when the same command is called again.",
        argument_default=SUPPRESS,  # of the options without a default: the library's, as in help
        epilog="Examples:\n"
        "  speechasym extract corpus/ --out features --tracks level,frequency\n"
        "  speechasym extract 'a/**/*.flac' --out mel --features logmel --workers 2\n"
        "  speechasym extract corpus/ --out features --functionals functionals.csv",
    )
    add = parser.add_argument
    add("inputs", nargs="+", metavar="INPUT", help="file, folder (searched recursively) or glob")
    add("--out", required=True, metavar="DIR", help="output folder")
    add(
        "--features", default="gammatone", choices=("gammatone", "asymmetry", "logmel", "mfcc"),
        help="gammatone: levels in dB; asymmetry: hysteresis on amplitude, frequency and phase at"
        " several scales; logmel: 80 bands in dB; mfcc: 13 + delta + delta-delta",
    )  # fmt: skip
    add("--rate", type=float, help="frames per second (default: 100)")
    text = "recordings are resampled to this rate (default: 16000)"
    add("--sample-rate", type=int, metavar="HZ", help=text)
    add("--channel", help="channel of multichannel audio: mean, or a number from 0 (default: mean)")
    add(
        "--normalise", choices=("none", "utterance", "running"),
        help="scale each column to zero mean and unit variance: over the utterance, or over the"
        " frames so far (default: none)",
    )  # fmt: skip
    add = parser.add_argument_group("gammatone and asymmetry").add_argument
    add("--channels", type=int, help="number of filters (default: 64)")
    add("--low-hz", type=float, metavar="HZ", help="lowest centre frequency (default: 50)")
    text = "highest centre frequency (default: the lower of 7600 and 0.95 Nyquist)"
    add("--high-hz", type=optional(float), metavar="HZ", help=text)
    text = "compensate the different delays of the channels"
    add("--align", action="store_true", help=text)
    add(
        "--tracks", type=names, metavar="LIST",
        help="gammatone only, comma-separated: level (dB), frequency (ERB off centre), phase"
        " (cycles) (default: level)",
    )  # fmt: skip
    add = parser.add_argument_group("asymmetry").add_argument
    text = "33 columns, decorrelated over channels, instead of all"
    add("--compact", action="store_true", help=text)
    text = "comma-separated (default: amplitude,frequency,phase)"
    add("--kinds", type=names, metavar="LIST", help=text)
    add(
        "--outputs", type=names, metavar="LIST",
        help="track, and at each scale stop (-1 to 1), asymmetry (-1 to 1), rise, fall (default:"
        " track,stop,asymmetry)",
    )  # fmt: skip
    for name, unit, default in (
        ("ms", "time constants in ms", "5,25,100,500"),
        ("db", "half-widths of amplitude in dB", "1.5,3,6,12"),
        ("erb", "half-widths of frequency in ERB", "0.05,0.1,0.2,0.4"),
        ("cycles", "half-widths of phase in cycles", "0.02,0.04,0.08,0.16"),
    ):
        text = f"{unit}, one for each scale (default: {default})"
        add(f"--level-{name}", type=numbers, metavar="LIST", help=text)
    add(
        "--noise-test", type=int, metavar="N",
        help="compare each recording with N noises of its own spectrum (39 give a 5%% level)"
        " (default: 0)",
    )  # fmt: skip
    add = parser.add_argument_group("files").add_argument
    add(
        "--format", default="npy", choices=("npy", "csv", "parquet", "hdf5", "praat"),
        help="of the feature files: npy; csv, parquet or hdf5 with a column of times (the last two"
        " need speechasym[tables]); praat: a Matrix for each short recording (default: npy)",
    )  # fmt: skip
    add(
        "--functionals", metavar="FILE",
        help="also write a .csv or .parquet with a row for each recording: mean, standard"
        " deviation, slope, percentiles and range of each column",
    )  # fmt: skip
    add = parser.add_argument_group("running").add_argument
    add("--workers", type=int, default=1, metavar="N", help="number of processes")
    text = "compute on a dask cluster: tcp://HOST:PORT, or local:N for N processes"
    add("--scheduler", metavar="ADDRESS", help=text)
    text = "replace features of another configuration, and files of other origin"
    add("--overwrite", action="store_true", default=False, help=text)
    add("--verbose", action="store_true", default=False, help="log each recording")
    parser.add_config()


def run(options: Namespace) -> int:
    """Extract, and print a summary. Exit code 1 if a recording failed."""
    skip = ("command", "verbose", "config", "print_config")
    chosen = {name: value for name, value in vars(options).items() if name not in skip}
    result = speechasym.extract(show_progress=True, **chosen)
    kept = f", {len(result.kept)} up to date" if result.kept else ""
    failed = f", {len(result.failed)} failed" if result.failed else ""
    print(f"{plural(len(result.written), 'recording')} -> {options.out}{kept}{failed}")
    if chosen.get("functionals") and result.written + result.kept:
        print(f"functionals -> {chosen['functionals']}")
    if result.multichannel:
        channel = chosen.get("channel", "mean")
        several = plural(len(result.multichannel), "recording")
        print(f"{several} had several channels: used {channel} (--channel)")
    if result.warned:
        stem, why = next(iter(result.warned.items()))
        look = "looks" if len(result.warned) == 1 else "look"
        print(f"{plural(len(result.warned), 'recording')} {look} damaged (see features.json),"
              f" such as {stem}: {why}")  # fmt: skip
    if result.unlike_noise:
        print("Recordings whose asymmetry differs from noise (p <= 0.05), by scale:")
        for track in dict.fromkeys(track for track, _ in result.unlike_noise):
            counts = [v for (name, _), v in sorted(result.unlike_noise.items()) if name == track]
            print(f"  {track:<10}" + "".join(f"{n:5} of {total}" for n, total in counts))
    for stem, reason in result.failed.items():
        warn(f"{stem} failed: {reason}")
    return 1 if result.failed else 0
