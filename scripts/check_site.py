"""Check a built site: every link leads to a page and a place on it; no page needs another host.

python scripts/check_site.py out/docs
"""

import argparse
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# (element, attribute) of what a browser loads by itself; `a` is followed only by a reader
LOADED = {
    ("script", "src"), ("img", "src"), ("link", "href"), ("source", "src"), ("video", "src"),
    ("audio", "src"), ("iframe", "src"), ("embed", "src"), ("object", "data"), ("use", "href"),
}  # fmt: skip
NOT_FETCHED = {"canonical", "search", "next", "prev", "index", "author", "help"}  # rel of a link
IN_CSS = re.compile(r"""url\(\s*['"]?([^'")]+)|@import\s+['"]([^'"]+)""")


class Page(HTMLParser):
    """The links of a page, what it loads, and the places on it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.places |= {values[name] for name in ("id", "name") if name in values}
        for name, value in values.items():
            if tag == "link" and set(values.get("rel", "").split()) & NOT_FETCHED:
                continue
            if (tag, name) in LOADED:
                self.loaded.append(value)
            elif (tag, name) == ("a", "href"):
                self.links.append(value)
            elif name == "style":
                self.loaded += css_links(value)


def css_links(text: str) -> list[str]:
    """Return what a style sheet loads."""
    return [first or second for first, second in IN_CSS.findall(text)]


def is_external(link: str) -> bool:
    """Return whether a link leads to another host."""
    parts = urlsplit(link)
    return bool(parts.netloc) or parts.scheme in ("http", "https", "ftp")


def check(root: Path) -> tuple[list[str], int, int]:
    """Return the problems of a site, the number of its pages, and that of other hosts' links."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(root.rglob("*.html"))}
    problems, outside = [], 0
    for path, page in pages.items():
        name = path.relative_to(root)
        for link in page.loaded:
            if is_external(link):
                problems.append(f"{name}: loads {link} from another host")
        for link in [*page.links, *page.loaded]:
            parts = urlsplit(link)
            if is_external(link) or parts.scheme in ("mailto", "data", "javascript"):
                outside += is_external(link)
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            if not target.exists():
                problems.append(f"{name}: {link} does not exist")
            elif parts.fragment and target in pages:
                place = unquote(parts.fragment)
                if place not in pages[target].places and not place.startswith(":~:"):
                    problems.append(f"{name}: {link} does not exist on that page")
    for path in sorted(root.rglob("*.css")):
        for link in css_links(path.read_text(encoding="utf-8")):
            if is_external(link):
                problems.append(f"{path.relative_to(root)}: loads {link} from another host")
    return problems, len(pages), outside


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("site", type=Path)
    site = parser.parse_args(arguments).site.resolve()
    problems, pages, outside = check(site)
    if not pages:
        problems.append(f"{site}: holds no pages")
    print("\n".join([*problems, f"{pages} pages, {len(problems)} problems"]))
    print(f"{outside} links to other hosts were not followed.")
    return bool(problems)


if __name__ == "__main__":
    raise SystemExit(main())
