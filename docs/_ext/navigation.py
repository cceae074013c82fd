"""The order of the pages. It is kept here, so that pages have no lists that only Sphinx reads."""

from pathlib import Path
from typing import Any

SECTIONS = ["docs/guide", "docs/gallery/index", "docs/api/index", "docs/theory", "recipes/README",
            "docs/project"]  # fmt: skip
GUIDE = ["transcribe", "features", "asymmetry", "pictures", "explore", "report", "alignment",
         "segments", "units", "live", "corpora", "training", "hierarchy", "learning", "mini",
         "decoding", "model-card", "scoring", "abx", "scale", "formats", "dataflow", "faq",
         "glossary"]  # fmt: skip
THEORY = ["claims", "observers", "roles", "growth", "monitor"]
PROJECT = ["results", "features-compared", "benchmarks", "log", "cite"]
RECIPES = ["own", "mini", "timit", "librispeech", "language", "cluster", "discovery", "claims"]


def tree(root: Path) -> dict[str, list[str]]:
    """{page: pages below it}; a page of docs/ that is named nowhere belongs to the guide."""
    pages = {path.stem for path in (root / "docs").glob("*.md")}
    sections = {Path(section).name for section in SECTIONS}
    rest = sorted(pages - {*GUIDE, *THEORY, *PROJECT} - sections)
    below = {
        "README": SECTIONS,
        "docs/guide": [f"docs/{name}" for name in GUIDE + rest if name in pages],
        "docs/theory": [f"docs/{name}" for name in THEORY if name in pages],
        "docs/project": [
            *(f"docs/{name}" for name in PROJECT if name in pages), "CONTRIBUTING", "CHANGELOG",
        ],
        "recipes/README": [],
    }  # fmt: skip
    readmes = sorted((root / "recipes").rglob("*/README.md"), key=lambda p: order(p, root))
    for readme in readmes:
        name = str(readme.relative_to(root).with_suffix(""))
        below["recipes/README"].append(name)
        others = sorted(readme.parent.glob("*.md"), key=lambda p: (p.stem != "RESULTS", p.stem))
        below[name] = [
            str(page.relative_to(root).with_suffix("")) for page in others if page != readme
        ]
    return below


def order(readme: Path, root: Path) -> tuple[int, str]:
    """The place of a recipe among the others."""
    name = readme.relative_to(root / "recipes").parts[0]
    return (RECIPES.index(name) if name in RECIPES else len(RECIPES), str(readme))


def toctree(pages: list[str]) -> str:
    """A list of pages that is not shown on the page itself."""
    lines = "\n".join(f"/{page}" for page in pages)
    return f"\n\n```{{toctree}}\n:hidden:\n:maxdepth: 1\n\n{lines}\n```\n"


def append(app: Any, name: str, text: list[str]) -> None:
    """Put the list of the pages below a page at its end; examples are those of the gallery."""
    up = "../" * name.count("/")
    text[0] = text[0].replace(f"]({up}examples/)", f"]({up}docs/gallery/index.rst)")
    if pages := app.config.pages_below.get(name):
        text[0] += toctree(pages)


def setup(app: Any) -> dict[str, bool]:
    app.add_config_value("pages_below", tree(Path(app.srcdir)), "env")
    app.connect("source-read", append)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
