"""Models that read a recording: which there are, and what they compute for stretches of it.

Recordings up to `WHOLE_S` are read as a whole, as `transcribe` does; longer ones in parts, each
with a margin before and after.

Shapes: F frames, S steps of a level, U units, K columns.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym.annotations.intervals import Interval
from speechasym.errors import CheckpointError, ConfigError
from speechasym.explorer.memo import Memo
from speechasym.explorer.recordings import DESCRIPTION, Recording
from speechasym.explorer.tiles import Grid, Picture, columns_of

WHOLE_S, PART_S, MARGIN_S = 60.0, 30.0, 2.0
FAR = "Zoom in to 60 s to see the units"


class LevelSteps(NamedTuple):
    """What a level computes in a part of a recording."""

    values: NDArray[np.float32]  # (S, U) activations; of a level without units, what it passes on
    start: NDArray[np.float64]  # (S,) s of the recording
    end: NDArray[np.float64]  # (S,)
    events: list[tuple[float, int, float]]  # time in s, unit, activation


class Model:
    """A model, opened when it is first needed."""

    def __init__(self, number: int, name: str, run: str | Path | None, folder: Path) -> None:
        self.id, self.name, self.run, self.folder = str(number), name, run, folder
        self.lock, self._search = threading.RLock(), threading.Lock()
        self._recogniser: Any = None

    def about(self) -> dict[str, Any]:
        """Return id, name, levels, and whether it reads live, by its description on disk."""
        config = json.loads((self.folder / DESCRIPTION).read_text("utf-8"))["config"]
        levels = config["model"].get("levels") or []
        running = config["data"]["features"].get("normalise") == "running"
        causal = [level.get("block", {}).get("causal", False) for level in levels]
        names = [f"level {n}" for n in range(len(levels))]
        live = running and bool(levels) and all(causal)
        return {"id": self.id, "name": self.name, "levels": names, "live": live}

    @property
    def recogniser(self) -> Any:
        """The recogniser. Raises `CheckpointError`."""
        with self.lock:
            if self._recogniser is None:
                from speechasym.recognition.recogniser import Recogniser

                self._recogniser = Recogniser(self.run)
            return self._recogniser

    def levels(self, recording: Recording, part: int, memo: Memo) -> list[LevelSteps]:
        """Return what each level computes in a part of a recording."""
        key = recording.key("levels", self.id, part)
        return memo(key, lambda: self._levels(recording, part))

    def tiers(self, recording: Recording, part: int, memo: Memo) -> dict[str, list[Interval]]:
        """Return what is recognised in a part of a recording, by head."""
        key = recording.key("tiers", self.id, part)
        return memo(key, lambda: self._tiers(recording, part))

    def _levels(self, recording: Recording, part: int) -> list[LevelSteps]:
        x, offset, (begin, end) = _samples(recording, part)
        with self.lock, one_thread():
            recogniser = self.recogniser
            rate = recogniser.trained.feature_config.rate
            activations = recogniser.activations((x, recording.rate))
        levels = []
        for level in activations:
            first, last = (level.frames.numpy().T / rate) + offset
            inside = (first >= begin) & (first < end)
            values = (level.y if level.units is None else level.units).numpy()
            events = []
            if level.winner is not None:
                winner = level.winner.numpy()
                changes = np.flatnonzero(np.diff(winner, prepend=-1))
                events = [
                    (round(float(first[n]), 4), int(winner[n]), float(values[n, winner[n]]))
                    for n in changes
                    if inside[n]
                ]
            levels.append(LevelSteps(values[inside], first[inside], last[inside], events))
        return levels

    def _tiers(self, recording: Recording, part: int) -> dict[str, list[Interval]]:
        x, offset, (begin, end) = _samples(recording, part)
        recogniser = self.recogniser
        with self._search, one_thread():  # units need not wait for words
            transcript = recogniser.transcribe((x, recording.rate))
        return {
            name: [
                Interval(round(max(begin, a + offset), 4), round(min(end, b + offset), 4), label)
                for a, b, label in rows
                if begin <= (a + b) / 2 + offset < end
            ]
            for name, rows in transcript.tiers().items()
        }

    def names(self, recording: Recording, number: int, memo: Memo) -> list[str]:
        """Return the names of a level's units: the symbols that excite them, and their numbers.

        A run of version 0.1 does not know them: then they are those of this recording.
        """
        key = recording.key("names", self.id, number)
        return memo(key, lambda: self._names(recording, number, memo))

    def _names(self, recording: Recording, number: int, memo: Memo) -> list[str]:
        from speechasym.training.unit_names import Favourites, head_of_level, held

        trained = self.recogniser.trained
        levels = self.levels(recording, 0, memo)
        symbols = [""] * levels[number].values.shape[1]
        if stored := trained.unit_names.get(number):
            symbols = stored.names
        elif head := head_of_level(number, len(levels), trained.inventories):
            values, start, end, _ = levels[number]
            rate, favourites = trained.feature_config.rate, Favourites()
            first, last = (np.rint(times * rate).astype(int) for times in (start, end))
            count = int(last.max(initial=0))
            known = self.tiers(recording, 0, memo)[head]
            favourites.add(held(values, first, last, count), known, rate)
            symbols = favourites.names()
        return [f"{symbol} {unit}".strip() for unit, symbol in enumerate(symbols)]


_before: list[int] = []  # torch's threads as they were, once for each thread in `one_thread`


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread inside the block: more wait for each other on a busy machine."""
    import torch

    _before.append(_before[0] if _before else torch.get_num_threads())
    torch.set_num_threads(1)
    try:
        yield
    finally:
        before = _before.pop()
        if not _before:
            torch.set_num_threads(before)


def parts_of(recording: Recording, start: float, end: float) -> range:
    """Return which parts cover a stretch, given in s."""
    if recording.seconds <= WHOLE_S:
        return range(1)
    return range(int(max(0.0, start) / PART_S), int(np.ceil(min(end, recording.seconds) / PART_S)))


def _samples(
    recording: Recording, part: int
) -> tuple[NDArray[np.float32], float, tuple[float, float]]:
    """Return the samples (T,) to read for a part, the time of the first, and the part in s."""
    if recording.seconds <= WHOLE_S:
        return recording.read(0, recording.samples), 0.0, (0.0, np.inf)
    begin, rate = part * PART_S, recording.rate
    offset = max(0.0, begin - MARGIN_S)
    x = recording.read(round(offset * rate), round((begin + PART_S + MARGIN_S) * rate))
    return x, offset, (begin, begin + PART_S)


def units(model: Model, number: int, recording: Recording, g: Grid, memo: Memo) -> Picture:
    """Return the activation of the units of a level, by name; seen from afar, a note instead."""
    if g.end - g.start > WHOLE_S and recording.seconds > WHOLE_S:
        return Picture(np.zeros((0, 0)), 0.0, 1.0, "activation", {"names": []}, note=FAR)
    parts = [model.levels(recording, n, memo) for n in parts_of(recording, g.start, g.end)]
    check_level(model, number, len(parts[0]) if parts else 0)
    steps = [part[number] for part in parts]
    parts_of_each = zip(*(s[:3] for s in steps), strict=True)
    values, start, end = (np.concatenate(some) for some in parts_of_each)
    names = model.names(recording, number, memo)
    order = sorted(range(len(names)), key=lambda unit: (names[unit].rpartition(" ")[0], unit))
    low, high = limits(model.levels(recording, 0, memo)[number].values)
    rows: dict[str, list[Any]] = {"names": [names[unit] for unit in order], "units": order}
    columns = held_columns(values[:, order], start, end, g)
    return Picture(columns, low, high, "activation", rows)


def held_columns(values: NDArray, start: NDArray, end: NDArray, g: Grid) -> NDArray[np.float64]:
    """Return values (S, U) of steps, held from their start to their end in s, as (U, K)."""
    rate = max(100.0, 1 / g.column_s)
    first, stop = g.frames(rate)
    frames = np.zeros((stop - first, values.shape[1]), np.float32)
    if len(start):
        middles = (np.arange(first, stop) + 0.5) / rate
        step = np.maximum(np.searchsorted(start, middles, side="right") - 1, 0)
        held = (start[step] <= middles) & (middles < end[step])
        frames[held] = values[step[held]]
    return columns_of(frames, first, rate, g).T


def limits(values: NDArray) -> tuple[float, float]:
    """Return near the least and the greatest of activations: 0 and full colour."""
    low, high = np.quantile(values, [0.005, 0.995]).tolist() if values.size else (0.0, 1.0)
    low = 0.0 if low >= 0 else -max(-low, high)
    return low, max(high, -low, 1e-6)


def events(
    model: Model, number: int, recording: Recording, start: float, end: float, memo: Memo
) -> list[tuple[float, int, float]]:
    """Return time in s, unit and activation of each event of a level in a stretch."""
    rows = []
    for part in parts_of(recording, start, end):
        levels = model.levels(recording, part, memo)
        check_level(model, number, len(levels))
        rows += [event for event in levels[number].events if start <= event[0] < end]
    return rows


def recognised(
    model: Model, recording: Recording, start: float, end: float, memo: Memo
) -> dict[str, list[Interval]]:
    """Return what is recognised in a stretch, by head."""
    tiers: dict[str, list[Interval]] = {}
    for part in parts_of(recording, start, end):
        for name, rows in model.tiers(recording, part, memo).items():
            tiers.setdefault(name, []).extend(i for i in rows if i.end > start and i.start < end)
    return tiers


def check_level(model: Model, number: int, count: int) -> None:
    """Raise `ConfigError` for a level that the model does not have."""
    if not 0 <= number < count:
        problem = f"{number} is not one of the {count} levels of {model.name}"
        raise ConfigError("level", problem, "Choose another")


def models_for(run: str | Path | None) -> list[Model]:
    """Return the model of a run, if any, then those that are installed.

    Raises `CheckpointError` for a run that is not finished.
    """
    from speechasym.recognition.installed import SHIPPED, installed, run_folder

    known: list[tuple[str, str | Path | None, Path]] = []
    if run is not None:
        folder = run_folder(run)
        if not (folder / DESCRIPTION).is_file():
            problem = f"is not the folder of a finished run (it has no {DESCRIPTION})"
            raise CheckpointError(run, problem, "Give the folder that train wrote")
        known.append((folder.resolve().name, folder, folder))
    for name, folder in installed().items():
        if (folder / DESCRIPTION).is_file():
            known.append((f"{name} (pretrained)", None if name == SHIPPED else name, folder))
    return [Model(number, *row) for number, row in enumerate(known)]
