"""The two notebooks of the site hold the text and the code of the gallery's examples."""

import ast

import pytest
from helpers import ROOT


def test_notebooks(monkeypatch, tmp_path):
    gallery = pytest.importorskip("sphinx_gallery.gen_gallery")
    monkeypatch.syspath_prepend(ROOT / "docs" / "_ext")
    from notebooks import NOTEBOOKS, notebook

    examples = sorted((ROOT / "examples").glob("plot_*.py"))
    chosen = examples[:2]
    conf = dict(gallery.DEFAULT_GALLERY_CONF) | {"pypandoc": False}
    cells = notebook("A title", chosen, conf, tmp_path)["cells"]
    assert cells[0]["source"][0].startswith("# A title")
    code = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    for example in chosen:  # all but the docstring, which is text
        for node in ast.parse(example.read_text()).body[1:]:
            assert ast.unparse(node) in ast.unparse(ast.parse(code))
    numbers = [number for _, numbers in NOTEBOOKS.values() for number in numbers]
    assert len(numbers) == len(set(numbers))
