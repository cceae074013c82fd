"""Figures for sphinx-gallery that pyplot does not know, such as those of `speechasym.plot`.

In conf.py: `"image_scrapers": ("gallery_figures", "matplotlib")`, and for the size of text
`"reset_modules": ("matplotlib", "gallery_figures.set_text_size")`.
"""

from typing import Any

from matplotlib import rcParams
from matplotlib.figure import Figure
from sphinx_gallery.scrapers import figure_rst

WIDTH_PX = 1400  # of wide figures too: sharp at twice the width of a page's text


def scrape(block: Any, variables: dict[str, Any], config: dict[str, Any]) -> str:
    """Save the figures that are new since the last block, and return the text that shows them."""
    names = variables["example_globals"]
    drawn = names.setdefault("__drawn__", [])
    new: list[Figure] = []
    for value in names.values():  # a name may stand twice: `_` is what the last line gave
        if isinstance(value, Figure) and not any(value is other for other in [*drawn, *new]):
            new.append(value)
    drawn += new
    paths = []
    for figure in new:
        if figure.canvas.manager is None:  # the others are of pyplot
            paths.append(next(variables["image_path_iterator"]))
            figure.savefig(paths[-1], dpi=WIDTH_PX / figure.get_size_inches()[0])
    return figure_rst(paths, config["src_dir"])


def _get_sg_image_scraper() -> Any:
    return scrape


def set_text_size(config: dict[str, Any], file: str) -> None:
    """Make text in figures large enough for a page on a telephone."""
    rcParams.update({"font.size": 12, "axes.titlesize": "medium"})
