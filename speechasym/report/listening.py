"""The report's recordings: sound, spectrogram, asymmetry, units and symbols on one time axis."""

import base64
import io
import math
from collections.abc import Iterable, Sequence

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from speechasym.asymmetry import loops
from speechasym.auditory import erb
from speechasym.feature_extraction.spectrograms import spectrogram
from speechasym.plots import asymmetry
from speechasym.plots.axes import TICKS_HZ
from speechasym.plots.recognised import RecognisedRecording
from speechasym.plots.units import named_units, unit_activity
from speechasym.recognition.trained_model import TrainedModel
from speechasym.report import html, strips
from speechasym.report.data import ReportData
from speechasym.report.html import Html, joined, lane_row, paragraph, symbol, tag
from speechasym.report.tiers import tier_rows

MOST_UNITS = 24  # drawn of a level
UNIT_PX = 3.5  # of the page for one of a picture of units: their names need 10 per unit
FFT_RATE, FFT_HZ = 100.0, 8000.0  # frames per second, and highest frequency
HOW_TO_READ = (
    "From top to bottom: the sound; its gammatone spectrogram{}; the asymmetry of its tracks, "
    "scale by scale, red where a track rises and blue where it falls; the units of each level, "
    "orange where a unit wins an event, with a tick where an event begins;"
)
HOW_TO_HEAR = (
    "Press a symbol to hear it, or anywhere in a picture to play from there. A unit is named after "
    "the symbol in which it is most active, on average. On the keyboard, the arrow keys move along "
    "a row of symbols."
)


def recordings(data: ReportData) -> Html:
    """Show all recordings, one below the other."""
    if not data.recordings:
        return paragraph(f"No recordings to show. {data.problem}")
    intro = paragraph(f"{HOW_TO_READ.format('')} and what was said and recognised. {HOW_TO_HEAR}")
    signs = [joined([html.error_sign(kind), "  "]) for kind in html.SIGNS]
    items = []
    for number, item in enumerate(data.recordings):
        heading = [tag("h3", item.title), paragraph(item.about, note=True) if item.about else None]
        if item.recognised is None:
            problem = paragraph(f"It cannot be played. {item.problem}")
            items.append(tag("article", *heading, problem))
            continue
        tiers = tier_rows(item, data.trained.config.data.labels)
        scene = recording_scene(data.trained, item.recognised, tiers, number)
        items.append(tag("article", *heading, *scene, class_="hear"))
    return joined([intro, tag("p", *signs, class_="signs"), *items])


def recording_scene(
    trained: TrainedModel, recording: RecognisedRecording, tiers: Sequence[Html], number: int = 0,
    *, start: float = 0.0, fft: bool = False,
) -> list[Html]:  # fmt: skip
    """Return the player of a recording, and below it its rows on one time axis.

    Args:
        tiers: rows of symbols.
        number: of the recording on the page.
        start: time in s that the axis begins with.
        fft: also show the short-time Fourier transform.
    """
    choices = []
    for n, track in enumerate(loops.DRAWN_TRACKS):
        button = tag("input", type="radio", name=f"kind-{number}", value=track, checked=n == 0)
        choices.append(tag("label", button, " ", asymmetry.TITLES[track]))
    kinds = tag("fieldset", tag("legend", "Asymmetry of"), *choices)
    source, name = flac(recording), f"Recording {recording.title}"
    sound = tag("audio", controls=True, preload="auto", src=source, aria_label=name)
    rows = [
        *_signal(recording, fft), *_levels(trained, recording), *tiers, _axis(recording, start)
    ]  # fmt: skip
    lanes = tag(
        "div", *rows, tag("div", tag("i", class_="cursor"), class_="over"), class_="lanes",
        style=f"--s:{recording.seconds:.4f}", data_seconds=f"{recording.seconds:.4f}",
    )  # fmt: skip
    return [sound, kinds, html.scroll_box(lanes, f"{recording.title}, over time")]


def flac(recording: RecognisedRecording) -> str:
    """Return the samples as a data URI."""
    file = io.BytesIO()
    samples = np.clip(recording.samples, -1, 1)
    sf.write(file, samples, recording.sample_rate, format="FLAC", subtype="PCM_16")
    return "data:audio/flac;base64," + base64.b64encode(file.getvalue()).decode()


def _ticks(places: Iterable[tuple[float, float]]) -> Html:
    """Return an axis of frequencies, each with its height from 0 at the bottom to 1."""
    ticks = (
        tag("span", f"{hz:g}{' Hz' * (hz >= 5000)}", style=f"top:{100 * (1 - place):.1f}%")
        for hz, place in places
        if 0.04 < place < 0.96
    )
    return tag("span", *ticks, class_="hz")


def _cam_ticks(cam: NDArray, frequencies: Iterable[float]) -> Html:
    """Return the axis of channels at these places in ERB, rising."""
    places = [(hz, (float(erb.hz_to_cam(hz)) - cam[0]) / (cam[-1] - cam[0])) for hz in frequencies]
    return _ticks(places)


def _heading(name: str, *inside: object) -> Html:
    """Return a row with words about the rows below it, which stay in sight."""
    return lane_row(tag("b", name), tag("p", *inside, class_="none"), kind="about")


def colour_key(kind: str, low: str, high: str) -> Html:
    """Return the key of a colour scale, between the words for its ends."""
    return tag("span", f"{low} ", tag("i", class_=f"ramp {kind}"), f" {high}", class_="ramps")


def _signal(recording: RecognisedRecording, fft: bool) -> list[Html]:
    """Return rows of the sound, its spectrograms and its asymmetries."""
    d = asymmetry.design(recording.sample_rate)
    frames = loops.all_frames(recording.samples, d)
    cam = erb.hz_to_cam(d.inner.frequency)
    wave = strips.waveform(recording.samples, round(200 * recording.seconds))
    rows = [lane_row("sound", wave, kind="sound", height=44)]
    key = colour_key("ink", f"{strips.RANGE_DB:g} dB below", "loudest")
    rows.append(_heading("spectrogram", "level in each channel of the gammatone filterbank: ", key))
    name = joined([tag("b", "gamma-"), tag("b", "tone"), _cam_ticks(cam, TICKS_HZ)])
    text = f"Gammatone spectrogram, {len(cam)} channels from {d.inner.frequency[0]:.0f} Hz"
    picture = tag("img", src=strips.spectrogram(frames.power), alt=text, class_="ink smooth")
    rows.append(lane_row(name, picture, kind="tall", height=140))
    if fft:
        rows.append(_fft_row(recording))
    key = colour_key("signed", f"{html.MINUS}1 falls", "rises 1")
    formula = f"(rise {html.MINUS} fall) / (rise + fall + width): "
    rows.append(_heading("asymmetry", formula, key))
    for track in loops.DRAWN_TRACKS:
        places = (cam[1:] + cam[:-1]) / 2 if track == "lead" else cam
        axis = _cam_ticks(places, (200, 1000, 5000))
        for n, scale in enumerate(d.config.scales):
            width = f"±{scale.width(track):g} {asymmetry.unit(track)}"
            name = joined([tag("b", f"{scale.time_ms:g} ms"), tag("small", width), axis])
            text = f"Asymmetry of {track}, scale {n + 1}: {scale.time_ms:g} ms, {width}"
            uri = strips.asymmetry(frames.asymmetry[track][n])
            picture = tag("img", src=uri, alt=text, class_="signed smooth")
            rows.append(lane_row(name, picture, kind=f"kind {track}", height=58))
    return rows


def _fft_row(recording: RecognisedRecording) -> Html:
    """Return the row of the short-time Fourier transform, over linear frequency."""
    x, rate = recording.samples, recording.sample_rate
    s = spectrogram(x, rate, kind="fft", frame_rate=FFT_RATE)
    shown = s.frequencies <= FFT_HZ
    top = float(s.frequencies[shown][-1])
    axis = _ticks((hz, hz / top) for hz in (1000, 2000, 3000, 4000, 5000, 6000, 7000))
    name = joined([tag("b", "Fourier"), axis])
    uri = strips.spectrogram(10 ** (s.level_db[shown].T / 10))
    text = f"Short-time Fourier transform, 0 to {top:g} Hz, window 10 ms"
    picture = tag("img", src=uri, alt=text, class_="ink smooth")
    return lane_row(name, picture, kind="tall", height=160)


def _levels(trained: TrainedModel, recording: RecognisedRecording) -> list[Html]:
    """Return a row of units for each level, or a remark where there are none."""
    levels = recording.output.levels
    if not levels:
        return [lane_row(tag("b", "levels"), tag("p", "This model has no levels.", class_="none"))]
    rows = []
    for number, level in enumerate(levels):
        title, rates = f"level {number}", recording.rates(number)
        if level.activation is None:
            rows.append(_heading(title, f"{rates}. This level has no units."))
            continue
        names, how = named_units(trained, recording, number)
        data = unit_activity(recording, number, names, MOST_UNITS)
        pairs = list(zip(data.units, data.names, strict=True))[::-1]  # from top to bottom
        tips = [f"unit {u}" + (f", {how}: {symbol(label)}" if label else "") for u, label in pairs]
        part = f"{len(tips)} of " if len(tips) < data.total else ""
        count = f"{part}{data.total} units"
        named = f", each with the {how}" if how else ""
        key = colour_key("units", "inactive", "active")
        rows.append(_heading(title, f"{rates}; {count}{named}: ", key))
        height = 4 + 3 * len(tips)  # pixels of the picture; four are ticks
        labels = (
            tag("span", f"{symbol(label)} {unit}".strip(),
                style=f"top:{100 * (5.5 + 3 * n) / height:.2f}%")
            for n, (unit, label) in enumerate(pairs)
        )  # fmt: skip
        text = f"Level {number}: activation of {count}, in the order of their maxima"
        uri = strips.units(data)
        picture = tag("img", src=uri, alt=text, class_="units", data_rows="|".join(tips))
        names_column = tag("span", *labels, class_="unit-names")
        rows.append(lane_row(names_column, picture, kind="kept", height=UNIT_PX * height))
    return rows


def _axis(recording: RecognisedRecording, start: float) -> Html:
    seconds = recording.seconds
    step = next((s for s, most in ((0.01, 0.2), (0.1, 1.0), (0.2, 4.0)) if seconds <= most), 0.5)
    first = math.ceil(start / step - 1e-6)
    last = math.floor((start + seconds) / step - 0.2)
    ticks = [
        tag("span", f"{n * step:.{2 if step < 0.1 else 1}f}",
            style=f"left:{100 * (n * step - start) / seconds:.2f}%")
        for n in range(first, last + 1)
    ]  # fmt: skip
    return lane_row(tag("small", "time (s)"), *ticks, kind="axis")
