"""The site: `make docs`. Its source is the whole repository, so that links stay as they are."""

import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "_ext")]
import speechasym  # noqa: E402

project = "speechasym"
author = "The speechasym developers"
project_copyright = "the speechasym developers, Apache-2.0"
version = release = speechasym.__version__
root_doc = "README"
language = "en"
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",
    "sphinx_copybutton",
    "navigation",
    "notebooks",
    "api_pages",
    "mathml",
]
include_patterns = [
    "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/*.md", "docs/api/*.rst",
    "docs/gallery/*.rst", "recipes/*.md", "recipes/**/*.md",
]  # fmt: skip

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
default_role = "py:obj"  # a name in backticks in a docstring: a link where it is public
nitpicky = True
nitpick_ignore_regex = [("py:obj", ".*"), ("py:class", ".*"), ("py:exc", ".*")]
autosummary_generate = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_use_param = False
napoleon_use_rtype = False

sphinx_gallery_conf = {
    "examples_dirs": str(ROOT / "examples"),
    "gallery_dirs": "docs/gallery",
    "filename_pattern": os.environ.get("EXAMPLES", "plot_"),  # the others are shown, not run
    "within_subsection_order": "FileNameSortKey",
    "backreferences_dir": "docs/gallery/backreferences",
    "doc_module": ("speechasym",),
    "image_scrapers": ("gallery_figures", "matplotlib"),
    "reset_modules": ("matplotlib", "gallery_figures.set_text_size"),
    "ignore_repr_types": r"matplotlib\.",
    "remove_config_comments": True,
    "min_reported_time": 5,
    "write_computation_times": False,
}

html_theme = os.environ.get("THEME", "pydata_sphinx_theme")
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_title = "speechasym"
html_show_sourcelink = False
html_copy_source = False
html_theme_options: dict[str, Any] = {
    "logo": {"text": "speechasym"},
    "show_prev_next": False,
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
} if html_theme == "pydata_sphinx_theme" else {}  # fmt: skip


def remove_old(app: Any, config: Any) -> None:
    """Remove the gallery's pages of examples that are gone."""
    examples = {path.stem for path in (ROOT / "examples").glob("*.py")}
    for path in (ROOT / "docs" / "gallery").glob("plot_*"):
        if path.name.split(".")[0] not in examples:
            path.unlink()


def finish(app: Any, error: Exception | None) -> None:
    """Make the README the start page; remove what leads nowhere."""
    out = Path(app.outdir)
    if error or app.builder.name != "html":
        return
    shutil.copy(out / "README.html", out / "index.html")
    (out / "_static" / "webpack-macros.html").unlink(missing_ok=True)  # a template of the theme
    for path in (out / "_modules").rglob("*.html"):
        # names are documented where they are public, not in the module that defines them
        text = re.sub(r'<a class="viewcode-back".*?</a>', "", path.read_text())
        path.write_text(text)


def setup(app: Any) -> None:
    app.connect("config-inited", remove_old, priority=100)
    app.connect("build-finished", finish)
