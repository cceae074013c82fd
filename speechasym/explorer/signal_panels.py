"""Pictures of the signal: waveform, gammatone and FFT spectrogram, asymmetry by scale.

A column holds the mean over its time of what the library computes, or the frame at its middle where
frames are longer.

Shapes: T samples, F frames, C channels, K columns, S scales.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechasym.asymmetry import loops, tracks
from speechasym.asymmetry.columns import CHUNK
from speechasym.asymmetry.tracks import SCALES, AsymmetryConfig, Design, Scale
from speechasym.auditory import erb, filterbank
from speechasym.auditory.filterbank import FilterbankConfig, FilterbankState
from speechasym.config import check_choice
from speechasym.explorer import overview
from speechasym.explorer.memo import Memo
from speechasym.explorer.overview import Overview
from speechasym.explorer.recordings import Recording
from speechasym.explorer.tiles import Grid, Picture, columns_of
from speechasym.feature_extraction.spectrograms import spectrogram

Options = Mapping[str, str]

LOW_DB, HIGH_DB = -120.0, 7.5  # half a dB a byte; full scale is 0
SHORT_S = 120.0  # of recordings that need no overview
DIRECT_S = 90.0  # computed for a request at most, while an overview is being computed
RUN_IN_S = 0.3  # after which the narrowest filter has forgotten what was before
PREVIEW_S = 0.1  # the same, for a preview
HIGHEST_HZ = 10_000.0  # shown of an FFT spectrogram: speech has little above
FRAME_S = 0.01  # of asymmetry, and of the mean of an FFT spectrogram
WHOLE_S, PART_S, BEFORE_S = 60.0, 5.0, 10.0  # asymmetry: read whole, or in parts after a run-in
KINDS = {"amplitude": "amplitude", "frequency": "frequency", "phase": "lead"}  # -> tracks

CHOICES = {  # parameter -> its choices, the default first
    "channels": ("64", "32", "128"), "align": ("false", "true"),
    "window_ms": ("10", "5", "20", "40"), "kind": tuple(KINDS),
    "scale": ("0", "1", "2", "3"), "width": ("1", "0.25", "0.5", "2", "4"),
}  # fmt: skip


def chosen(options: Options, name: str) -> str:
    """Return the value of a parameter. Raises `ConfigError` for one that is not a choice."""
    value = options.get(name, CHOICES[name][0])
    check_choice(name, value, CHOICES[name])
    return value


def parameters() -> dict[str, Any]:
    """Return what can be chosen for the pictures, by panel."""

    def choices(*names: str) -> dict[str, Any]:
        return {
            name: {
                "default": CHOICES[name][0],
                "choices": sorted(CHOICES[name], key=float) if name != "align" else CHOICES[name],
            }
            for name in names
        }

    scales = [
        {"id": str(n), "name": f"{s.time_ms:g} ms, ±{s.decibel:g} dB", "time_ms": s.time_ms,
         "width_db": s.decibel, "width_erb": s.erb, "width_cycles": s.cycle}
        for n, s in enumerate(SCALES)
    ]  # fmt: skip
    asymmetry = {"kinds": list(KINDS), "scales": scales, **choices("width", "channels")}
    return {
        "gammatone": choices("channels", "align"), "spectrogram": choices("window_ms"),
        "asymmetry": asymmetry,
    }  # fmt: skip


def waveform(recording: Recording, g: Grid, options: Options, memo: Memo) -> Picture:
    """Return the least and the greatest sample of each column; between samples, a line."""
    exact, rate = True, recording.rate
    if recording.seconds <= SHORT_S or g.column_s < overview.SECONDS:
        low, high = extremes(recording, g.edges(rate))
    else:
        whole = memo(recording.key("waveform"), partial(_waveform_overview, recording))
        first, stop = g.frames(whole.rate)
        edges = np.clip(np.rint(g.edges(whole.rate)).astype(int) - first, 0, stop - first)
        part = whole.values[first:stop]
        low = np.minimum.reduceat(part[:, 0], np.minimum(edges[:-1], len(part) - 1))
        high = np.maximum.reduceat(part[:, 1], np.minimum(edges[:-1], len(part) - 1))
        exact = whole.done >= min(stop, len(whole.values))
    peak = float(max(np.abs(low).max(initial=0), np.abs(high).max(initial=0))) or 1.0
    names = {"names": ["min", "max"]}
    return Picture(np.stack([low, high]), -peak, peak, "full scale 1", names, exact)


def extremes(
    recording: Recording, edges: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return minima and maxima (K,) between edges (K + 1,) in samples."""
    begin = int(edges[0])
    x = recording.read(begin, int(np.ceil(edges[-1])) + 1)
    if len(edges) < 2 or not len(x):
        return np.zeros(0, np.float32), np.zeros(0, np.float32)
    if edges[1] - edges[0] < 1:
        middle = (edges[1:] + edges[:-1]) / 2
        line = np.interp(middle - 0.5, begin + np.arange(len(x)), x).astype(np.float32)
        return line, line
    at = np.minimum(np.rint(edges[:-1]).astype(int) - begin, len(x) - 1)
    x = x[: max(int(np.rint(edges[-1])) - begin, int(at[-1]) + 1)]
    return np.minimum.reduceat(x, at), np.maximum.reduceat(x, at)


def _waveform_overview(recording: Recording) -> Overview:
    hop = overview.hop(recording.rate)

    def outline(rows: NDArray) -> NDArray:
        return np.stack([rows.min(1), rows.max(1)], 1)

    def parts() -> Iterator[NDArray]:
        rest = np.zeros(0, np.float32)
        for x in recording.blocks():
            rest = np.concatenate([rest, x])
            whole = len(rest) // hop * hop
            yield outline(rest[:whole].reshape(-1, hop))
            rest = rest[whole:]
        if len(rest):
            yield outline(rest[None])

    preview = outline(overview.moments(recording, 0, hop))
    return Overview(recording, hop, 2, parts, lambda: preview)


def bank(recording: Recording, options: Options, frame_s: float) -> FilterbankConfig:
    """Return the filterbank with frames as long as that, or up to a sample shorter."""
    hop = max(1, int(frame_s * recording.rate + 1e-6))
    return FilterbankConfig(
        sample_rate=recording.rate, channels=int(chosen(options, "channels")),
        align=chosen(options, "align") == "true", frame_rate=recording.rate / hop,
    )  # fmt: skip


def powers(
    recording: Recording, config: FilterbankConfig, first: int, stop: int
) -> NDArray[np.float32]:
    """Return the mean power (F, C) of frames from `first` to `stop`, as of the whole recording."""
    c = filterbank.design(config)
    late = -(-c.latency // c.hop)
    before = min(first, int(np.ceil(RUN_IN_S * recording.rate / c.hop)))
    begin, end = (first - before) * c.hop, (stop + late) * c.hop
    x = recording.read(begin, end)
    x = np.pad(x, (0, max(0, end - begin - len(x))))
    state = FilterbankState(None, np.zeros((1, late * c.hop), np.float32))
    frames, _ = filterbank.pool(x[None], c, state)
    return np.ascontiguousarray(frames.power[0].T[before + late :])


def gammatone(recording: Recording, g: Grid, options: Options, memo: Memo) -> Picture:
    """Return levels in dB re a full-scale sine in each channel of the filterbank."""
    far = recording.seconds > SHORT_S and g.column_s >= overview.SECONDS
    config = bank(recording, options, overview.SECONDS if far else g.column_s)
    hop = filterbank.hop(recording.rate, config.frame_rate)
    rate = recording.rate / hop
    first, stop = g.frames(rate)
    exact, values = True, None
    if far:
        key = recording.key("gammatone", config)
        whole = memo(key, partial(_gammatone_overview, recording, config))
        exact = whole.done >= min(stop, len(whole.values))
        if exact or g.end - g.start > DIRECT_S:
            values = whole.values[first:stop]
    if values is None:
        values, exact = powers(recording, config, first, stop), True
    level_db = filterbank.level_db(columns_of(values, first, rate, g)).T
    rows = {"frequencies": filterbank.design(config).frequency.round(2).tolist()}
    return Picture(level_db, LOW_DB, HIGH_DB, "dB re full-scale sine", rows, exact)


def _gammatone_overview(recording: Recording, config: FilterbankConfig) -> Overview:
    hop = filterbank.hop(recording.rate, config.frame_rate)
    count, step = -(-recording.samples // hop), 20 * round(recording.rate / hop)

    def parts() -> Iterator[NDArray]:
        for first in range(0, count, step):
            yield powers(recording, config, first, min(first + step, count))

    def preview() -> NDArray:
        before = round(PREVIEW_S * recording.rate) // hop * hop
        x = overview.moments(recording, before, hop)
        c = filterbank.design(config)
        waiting = np.zeros((len(x), c.latency), np.float32)
        frames, _ = filterbank.pool(x, c, FilterbankState(None, waiting))
        return frames.power[..., -1]

    return Overview(recording, hop, config.channels, parts, preview)


def fft(recording: Recording, g: Grid, options: Options, memo: Memo) -> Picture:
    """Return levels in dB re a full-scale sine by the short-time Fourier transform.

    Columns longer than 10 ms are means over it; in tiles of more than 90 s, one window of every
    fourth column is shown.
    """
    window_ms, rate = float(chosen(options, "window_ms")), recording.rate
    size = round(rate * window_ms / 1000)
    if g.end - g.start > DIRECT_S:
        starts = np.rint(g.edges(rate)[:-1:4]).astype(int)
        parts = [recording.read(start, start + 2 * size) for start in starts]
        rows = [_windows(np.pad(x, (0, 2 * size - len(x))), rate, size, window_ms) for x in parts]
        frequencies = rows[0][1]
        level_db = np.concatenate([level for level, _ in rows], 1).repeat(4, 1)[:, : g.columns]
    else:
        hop = max(1, int(min(g.column_s, FRAME_S) * rate + 1e-6))
        first, stop = g.frames(rate / hop)
        pad = -(-size // hop) * hop
        begin, end = first * hop + hop // 2 - pad, stop * hop + hop // 2 + pad
        x = recording.read(begin, end)
        x = np.pad(x, (max(0, -begin), max(0, end - max(0, begin) - len(x))))
        level_db, frequencies = _windows(x, rate, hop, window_ms)
        level_db = level_db[:, pad // hop : pad // hop + max(1, stop - first)]
        if g.column_s * rate / hop < 1.5:
            level_db = columns_of(level_db.T, first, rate / hop, g).T
        else:
            level_db = filterbank.level_db(
                columns_of(10 ** (level_db.T / 10), first, rate / hop, g)
            ).T
    rows_hz = {"frequencies": frequencies.round(2).tolist()}
    return Picture(level_db, LOW_DB, HIGH_DB, "dB re full-scale sine", rows_hz)


def _windows(
    x: NDArray[np.float32], rate: int, hop: int, window_ms: float
) -> tuple[NDArray, NDArray]:
    """Return levels in dB (C, F) of windows around every `hop` samples of x (T,), and C in Hz."""
    s = spectrogram(x, rate, kind="fft", frame_rate=rate / hop, window_ms=window_ms)
    shown = s.frequencies <= HIGHEST_HZ
    return s.level_db[shown], s.frequencies[shown]


def asymmetry(recording: Recording, g: Grid, options: Options, memo: Memo) -> Picture:
    """Return (rise - fall) / (rise + fall + width) of one kind of track at one scale."""
    track, number = KINDS[chosen(options, "kind")], int(chosen(options, "scale"))
    channels, width = int(chosen(options, "channels")), float(chosen(options, "width"))
    d = _design(recording.rate, channels, width)
    rate, exact = recording.rate / d.hop, True
    first, stop = g.frames(rate)
    key = recording.key("asymmetry", channels, width)
    if recording.seconds <= WHOLE_S:
        whole = memo(key, partial(_asymmetries, recording, d, 0, None))
        values = whole[track][number][first:stop]
    elif g.end - g.start <= WHOLE_S:
        size = round(PART_S * rate)
        numbers = range(first // size, -(-stop // size))
        parts = {n: memo.get((*key, n)) for n in numbers}
        missing = [n for n, part in parts.items() if part is None]
        if missing:  # at once, with one run-in
            begin = missing[0] * size
            new = _asymmetries(recording, d, begin, (missing[-1] + 1) * size)
            for n in range(missing[0], missing[-1] + 1):
                own = slice(n * size - begin, (n + 1) * size - begin)
                parts[n] = {name: values[:, own].copy() for name, values in new.items()}
                memo((*key, n), partial(parts.get, n))
        values = np.concatenate([parts[n][track][number] for n in numbers])
        values = values[first - numbers[0] * size :][: stop - first]
    else:
        far = memo((*key, track), partial(_asymmetry_overview, recording, d, track))
        rate = far.rate
        first, stop = g.frames(rate)
        exact = far.done >= min(stop, len(far.values))
        values = far.values[first:stop].reshape(-1, len(SCALES), far.values.shape[1] // len(SCALES))
        values = values[:, number] / 127
    columns = columns_of(values.astype(np.float32), first, rate, g).T
    rows = {"frequencies": _centres(d, track).round(2).tolist()}
    return Picture(columns, -1.0, -1 + 255 / 127, "asymmetry, fall -1 to rise 1", rows, exact)


def _design(rate: int, channels: int, width: float) -> Design:
    """Return the design of feature extraction at this sample rate, with widths so many times."""
    hop = max(1, round(FRAME_S * rate))
    config = FilterbankConfig(sample_rate=rate, channels=channels, frame_rate=rate / hop)
    scales = tuple(Scale(t, *(width * value for value in rest)) for t, *rest in SCALES)
    return tracks.design(AsymmetryConfig(bank=config, scales=scales))


def _centres(d: Design, track: str) -> NDArray[np.float64]:
    """Return centre frequencies in Hz; of lead, midway between neighbours."""
    if track != "lead":
        return d.inner.frequency
    cam = erb.hz_to_cam(d.inner.frequency)
    return erb.cam_to_hz((cam[1:] + cam[:-1]) / 2)


def _asymmetries(
    recording: Recording, d: Design, first: int, stop: int | None
) -> dict[str, NDArray[np.float16]]:
    """Return the asymmetry (S, F, C) of each track, of frames from `first` to `stop`."""
    before = min(first, round(BEFORE_S * recording.rate / d.hop))
    end = recording.samples if stop is None else min(stop * d.hop, recording.samples)
    x = recording.read((first - before) * d.hop, end)
    x = np.pad(x, (0, -len(x) % d.hop))
    blocks = (x[i : i + CHUNK] for i in range(0, len(x), CHUNK))
    parts = list(_asymmetry_blocks(blocks, d, loops.DRAWN_TRACKS))
    return {
        track: np.concatenate([part[track] for part in parts], 1)[:, before:]
        for track in loops.DRAWN_TRACKS
    }


def _asymmetry_blocks(
    blocks: Iterable[NDArray[np.float32]], d: Design, names: Sequence[str]
) -> Iterator[dict[str, NDArray[np.float16]]]:
    """Yield the asymmetry (S, F, C) of these tracks for blocks of samples (T,)."""
    state = tracks.start(d)
    for x in blocks:
        pooled, state = tracks.pool(x, d, state, tuple(names))
        yield {track: pooled.asymmetry[track].astype(np.float16) for track in names}


def _asymmetry_overview(recording: Recording, d: Design, track: str) -> Overview:
    per_frame = max(1, overview.hop(recording.rate) // d.hop)

    def parts() -> Iterator[NDArray]:
        rest: NDArray | None = None
        for block in _asymmetry_blocks(recording.blocks(2.0), d, [track]):
            new = block[track].transpose(1, 0, 2)
            rest = new if rest is None else np.concatenate([rest, new])
            whole = len(rest) // per_frame * per_frame
            means = rest[:whole].reshape(-1, per_frame, *rest.shape[1:]).mean(1, np.float32)
            yield np.rint(127 * means).astype(np.int8).reshape(len(means), -1)
            rest = rest[whole:]

    rows = len(SCALES) * len(_centres(d, track))
    return Overview(recording, per_frame * d.hop, rows, parts, kind=np.int8)
