"""The report's errors and confusions, and whose they are: measures, speakers, phones, manners."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from speechasym.plots.confusion import articulation, confusion_matrix
from speechasym.recognition.evaluation import FROM_LETTERS
from speechasym.report import charts, html
from speechasym.report.html import (
    DASH,
    ERRORS,
    SIGNS,
    Html,
    bar,
    folded,
    interval,
    joined,
    marked,
    number,
    paragraph,
    percent,
    plural,
    symbol,
    table,
    tag,
)
from speechasym.report.material import Material
from speechasym.scoring import error_rates, tables
from speechasym.scoring.error_rates import GAP
from speechasym.training.config import HEADS
from speechasym.training.labels import UNKNOWN

TITLES = {
    "phones": "Phones", "letters": "Letters", "words": "Words",
    FROM_LETTERS: "Words, as letters spell them",
}  # fmt: skip
FULL = {"PER": "phone error rate", "LER": "letter error rate", "WER": "word error rate"}
MOST_ROWS = 20  # of a list


def title(name: str) -> str:
    """Of a score."""
    return TITLES.get(name, name.capitalize())


def _range(score: Mapping[str, Any]) -> str:
    low, high = score["interval_95"]
    return interval(low, high)


def tiles(m: Material) -> Html:
    """The figures, large, all on one scale."""
    every = [m.scores, *(given.scores for given in m.beside.values())]
    rates = [s for scores in every for name, s in scores.items() if name in m.scores]
    most = max([max(s["rate"] or 0, s["interval_95"][1] or 0) for s in rates] or [0])
    return tag("div", *(_tile(name, m, most) for name in m.scores), class_="tiles")


def _tile(name: str, m: Material, most: float) -> Html:
    score = m.scores[name]
    low, high = score["interval_95"]
    told = "one speaker: no interval" if low is None else interval(low, high)
    full = FULL.get(score["measure"], score["measure"])
    if name not in HEADS:
        way = "by letters" if name == FROM_LETTERS else name.removeprefix("words ")
        full = f"{full} {way}"
    rows = [
        tag(
            "li", tag("span", other), tag("b", percent(theirs["rate"])), tag("span", _range(theirs))
        )
        for other, given in m.beside.items()
        if (theirs := given.scores.get(name)) is not None
    ]
    return tag(
        "div",
        tag("h2", full.capitalize()),
        tag("p", percent(score["rate"]), class_="big"),
        charts.whisker(score["rate"] or 0.0, low, high, most),
        tag("p", told, class_="note"),
        tag("ul", *rows, class_="beside") if rows else None,
        class_="tile",
    )


def errors(m: Material) -> Html:
    """Tables of error rates, and by speaker."""
    parts: list[object] = []
    if not m.scores:
        return paragraph("There are no figures.")
    for head, why in m.missing.items():
        parts.append(paragraph(f"Without {head}, which these cuts do not have ({why}).", note=True))
    rows: list[list[object]] = []
    sizes = []
    for name, score in m.scores.items():
        named = [(m.name, score)]
        named += [(o, g.scores[name]) for o, g in m.beside.items() if name in g.scores]
        for place, (who, own) in enumerate(named):
            n = max(1, own["N"])
            sizes.append((own["S"] + own["D"] + own["I"]) / n)
            shares = [(k, own[k.upper()] / n) for k in SIGNS]
            rows.append(
                [
                    joined([title(name), " ", tag("small", own["measure"])]) if not place
                    else tag("span", title(name), class_="again"),
                    *([who] if m.beside else []),
                    tag("b", percent(own["rate"])), _range(own), number(own["N"]), number(own["S"]),
                    number(own["D"]), number(own["I"]), shares,
                ]
            )  # fmt: skip
    most = max(sizes)
    for row in rows:
        row[-1] = bar(row[-1], most)  # type: ignore[arg-type]
    columns = ["what", *(["run"] if m.beside else []), "error rate", "95 % interval", "said"]
    columns += [f"{SIGNS[k]} {ERRORS[k]}" for k in SIGNS]
    text = 2 if m.beside else 1
    parts.append(table([*columns, "per symbol said"], rows, "Error rates by what is read", text))
    for name, given in m.beside.items():
        if given.content.get("cuts_sha256") != m.fingerprint:
            parts.append(
                paragraph(
                    f"{name} was judged on other cuts: its figures are not to be compared.",
                    note=True,
                )
            )
    if max(len(s["speakers"]) for s in m.scores.values()) < 2:
        parts.append(paragraph("There is no interval: it needs two speakers.", note=True))
    else:
        parts.append(_by_speaker(m))
    return joined(parts)


def _by_speaker(m: Material) -> Html:
    """A row for each speaker, those with the most errors last."""
    first = next(iter(m.scores.values()))
    voices = sorted(first["speakers"], key=lambda who: (first["speakers"][who]["rate"] or 0, who))
    counts = Counter(m.found.speakers.values() if m.found is not None else ())
    most = {
        name: max([s["rate"] or 0 for s in score["speakers"].values()] or [0])
        for name, score in m.scores.items()
    }
    rows = []
    for who in voices:
        row: list[object] = [who, number(counts[who]) if counts[who] else DASH]
        for name, score in m.scores.items():
            own = score["speakers"].get(who)
            rate = own and own["rate"]
            shown = bar([("all", rate or 0)], most[name])
            row.append(tag("span", shown, percent(rate), class_="with"))
        rows.append(row)
    columns = ["speaker", "cuts", *(title(name) for name in m.scores)]
    return table(columns, rows, "Error rates by speaker, the easiest first")


# --- Confusions -----------------------------------------------------------------------------------


def confusions(m: Material) -> Html:
    """What was taken for what, and whose the errors are."""
    if m.found is None:
        return paragraph(f"Nothing was recognised for this page. {m.why}")
    name = next(iter(m.found.scores))
    result = m.found.scores[name]
    c = result.counts
    intro = paragraph(
        f"Of {c.length:,} {name} {c.substitutions:,} were taken for others, {c.deletions:,} were "
        f"missed, and {c.insertions:,} were heard that nobody said."
    )
    parts: list[object] = [intro]
    if name == "phones":
        picture = html.scrolled(
            charts.confusion(confusion_matrix(result)), "Confusion matrix of phones"
        )
        caption = tag(
            "figcaption",
            "A row is what was said, a column what was recognised; the stronger the colour, the "
            "greater the share of its row, written in % from 10 on. The diagonal is right.",
        )
        parts.append(tag("figure", picture, caption))
    if not c.errors:
        return joined([*parts, paragraph("There is no error to list.")])
    words = m.found.scores.get("words")
    lists = [_frequent(result, name)]
    if name != "words" and words is not None and words.counts.errors:
        lists.append(_frequent(words, "words"))
    parts.append(tag("div", *lists, class_="pair"))
    if any(UNKNOWN in pair for pair in (words.confusions if words is not None else ())):
        told = f"{UNKNOWN} is written for any word that training had too seldom."
        parts.append(paragraph(told, note=True))
    if name == "phones":
        parts += [_by_phone(result), _by_manner(result)]
    return joined(parts)


def _frequent(result: error_rates.ErrorRate, name: str) -> Html:
    wrong = [(pair, n) for pair, n in result.confusions.items() if pair[0] != pair[1]]
    wrong.sort(key=lambda entry: (-entry[1], entry[0]))
    said: Counter[str] = Counter()
    for (token, _), n in result.confusions.items():
        said[token] += n
    rows = []
    for (token, other), n in wrong[:MOST_ROWS]:
        kind = "i" if token == GAP else "d" if other == GAP else "s"
        rows.append(
            [
                marked(kind),
                symbol(token) if token != GAP else DASH,
                symbol(other) if other != GAP else DASH,
                number(n),
                percent(n / said[token], 0) if token != GAP else DASH,
                percent(n / result.counts.errors, 1),
            ]
        )
    columns = ["error", "said", "recognised", "times", "of this said", "of all errors"]
    return table(columns, rows, f"The most frequent errors of {name}", 3)


class _Share(NamedTuple):
    """Errors of a phone, or of a class of phones."""

    name: str
    said: int
    wrong: dict[str, int]  # by s, d, i
    confused: str

    @property
    def errors(self) -> int:
        return sum(self.wrong.values())


def _shares(result: error_rates.ErrorRate) -> list[_Share]:
    """By phone, most errors first; an insertion counts for the phone that was inserted."""
    rows = [
        _Share(
            r.token, r.length, {"s": r.substitutions, "d": r.deletions, "i": r.insertions},
            r.confused,
        )
        for r in tables.token_rows(result)
    ]  # fmt: skip
    return sorted(rows, key=lambda r: (-r.errors, r.name))


def _share_rows(rows: Sequence[_Share], total: int, last: bool) -> list[list[object]]:
    most = max(r.errors for r in rows) if rows else 1
    return [
        [
            r.name,
            number(r.said), number(r.errors), percent(r.errors / max(1, total), 1),
            bar(list(r.wrong.items()), most),
            *(number(r.wrong[k]) for k in SIGNS),
            percent(r.errors / r.said, 0) if r.said else DASH,
            *([r.confused or DASH] if last else []),
        ]
        for r in rows
    ]  # fmt: skip


_COLUMNS = ["said", "errors", "of all errors", "", *(f"{s} {ERRORS[k]}" for k, s in SIGNS.items())]


def _by_phone(result: error_rates.ErrorRate) -> Html:
    rows = _shares(result)
    total = result.counts.errors
    half = next(
        (n for n in range(1, len(rows) + 1) if sum(r.errors for r in rows[:n]) >= total / 2), 0
    )
    names = ", ".join(r.name for r in rows[:half])
    lost = sorted(rows, key=lambda r: (-r.wrong["d"], r.name))[:5]
    missed = ", ".join(f"{r.name} {r.wrong['d']}" for r in lost if r.wrong["d"])
    told = f"Half of all errors are of {plural(half, 'phone')}: {names}."
    told += f" Most often missed: {missed}." if missed else " None is missed."
    columns = ["phone", *_COLUMNS, "errors per said", "taken for"]
    shown = _share_rows(rows, total, True)
    parts: list[object] = [paragraph(told)]
    parts.append(table(columns, shown[:12], "The phones with the most errors"))
    if len(shown) > 12:
        rest = table(columns, shown[12:], "The other phones")
        parts.append(folded(f"The other {len(shown) - 12} phones", rest))
    return joined(parts)


def _by_manner(result: error_rates.ErrorRate) -> Html:
    groups: dict[str, _Share] = {}
    for r in _shares(result):
        name, _ = articulation(r.name)
        before = groups.get(name, _Share(name, 0, dict.fromkeys(SIGNS, 0), ""))
        wrong = {k: before.wrong[k] + r.wrong[k] for k in SIGNS}
        groups[name] = before._replace(said=before.said + r.said, wrong=wrong)
    rows = sorted(groups.values(), key=lambda r: (-r.errors, r.name))
    columns = ["manner", *_COLUMNS, "errors per said"]
    shown = _share_rows(rows, result.counts.errors, False)
    return table(columns, shown, "Errors by manner of articulation")
