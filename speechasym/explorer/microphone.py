"""What the page records: kept as a file, and seen while it is heard.

A model that was trained to read live reads the stream; any other reads its last seconds again and
again.

Shapes: T samples, C channels, U units, K columns.
"""

import base64
import queue
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechasym.auditory import filterbank
from speechasym.errors import AudioError, SpeechAsymError
from speechasym.explorer.choices import FRAME_S
from speechasym.explorer.models import Model, held_columns, limits, one_thread
from speechasym.explorer.signal_panels import HIGH_DB, LOW_DB
from speechasym.explorer.tiles import Grid, scaled

LAST_S = 4.0  # that a model reads that cannot read live, and that is shown of its units
LEAST_S = 0.3  # of new sound before it reads again
COLUMN_ZOOM = -1  # of the pictures of units: 20 ms
LONGEST_S = 1800.0  # of a recording


class Live:
    """A recording that is being made.

    Args:
        rate: of the samples, Hz.
        path: the WAV file to write.
        model: reads it, if any.
    """

    def __init__(self, rate: int, path: Path, model: Model | None) -> None:
        import soundfile

        self.rate, self.path, self.model, self.latest = rate, path, model, time.monotonic()
        hop = max(1, round(FRAME_S * rate))
        config = filterbank.FilterbankConfig(sample_rate=rate, frame_rate=rate / hop)
        self._bank, self.samples = filterbank.design(config), 0
        self._state: filterbank.FilterbankState | None = None
        self._frames, self._column_s = 0, hop / rate
        self._file = soundfile.SoundFile(str(path), "x", rate, 1, "PCM_16", format="WAV")
        self._lock, self._last = threading.Lock(), np.zeros(0, np.float32)
        self._queue: queue.Queue[NDArray[np.float32] | None] = queue.Queue()
        self._text = self._error = ""
        self._units: list[dict[str, Any]] = []
        if model is not None:
            threading.Thread(target=self._read, args=(model,), daemon=True).start()

    @property
    def seconds(self) -> float:
        """What was recorded so far, in s."""
        return self.samples / self.rate

    def add(self, body: bytes) -> dict[str, Any]:
        """Add float32 samples; return their spectrogram, and what the model made of the stream."""
        x = np.frombuffer(body[: len(body) // 4 * 4], "<f4").astype(np.float32)
        if len(body) % 4 or not np.isfinite(x).all():
            remedy = "Reload the page, and record again"
            raise AudioError("microphone", "must send finite samples of 32 bits", remedy)
        if self.seconds + len(x) / self.rate > LONGEST_S:
            problem = f"a recording may last {LONGEST_S / 60:g} minutes"
            raise AudioError("microphone", problem, "Stop, and record the rest as another")
        with self._lock:
            self.latest = time.monotonic()
            self._file.write(np.clip(x, -1, 1))
            self.samples += len(x)
            frames, self._state = filterbank.pool(x[None], self._bank, self._state)
            level_db = filterbank.level_db(frames.power[0])
            start, self._frames = self._frames, self._frames + level_db.shape[1]
            units, self._units = self._units, []
        self._queue.put(x)
        picture = {
            "from": start * self._column_s, "column_s": self._column_s,
            "frequencies": self._bank.frequency.round(2).tolist(),
            **_sent(level_db, LOW_DB, HIGH_DB),
        }  # fmt: skip
        return {
            "seconds": self.seconds, "gammatone": picture, "units": units, "text": self._text,
            "error": self._error,
        }  # fmt: skip

    def close(self) -> None:
        """Finish the file."""
        self._queue.put(None)
        with self._lock:
            self._file.close()

    def _read(self, model: Model) -> None:
        try:
            with one_thread():
                recogniser = model.recogniser
                from speechasym.recognition import live

                try:
                    live.check(recogniser.trained)
                except SpeechAsymError:
                    self._read_again(recogniser, model)
                else:
                    self._read_stream(recogniser)
        except SpeechAsymError as error:
            self._error = str(error)

    def _blocks(self, sample_rate: int) -> Iterator[NDArray[np.float32]]:
        """Yield blocks of samples (T,) at the rate of the model as they come."""
        import soxr

        resample = soxr.ResampleStream(self.rate, sample_rate, 1, dtype="float32", quality="HQ")
        while (x := self._queue.get()) is not None:
            yield resample.resample_chunk(x)
        yield resample.resample_chunk(np.zeros(0, np.float32), last=True)

    def _read_stream(self, recogniser: Any) -> None:
        """Let a model read that was trained to read live."""
        from speechasym.recognition.live import LiveTranscription

        config = recogniser.trained.feature_config
        rate, steps = config.rate, dict[int, list[tuple[float, float, NDArray]]]()

        def watch(output: Any, first: int) -> None:
            now = 0.0
            for number, level in enumerate(output.levels):
                mask = level.mask[0]
                values = level.y if level.activation is None else level.activation
                rows = steps.setdefault(number, [])
                rows += zip(
                    ((level.start[0][mask] + first) / rate).tolist(),
                    ((level.end[0][mask] + first) / rate).tolist(),
                    values[0][mask].numpy(), strict=True,
                )  # fmt: skip
                now = max(now, rows[-1][1] if rows else 0.0)
                steps[number] = [row for row in rows if row[1] > now - LAST_S]
            arrays = {n: zip(*rows, strict=True) for n, rows in steps.items() if rows}
            self._show({n: tuple(map(np.array, parts)) for n, parts in arrays.items()}, now)

        transcription = LiveTranscription(recogniser, self._blocks(config.sample_rate))
        transcription.watch = watch
        done: list[str] = []
        for result in transcription:
            done += [result.transcript.text] * result.final
            self._text = " ".join([*done[-3:], *([] if result.final else [result.transcript.text])])

    def _read_again(self, recogniser: Any, model: Model) -> None:
        """Let any model read the last seconds, as often as it can."""
        config = recogniser.trained.feature_config
        rate, count, new = config.sample_rate, 0, 0
        heads = [head for head in ("letters", "words", "phones") if head in recogniser.heads][:1]
        last = np.zeros(0, np.float32)
        for x in self._blocks(rate):
            last = np.concatenate([last, x])[-round(LAST_S * rate) :]
            count, new = count + len(x), new + len(x)
            if self._queue.qsize() or new < LEAST_S * rate:
                continue
            new, offset = 0, (count - len(last)) / rate
            with model.lock:
                levels = recogniser.activations((last, rate))
                transcript = recogniser.transcribe((last, rate), heads=heads) if heads else None
            rows: dict[int, tuple[NDArray, ...]] = {
                n: (
                    level.frames[:, 0].numpy() / config.rate + offset,
                    level.frames[:, 1].numpy() / config.rate + offset,
                    (level.y if level.units is None else level.units).numpy(),
                )
                for n, level in enumerate(levels)
            }
            self._show(rows, count / rate)
            self._text = transcript.text if transcript else ""

    def _show(self, levels: dict[int, tuple[NDArray, ...]], now: float) -> None:
        """Make pictures of the units of each level over the last seconds."""
        pictures = []
        for number, (start, end, values) in levels.items():
            column_s = 0.01 * 2.0**-COLUMN_ZOOM
            first = max(0, round((now - LAST_S) / column_s))
            g = Grid(COLUMN_ZOOM, first, round(now / column_s) - first)
            columns = held_columns(values, start, end, g)
            sent = _sent(columns, *limits(values))
            pictures.append({"level": number, "from": g.start, "column_s": column_s, **sent})
        with self._lock:
            self._units = pictures


def _sent(values: NDArray, lo: float, hi: float) -> dict[str, Any]:
    """Return a picture (R, K) as the page reads it."""
    data = base64.b64encode(scaled(values, lo, hi).tobytes()).decode()
    return {"rows": values.shape[0], "columns": values.shape[1], "lo": lo, "hi": hi, "data": data}
