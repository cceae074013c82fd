"""The gallery's examples: some run here, all of them in `make docs`."""

import ast
import re
from itertools import count
from pathlib import Path

import matplotlib as mpl
import pytest
from helpers import ROOT
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

import speechasym

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
FAST = ["02", "04", "07", "14"]  # those that take a second or two
NAMES = [path.stem for path in EXAMPLES]


def test_they_are_numbered_without_a_gap():
    assert [name[:8] for name in NAMES] == [f"plot_{i:02d}_" for i in range(1, len(NAMES) + 1)]


def problems(text: str) -> list[str]:
    """What an example lacks that a reader expects."""
    title, underline, _, question = (ast.get_docstring(ast.parse(text)) or "").split("\n", 3)
    used = set(re.findall(r"speechasym\.([A-Za-z_]+)", re.sub(r"(?m)^(from|import) .*$", "", text)))
    lacking = {
        "a title": not title or underline != "=" * len(title),
        "a question in bold": not re.match(r"\*\*[^*]+\?\*\*", question),
        "a figure": "plt.show()" not in text and not re.search(r"(?m)^figure = ", text),
        "what to try next": "# **What to try next.**" not in text,
        f"public names, not {used - set(speechasym.__all__)}": used - set(speechasym.__all__),
    }
    return [name for name, lacks in lacking.items() if lacks]


@pytest.mark.parametrize("path", EXAMPLES, ids=NAMES)
def test_it_has_what_a_lesson_needs(path):
    assert problems(path.read_text()) == []


def test_what_is_missing_is_found():
    text = '"""\nTitle\n====\n\nA question?\n"""\nspeechasym.plto()\n'
    assert len(problems(text)) == 5


def run(path: Path, folder: Path, monkeypatch) -> list[Figure]:
    """Run an example in a folder beside the recordings, and return the figures that it made."""
    (folder / "data").symlink_to(ROOT / "data")
    (folder / "examples").mkdir()
    monkeypatch.chdir(folder / "examples")
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.setattr(plt, "show", lambda: None)
    names: dict[str, object] = {"__name__": "__main__"}
    with mpl.rc_context({"backend": "agg"}):
        exec(compile(path.read_text(), path, "exec"), names)
        managed = [plt.figure(number) for number in plt.get_fignums()]
        plt.close("all")
    return managed + [v for v in names.values() if isinstance(v, Figure) and v not in managed]


@pytest.mark.parametrize("path", [p for p in EXAMPLES if p.stem[5:7] in FAST], ids=FAST)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_it_runs(path, tmp_path, monkeypatch, capsys):
    assert run(path, tmp_path, monkeypatch)


def test_an_example_that_raises_fails(tmp_path, monkeypatch):
    path = tmp_path / "plot_00_error.py"
    path.write_text("1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        run(path, tmp_path, monkeypatch)


def test_the_gallery_shows_figures_unknown_to_pyplot(tmp_path, monkeypatch):
    pytest.importorskip("sphinx_gallery")
    monkeypatch.syspath_prepend(ROOT / "docs" / "_ext")
    from gallery_figures import scrape

    ours, theirs = Figure(), plt.figure()
    names = {"figure": ours, "other": theirs}
    paths = (str(tmp_path / f"{i}.png") for i in count())
    variables = {"example_globals": names, "image_path_iterator": paths}
    config = {"src_dir": str(tmp_path)}
    assert "0.png" in scrape(None, variables, config)
    plt.close(theirs)
    assert scrape(None, variables, config) == ""  # no figure is shown twice
    assert [path.name for path in tmp_path.iterdir()] == ["0.png"]
