"""`speechasym explore`: recordings on a page of the browser."""

from argparse import Namespace
from typing import Any

import speechasym
from speechasym.cli.options import optional


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "explore",
        help="recordings -> a page to look at, hear and label them",
        description="Show recordings on a page of the browser: waveform, spectrograms, asymmetry by"
        " scale, units and events of each level, labels by hand and as recognised, on one time"
        " axis, to zoom, play and correct. Nothing leaves this machine. Ctrl-C stops it.",
        epilog="Examples:\n"
        "  speechasym explore speech.wav\n"
        "  speechasym explore recordings/ --run out/mini/run\n"
        "  speechasym explore out/mini/run           # the dev and test cuts of a run\n"
        "  speechasym explore                        # the microphone",
    )
    add = parser.add_argument
    text = "recording, folder of recordings, or folder of a run (default: the microphone alone)"
    add("path", nargs="?", metavar="FILE|DIR|RUN", help=text)
    text = "folder of a finished run to read them with (default: that of RUN, or the pretrained"
    text += " model)"
    add("--run", metavar="RUN", help=text)
    text = "folder for corrected labels and recordings from the microphone (default: labels are"
    text += " saved beside the recording; what was recorded is kept until the end)"
    add("--out", type=optional(str), metavar="DIR", help=text)
    add("--port", type=int, default=0, metavar="N", help="port of the server (default: a free one)")
    text = "only print the address, do not open the browser"
    add("--no-browser", action="store_true", help=text)
    add("--channel", default="mean", help="of multichannel recordings: mean, or a number from 0")


def run(options: Namespace) -> int:
    """Start the server, print its address, and wait for Ctrl-C."""
    explorer = speechasym.explore(
        options.path, run=options.run, out=options.out, port=options.port,
        browser=not options.no_browser, channel=options.channel,
    )  # fmt: skip
    print(f"Open {explorer.address} in a browser on this machine. Ctrl-C stops it.", flush=True)
    try:
        explorer.wait()
    except KeyboardInterrupt:
        print()
    finally:
        explorer.close()
    return 0
