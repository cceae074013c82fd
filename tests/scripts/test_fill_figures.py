"""Figures in texts come from tables: they are filled in, and equal on every page."""

import fill_figures
import pytest

TABLES = """# Speed

| row | ratio | note |
| :-- | ----: | :--- |
| `mel` | 1.00 | - |
| ours, 1 thread | 1.336 (95 %) | fast |

| row | of mins |
| :-- | ----: |
| `mel` | 1,234.56 |
"""


@pytest.mark.parametrize("page", fill_figures.pages(), ids=lambda page: page.name)
def test_texts_say_what_tables_say(page):
    text = page.read_text("utf-8")
    assert fill_figures.filled(text) == text, "run python scripts/fill_figures.py"


def test_the_texts_have_figures_of_the_benchmark():
    results = (fill_figures.ROOT / "docs" / "results.md").read_text("utf-8")
    assert "<!-- docs/benchmarks.md; speechasym cpu, 1 thread; ratio to mel" in results


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("takes 1.2<!-- t.md; ours, 1 thread; ratio --> times", "1.3"),
        ("takes 1.20<!-- t.md; ours, 1 thread; ratio --> times", "1.34"),
        ("| 7<!-- t.md; mel; of mins --> times |", "1,235"),
    ],
)
def test_a_figure_is_filled_in(tmp_path, text, want):
    (tmp_path / "t.md").write_text(TABLES)
    filled = fill_figures.filled(text, tmp_path)
    assert want + "<!--" in filled and fill_figures.filled(filled, tmp_path) == filled


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        ("ours; ratio", "no table has row 'ours' and column 'ratio'"),
        ("ours, 1 thread; of mins", "no table has row"),
        ("ours, 1 thread; note", "has 'fast', expected a number"),
    ],
)
def test_a_place_without_one_number_is_an_error(tmp_path, place, problem):
    (tmp_path / "t.md").write_text(TABLES)
    with pytest.raises(ValueError, match=problem):
        fill_figures.filled(f"1<!-- t.md; {place} -->", tmp_path)
