"""What the page may ask for: the list of recordings, tiles, sound, labels."""

import io
import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from speechasym.config import check_range
from speechasym.errors import ConfigError, SpeechAsymError
from speechasym.explorer import tiles
from speechasym.explorer.memo import Memo
from speechasym.explorer.recordings import Recording

KEPT_MB = 150.0  # of what was computed
LONGEST_SOUND_S = 120.0
WAIT_S = 0.3  # for the headers of the recordings, which are read from the start on

Options = Mapping[str, str]


class Answer(NamedTuple):
    """The body of a response, and what it is."""

    kind: str  # "json", "wav", "csv", "tile"
    body: bytes
    filename: str = ""  # to save it under


class UnknownError(SpeechAsymError):
    """Something that has no such name here."""


def as_json(content: Any) -> Answer:
    """Return an answer in JSON."""
    return Answer("json", json.dumps(content).encode())


def number(options: Options, name: str, default: float | None = None) -> float:
    """Return a number among the options. Raises `ConfigError` for anything else."""
    text = options.get(name, "" if default is None else str(default))
    try:
        value = float(text)
    except ValueError:
        raise ConfigError(name, f"must be a number, got {text!r}", "Give one") from None
    check_range(name, value, "0", -1e9, 1e9)  # neither NaN nor infinite
    return value


class Session:
    """Recordings that are open, and what was computed of them.

    Args:
        title: of the page.
        recordings: to list.
        out: folder for what is saved; None: labels beside the recording.
    """

    def __init__(self, title: str, recordings: Sequence[Recording], out: Path | None) -> None:
        self.title, self.recordings, self.out = title, list(recordings), out
        self.memo = Memo(KEPT_MB)
        self._rows: dict[str, dict[str, Any]] = {}
        self._listed = threading.Event()
        threading.Thread(target=self._list, daemon=True).start()

    def _list(self) -> None:
        for recording in self.recordings:
            self._rows[recording.id] = recording.about()
        self._listed.set()

    def get(self, parts: Sequence[str], options: Options) -> Answer | None:
        """Return the answer to a request for parts of a path; None: 204. Raises typed errors."""
        match parts:
            case ["alive"]:
                return None
            case ["session.json"]:
                return as_json(self.about())
            case ["r", number, name]:
                recording = self.recording(number)
                answer = {
                    "info.json": self._info, "tile": self._tile, "audio.wav": self._audio,
                }.get(name)  # fmt: skip
                if answer is not None:
                    return answer(recording, options)
        raise UnknownError("/".join(parts), "does not exist", "Reload the page")

    def post(self, parts: Sequence[str], options: Options, body: bytes) -> Answer:
        """Return the answer to a request that saves or records."""
        raise UnknownError("/".join(parts), "does not exist", "Reload the page")

    def close(self) -> None:
        """Forget what was computed."""

    def recording(self, number: str) -> Recording:
        """Return the recording with an id. Raises `UnknownError`."""
        for recording in self.recordings:
            if recording.id == number:
                return recording
        raise UnknownError(f"recording {number}", "does not exist", "Reload the page")

    def about(self) -> dict[str, Any]:
        """Return what the page shows first."""
        from speechasym import __version__

        self._listed.wait(WAIT_S)
        unknown = {"seconds": None, "rate": None, "error": None, "tiers": False}
        rows = [
            self._rows.get(r.id) or {"id": r.id, "name": r.name, **unknown} for r in self.recordings
        ]
        return {
            "title": self.title, "version": __version__, "recordings": rows, "models": [],
            "parameters": tiles.parameters(), "microphone": True,
        }  # fmt: skip

    def _info(self, recording: Recording, options: Options) -> Answer:
        recording.reopen()
        about = {
            "seconds": recording.seconds, "rate": recording.rate, "channels": recording.channels,
        }  # fmt: skip
        tiers = [
            {"name": name, "source": "hand", "intervals": [list(row) for row in rows]}
            for name, rows in recording.tiers().items()
        ]
        return as_json(about | {"tiers": tiers})

    def _tile(self, recording: Recording, options: Options) -> Answer:
        zoom, index = round(number(options, "zoom")), round(number(options, "index"))
        tile = tiles.tile_of(recording, options.get("panel", ""), zoom, index, options, self.memo)
        return Answer("tile", tile.encoded())

    def _audio(self, recording: Recording, options: Options) -> Answer:
        import soundfile

        first, last = self._span(recording, options, LONGEST_SOUND_S)
        rate, file = recording.rate, io.BytesIO()
        x = recording.read(round(first * rate), round(last * rate))
        soundfile.write(file, np.clip(x, -1, 1), rate, format="WAV", subtype="PCM_16")
        name = f"{Path(recording.name).stem}-{first:g}-{last:g}.wav"
        return Answer("wav", file.getvalue(), name)

    def _span(self, recording: Recording, options: Options, longest: float) -> tuple[float, float]:
        """Return the stretch that is asked for. Raises `ConfigError`."""
        first, last = number(options, "from", 0), number(options, "to", recording.seconds)
        first, last = max(0.0, first), min(last, recording.seconds)
        if not first < last or last - first > longest + 1e-6:
            problem = f"must be a stretch of up to {longest:g} s, got {first:g} to {last:g} s"
            raise ConfigError("from, to", problem, "Choose a shorter one")
        return first, last
