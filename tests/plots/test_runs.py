"""Figures of runs in picture files, and what cannot be drawn."""

import pytest
from matplotlib.image import imread

from speechasym.errors import CheckpointError, ConfigError
from speechasym.levels.hierarchy import build_model
from speechasym.plots.runs import plot_run
from speechasym.recognition.trained_model import TrainedModel


@pytest.mark.parametrize(
    ("what", "ending"),
    [("confusion", "png"), ("units", "svg"), ("ranks", "png"), ("levels", "png")],
)
def test_pictures(toy, tmp_path, what, ending):
    out = tmp_path / f"x.{ending}"
    plot_run(toy / "run", out, what, cuts=toy / "dev_cuts.jsonl.gz")
    assert out.stat().st_size > 10_000 and [p.name for p in tmp_path.iterdir()] == [out.name]
    if ending == "png":
        assert imread(out).std() > 0.05


def test_models_without_units_or_levels(toy, trained, tmp_path):
    """Plain stacks have no units to draw, but levels; the baseline has neither."""
    sizes = {head: len(symbols) for head, symbols in trained.inventories.items()}
    level = {"width": 8, "functions": ["feedforward"], "units": 0}
    heads = {"words": {"level": 1}}
    levels = [level | {"stride": 3}, level]
    plain = build_model({"levels": levels, "heads": heads}, 16, sizes).eval()
    other = trained._replace(model=plain)
    assert isinstance(other, TrainedModel)
    cuts = toy / "dev_cuts.jsonl.gz"
    plot_run(other, tmp_path / "x.png", "levels", cuts=cuts)
    for what in ("units", "ranks"):
        with pytest.raises(ConfigError, match="no units"):
            plot_run(other, tmp_path / f"{what}.png", what, cuts=cuts)
    baseline = build_model({"preset": "recurrent", "width": 8, "hidden": 8}, 16, sizes).eval()
    for what in ("units", "ranks", "levels"):
        with pytest.raises(ConfigError, match="no levels"):
            plot_run(trained._replace(model=baseline), tmp_path / f"{what}.png", what, cuts=cuts)
    assert [p.name for p in tmp_path.iterdir()] == ["x.png"]


def test_errors(toy, trained, tmp_path):
    out = tmp_path / "x.png"
    cuts = toy / "dev_cuts.jsonl.gz"
    for what, options, says in (
        ("units", {}, "nothing to recognise"),
        ("confusion", {}, "needs cuts"),
        ("loops", {"cuts": cuts}, "not known"),
        ("units", {"cuts": cuts, "cut": "test-99"}, "not one of the 6"),
        ("units", {"recording": toy / "x.wav", "cut": "test-01"}, "Give one of the two"),
        ("ranks", {"cuts": tmp_path / "no.jsonl.gz"}, "no such manifest"),
    ):
        with pytest.raises(ConfigError, match=says):
            plot_run(trained, out, what, **options)
    with pytest.raises(ConfigError, match="supported picture format"):
        plot_run(trained, tmp_path / "x.gif", "curves")
    with pytest.raises(CheckpointError, match="is not the folder of a run"):
        plot_run(tmp_path / "none", out, "units", cuts=cuts)
    words = trained._replace(inventories={"words": trained.inventories["words"]})
    with pytest.raises(ConfigError, match="no head phones"):
        plot_run(words, out, "confusion", cuts=cuts)
    assert not list(tmp_path.iterdir())
