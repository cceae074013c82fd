"""Files that are saved from a page about a recording: data URIs, so that nothing lies beside it."""

import base64
import io
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from speechasym.annotations.intervals import Interval
from speechasym.annotations.tier_files import write_tiers
from speechasym.asymmetry import loops
from speechasym.feature_extraction.spectrograms import spectrogram
from speechasym.plots import asymmetry
from speechasym.plots.recognised import RecognisedRecording
from speechasym.plots.recordings import plot
from speechasym.report.html import Html, joined, paragraph, tag
from speechasym.report.listening import flac

PANELS = ("waveform", "gammatone", "spectrogram")
ABOUT = (
    "Times of labels are those of the whole recording. labels.csv and labels.json have a confidence"
    " of what is recognised, from 0 to 1 (the probability that it is correct, if the model has a"
    " calibration; else a mean posterior). Arrays: level_db (dB re full-scale sine) and"
    " asymmetry of amplitude by scale over times (s on this page) and frequencies (Hz); units by"
    " step of each level, and the frames of the steps."
)


def downloads(
    path: Path, recording: RecognisedRecording, start: float, total: float, tiers: str | None,
    channel: str | int, confidences: Mapping[str, Sequence[float]],
) -> Html:  # fmt: skip
    """Return links that save figures and data of a recording.

    Args:
        start, total: where its part begins in the file, and the duration of the file, in s.
        tiers, channel: see `plot`.
        confidences: {head: of each recognised symbol, 0 to 1}.
    """
    contents: dict[str, bytes] = {}
    for name, what, dpi, endings in (
        ("spectrograms", PANELS, 110, ("png", "svg")), ("asymmetry", ("levels",), 70, ("png",)),
    ):  # fmt: skip
        figure = plot(path, None, what, start, recording.seconds, channel, tiers, dpi=dpi)
        for ending in endings:
            file = io.BytesIO()
            undated = {"Date": None} if ending == "svg" else {}
            figure.savefig(file, format=ending, dpi=figure.dpi, metadata=undated)
            contents[f"{name}.{ending}"] = file.getvalue()
    with tempfile.TemporaryDirectory() as folder:
        later = _in_the_file(recording, start, total)
        formats = ("textgrid", "csv", "json")
        known = {_tier(head): values for head, values in confidences.items()}
        for written in write_tiers(
            Path(folder) / "x", later, total, formats, path.stem, confidences=known
        ):
            contents[f"labels{written.suffix}"] = written.read_bytes()
    contents["arrays.npz"] = _npz(recording)
    links = [
        tag("a", name, " ", tag("small", f"{len(raw) / 1e6:.2f} MB"),
            download=f"{path.stem}-{name}",
            href=f"data:application/octet-stream;base64,{base64.b64encode(raw).decode()}")
        for name, raw in contents.items()
    ]  # fmt: skip
    links.append(tag("a", "sound.flac", download=f"{path.stem}.flac", href=flac(recording)))
    listed = tag("ul", *(tag("li", link) for link in links), class_="downloads")
    return joined([listed, paragraph(ABOUT, note=True)])


def _in_the_file(
    recording: RecognisedRecording, start: float, total: float
) -> dict[str, list[Interval]]:
    """Return the tiers by hand and as recognised, at their times in the file."""
    named = {_tier(head): rows for head, rows in recording.recognised.items()}
    tiers: dict[str, list[Interval]] = {}
    for name, rows in (recording.reference | named).items():
        end, tiers[name] = 0.0, []
        for a, b, label in rows:  # those of other programs may overlap a little
            first, end = max(end, min(total, start + a)), max(end, min(total, start + b))
            tiers[name].append(Interval(first, end, label))
    return tiers


def _tier(head: str) -> str:
    return f"{head} recognised"


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
            arrays[f"steps_{number}"] = np.stack(recording.step_frames(number), 1)
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()
