"""What was said and what was recognised, aligned, as rows of buttons on a recording's time axis."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from speechasym.annotations.intervals import Interval
from speechasym.errors import LabelError
from speechasym.language.letters import spell
from speechasym.plots.recognised import RecognisedRecording
from speechasym.report.data import ReportRecording, annotated
from speechasym.report.html import SIGNS, Html, joined, lane_row, symbol, tag
from speechasym.scoring import error_rates
from speechasym.scoring.error_rates import GAP, Pair
from speechasym.training.config import HEADS, LabelConfig

LEAST_S = 0.05  # room for a symbol that was missed, and so has no time of its own
USUAL_S = {"phones": 0.08, "letters": 0.08, "words": 0.3}  # its room where there is enough


class TimedSymbol(NamedTuple):
    """A symbol on the time axis; kind is s, d or i for an error, else empty."""

    start: float  # s
    end: float
    label: str
    kind: str
    about: str


def align_symbols(
    tokens: Sequence[str], times: Sequence[Interval] | None, recognised: Sequence[Interval],
    seconds: float, usual: float = USUAL_S["phones"],
) -> tuple[list[TimedSymbol], list[TimedSymbol]]:  # fmt: skip
    """Align what was said with what was recognised, with the fewest errors.

    Args:
        tokens: what was said.
        times: its intervals, one per token. None: a token takes the time of what it was recognised
            as, and one that was missed lies between its neighbours.
        recognised: with times in s; seconds: duration of the recording.
        usual: usual duration of a token in s.
    """
    pairs = error_rates.align(tokens, [i.label for i in recognised])
    said: list[TimedSymbol] = []
    heard: list[TimedSymbol] = []
    rest = iter(recognised)
    spoken = iter(_times(pairs, recognised, seconds, usual) if times is None else times)
    for token, other in pairs:
        kind = "" if token == other else "i" if token == GAP else "d" if other == GAP else "s"
        about = {
            "": "said and recognised", "s": f"{symbol(token)} recognised as {symbol(other)}",
            "d": "said, not recognised", "i": "recognised, not said",
        }[kind]  # fmt: skip
        if token != GAP:
            interval = next(spoken)
            said.append(TimedSymbol(interval.start, interval.end, token, kind, about))
        if other != GAP:
            heard.append(TimedSymbol(*next(rest), kind, about))
    return said, heard


def _times(
    pairs: Sequence[Pair], recognised: Sequence[Interval], seconds: float, usual: float
) -> list[Interval]:
    """Return intervals for what was said, from the times of what was recognised."""
    intervals: list[Interval] = []
    missed: list[str] = []
    before = 0.0  # end of the last symbol that was recognised

    def place_missed(after: float, until: float) -> None:
        """Place the missed tokens between `before` and a symbol from `after` to `until`."""
        nonlocal before
        least, wanted = LEAST_S * len(missed), usual * len(missed)
        if not missed:
            return
        low, high = before, after
        if high - low < least:  # they take a little from their neighbours
            middle = (low + high) / 2
            low, high = max(0.0, middle - least / 2), min(seconds, middle + least / 2)
            high = min(high, (after + until) / 2)
            if intervals:
                low = max(low, (intervals[-1].start + intervals[-1].end) / 2)
                intervals[-1] = intervals[-1]._replace(end=min(intervals[-1].end, low))
        elif high - low > wanted:
            low, high = (low + high - wanted) / 2, (low + high + wanted) / 2
        step = (high - low) / len(missed)
        for n, token in enumerate(missed):
            intervals.append(Interval(low + n * step, low + (n + 1) * step, token))
        before = high
        missed.clear()

    rest = iter(recognised)
    for token, other in pairs:
        if other == GAP:
            missed.append(token)
            continue
        interval = next(rest)
        if token == GAP:
            continue
        place_missed(interval.start, interval.end)
        start = min(max(before, interval.start), interval.end)
        intervals.append(Interval(start, max(start, interval.end), token))
        before = interval.end
    place_missed(seconds, seconds)
    return intervals


def tier_rows(item: ReportRecording, config: LabelConfig) -> list[Html]:
    """Return rows of what was said and what was recognised, as far as known, head by head."""
    rows: list[Html] = []
    recording = item.recognised
    assert recording is not None
    for head in HEADS:
        recognised = recording.recognised.get(head)
        tokens, words = item.tokens.get(head), item.tokens.get("words")
        if head == "letters" and words:
            tokens = spell(words)
        times = None if tokens is None else _annotated_times(recording, head, tokens, config)
        if recognised is not None and tokens is not None:
            usual = USUAL_S[head]
            said, heard = align_symbols(tokens, times, recognised, recording.seconds, usual)
            rows.append(_tier(said, head, "said", recording.seconds))
            rows.append(_tier(heard, head, "recognised", recording.seconds))
            continue
        for what, intervals in (("said", times), ("recognised", recognised)):
            if intervals is not None:
                plain = [TimedSymbol(*i, "", what) for i in intervals]
                rows.append(_tier(plain, head, what, recording.seconds))
    return rows


def _annotated_times(
    recording: RecognisedRecording, head: str, tokens: Sequence[str], config: LabelConfig
) -> list[Interval] | None:
    """Return the annotated intervals of what was said; None if it has none."""
    try:
        timed = annotated(recording, head, config)
    except LabelError:  # the run has these phones from its lexicon
        return None
    if not timed or len(timed) != len(tokens):
        return None
    return [i._replace(label=token) for i, token in zip(timed, tokens, strict=True)]


def plain_rows(
    tiers: Mapping[str, Sequence[Interval]], what: str, seconds: float, start: float = 0.0
) -> list[Html]:
    """Return a row for each tier, as it is, beginning at `start` s; what: where it comes from."""
    rows = []
    for name, intervals in tiers.items():
        plain = [TimedSymbol(*i[:3], "", what) for i in intervals if i.label.strip()]
        kind = next((head for head in HEADS if name.lower().startswith(head[:-1])), "other")
        rows.append(_tier(plain, kind, what, seconds, title=name, start=start))
    return rows


def _tier(
    row: Sequence[TimedSymbol], head: str, what: str, seconds: float, title: str = "",
    start: float = 0.0,
) -> Html:  # fmt: skip
    buttons: list[Html] = []
    for item in row:
        if item.label == " " and not item.kind:
            continue
        label = symbol(item.label)
        left, width = 100 * item.start / seconds, 100 * (item.end - item.start) / seconds
        about = f"{label}: {item.about}, {start + item.start:.2f} to {start + item.end:.2f} s"
        sign = tag("sup", SIGNS[item.kind], aria_hidden="true") if item.kind else None
        buttons.append(
            tag(
                "button", sign, label, type="button", class_=item.kind or None,
                title=about, aria_label=about, tabindex="-1" if buttons else None,
                style=f"--a:{left:.3f};--w:{width:.3f}",
            )
        )  # fmt: skip
    bold = title or (head if what == "said" else "")
    name = joined([tag("b", bold) if bold else None, tag("small", what)])
    kind = "alone" if title else what
    return lane_row(name, *buttons, kind=f"tier {head} {kind}")
