"""`write_recording_report`: a recording of one's own, as an HTML page to look at and hear."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym import files
from speechasym.annotations.intervals import Interval
from speechasym.annotations.tiers import read_tiers, tiers_beside
from speechasym.audio import reading, sources
from speechasym.errors import ConfigError
from speechasym.plots.recognised import RecognisedRecording
from speechasym.plots.signal import read_excerpt
from speechasym.recognition.decoder import BY_LEXICON
from speechasym.recognition.recogniser import Recogniser
from speechasym.recognition.trained_model import TrainedModel
from speechasym.recognition.transcription import Transcript
from speechasym.report import html
from speechasym.report.downloads import downloads
from speechasym.report.html import Html, joined, paragraph, tag
from speechasym.report.listening import HOW_TO_HEAR, HOW_TO_READ, recording_scene
from speechasym.report.tiers import plain_rows

LEAD = 240  # characters of the transcription at the top
USUAL_S, LONGEST_S = 60.0, 120.0  # shown by default, and at most
ORDER = (BY_LEXICON, "words", "letters", "phones")  # of the rows


class Part(NamedTuple):
    """The part of a recording that a page shows."""

    path: Path
    samples: NDArray[np.float32]  # (T,) at the rate of the model
    start: float  # s
    end: float  # s
    total: float  # s, of the whole recording
    own_rate: int  # Hz, of the file


def write_recording_report(
    recording: str | Path,
    out: str | Path,
    *,
    run: str | Path | TrainedModel | None = None,
    textgrid: str | Path | None = None,
    start: float = 0.0,
    end: float | None = None,
    channel: str | int | None = None,
    command: str | None = None,
) -> Path:
    """Write a page that shows a recording, from its sound to its words, and return its path.

    Args:
        recording: an audio file.
        out: the page, .html.
        run: the model to read it with, see `Recogniser`; None: the pretrained model.
        textgrid: a .TextGrid, .PHN or .WRD whose tiers to show; None: the annotation of the same
            name beside the recording, if any; "none": nothing.
        start, end: the part to show, in s, at most 120 s; without an end, at most 60 s.
        channel: "mean", or a number from 0; None: as in training.
        command: the command to record on the page.

    Raises:
        AnnotationError, AudioError, CheckpointError, ConfigError, OutputError: bad input; nothing
            is written then.

    Example:
        >>> speechasym.write_recording_report("speech.wav", "speech.html")
        PosixPath('speech.html')
    """
    out, path = Path(out), Path(recording)
    if out.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(out, "is not an HTML file name", "End it in .html")
    recogniser = Recogniser(run)
    trained = recogniser.trained
    config = trained.config.data.features
    chosen = config.channel if channel is None else channel
    part = _read(path, config.sample_rate, chosen, start, end)
    by_hand, problem = _by_hand(path, textgrid, part)
    transcript = recogniser.transcribe((part.samples, config.sample_rate))
    tiers = transcript.tiers()
    recognised = {head: tiers[head] for head in ORDER if head in tiers}
    features = trained.features(part.samples)
    whole = RecognisedRecording(
        path.name, part.samples, config.sample_rate, features, config.rate,
        trained.output(features), by_hand, recognised,
    )  # fmt: skip
    rows = plain_rows(by_hand, "by hand", whole.seconds, part.start)
    rows += plain_rows(recognised, "recognised", whole.seconds, part.start)
    scene = recording_scene(trained, whole, rows, start=part.start, fft=True)
    what = HOW_TO_READ.format(", and its Fourier spectrogram, over evenly spaced frequencies")
    intro = paragraph(f"{what} then symbols, by hand and as recognised. {HOW_TO_HEAR}")
    beside = None if textgrid is None else str(textgrid)
    confidences = {
        head: [i.confidence for i in transcript.symbols[head] if i.label.strip()]
        for head in recognised
    }
    links = downloads(path, whole, part.start, part.total, beside, chosen, confidences)
    listen = joined([intro, tag("article", *scene, class_="hear")])
    sections = [
        ("listen", "From the sound to the words", listen),
        ("text", "Transcription", _text(transcript, by_hand)),
        ("downloads", "Downloads", links),
        ("about", "About this page", _about(part, trained, command)),
    ]  # fmt: skip
    page = html.page(
        f"{path.name}: from the sound to the words",
        _head(part, transcript, problem),
        [(name, title, html.section(name, title, inside)) for name, title, inside in sections],
        "Written by speechasym. This page contains its pictures, sound and data and loads nothing.",
    )
    with files.atomic(out) as file:
        file.write(page.encode("utf-8", "replace"))
    return out


def _read(path: Path, rate: int, channel: str | int, start: float, end: float | None) -> Part:
    """Read the part of a recording from start to end, at the rate of the model."""
    header = reading.info(path)
    total = header.frames / header.sample_rate
    if not 0 <= start < np.inf or (end is not None and not start < end < np.inf):
        problem = f"start must be >= 0 and end later, got {start} s and {end} s"
        raise ConfigError("start, end", problem, "Give times in s from the recording's beginning")
    stop = start + USUAL_S if end is None else end
    if min(stop, total) - start > LONGEST_S + 1e-6:
        problem = f"{min(stop, total) - start:g} s are too long for a page"
        raise ConfigError("start, end", problem, f"Choose at most {LONGEST_S:g} s")
    excerpt = read_excerpt(path, start, stop - start, channel)
    samples, _ = sources.load((excerpt.samples, excerpt.sample_rate), rate)
    end = excerpt.start + len(samples) / rate
    return Part(path, samples, excerpt.start, end, max(total, end), excerpt.sample_rate)


def _by_hand(
    path: Path, textgrid: str | Path | None, part: Part
) -> tuple[dict[str, list[Interval]], str]:
    """Return the tiers of the part, from its start, and what is to be said of them."""
    if str(textgrid) == "none":
        return {}, ""
    tiers = tiers_beside(path) if textgrid is None else read_tiers(textgrid)
    last = max((i.end for rows in tiers.values() for i in rows if i.label.strip()), default=0.0)
    problem = ""
    if last > part.total + 0.05:
        problem = (
            f"The annotation has labels until {last:.2f} s, but the sound ends after "
            f"{part.total:.2f} s: what is later is left out."
        )
    if tiers and not any(i.label.strip() for rows in tiers.values() for i in rows):
        problem = "The annotation has no labels."
    first, last = part.start, part.end
    clipped = {
        name: [
            Interval(max(first, i.start) - first, min(last, i.end) - first, i.label)
            for i in rows
            if i.label.strip() and i.start < last and i.end >= first
        ]
        for name, rows in tiers.items()
    }
    return {name: rows for name, rows in clipped.items() if rows}, problem


def _head(part: Part, transcript: Transcript, problem: str) -> Html:
    text = textwrap.shorten(transcript.text, LEAD, placeholder=" \u2026")  # all of it is below
    said = f"\u201c{text}\u201d" if text else "No speech was recognised."
    notes = [paragraph(problem)] if problem else []
    if part.end - part.start < part.total - 0.05:
        text = f"This page shows {part.start:g} to {part.end:g} s of {html.duration(part.total)}."
        text += f" Choose another part with --from and --to, at most {LONGEST_S:g} s."
        notes.append(paragraph(text))
    return joined([
        tag("p", "A recording, from the sound to the words", class_="kicker"),
        tag("h1", part.path.name), tag("p", said, class_="lead"), *notes,
    ])  # fmt: skip


def _text(transcript: Transcript, by_hand: Mapping[str, Sequence[Interval]]) -> Html:
    """Return what is recognised, and what the annotation says, line by line."""
    lines = {f"{name} (by hand)": " ".join(i.label for i in rows) for name, rows in by_hand.items()}
    heads = [head for head in ORDER if head in transcript.symbols]
    return html.definitions(lines | {h: transcript.text_of(h) or "(nothing)" for h in heads})


def _about(part: Part, trained: TrainedModel, command: str | None) -> Html:
    about = {
        "file": f"{part.path.name}, {part.own_rate:,} Hz", "sha256": files.sha256(part.path),
        "model": f"{trained.name}, {trained.feature_config.sample_rate:,} Hz",
        "sha256 of the model": trained.fingerprint, "command": command or "none: from Python",
    }  # fmt: skip
    return html.definitions({name: tag("code", text) for name, text in about.items()})
