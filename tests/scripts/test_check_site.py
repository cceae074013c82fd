"""The check of the site finds dead links, and pages that need another host."""

import pytest
from check_site import main


@pytest.fixture
def site(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.html").write_text('<h1 id="top">B</h1><a href="../a.html">A</a>')
    (tmp_path / "style.css").write_text("body { background: url(data:image/png;base64,AA) }")

    def write(body: str) -> None:
        style = '<link rel="stylesheet" href="style.css?v=1">'
        canonical = '<link rel="canonical" href="https://example.org/a.html">'
        (tmp_path / "a.html").write_text(style + canonical + body)

    return tmp_path, write


def test_a_good_site(site, capsys):
    root, write = site
    write('<a href="sub/b.html#top">B</a> <a href="#x" id="x">x</a> <a href="https://w.org">w</a>')
    assert main([str(root)]) == 0
    assert "2 pages, 0 problems\n1 links to other hosts" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ('<a href="gone.html">', "a.html: gone.html does not exist"),
        ('<img src="gone.png">', "a.html: gone.png does not exist"),
        ('<a href="sub/b.html#gone">', "a.html: sub/b.html#gone does not exist on that page"),
        ('<a href="#gone">', "a.html: #gone does not exist on that page"),
        ('<script src="https://cdn.org/x.js">', "a.html: loads https://cdn.org/x.js from another"),
        ('<p style="background: url(//cdn.org/x.png)">', "a.html: loads //cdn.org/x.png from"),
    ],
)
def test_a_problem_is_found(site, capsys, body, says):
    root, write = site
    write(body)
    assert main([str(root)]) == 1
    assert says in capsys.readouterr().out


def test_style_sheets_and_empty_folders(site, capsys, tmp_path):
    root, write = site
    write("")
    (root / "style.css").write_text("@import 'https://cdn.org/font.css';")
    assert main([str(root)]) == 1
    assert "style.css: loads https://cdn.org/font.css" in capsys.readouterr().out
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / "empty")]) == 1
