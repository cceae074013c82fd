"""Pictures of the signal: waveform, gammatone and FFT spectrogram.

A column holds the mean over its time of what the library computes, or the frame at its middle where
frames are longer.

Shapes: T samples, F frames, C channels, K columns.
"""

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from speechasym.auditory import filterbank
from speechasym.auditory.filterbank import FilterbankConfig, FilterbankState
from speechasym.explorer import overview
from speechasym.explorer.choices import FRAME_S, chosen
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
