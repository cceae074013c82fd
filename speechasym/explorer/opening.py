"""`explore`: open recordings, start the server, show the page."""

import threading
import webbrowser
from pathlib import Path

import numpy as np

from speechasym.audio.reading import EXTENSIONS
from speechasym.errors import AudioError
from speechasym.explorer.models import models_for
from speechasym.explorer.recordings import DESCRIPTION, Recording, recordings_of, recordings_of_run
from speechasym.explorer.server import Explorer
from speechasym.explorer.session import Session

START_UP_S = 3.0  # that the start waits at most for kernels, which are compiled on first use
OF_A_RUN = (DESCRIPTION, "model.safetensors", "config.json")  # any of them is in its folder


def explore(
    path: str | Path | None = None,
    *,
    run: str | Path | None = None,
    out: str | Path | None = None,
    port: int = 0,
    browser: bool = True,
    channel: str | int = "mean",
) -> Explorer:
    """Show recordings on a page of the browser, to look at, hear and label; return its server.

    The page has waveform, spectrograms, asymmetry by scale, units and events of each level, and
    tiers of labels, on one time axis. The server listens on this machine only (127.0.0.1), below a
    path that nobody can guess, and reads only what was opened.

    Args:
        path: a recording, a folder of recordings, or the folder of a run, whose dev and test cuts
            are shown and whose model reads them. None: only what the microphone records.
        run: the model to read them with, see `Recogniser`; None: that of `path`, or the pretrained
            one.
        out: folder for corrected labels and recordings from the microphone. None: labels are saved
            beside the recording, and what was recorded is kept until the server stops.
        port: of the server; 0: a free one.
        browser: open the page in the browser.
        channel: of multichannel recordings: mean, or a number from 0.

    Returns:
        The running server: its `address`; `wait()` until Ctrl-C, `close()` it, or use it in a
        `with` block.

    Raises:
        AudioError: no such file, one that cannot be read, or a folder without recordings.
        CheckpointError, ConfigError: a run, port or option that cannot be used.

    Example:
        >>> with speechasym.explore("recordings", browser=False) as explorer:
        ...     print(explorer.address)  # or explorer.wait()
        http://127.0.0.1:...
    """
    ready = threading.Event()
    threading.Thread(target=_warm_up, args=(ready,), daemon=True).start()
    recordings: list[Recording] = []
    title = "microphone"
    if path is not None:
        path = Path(path)
        title = path.resolve().name or str(path)
        if any((path / name).is_file() for name in OF_A_RUN):
            recordings, run = recordings_of_run(path, channel), run or path
        else:
            recordings = recordings_of(path, channel)
            if path.is_file():
                recordings[0].reopen()  # else the page would have to tell that it cannot be read
    if path is not None and not recordings:
        known = " ".join(sorted(EXTENSIONS))
        raise AudioError(path, f"holds no recordings ({known})", "Check the path")
    session = Session(title, recordings, models_for(run), None if out is None else Path(out), ready)
    explorer = Explorer(session, port)
    if browser:
        webbrowser.open(explorer.address)
    ready.wait(START_UP_S)  # meanwhile the browser starts
    return explorer


def _warm_up(ready: threading.Event) -> None:
    """Load the kernels that every picture needs, while the browser starts."""
    from speechasym.asymmetry import loops, tracks
    from speechasym.auditory import filterbank

    config = filterbank.FilterbankConfig(sample_rate=16000)
    x = np.zeros(1600, np.float32)
    filterbank.pool(x[None], filterbank.design(config))
    ready.set()
    loops.all_frames(x, tracks.design(tracks.AsymmetryConfig(bank=config)))
