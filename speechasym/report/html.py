"""HTML of the report: elements whose text is always escaped, numbers, tables, and the page itself.

The style is in page.css and the behaviour in page.js, beside this file; both are put into the page,
which loads nothing else.
"""

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files as package_files
from typing import Any

DASH, MINUS, THIN = "\u2013", "\u2212", "\u202f"
SIGNS = {"s": "≠", "d": MINUS, "i": "+"}  # by class in the style sheet
ERRORS = {"s": "substituted", "d": "deleted", "i": "inserted"}
ERROR_COLUMNS = [f"{SIGNS[kind]} {name}" for kind, name in ERRORS.items()]
_VOID = frozenset(("meta", "link", "img", "input", "br"))
# nothing may be loaded, whatever the page contains
_POLICY = (
    "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline';"
    " script-src 'unsafe-inline'"
)


class Html(str):
    """Text that is HTML already; all other text is escaped where it is inserted."""


def escaped(inside: object) -> Html:
    """Return anything as HTML: `Html` unchanged, None as nothing, all else as escaped text."""
    if isinstance(inside, Html):
        return inside
    return Html("" if inside is None else html.escape(str(inside)))


def joined(parts: Iterable[object]) -> Html:
    """Concatenate parts."""
    return Html("".join(map(escaped, parts)))


def tag(name_: str, /, *inside: object, **attributes: object) -> Html:
    """Return an element. class_ is class, data_t is data-t; None and False are left out."""
    words = [name_]
    for key, value in attributes.items():
        key = key.rstrip("_").replace("_", "-")
        if value is True:
            words.append(key)
        elif value is not None and value is not False:
            words.append(f'{key}="{html.escape(str(value))}"')
    start = Html(f"<{' '.join(words)}>")
    return start if name_ in _VOID else Html(f"{start}{joined(inside)}</{name_}>")


def percent(share: float | None, digits: int = 1) -> str:
    """Format a share: 0.0919 -> 9.2 %."""
    if share is None or math.isnan(share):
        return DASH
    return f"{100 * share:.{digits}f}{THIN}%"


def percent_range(low: float | None, high: float | None) -> str:
    """Format an interval of shares: 1.6 to 22.0 %; a dash if it is not defined."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return DASH
    return f"{100 * low:.1f} to {100 * high:.1f}{THIN}%"


def number(value: float | None, digits: int = 3) -> str:
    """Format integers with commas, other numbers with so many significant digits."""
    if value is None or math.isnan(value):
        return DASH
    if isinstance(value, int) or (abs(value) >= 1000 and float(value).is_integer()):
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def duration(seconds: float) -> str:
    """Format seconds: 40 s, 17.6 min, 3.2 h."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def enumerated(words: Sequence[str]) -> str:
    """Join words: a, b and c."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def symbol(token: str) -> str:
    """Return a visible form of a token: a space becomes an open box."""
    return "␣" if token == " " else token


def paragraph(*inside: object, note: bool = False) -> Html:
    """Return a paragraph; a note is smaller."""
    return tag("p", *inside, class_="note" if note else None)


def scroll_box(inside: Html, label: str) -> Html:
    """Return a box in which wide content scrolls, by keyboard too."""
    return tag("div", inside, class_="scroll", role="region", aria_label=label, tabindex="0")


def table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], caption: str, text: int = 1
) -> Html:
    """Return a table in a scroll box; the first `text` columns hold words, the others numbers."""
    kinds = ["w" if place < text else "n" for place in range(len(columns))]
    pairs = zip(columns, kinds, strict=True)
    head = tag("tr", *(tag("th", name, scope="col", class_=kind) for name, kind in pairs))
    body = []
    for row in rows:
        first = tag("th", row[0], scope="row", class_="w")
        rest = (tag("td", value, class_=k) for value, k in zip(row[1:], kinds[1:], strict=True))
        body.append(tag("tr", first, *rest))
    whole = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", *body))
    return scroll_box(whole, caption)


def bar(parts: Sequence[tuple[str, float]], whole: float) -> Html:
    """Return a bar of parts, each (class, size), relative to the size of the longest bar."""
    segments = (
        tag("i", class_=name, style=f"width:{100 * size / whole:.2f}%")
        for name, size in parts
        if size > 0 and whole > 0
    )
    return tag("span", *segments, class_="bar", aria_hidden="true")


def collapsible(summary: object, *inside: object) -> Html:
    """Return content that opens on a click on its summary."""
    return tag("details", tag("summary", summary), *inside)


def section(identity: str, title: str, *inside: object) -> Html:
    """Return a section of the page; its heading links to itself."""
    return tag("section", tag("h2", tag("a", title, href=f"#{identity}")), *inside, id=identity)


def error_sign(kind: str) -> Html:
    """Return the sign and name of an error; kind is s, d or i."""
    return tag("span", tag("b", SIGNS[kind], aria_hidden="true"), f" {ERRORS[kind]}", class_=kind)


def lane_row(name: object, *inside: object, kind: str = "", height: float | None = None) -> Html:
    """Return a row on the time axis of a recording: its name, and a lane with its content."""
    style = None if height is None else f"height:{height:g}px"
    return tag(
        "div", tag("div", name, class_="name"), tag("div", *inside, class_="lane", style=style),
        class_=f"row {kind}".strip(),
    )  # fmt: skip


def definitions(pairs: Mapping[str, object]) -> Html:
    """Return a list of names and their values."""
    return tag("dl", *(joined((tag("dt", k), tag("dd", v))) for k, v in pairs.items()))


def page(title: str, head: Html, sections: Sequence[tuple[str, str, Html]], foot: str) -> str:
    """Return the whole page; sections are (identity, title, HTML)."""
    style, script = (
        (package_files("speechasym.report") / f"page.{ending}").read_text("utf-8")
        for ending in ("css", "js")
    )
    links = (tag("li", tag("a", name, href=f"#{identity}")) for identity, name, _ in sections)
    return "<!doctype html>\n" + tag(
        "html",
        tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="color-scheme", content="light dark"),
            tag("title", title),
            tag("link", rel="icon", href="data:,"),
            tag("style", Html(style)),
        ),
        "\n",
        tag(
            "body",
            tag("header", head),
            tag("nav", tag("ol", *links), aria_label="Contents"),
            tag("main", *(part for _, _, part in sections)),
            tag("footer", paragraph(foot, note=True)),
            tag("script", Html(script)),
        ),
        lang="en-GB",
    ) + "\n"  # fmt: skip


def config_value(value: Any) -> str:
    """Format a value of a configuration."""
    if value is None:
        return "null"
    if isinstance(value, list | tuple):
        return ", ".join(map(config_value, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
