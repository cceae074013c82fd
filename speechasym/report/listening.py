"""The report's recordings: sound, spectrogram, asymmetry, units and symbols on one time axis."""

import base64
import io
import math

import numpy as np
import soundfile as sf

from speechasym.asymmetry import loops
from speechasym.auditory import erb
from speechasym.plots import asymmetry
from speechasym.plots.axes import TICKS_HZ
from speechasym.plots.recognised import RecognisedRecording
from speechasym.plots.units import named_units, unit_activity
from speechasym.recognition.trained_model import TrainedModel
from speechasym.report import html, strips
from speechasym.report.data import ReportData, ReportRecording
from speechasym.report.html import Html, joined, lane_row, paragraph, symbol, tag
from speechasym.report.tiers import tier_rows

MOST_UNITS = 24  # drawn of a level


def recordings(data: ReportData) -> Html:
    """Show all recordings, one below the other."""
    if not data.recordings:
        return paragraph(f"No recordings to show. {data.problem}")
    intro = paragraph(
        "From top to bottom: the sound; its gammatone spectrogram; the asymmetry of its tracks, "
        "scale by scale, red where a track rises and blue where it falls; the units of each level, "
        "orange where a unit wins an event, with a tick where an event begins; and what was said "
        "and recognised. Press a symbol to hear it, or anywhere in a picture to play from there. "
        "Hover over a unit to see what it favours: the symbol in which it is most active, on "
        "average. On the keyboard, the arrow keys move along a row of symbols."
    )
    signs = [joined([html.error_sign(kind), "  "]) for kind in html.SIGNS]
    items = [_recording(item, n, data) for n, item in enumerate(data.recordings)]
    return joined([intro, tag("p", *signs, class_="signs"), *items])


def _recording(item: ReportRecording, number: int, data: ReportData) -> Html:
    heading = [tag("h3", item.title), paragraph(item.about, note=True) if item.about else None]
    recording = item.recognised
    if recording is None:
        return tag("article", *heading, paragraph(f"It cannot be played. {item.problem}"))
    choices = []
    for n, track in enumerate(loops.DRAWN_TRACKS):
        button = tag("input", type="radio", name=f"kind-{number}", value=track, checked=n == 0)
        choices.append(tag("label", button, " ", asymmetry.TITLES[track]))
    kinds = tag("fieldset", tag("legend", "Asymmetry of"), *choices)
    source, name = _flac(recording), f"Recording {item.title}"
    sound = tag("audio", controls=True, preload="auto", src=source, aria_label=name)
    rows = [
        *_signal(recording),
        *_levels(data.trained, recording),
        *tier_rows(item, data.trained.config.data.labels),
        _axis(recording),
    ]
    lanes = tag(
        "div", *rows, tag("div", tag("i", class_="cursor"), class_="over"), class_="lanes",
        style=f"--s:{recording.seconds:.4f}", data_seconds=f"{recording.seconds:.4f}",
    )  # fmt: skip
    box = html.scroll_box(lanes, f"{item.title}, over time")
    return tag("article", *heading, sound, kinds, box, class_="hear")


def _flac(recording: RecognisedRecording) -> str:
    file = io.BytesIO()
    samples = np.clip(recording.samples, -1, 1)
    sf.write(file, samples, recording.sample_rate, format="FLAC", subtype="PCM_16")
    return "data:audio/flac;base64," + base64.b64encode(file.getvalue()).decode()


def _signal(recording: RecognisedRecording) -> list[Html]:
    """Return rows of the sound, its spectrogram and its asymmetries."""
    d = asymmetry.design(recording.sample_rate)
    frames = loops.all_frames(recording.samples, d)
    cam = erb.hz_to_cam(d.inner.frequency)
    ticks = []
    for hz in TICKS_HZ:
        top = 100 * (cam[-1] - float(erb.hz_to_cam(hz))) / (cam[-1] - cam[0])
        if 4 < top < 96:
            text = f"{hz:g} Hz" if hz >= 5000 else f"{hz:g}"
            ticks.append(tag("span", text, style=f"top:{top:.1f}%"))
    wave = strips.waveform(recording.samples, round(200 * recording.seconds))
    rows = [lane_row("sound", wave, kind="sound", height=44)]
    name = joined([tag("b", "gamma-"), tag("b", "tone"), tag("span", *ticks, class_="hz")])
    text = f"Gammatone spectrogram, {len(cam)} channels from {d.inner.frequency[0]:.0f} Hz"
    picture = tag("img", src=strips.spectrogram(frames.power), alt=text, class_="ink smooth")
    rows.append(lane_row(name, picture, kind="tall", height=140))
    for track in loops.DRAWN_TRACKS:
        for n, scale in enumerate(d.config.scales):
            width = f"±{scale.width(track):g} {asymmetry.unit(track)}"
            name = joined([tag("b", f"{scale.time_ms:g} ms"), tag("small", width)])
            text = f"Asymmetry of {track}, scale {n + 1}: {scale.time_ms:g} ms, {width}"
            uri = strips.asymmetry(frames.asymmetry[track][n])
            picture = tag("img", src=uri, alt=text, class_="signed smooth")
            rows.append(lane_row(name, picture, kind=f"kind {track}", height=58))
    return rows


def _levels(trained: TrainedModel, recording: RecognisedRecording) -> list[Html]:
    """Return a row of units for each level, or a remark where there are none."""
    levels = recording.output.levels
    if not levels:
        return [lane_row(tag("b", "levels"), tag("p", "This model has no levels.", class_="none"))]
    rows = []
    for number, level in enumerate(levels):
        rates = recording.rates(number).split(", ")
        name = joined([tag("b", f"level {number}"), *(tag("small", rate) for rate in rates)])
        if level.activation is None:
            rows.append(lane_row(name, tag("p", "This level has no units.", class_="none")))
            continue
        names, how = named_units(trained, recording, number)
        data = unit_activity(recording, number, names, MOST_UNITS)
        tips = [
            f"unit {unit}" + (f", {how}: {symbol(label)}" if label else "")
            for unit, label in zip(data.units, data.names, strict=True)
        ]
        part = f"{len(tips)} of " if len(tips) < data.total else ""
        count = f"{part}{data.total} units"
        text = f"Level {number}: activation of {count}, in the order of their maxima"
        rows_text = "|".join(tips[::-1])
        picture = tag("img", src=strips.units(data), alt=text, class_="units", data_rows=rows_text)
        name = joined([name, tag("small", count)])
        rows.append(lane_row(name, picture, kind="kept", height=2 * (4 + 3 * len(tips))))
    return rows


def _axis(recording: RecognisedRecording) -> Html:
    seconds = recording.seconds
    step = 0.2 if seconds <= 4 else 0.5
    ticks = [
        tag("span", f"{n * step:.1f}", style=f"left:{100 * n * step / seconds:.2f}%")
        for n in range(math.floor((seconds - 0.2 * step) / step) + 1)
    ]
    return lane_row(tag("small", "time (s)"), *ticks, kind="axis")
