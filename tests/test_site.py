"""What the site is made from: order of pages, groups of the reference, notebooks."""

import ast

import pytest
from helpers import ROOT

import speechasym


@pytest.fixture(autouse=True)
def extensions(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs" / "_ext")


def test_every_page_has_one_place():
    from navigation import tree

    below = tree(ROOT)
    placed = [page for pages in below.values() for page in pages]
    pages = [*ROOT.glob("docs/*.md"), *ROOT.glob("recipes/**/*.md")]
    names = {str(page.relative_to(ROOT).with_suffix("")) for page in pages}
    assert names <= set(placed) and len(placed) == len(set(placed))
    made = {"docs/gallery/index", "docs/api/index"}
    assert all((ROOT / f"{page}.md").exists() for page in set(placed) - made)


def test_every_public_name_is_in_one_group():
    from api_pages import groups

    names = [name for names in groups().values() for name in names]
    assert sorted(names) == sorted(speechasym.__all__)


def test_notebooks_hold_the_code_of_their_examples(tmp_path):
    gallery = pytest.importorskip("sphinx_gallery.gen_gallery")
    from notebooks import NOTEBOOKS, notebook

    chosen = sorted((ROOT / "examples").glob("plot_*.py"))[:2]
    conf = dict(gallery.DEFAULT_GALLERY_CONF) | {"pypandoc": False}
    cells = notebook("A title", chosen, conf, tmp_path)["cells"]
    assert cells[0]["source"][0].startswith("# A title")
    code = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    whole = ast.unparse(ast.parse(code))
    for example in chosen:  # all but the docstring, which is text
        for node in ast.parse(example.read_text()).body[1:]:
            assert ast.unparse(node) in whole
    numbers = [number for _, numbers in NOTEBOOKS.values() for number in numbers]
    assert len(numbers) == len(set(numbers))
