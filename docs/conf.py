"""The site: `make docs`. Its source is the whole repository, so that links stay as they are."""

import os
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
    "abort_on_example_error": False,
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


def start_page(app: Any, error: Exception | None) -> None:
    """The README is the start page."""
    if not error and app.builder.name == "html":
        shutil.copy(Path(app.outdir) / "README.html", Path(app.outdir) / "index.html")


def setup(app: Any) -> None:
    app.connect("build-finished", start_page)
