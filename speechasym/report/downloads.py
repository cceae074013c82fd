"""Files that are saved from a page about a recording: data URIs, so that nothing lies beside it."""

import base64
import csv
import io
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from speechasym.annotations.intervals import Interval
from speechasym.annotations.textgrid import write_textgrid
from speechasym.asymmetry import loops
from speechasym.feature_extraction.spectrograms import spectrogram
from speechasym.plots import asymmetry
from speechasym.plots.recognised import RecognisedRecording
from speechasym.plots.recordings import plot
from speechasym.recognition.transcription import Transcript
from speechasym.report.html import Html, joined, paragraph, tag
from speechasym.report.listening import flac

if TYPE_CHECKING:
    from speechasym.report.recording import Part


FORMATS = (("png", "image/png"), ("svg", "image/svg+xml"))


def downloads(
    part: "Part", recording: RecognisedRecording, transcript: Transcript, tiers: str | None,
    channel: str | int,
) -> Html:  # fmt: skip
    """Return links that save figures and data of a recording.

    Args:
        tiers: the annotation for the figures, as `plot` takes it.
        channel: of the recording.
    """
    stem = part.path.stem
    pictures: dict[str, tuple[str, str, bytes]] = {}
    panels = ["waveform", "gammatone", "spectrogram"]
    for name, what in (("spectrograms", panels), ("asymmetry", ["levels"])):
        figure = plot(
            part.path, None, what, part.start, part.seconds, channel,
            tiers=tiers, dpi=110 if what == panels else 70,
        )  # fmt: skip
        for ending, kind in FORMATS if what == panels else FORMATS[:1]:
            file = io.BytesIO()
            figure.savefig(file, format=ending, dpi=figure.dpi, metadata=_undated(ending))
            pictures[f"{stem}-{name}.{ending}"] = (
                f"{name}, {ending.upper()}",
                kind,
                file.getvalue(),
            )
    data = {
        f"{stem}.TextGrid": ("TextGrid for Praat", "text/plain", _textgrid(part, recording)),
        f"{stem}.csv": ("symbols, CSV", "text/csv", _csv(part, transcript)),
        f"{stem}.json": ("symbols, JSON", "application/json", _json(part, transcript)),
        f"{stem}.npz": ("arrays, numpy", "application/zip", _npz(recording)),
    }
    links = [
        tag(
            "li",
            tag("a", title, " ", tag("small", _size(len(raw))), download=name,
                href=f"data:{kind};base64,{base64.b64encode(raw).decode()}"),
        )
        for name, (title, kind, raw) in (pictures | data).items()
    ]  # fmt: skip
    sound = tag("a", "sound of this page, FLAC", download=f"{stem}.flac", href=flac(recording))
    text = (
        "Times in the TextGrid, CSV and JSON are those of the recording, in s. The arrays are "
        "level_db (dB re full-scale sine; channels, frames), asymmetry of amplitude (scales, "
        "frames, channels; -1 falls, 1 rises), times (s, from the beginning of this page), "
        "frequencies (Hz), and the activations of the units of each level with the times of their "
        "steps."
    )
    return joined(
        [tag("ul", *links, tag("li", sound), class_="downloads"), paragraph(text, note=True)]
    )


def _undated(ending: str) -> dict[str, None]:
    return {"Date": None} if ending == "svg" else {}


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{max(1, round(count / 1e3))} kB"


def _textgrid(part: "Part", recording: RecognisedRecording) -> bytes:
    """Return the tiers by hand and as recognised, on the time axis of the whole recording."""
    total = max(part.total, part.start + part.seconds)
    tiers: dict[str, list[Interval]] = {}
    for name, rows in recording.reference.items():
        ends = 0.0
        tiers[name] = []
        for row in rows:  # those of other programs may overlap a little
            start, end = max(ends, part.start + row.start), min(total, part.start + row.end)
            if start <= end:
                tiers[name].append(Interval(start, end, row.label))
                ends = end
    for head, rows in recording.recognised.items():
        name = f"{head} recognised" if head in tiers else head
        tiers[name] = [
            Interval(part.start + a, min(total, part.start + b), label) for a, b, label in rows
        ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.TextGrid"
        write_textgrid(path, tiers, total)
        return path.read_bytes()


def _csv(part: "Part", transcript: Transcript) -> bytes:
    file = io.StringIO()
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(["tier", "start_s", "end_s", "label", "confidence"])
    for head, symbols in transcript.symbols.items():
        for i in symbols:
            if i.label.strip():
                times = (f"{part.start + t:.3f}" for t in (i.start, i.end))
                rows.writerow([head, *times, i.label, f"{i.confidence:.3f}"])
    return file.getvalue().encode()


def _json(part: "Part", transcript: Transcript) -> bytes:
    content = transcript.as_json()
    for symbols in content["symbols"].values():
        for symbol in symbols:
            for key in ("start", "end"):
                symbol[key] = round(symbol[key] + part.start, 3)
    if content["speech"]:
        content["speech"] = [[round(t + part.start, 3) for t in span] for span in content["speech"]]
    content |= {"file": part.path.name, "start": part.start}
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "replace")


def _npz(recording: RecognisedRecording) -> bytes:
    """Return level, asymmetry of amplitude and units, in 16 bits, so that pages stay small."""
    s = spectrogram(recording.samples, recording.sample_rate)
    frames = loops.all_frames(recording.samples, asymmetry.design(recording.sample_rate))
    arrays = {
        "level_db": s.level_db.round(1).astype(np.float16), "times": s.times,
        "frequencies": s.frequencies,
        "asymmetry": np.asarray(frames.asymmetry["amplitude"]).round(2).astype(np.float16),
    }  # fmt: skip
    for number, level in enumerate(recording.output.levels):
        if level.activation is not None:
            arrays[f"units_{number}"] = recording.step_values(number).round(3).astype(np.float16)
            steps = np.stack(recording.step_frames(number), 1) / recording.frame_rate
            arrays[f"step_times_{number}"] = steps
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()
