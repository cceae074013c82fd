"""The report's recordings: sound, spectra, units, and tiers of what was said and recognised.

All lie on one time axis. Shapes: F frames, C channels.
"""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import soundfile as sf

from speechasym.annotations.intervals import Interval
from speechasym.asymmetry import loops
from speechasym.auditory import erb
from speechasym.language.letters import spell
from speechasym.plots import asymmetry
from speechasym.plots.axes import TICKS_HZ
from speechasym.plots.recognised import RecognisedRecording as Scene
from speechasym.plots.units import unit_activity
from speechasym.report import charts, html
from speechasym.report.html import SIGNS, Html, joined, marked, paragraph, symbol, tag
from speechasym.report.material import Material, Shown, phone_of
from speechasym.scoring import error_rates
from speechasym.scoring.error_rates import GAP, Pair
from speechasym.training.config import HEADS

MOST_UNITS = 24  # drawn of a level
SLOT_S = 0.05  # least room for a symbol that was missed, and so has no time of its own,
USUAL_S = {"phones": 0.08, "letters": 0.08, "words": 0.3}  # and its room where there is enough


def listen(m: Material) -> Html:
    """All recordings, one under the other."""
    if not m.heard:
        return paragraph(f"There is no recording to show. {m.why}")
    legend = tag(
        "p",
        *(joined([marked(k), "  "]) for k in SIGNS),
        class_="signs",
    )
    intro = paragraph(
        "From the sound upwards: the gammatone spectrogram; the asymmetry of its tracks, level by "
        "level, red where a track rises and blue where it falls; the units of each level, orange "
        "where a unit holds its event, a tick where an event begins; and what was said and "
        "recognised. Press a symbol to hear it, or any place of a picture to hear on from there. "
        "Rest the pointer on a unit to see what it is most active in; with the keyboard, arrows "
        "move along a row of symbols."
    )
    scenes = [_scene(m, number, shown) for number, shown in enumerate(m.heard)]
    return joined([intro, legend, *scenes])


def _scene(m: Material, number_: int, shown: Shown) -> Html:
    heading = [tag("h3", shown.title), paragraph(shown.about, note=True) if shown.about else None]
    scene = shown.scene
    if scene is None:
        return tag("article", *heading, paragraph(f"It cannot be heard. {shown.why}"))
    kinds = tag(
        "fieldset",
        tag("legend", "Asymmetry of"),
        *(
            tag(
                "label",
                tag(
                    "input", type="radio", name=f"kind-{number_}", value=track,
                    checked=track == loops.DRAWN_TRACKS[0],
                ),
                " ", asymmetry.TITLES[track],
            )
            for track in loops.DRAWN_TRACKS
        ),
    )  # fmt: skip
    sound = tag(
        "audio", controls=True, preload="auto", src=_sound(scene),
        aria_label=f"Recording {shown.title}",
    )  # fmt: skip
    rows = [*_signal(scene), *_levels(scene), *_tiers(m, scene, shown.tokens), _axis(scene)]
    lanes = tag(
        "div", *rows, tag("div", tag("i", class_="cursor"), class_="over"), class_="lanes",
        style=f"--s:{scene.seconds:.4f}", data_seconds=f"{scene.seconds:.4f}",
    )  # fmt: skip
    box = html.scrolled(lanes, f"{shown.title}, over time")
    return tag("article", *heading, sound, kinds, box, class_="hear")


def _sound(scene: Scene) -> str:
    file = io.BytesIO()
    loud = np.clip(scene.samples, -1, 1)
    sf.write(file, loud, scene.sample_rate, format="FLAC", subtype="PCM_16")
    return "data:audio/flac;base64," + base64.b64encode(file.getvalue()).decode()


def _row(name: object, *inside: object, kind: str = "", height: float | None = None) -> Html:
    style = None if height is None else f"height:{height:g}px"
    return tag(
        "div", tag("div", name, class_="name"), tag("div", *inside, class_="lane", style=style),
        class_=f"row {kind}".strip(),
    )  # fmt: skip


def _picture(uri: str, text: str, kind: str, rows: str | None = None) -> Html:
    return tag("img", src=uri, alt=text, class_=kind, data_rows=rows)


def _signal(scene: Scene) -> list[Html]:
    """The sound, its spectrogram and asymmetries."""
    d = asymmetry.design(scene.sample_rate)
    frames = loops.all_frames(scene.samples, d)
    cam = erb.hz_to_cam(d.inner.frequency)
    ticks = []
    for hz in TICKS_HZ:
        if cam[0] <= (at := float(erb.hz_to_cam(hz))) <= cam[-1]:
            place = 100 * (cam[-1] - at) / (cam[-1] - cam[0])
            if 4 < place < 96:
                ticks.append(
                    tag(
                        "span", f"{hz:g} Hz" if hz >= 5000 else f"{hz:g}", style=f"top:{place:.1f}%"
                    )
                )
    rows = [
        _row(
            "sound",
            charts.waveform(scene.samples, round(200 * scene.seconds)),
            kind="sound",
            height=44,
        )
    ]
    name = joined([tag("b", "gamma-"), tag("b", "tone"), tag("span", *ticks, class_="hz")])
    text = f"Gammatone spectrogram, {len(cam)} channels from {d.inner.frequency[0]:.0f} Hz"
    image = _picture(charts.spectrogram(frames.power), text, "ink smooth")
    rows.append(_row(name, image, kind="tall", height=140))
    for track in loops.DRAWN_TRACKS:
        unit = asymmetry.unit(track)
        for place, level in enumerate(d.config.scales):
            shown = f"±{level.width(track):g} {unit}"
            told = joined([tag("b", f"{level.time_ms:g} ms"), tag("small", shown)])
            index = frames.asymmetry[track][place]
            text = f"Asymmetry of {track}, level {place + 1}: {level.time_ms:g} ms, {shown}"
            image = _picture(charts.asymmetry(index), text, "signed smooth")
            rows.append(_row(told, image, kind=f"kind {track}", height=58))
    return rows


def _levels(scene: Scene) -> list[Html]:
    """Units of each level; a line where a model has none."""
    rows = []
    if not scene.output.levels:
        return [_row(tag("b", "levels"), tag("p", "This model has no levels.", class_="none"))]
    for place, level in enumerate(scene.output.levels):
        steps = int(level.mask.sum()) / scene.seconds
        pace = [f"{steps:.0f} steps/s"]
        if level.segments is not None:
            pace.append(f"{int(level.passed_mask.sum()) / scene.seconds:.0f} events/s")
        name = joined([tag("b", f"level {place}"), *(tag("small", word) for word in pace)])
        if level.activation is None:
            rows.append(_row(name, tag("p", "It has no units.", class_="none")))
            continue
        kind = "words" if place and place == len(scene.output.levels) - 1 else "phones"
        said = scene.reference.get(kind) or scene.recognised.get(kind, [])
        data = unit_activity(scene, place, said, MOST_UNITS)
        told_rows = [
            f"unit {u}" + (f", most active in {label}" if label else "")
            for u, label in zip(data.units, data.favourites, strict=True)
        ][::-1]
        uri = charts.units(data, len(scene.features))
        count, of = len(told_rows), data.total
        told = f"{count} of {of} units" if count < of else f"{of} units"
        text = f"Level {place}: activation of {told}, ordered by when they are most active"
        rows.append(
            _row(
                joined([name, tag("small", told)]),
                _picture(uri, text, "units", "|".join(told_rows)), kind="kept",
                height=2 * (4 + 3 * count),
            )
        )  # fmt: skip
    return rows


class Mark(NamedTuple):
    """A symbol in its place: kind is s, d or i for an error, else empty."""

    start: float  # s
    end: float
    label: str
    kind: str
    about: str


def marks(
    tokens: Sequence[str],
    times: Sequence[Interval] | None,
    recognised: Sequence[Interval],
    seconds: float,
    usual: float = USUAL_S["phones"],
) -> tuple[list[Mark], list[Mark]]:
    """What was said and what was recognised, aligned with the fewest errors.

    Args:
        tokens: what was said; times: its intervals, one a token, or None: then each token has the
            place of what it was recognised as, and one that was missed lies between its neighbours.
        recognised: with times in s; seconds: of the recording.
        usual: s that a token lasts.
    """
    pairs = error_rates.align(tokens, [i.label for i in recognised])
    said: list[Mark] = []
    found: list[Mark] = []
    places = _places(pairs, recognised, seconds, usual) if times is None else list(times)
    a = b = 0
    for token, other in pairs:
        kind = "" if token == other else "i" if token == GAP else "d" if other == GAP else "s"
        about = {
            "": "said and recognised", "s": f"{symbol(token)} taken for {symbol(other)}",
            "d": "said, not recognised", "i": "recognised, not said",
        }[kind]  # fmt: skip
        if token != GAP:
            own = places[a]
            said.append(Mark(own.start, own.end, token, kind, about))
            a += 1
        if other != GAP:
            own = recognised[b]
            found.append(Mark(own.start, own.end, other, kind, about))
            b += 1
    return said, found


def _places(
    pairs: Sequence[Pair], recognised: Sequence[Interval], seconds: float, usual: float
) -> list[Interval]:
    """Intervals of what was said, from what was recognised."""
    out: list[Interval] = []
    waiting: list[str] = []
    before = 0.0
    b = 0

    def settle(after: float, until: float) -> None:
        """Room for the tokens that were missed, from `before` to a symbol `after` ... `until`."""
        nonlocal before
        need, wanted = SLOT_S * len(waiting), usual * len(waiting)
        if not waiting:
            return
        low, high = before, after
        if high - low < need:  # a slot takes a little from its neighbours
            middle = (low + high) / 2
            low, high = max(0.0, middle - need / 2), min(seconds, middle + need / 2)
            high = min(high, (after + until) / 2)
            if out:
                low = max(low, (out[-1].start + out[-1].end) / 2)
                out[-1] = out[-1]._replace(end=min(out[-1].end, low))
        elif high - low > wanted:
            low, high = (low + high - wanted) / 2, (low + high + wanted) / 2
        step = (high - low) / len(waiting)
        for n, token in enumerate(waiting):
            out.append(Interval(low + n * step, low + (n + 1) * step, token))
        before = high
        waiting.clear()

    for token, other in pairs:
        if other == GAP:
            waiting.append(token)
            continue
        here = recognised[b]
        b += 1
        if token == GAP:
            continue
        settle(here.start, here.end)
        start = min(max(before, here.start), here.end)
        out.append(Interval(start, max(start, here.end), token))
        before = here.end
    settle(seconds, seconds)
    return out


def _tiers(m: Material, scene: Scene, tokens: Mapping[str, list[str]]) -> list[Html]:
    rows: list[Html] = []
    for head in HEADS:
        found = scene.recognised.get(head)
        words = tokens.get("words")
        said = spell(words) if head == "letters" and words else tokens.get(head)
        if found is None and said is None:
            continue
        if found is None:  # read by no head, but said
            times = _times(m, scene, head, said or [])
            if times is not None:
                plain = [Mark(i.start, i.end, i.label, "", "said") for i in times]
                rows.append(_tier(scene, head, "said", plain))
            continue
        if said is None:
            plain = [Mark(i.start, i.end, i.label, "", "recognised") for i in found]
            rows.append(_tier(scene, head, "recognised", plain))
            continue
        times = _times(m, scene, head, said)
        above, below = marks(said, times, found, scene.seconds, USUAL_S[head])
        rows.append(_tier(scene, head, "said", above))
        rows.append(_tier(scene, head, "recognised", below))
    return rows


def _times(m: Material, scene: Scene, head: str, tokens: Sequence[str]) -> list[Interval] | None:
    """The intervals of what was said; None where it has no times."""
    config = m.trained.config.data.labels
    timed = [i for i in scene.reference.get(head, []) if i.label.strip()]
    if head == "phones" and config.silence == "drop":
        timed = [i for i in timed if phone_of(i.label, config.fold) is not None]
    if not timed or len(timed) != len(tokens):
        return None
    return [i._replace(label=token) for i, token in zip(timed, tokens, strict=True)]


def _tier(scene: Scene, head: str, what: str, row: Sequence[Mark]) -> Html:
    parts: list[Html] = []
    for mark in row:
        if mark.label == " " and not mark.kind:
            continue
        label = symbol(mark.label)
        place = 100 * mark.start / scene.seconds
        width = 100 * (mark.end - mark.start) / scene.seconds
        about = f"{label}: {mark.about}, {mark.start:.2f} to {mark.end:.2f} s"
        parts.append(
            tag(
                "button",
                tag("sup", SIGNS[mark.kind], aria_hidden="true") if mark.kind else None,
                label, type="button", class_=mark.kind or None, title=about, aria_label=about,
                tabindex=None if not parts else "-1", style=f"--a:{place:.3f};--w:{width:.3f}",
            )
        )  # fmt: skip
    name = joined([tag("b", head) if what == "said" else None, tag("small", what)])
    return _row(name, *parts, kind=f"tier {head} {what}")


def _axis(scene: Scene) -> Html:
    step = 0.2 if scene.seconds <= 4 else 0.5
    ticks = [
        tag("span", f"{n * step:.1f}", style=f"left:{100 * n * step / scene.seconds:.2f}%")
        for n in range(math.floor((scene.seconds - 0.2 * step) / step) + 1)
    ]
    return _row(tag("small", "time (s)"), *ticks, kind="axis")
