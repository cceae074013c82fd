"""What the page may ask for: the list of recordings, pictures, sound, labels, the microphone."""

import io
import json
import re
import shutil
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from speechasym.config import check_choice, check_range
from speechasym.errors import ConfigError, OutputError, SpeechAsymError
from speechasym.explorer import (
    asymmetry_panel,
    choices,
    labels,
    models,
    overview,
    signal_panels,
    tiles,
)
from speechasym.explorer.memo import Memo
from speechasym.explorer.microphone import Live
from speechasym.explorer.models import Model
from speechasym.explorer.recordings import Recording
from speechasym.explorer.tiles import Grid, Picture

KEPT_MB = 160.0  # of what was computed
OPEN = 8  # files that stay open
SOUND_S = TABLE_S = 120.0  # most of a request
RECOGNISED_S = 60.0
WAIT_S = 0.3  # for the headers of the recordings, which are read from the start on
ABANDONED_S = 30.0  # after which a recording ends that nobody continues
PANELS: dict[str, Callable[..., Picture]] = {
    "waveform": signal_panels.waveform, "gammatone": signal_panels.gammatone,
    "spectrogram": signal_panels.fft, "asymmetry": asymmetry_panel.asymmetry,
}  # fmt: skip

Options = Mapping[str, str]


class Answer(NamedTuple):
    """The body of a response, and what it is."""

    kind: str  # "json", "wav", "csv", "tile", or that of a file of the page
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
    check_range(name, value, "0", -1e12, 1e12)  # neither NaN nor infinite
    return value


class Session:
    """Recordings and models that are open, and what was computed of them.

    Args:
        title: of the page.
        recordings: to list.
        models: that can read them, the usual one first.
        out: folder for what is saved; None: labels beside the recording, sound in a folder that is
            removed at the end.
        ready: set when what every picture needs is loaded, or compiled on first use.
    """

    def __init__(
        self, title: str, recordings: Sequence[Recording], models: Sequence[Model],
        out: Path | None, ready: threading.Event,
    ) -> None:  # fmt: skip
        self.title, self.recordings, self.models, self.out = title, list(recordings), models, out
        self.ready, self.memo, self._rows = ready, Memo(KEPT_MB), dict[str, dict[str, Any]]()
        self._lock, self._listed, self._closed = threading.Lock(), threading.Event(), False
        self._open: deque[Recording] = deque()
        self._live: dict[str, Live] = {}
        self._folder: Path | None = None
        threading.Thread(target=self._list, daemon=True).start()

    def _list(self) -> None:
        for recording in list(self.recordings):
            if self._closed:
                return
            self._rows[recording.id] = recording.about()
        self._listed.set()

    def close(self) -> None:
        """Finish what is being recorded, and remove the temporary folder."""
        self._closed = True
        for live in self._live.values():
            live.close()
        for recording in self.recordings:
            recording.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def get(self, parts: Sequence[str], options: Options) -> Answer | None:
        """Return the answer to a request for parts of a path; None: it is empty.

        Raises `UnknownError` for what does not exist, and the errors of what does.
        """
        match parts:
            case ["alive"]:
                return None
            case ["session.json"]:
                return as_json(self.about())
            case ["r", number, name]:
                answers = {
                    "info.json": self._info, "tile": self._tile, "audio.wav": self._audio,
                    "data.csv": self._table, "events": self._events,
                    "recognised.json": self._recognised,
                }  # fmt: skip
                if name in answers:
                    return answers[name](self.recording(number), options)
        raise UnknownError("/".join(parts), "does not exist", "Reload the page")

    def post(self, parts: Sequence[str], options: Options, body: bytes) -> Answer:
        """Return the answer to a request that saves or records. Raises as `get`."""
        match parts:
            case ["r", number, "textgrid"]:
                return self._save(self.recording(number), body)
            case ["live", "start"]:
                return self._start(body)
            case ["live", number]:
                return as_json(self._recorded(number).add(body))
            case ["live", number, "stop"]:
                return as_json({"recording": self._stop(number)})
        raise UnknownError("/".join(parts), "does not exist", "Reload the page")

    def recording(self, number: str) -> Recording:
        """Return the recording with an id. Raises `UnknownError`."""
        if number.isdecimal() and int(number) < len(self.recordings):
            return self.recordings[int(number)]
        raise UnknownError(f"recording {number}", "does not exist", "Reload the page")

    def model(self, options: Options) -> Model:
        """Return the model that is asked for. Raises `ConfigError`."""
        known = {model.id: model for model in self.models}
        name = options.get("model", next(iter(known), ""))
        check_choice("model", name, tuple(known))
        return known[name]

    def about(self) -> dict[str, Any]:
        """Return what the page shows first."""
        from speechasym import __version__

        self._listed.wait(WAIT_S)
        unknown = {"seconds": None, "rate": None, "error": None, "tiers": False}
        rows = [
            self._rows.get(r.id) or {"id": r.id, "name": r.name, **unknown} for r in self.recordings
        ]
        return {
            "title": self.title, "version": __version__, "recordings": rows,
            "models": [model.about() for model in self.models],
            "parameters": choices.parameters(), "microphone": True,
            "listed": self._listed.is_set(), "ready": self.ready.is_set(),
            "out": None if self.out is None else str(self.out),
        }  # fmt: skip

    def _info(self, recording: Recording, options: Options) -> Answer:
        recording.reopen()
        with self._lock:
            if recording not in self._open:
                self._open.append(recording)
                if len(self._open) > OPEN:
                    self._open.popleft().close()
        problem = ""
        try:
            tiers = recording.tiers()
        except SpeechAsymError as error:  # the sound is good
            tiers, problem = {}, str(error)
        return as_json({
            "seconds": recording.seconds, "rate": recording.rate, "channels": recording.channels,
            "tiers": _sent(tiers, "hand"), "problem": problem,
        })  # fmt: skip

    def _draw(
        self, recording: Recording, panel: str, options: Options
    ) -> Callable[[Grid], Picture]:
        """Return the function that draws a panel."""
        check_choice("panel", panel, (*PANELS, "units"))
        if panel == "units":
            level = round(number(options, "level", 0))
            return lambda g: models.units(self.model(options), level, recording, g, self.memo)
        return lambda g: PANELS[panel](recording, g, options, self.memo)

    def _tile(self, recording: Recording, options: Options) -> Answer:
        panel = options.get("panel", "")
        draw = self._draw(recording, panel, options)
        zoom, index = round(number(options, "zoom")), round(number(options, "index"))
        finest = tiles.FINEST_WAVE if panel == "waveform" else tiles.FINEST
        g = tiles.grid(recording.seconds, zoom, index, finest)
        nothing = Picture(np.zeros((0, 0)), 0.0, 1.0, "", {})
        with overview.answering():
            return Answer("tile", tiles.tile(draw(g) if g.columns else nothing, g))

    def _table(self, recording: Recording, options: Options) -> Answer:
        panel = options.get("panel", "")
        first, last = self._span(recording, options, TABLE_S)
        g = tiles.stretch(0, int(100 * first), int(np.ceil(100 * last)), recording.seconds)
        body = tiles.table(panel, self._draw(recording, panel, options), g)
        return Answer("csv", body, f"{Path(recording.name).stem}-{panel}-{first:g}-{last:g}.csv")

    def _audio(self, recording: Recording, options: Options) -> Answer:
        import soundfile

        first, last = self._span(recording, options, SOUND_S)
        rate, file = recording.rate, io.BytesIO()
        x = recording.read(round(first * rate), round(last * rate))
        soundfile.write(file, np.clip(x, -1, 1), rate, format="WAV", subtype="PCM_16")
        return Answer("wav", file.getvalue(), f"{Path(recording.name).stem}-{first:g}-{last:g}.wav")

    def _events(self, recording: Recording, options: Options) -> Answer:
        span = self._span(recording, options, RECOGNISED_S)
        level = round(number(options, "level", 0))
        return as_json(
            {"events": models.events(self.model(options), level, recording, *span, self.memo)}
        )

    def _recognised(self, recording: Recording, options: Options) -> Answer:
        span = self._span(recording, options, RECOGNISED_S)
        tiers = models.recognised(self.model(options), recording, *span, self.memo)
        return as_json({"tiers": _sent(tiers, "recognised")})

    def _span(self, recording: Recording, options: Options, longest: float) -> tuple[float, float]:
        """Return the stretch that is asked for. Raises `ConfigError`."""
        first, last = number(options, "from", 0), number(options, "to", recording.seconds)
        first, last = max(0.0, first), min(last, recording.seconds)
        if not first < last or last - first > longest + 1e-6:
            problem = f"must be a stretch of up to {longest:g} s, got {first:g} to {last:g} s"
            raise ConfigError("from, to", problem, "Choose a shorter one")
        return first, last

    def _save(self, recording: Recording, body: bytes) -> Answer:
        if recording.temporary:
            remedy = "Start speechasym explore with --out to keep what is recorded"
            raise OutputError(recording.name, "is kept until the server stops only", remedy)
        seconds = recording.seconds
        tiers = labels.tiers_from(body, recording.name, seconds)
        path = recording.path
        if not recording.whole:  # several may be parts of one file
            path = path.with_name(re.sub(r"[^\w.-]+", "_", recording.name) + path.suffix)
        folder = path.parent if self.out is None else self.out
        return as_json({"path": str(labels.save(folder / path.name, tiers, seconds))})

    def _start(self, body: bytes) -> Answer:
        try:
            content = json.loads(body or b"{}")
            rate, wanted = int(content["rate"]), content.get("model")
        except (ValueError, LookupError, TypeError) as error:
            raise ConfigError("rate", "must be given in Hz", "Reload the page") from error
        check_range("rate", rate, "16000", 8000, 192000)
        with self._lock:
            now = time.monotonic()
            old = [n for n, live in self._live.items() if now - live.latest > ABANDONED_S]
        for number in old:
            self._stop(number)
        model = None
        if self.models:
            model = self.model({} if wanted is None else {"model": str(wanted)})
        with self._lock:
            folder = self._recorded_folder()
            stem = f"microphone-{time.strftime('%Y%m%d-%H%M%S')}"
            names = (f"{stem}{'' if n == 1 else f'-{n}'}.wav" for n in count(1))
            path = next(folder / name for name in names if not (folder / name).exists())
            try:
                live = Live(rate, path, model)
            except (OSError, RuntimeError) as error:
                remedy = "Start speechasym explore with --out and a folder that you can write to"
                raise OutputError(path, f"cannot be written ({error})", remedy) from error
            self._live[path.stem] = live
        return as_json({"live": path.stem, "path": str(path), "temporary": self.out is None})

    def _recorded_folder(self) -> Path:
        if self.out is not None:
            self.out.mkdir(parents=True, exist_ok=True)
            return self.out
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="speechasym-"))
        return self._folder

    def _recorded(self, number: str) -> Live:
        live = self._live.get(number)
        if live is None:
            raise UnknownError(f"recording {number}", "is not being made", "Record again")
        return live

    def _stop(self, number: str) -> dict[str, Any] | None:
        live = self._recorded(number)
        with self._lock:
            del self._live[number]
            live.close()
            if not live.samples:
                live.path.unlink(missing_ok=True)
                return None
            recording = Recording(len(self.recordings), live.path, live.path.name)
            recording.temporary = self.out is None
            self.recordings.append(recording)
        self._rows[recording.id] = recording.about()
        return self._rows[recording.id]


def _sent(tiers: Mapping[str, Sequence[Sequence[Any]]], source: str) -> list[dict[str, Any]]:
    """Return tiers as the page reads them."""
    return [
        {"name": name, "source": source, "intervals": [list(row) for row in rows]}
        for name, rows in tiers.items()
    ]
