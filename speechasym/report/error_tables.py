"""The report's error rates and confusions: by output, speaker, phone and manner of articulation."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any

from speechasym.config import plural
from speechasym.language.ngrams import UNKNOWN
from speechasym.plots.confusion import articulation, confusion_matrix
from speechasym.recognition.evaluation import FROM_LETTERS
from speechasym.report import charts, html
from speechasym.report.data import ReportData
from speechasym.report.html import DASH, SIGNS, Html, joined, number, paragraph, percent, table, tag
from speechasym.scoring import tables
from speechasym.scoring.error_rates import GAP, ErrorRate
from speechasym.scoring.tables import TokenRow
from speechasym.training.config import HEADS

TITLES = {"phones": "Phones", "letters": "Letters", "words": "Words"}
TITLES[FROM_LETTERS] = "Words by letters"
MEASURES = {"PER": "phone error rate", "LER": "letter error rate", "WER": "word error rate"}
MOST_ROWS = 20  # of a list


def _title(name: str) -> str:
    """Return the title of a score."""
    return TITLES.get(name, name.capitalize())


def _scores(name: str, data: ReportData) -> dict[str, Mapping[str, Any]]:
    """Return this run's score of a name, then those of the baselines that have it, by run."""
    others = {run: results.scores.get(name) for run, results in data.baselines.items()}
    others = {run: score for run, score in others.items() if score is not None}
    return {data.trained.name: data.scores[name], **others}


def tiles(data: ReportData) -> Html:
    """Show the error rates in large figures, all on one scale."""
    scores = [score for name in data.scores for score in _scores(name, data).values()]
    most = max([max(s["rate"] or 0, s["interval_95"][1] or 0) for s in scores] or [0])
    return tag("div", *(_tile(name, data, most) for name in data.scores), class_="tiles")


def _tile(name: str, data: ReportData, most: float) -> Html:
    (_, score), *others = _scores(name, data).items()
    low, high = score["interval_95"]
    interval = "one speaker: no interval" if low is None else html.percent_range(low, high)
    measure = MEASURES.get(score["measure"], score["measure"])
    if name not in HEADS:
        measure += " by letters" if name == FROM_LETTERS else " " + name.removeprefix("words ")
    baselines = [
        tag("li", tag("span", run), tag("b", percent(other["rate"])),
            tag("span", html.percent_range(*other["interval_95"])))
        for run, other in others
    ]  # fmt: skip
    return tag(
        "div",
        tag("h2", measure.capitalize()),
        tag("p", percent(score["rate"]), class_="big"),
        charts.whisker(score["rate"] or 0.0, low, high, most),
        tag("p", interval, class_="note"),
        tag("ul", *baselines, class_="beside") if baselines else None,
        class_="tile",
    )


def errors(data: ReportData) -> Html:
    """Tabulate error rates by output and by speaker."""
    if not data.scores:
        return paragraph("There are no error rates.")
    parts: list[object] = [
        paragraph(f"Without {head}: these cuts have no labels for them ({why}).", note=True)
        for head, why in data.missing_heads.items()
    ]
    if data.evaluated is not None and data.evaluated.spelled is not None:
        spelled = str(data.evaluated.spelled)
        parts += [paragraph(f"{spelled}.", note=True)] if spelled else []
    rows: list[list[object]] = []
    bars = []
    for name, score in data.scores.items():
        first = joined([_title(name), " ", tag("small", score["measure"])])
        for run, counts in _scores(name, data).items():
            n = max(1, counts["N"])
            bars.append([(k, counts[k.upper()] / n) for k in SIGNS])
            rows.append(
                [
                    first, *([run] if data.baselines else []),
                    tag("b", percent(counts["rate"])), html.percent_range(*counts["interval_95"]),
                    *(number(counts[key]) for key in ("N", "S", "D", "I")),
                ]
            )  # fmt: skip
            first = tag("span", _title(name), class_="again")
    most = max(sum(share for _, share in shares) for shares in bars)
    for row, shares in zip(rows, bars, strict=True):
        row.append(html.bar(shares, most))
    columns = ["output", *(["run"] if data.baselines else []), "error rate", "95 % interval"]
    columns += ["reference", *html.ERROR_COLUMNS, "per reference symbol"]
    text = 2 if data.baselines else 1
    parts.append(table(columns, rows, "Error rates by output", text))
    for name, results in data.baselines.items():
        if results.content.get("cuts_sha256") != data.cuts_sha256:
            remark = f"{name} was evaluated on other cuts: its error rates are not comparable."
            parts.append(paragraph(remark, note=True))
    if max(len(s["speakers"]) for s in data.scores.values()) < 2:
        remark = "A confidence interval needs at least two speakers."
        parts.append(paragraph(remark, note=True))
    else:
        parts.append(_by_speaker(data))
    return joined(parts)


def _by_speaker(data: ReportData) -> Html:
    """Tabulate error rates by speaker, lowest first."""
    first = next(iter(data.scores.values()))["speakers"]
    speakers = sorted(first, key=lambda speaker: (first[speaker]["rate"] or 0, speaker))
    evaluated = data.evaluated
    cuts = Counter(evaluated.speakers.values() if evaluated is not None else ())
    rows = []
    for speaker in speakers:
        row: list[object] = [speaker, number(cuts[speaker]) if cuts[speaker] else DASH]
        for score in data.scores.values():
            rates = {name: counts["rate"] for name, counts in score["speakers"].items()}
            most = max([rate or 0 for rate in rates.values()] or [0])
            rate = rates.get(speaker)
            bar = html.bar([("all", rate or 0)], most)
            row.append(tag("span", bar, percent(rate), class_="with"))
        rows.append(row)
    columns = ["speaker", "cuts", *map(_title, data.scores)]
    return table(columns, rows, "Error rates by speaker, lowest first")


def confusions(data: ReportData) -> Html:
    """Show which symbols were confused with which, and where the errors are."""
    if data.evaluated is None:
        return paragraph(f"Nothing could be recognised for this page. {data.problem}")
    scores = data.evaluated.scores
    name = next(iter(scores))
    result, words = scores[name], scores.get("words")
    c = result.counts
    text = (
        f"Of {c.length:,} {name}, {c.substitutions:,} were substituted and {c.deletions:,} "
        f"deleted; {c.insertions:,} were inserted."
    )
    parts: list[object] = [paragraph(text)]
    if name == "phones":
        matrix = charts.confusion(confusion_matrix(result))
        text = (
            "A row is a phone that was said, a column what was recognised. The stronger the "
            "colour, the greater the share of the row, written in % from 10 % on. Correct phones "
            "lie on the diagonal."
        )
        box = html.scroll_box(matrix, "Confusion matrix of phones")
        parts.append(tag("figure", box, tag("figcaption", text)))
    if not c.errors:
        return joined([*parts, paragraph("There are no errors to list.")])
    lists = [_frequent_errors(result, name)]
    if name != "words" and words is not None and words.counts.errors:
        lists.append(_frequent_errors(words, "words"))
    parts.append(tag("div", *lists, class_="pair"))
    if any(UNKNOWN in pair for pair in (words.confusions if words is not None else ())):
        remark = f"{UNKNOWN} stands for any word that was too rare in training."
        parts.append(paragraph(remark, note=True))
    if name == "phones":
        parts += [_by_phone(result), _by_manner(result)]
    return joined(parts)


def _frequent_errors(result: ErrorRate, name: str) -> Html:
    said: Counter[str] = Counter()
    for (token, _), n in result.confusions.items():
        said[token] += n
    rows = []
    for (token, other), n in tables.frequent_errors(result)[:MOST_ROWS]:
        sign = html.error_sign("i" if token == GAP else "d" if other == GAP else "s")
        pair = (DASH if symbol == GAP else html.symbol(symbol) for symbol in (token, other))
        share = DASH if token == GAP else percent(n / said[token], 0)
        rows.append([sign, *pair, number(n), share, percent(n / result.counts.errors, 1)])
    columns = ["error", "said", "recognised", "count", "of this symbol", "of all errors"]
    return table(columns, rows, f"Most frequent errors of {name}", 3)


def _sorted(rows: Iterable[TokenRow]) -> list[TokenRow]:
    """Sort by errors, most first; an insertion counts for the phone inserted."""
    return sorted(rows, key=lambda r: (-r.errors, r.token))


def _error_rows(rows: Sequence[TokenRow], total: int) -> list[list[object]]:
    most = max((r.errors for r in rows), default=1)
    cells: list[list[object]] = []
    for r in rows:
        kinds = dict(zip(SIGNS, (r.substitutions, r.deletions, r.insertions), strict=True))
        cells.append(
            [
                r.token, number(r.length), number(r.errors), percent(r.errors / max(1, total), 1),
                html.bar(list(kinds.items()), most), *map(number, kinds.values()),
                percent(r.errors / r.length, 0) if r.length else DASH, r.confused or DASH,
            ]
        )  # fmt: skip
    return cells


_COLUMNS = ["said", "errors", "of all errors", "", *html.ERROR_COLUMNS]
_COLUMNS += ["errors per phone said", "recognised as"]


def _by_phone(result: ErrorRate) -> Html:
    rows = _sorted(tables.token_rows(result))
    total = result.counts.errors
    half = 1 + sum(so_far < total / 2 for so_far in accumulate(r.errors for r in rows[:-1]))
    names = ", ".join(r.token for r in rows[:half])
    deleted = sorted(rows, key=lambda r: (-r.deletions, r.token))[:5]
    most_deleted = ", ".join(f"{r.token} {r.deletions}" for r in deleted if r.deletions)
    text = f"Half of all errors are in {plural(half, 'phone')}: {names}."
    text += f" Most often deleted: {most_deleted}." if most_deleted else " None is deleted."
    columns = ["phone", *_COLUMNS]
    cells = _error_rows(rows, total)
    parts = [paragraph(text), table(columns, cells[:12], "The phones with the most errors")]
    if len(cells) > 12:
        rest = table(columns, cells[12:], "The other phones")
        parts.append(html.collapsible(f"The other {len(cells) - 12} phones", rest))
    return joined(parts)


def _by_manner(result: ErrorRate) -> Html:
    groups: dict[str, list[TokenRow]] = {}
    for row in tables.token_rows(result):
        groups.setdefault(articulation(row.token)[0], []).append(row)
    sums = (
        TokenRow._make([name, *map(sum, zip(*(row[1:-1] for row in rows), strict=True)), ""])
        for name, rows in groups.items()
    )
    cells = [row[:-1] for row in _error_rows(_sorted(sums), result.counts.errors)]
    return table(["manner", *_COLUMNS[:-1]], cells, "Errors by manner of articulation")
