"""The files of the page: short, no requests to anyone else, and the look of the report."""

import re

import pytest
from helpers import ROOT

FOLDER = ROOT / "speechasym" / "explorer"
FILES = sorted([*FOLDER.glob("*.js"), *FOLDER.glob("*.css"), *FOLDER.glob("*.html")])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_is_short_and_asks_nobody_else(path):
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= 400
    assert not re.search(r"https?:|//[\w-]+\.\w|@import|innerHTML = (?!`<svg)", text)


def test_every_import_and_element_exists():
    page = (FOLDER / "page.html").read_text("utf-8")
    made = {*re.findall(r'\bid[=:] ?"([\w-]+)"', "".join(p.read_text("utf-8") for p in FILES))}
    for path in FOLDER.glob("*.js"):
        text = path.read_text("utf-8")
        for names, module in re.findall(r'import \{([^}]*)\} from "\./(\w+\.js)"', text):
            exported = re.findall(
                r"export (?:async )?(?:function|const|class) (\w+)",
                (FOLDER / module).read_text("utf-8"),
            )
            assert {name.strip() for name in names.split(",") if name.strip()} <= {*exported}, path
            for name in names.replace(",", " ").split():
                assert len(re.findall(rf"\b{name}\b", text)) > 1, f"{path.name}: {name} is unused"
        assert {*re.findall(r'(?:byId|getElementById)\("([\w-]+)"\)', text)} <= made, path
    assert 'src="page.js"' in page


def test_its_colours_are_those_of_the_report():
    def colours(path):
        roots = re.findall(r":root \{(.*?)\}", path.read_text("utf-8"), re.DOTALL)
        assert len(roots) == 2  # light and dark
        return [dict(re.findall(r"--([\w-]+): ([^;]+);", root)) for root in roots]

    for ours, theirs in zip(
        colours(FOLDER / "page.css"), colours(ROOT / "speechasym" / "report" / "page.css"),
        strict=True,
    ):  # fmt: skip
        shared = ours.keys() & theirs.keys()
        assert len(shared) >= 9
        assert {name: ours[name] for name in shared} == {name: theirs[name] for name in shared}
