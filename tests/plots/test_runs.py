"""Pictures of a run: what their artists hold."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch
from helpers import tone
from matplotlib.figure import Figure
from matplotlib.image import imread
from toy import HERTZ, RATE, WORDS, toy, utterance

from speechasym.annotations.intervals import Interval
from speechasym.errors import CheckpointError, ConfigError
from speechasym.language import phones
from speechasym.levels.hierarchy import build_model
from speechasym.plots import runs, units
from speechasym.plots.runs import plot_run
from speechasym.recognition.transcription import Trained, open_run
from speechasym.scoring import error_rates
from speechasym.training.run_folder import METRICS


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return toy(tmp_path_factory)


@pytest.fixture(scope="module")
def trained(made):
    return open_run(made / "run")


@pytest.fixture(scope="module")
def heard(made, trained):
    return units.scenes(trained, made / "test_cuts.jsonl.gz", "test-02", None, alone=False)


def axes():
    return Figure().subplots()


# --- curves --------------------------------------------------------------------------------------


def written(folder, lines) -> None:
    (folder / METRICS).write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_course(tmp_path):
    """Steps lie within their epochs, validations where their step is, a cut epoch at its share."""
    lines = [
        {"step": n + 1, "epoch": n // 4, "loss": 1.0, "loss_phones": 2.0 / (n + 1),
         "learning_rate": 1e-3}
        for n in range(10)
    ]  # fmt: skip
    lines.insert(4, {"step": 4, "epoch": 1, "dev_loss_phones": 3.0, "dev_error_phones": 0.5})
    lines.append({"step": 10, "epoch": 2, "dev_loss_phones": None, "dev_error_phones": 0.25})
    written(tmp_path, lines)
    course = runs.read_course(tmp_path)
    np.testing.assert_allclose(course.at, np.arange(1, 11) / 4)
    np.testing.assert_allclose(course.checked, [1, 2.5])
    assert course.heads == ["phones"]
    train, dev = runs.losses(axes(), course)
    np.testing.assert_allclose(train.get_ydata(), [2.0 / (n + 1) for n in range(10)])
    assert dev.get_ydata()[0] == 3 and np.isnan(dev.get_ydata()[1])
    drawn = axes()
    (line,) = runs.errors(drawn, course)
    np.testing.assert_allclose(line.get_ydata(), [50, 25])
    assert drawn.get_yscale() == "log" and [t.get_text() for t in drawn.texts] == ["25.0 %"]
    (line,) = runs.rate(axes(), course)
    np.testing.assert_allclose(line.get_ydata(), 1)


def test_an_error_of_nothing_is_drawn(tmp_path):
    lines = [{"step": 1, "epoch": 0, "loss": 0.0, "loss_words": 0.0, "learning_rate": 0.0}]
    lines.append({"step": 1, "epoch": 1, "dev_loss_words": 0.0, "dev_error_words": 0.0})
    written(tmp_path, lines)
    course = runs.read_course(tmp_path)
    drawn = axes()
    runs.errors(drawn, course)
    assert drawn.get_yscale() == "linear"
    plot_run(tmp_path, tmp_path / "x.png", "curves")
    assert imread(tmp_path / "x.png").std() > 0.01


def test_running_mean():
    x = np.random.default_rng(0).normal(size=23)
    x[[3, 4, 5, 6]] = np.nan
    for width in (1, 2, 5, 30):
        wanted = []
        for n in range(len(x)):
            low = max(0, n - width // 2)
            part = [v for v in x[low : low + width] if not np.isnan(v)]
            wanted.append(np.mean(part) if part else np.nan)
        np.testing.assert_allclose(runs._running(x, width), wanted)


def test_curves_of_a_run(made, tmp_path):
    course = runs.read_course(made / "run")
    assert course.heads == ["phones", "letters", "words"] and len(course.steps) == 120
    figure = runs.curves_figure(course, "$x_y$")
    assert [len(a.lines) for a in figure.axes] == [9, 6, 1] and "$" in figure.get_suptitle()
    (tmp_path / METRICS).write_text("{not json")
    with pytest.raises(ConfigError, match="cannot be read"):
        runs.read_course(tmp_path)
    written(tmp_path, [])
    with pytest.raises(ConfigError, match="holds no step"):
        runs.read_course(tmp_path)


# --- confusion -----------------------------------------------------------------------------------


@pytest.mark.parametrize("inventory", [phones.ARPABET, phones.TIMIT_39, phones.TIMIT_61])
def test_order_by_articulation(inventory):
    order, groups = runs.ordered(inventory)
    assert sorted(order) == list(range(len(inventory)))
    assert groups[0][1] == 0 and groups[-1][2] == len(inventory)
    assert all(a[2] == b[1] for a, b in pairwise(groups))
    names = [inventory[n].upper() for n in order]
    group = {name: {names[k] for k in range(a, b)} for name, a, b in groups}
    assert {"IY", "AA"} <= group["vowels"] and {"AY", "OW"} <= group["diphthongs"]
    assert {"P", "T", "K"} <= group["stops"] and {"M", "NG"} <= group["nasals"]
    assert {"CH", "JH"} == group["affricates"] and {"L", "W", "R"} <= group["approximants"]
    assert names.index("IY") < names.index("EH") < names.index("AA")  # high to low
    assert names.index("P") < names.index("B") < names.index("T") < names.index("K")
    assert "others" not in group or inventory is phones.TIMIT_61  # q has no features
    if inventory is not phones.ARPABET:
        assert "SIL" in group["silence"] or "H#" in group["silence"]


def test_confusion():
    said = {"u": ["P", "IY", "T", "IY", "X"]}
    result = error_rates.score(said, {"u": ["B", "IY", "T", "S", "IY"]})
    tokens, counts = error_rates.confusion_matrix(result)
    drawn = axes()
    share = np.square(runs.confusion(drawn, tokens, counts).get_array())
    names = [text.get_text() for text in drawn.get_xticklabels()]
    assert names == ["IY", "P", "B", "T", "S", "X", "deleted"]
    rows = [text.get_text().split() for text in drawn.get_yticklabels()]
    assert rows[0] == ["IY", "2"] and rows[-1] == ["inserted", "1"]
    np.testing.assert_allclose(share.sum(1), [100, 100, 0, 100, 0, 100, 100])
    assert share[1, 2] == pytest.approx(100)  # P as B
    assert share[5, 6] == pytest.approx(100) and share[6, 4] == pytest.approx(100)
    assert {"vowels", "stops", "fricatives", "others"} <= {t.get_text() for t in drawn.texts}


# --- ranks ---------------------------------------------------------------------------------------


def test_shares(trained, heard):
    shown, others = heard
    found = runs.shares(trained, [shown, *others])
    assert [own.level for own in found] == [0, 1] and found[0].law == "geometric"
    for own in found:
        assert own.mean.sum() == pytest.approx(1, abs=1e-5) and own.mean.shape == (8,)
        outputs = [scene.output.levels[own.level] for scene in (shown, *others)]
        assert own.wins.sum() == sum(int(level.passed_mask.sum()) for level in outputs)
    figure = runs.ranks_figure(found, "x")
    for panel in figure.axes:
        texts = [text.get_text() for text in panel.get_legend().get_texts()]
        assert any(text.startswith("geometric: β") for text in texts)
        assert texts[-1].startswith("BIC")


@pytest.mark.parametrize("law", ["geometric", "power"])
def test_verdict_on_known_laws(law):
    rank = np.arange(40)
    weight = np.exp(-rank / 5) if law == "geometric" else 1 / (rank + 1.0)
    drawn = axes()
    lines = runs.ranks(drawn, np.random.default_rng(1).permutation(np.round(2000 * weight)))
    assert drawn.get_legend_handles_labels()[1][-1].startswith(f"BIC: {law} (by")
    fitted = lines[1 if law == "geometric" else 2]
    x, y = fitted.get_data()
    np.testing.assert_allclose(y[:8], (weight / weight.sum())[:8], rtol=0.05)
    assert x[0] == 1


def test_one_unit_has_no_law():
    assert len(runs.ranks(axes(), np.array([0.0, 5, 0]))) == 1


# --- units ---------------------------------------------------------------------------------------


def test_held_order_favourites():
    values = np.array([[0.1, 0.9, 0.0], [0.8, 0.1, 0.0], [0.3, 0.0, 0.2]])
    wide = units.held(values, np.array([0, 2, 5]), np.array([2, 4, 6]), 7)
    assert np.isnan(wide[[4, 6]]).all() and (wide[[0, 1]] == values[0]).all()
    assert units.order(wide).tolist() == [1, 0, 2]
    assert units.order(wide, 2).tolist() == [1, 0]
    intervals = [Interval(0, 0.02, "a"), Interval(0.02, 0.05, "b"), Interval(0.05, 0.07, "c")]
    assert units.favourites(wide, intervals, 100) == ["b", "a", "c"]
    assert units.favourites(wide, [], 100) == ["", "", ""]


def test_a_scene_is_what_was_said(heard):
    shown, others = heard
    assert shown.title == "test-02" and len(others) == 6
    assert "test-02" not in [scene.title for scene in others]
    assert list(shown.said) == ["words", "phones"]
    assert [i.label for i in shown.said["phones"]] == [i.label for i in shown.recognised["phones"]]


def test_activations(trained, heard):
    """Winners of all events are drawn on their time, at the row of their unit."""
    shown, _ = heard
    level = shown.output.levels[0]
    drawn = axes()
    labels = shown.said["phones"]
    image, winners, ticks = units.activations(drawn, level, 100.0, len(shown.features), labels)
    assert image.get_array().shape == (8, len(shown.features))
    assert len(winners.get_segments()) == len(ticks.get_segments()) == int(level.passed_mask.sum())
    starts = [segment[0, 0] for segment in winners.get_segments()]
    np.testing.assert_allclose(starts, level.passed_start[0] / 100)
    column = image.get_array()[:, int(100 * starts[2])]
    names = [text.get_text().split() for text in drawn.get_yticklabels()]
    row = int(winners.get_segments()[2][0, 1])
    assert int(names[row][-1]) == int(
        level.winner[0][level.start[0] == level.passed_start[0, 2]][0]
    )
    assert column[row] == pytest.approx(column.max(), abs=0.5)
    assert {name for name, *_ in names} <= {*HERTZ, *map(str, range(8))}


def test_units_figure(trained, heard):
    figure = units.units_figure(trained, heard[0])
    panels = [a for a in figure.axes if a.images]
    titles = [a.get_title("left") for a in panels]
    assert titles[0].startswith("level 1: 8, ") and titles[1].startswith("level 0: 8, 33 steps/s")
    assert {a.get_xlim() for a in panels} == {(0, heard[0].seconds)}
    labels = {t.get_text().split()[0] for t in panels[0].get_yticklabels()}
    assert labels & set(WORDS)  # the highest level is labelled with words


# --- levels --------------------------------------------------------------------------------------


def test_read_out_of_a_linear_map():
    rng = np.random.default_rng(4)
    x, weight = rng.normal(size=(60, 5)), rng.uniform(0.5, 2, 60)
    y = x @ rng.normal(size=(5, 7)) + rng.normal(size=7)
    read = units.read_out(x, y, weight, ridge=1e-9)
    np.testing.assert_allclose(read(x), y, atol=1e-5)
    assert units.explained(y, read(x)) == pytest.approx(1)
    # weighted least squares: a row of weight 2 counts as two rows
    noisy = y + rng.normal(size=y.shape)
    twice = np.ones(60)
    twice[:20] = 2
    one = units.read_out(x, noisy, twice, 0.0)
    two = units.read_out(
        np.concatenate([x, x[:20]]), np.concatenate([noisy, noisy[:20]]), np.ones(80), 0.0
    )
    np.testing.assert_allclose(one(x), two(x), atol=1e-8)
    mean = np.repeat(y.mean(0, keepdims=True), 60, 0)
    assert units.explained(y, mean) == pytest.approx(0)
    nan = np.where(np.arange(60)[:, None] < 5, np.nan, y)
    assert units.explained(y, nan) == pytest.approx(1)


def test_pooled():
    rows = np.arange(12.0).reshape(6, 2)
    found = units.pooled(rows, np.array([0, 3]), np.array([3, 4]))
    np.testing.assert_allclose(found, [rows[:3].mean(0), rows[3]])


def test_predicted_is_what_the_level_misses(trained, heard):
    """The level's own error is that of this prediction, before the scale is taken back."""
    shown, _ = heard
    own = units.pooled(shown.features, *shown.spans(0))
    scale = np.sqrt(np.mean(own**2, axis=1, keepdims=True))
    error = np.mean(((own - units.predicted(trained, shown)) / scale) ** 2, axis=1)
    found = shown.output.levels[0].error[0][shown.output.levels[0].mask[0]]
    np.testing.assert_allclose(error, found.detach().numpy(), rtol=2e-3, atol=1e-4)


def test_levels_figure(trained, heard):
    shown, others = heard
    figure = units.levels_figure(trained, shown, others)
    panels = [a for a in figure.axes if a.images]
    titles = [a.get_title("left") for a in panels]
    assert titles[0] == "features: gammatone, 16 columns" and len(panels) == 4
    assert "level 0 predicts" in titles[1] and "misses" in titles[2]
    assert "fitted to 6 other cuts" in titles[3]
    parts = [a.images[0].get_array() for a in panels]
    np.testing.assert_allclose(parts[0] - parts[1], parts[2], atol=1e-5)
    alone = units.levels_figure(trained, shown, [])
    assert "this recording itself" in [a for a in alone.axes if a.images][3].get_title("left")


# --- the command ---------------------------------------------------------------------------------


def test_recordings(made, trained, tmp_path):
    """A recording beside its TextGrid; only the beginning of a long one is drawn."""
    x, said, _ = utterance(["am", "mass"])
    path = tone(tmp_path / "x.wav", x, RATE)
    (tmp_path / "x.WRD").write_text(
        "".join(f"{round(a * RATE)} {round(b * RATE)} {w}\n" for a, b, w in said)
    )
    shown, others = units.scenes(trained, None, None, path, alone=False)
    assert [i.label for i in shown.said["words"]] == ["am", "mass"] and others == []
    with_cuts = units.scenes(trained, made / "dev_cuts.jsonl.gz", None, path, alone=False)
    assert with_cuts[0].title == "x.wav" and len(with_cuts[1]) == 6
    long = tone(tmp_path / "y.wav", np.tile(x, 20), RATE)
    shown, _ = units.scenes(trained, None, None, long, alone=True)
    assert shown.seconds == 20 and "first 20 s" in shown.title


@pytest.mark.parametrize(
    ("what", "ending"),
    [("confusion", "png"), ("units", "svg"), ("ranks", "png"), ("levels", "png")],
)
def test_pictures(made, tmp_path, what, ending):
    out = tmp_path / f"x.{ending}"
    plot_run(made / "run", out, what, cuts=made / "dev_cuts.jsonl.gz")
    assert out.stat().st_size > 10_000 and [p.name for p in tmp_path.iterdir()] == [out.name]
    if ending == "png":
        assert imread(out).std() > 0.05


def test_models_without_units_or_levels(made, trained, tmp_path):
    """Plain stacks have no units to draw, but levels; the baseline has neither."""
    sizes = {head: len(symbols) for head, symbols in trained.inventories.items()}
    level = {"width": 8, "functions": ["feedforward"], "units": 0}
    heads = {"words": {"level": 1}}
    levels = [level | {"stride": 3}, level]
    plain = build_model({"levels": levels, "heads": heads}, 16, sizes).eval()
    other = trained._replace(model=plain)
    assert isinstance(other, Trained)
    cuts = made / "dev_cuts.jsonl.gz"
    plot_run(other, tmp_path / "x.png", "levels", cuts=cuts)
    for what in ("units", "ranks"):
        with pytest.raises(ConfigError, match="no units"):
            plot_run(other, tmp_path / f"{what}.png", what, cuts=cuts)
    baseline = build_model({"preset": "recurrent", "width": 8, "hidden": 8}, 16, sizes).eval()
    for what in ("units", "ranks", "levels"):
        with pytest.raises(ConfigError, match="no levels"):
            plot_run(trained._replace(model=baseline), tmp_path / f"{what}.png", what, cuts=cuts)
    assert [p.name for p in tmp_path.iterdir()] == ["x.png"]


def test_errors(made, trained, tmp_path):
    out = tmp_path / "x.png"
    cuts = made / "dev_cuts.jsonl.gz"
    for what, given, says in (
        ("units", {}, "needs something to hear"),
        ("confusion", {}, "needs cuts"),
        ("loops", {"cuts": cuts}, "not known"),
        ("units", {"cuts": cuts, "cut": "test-99"}, "none of the 6"),
        ("units", {"recording": made / "x.wav", "cut": "test-01"}, "one of the two"),
        ("ranks", {"cuts": tmp_path / "no.jsonl.gz"}, "no such manifest"),
    ):
        with pytest.raises(ConfigError, match=says):
            plot_run(trained, out, what, **given)
    with pytest.raises(ConfigError, match="picture format"):
        plot_run(trained, tmp_path / "x.gif", "curves")
    with pytest.raises(CheckpointError, match="no folder of a run"):
        plot_run(tmp_path / "none", out, "units", cuts=cuts)
    words = trained._replace(inventories={"words": trained.inventories["words"]})
    with pytest.raises(ConfigError, match="no head phones"):
        plot_run(words, out, "confusion", cuts=cuts)
    assert not list(tmp_path.iterdir())


def test_no_figure_needs_a_gradient(trained, heard):
    assert not any(
        part.requires_grad
        for level in heard[0].output.levels
        for part in (level.y, level.activation)
        if isinstance(part, torch.Tensor)
    )
    assert trained.model.training is False


def test_metrics_that_are_cut_or_none(tmp_path):
    line = {"step": 1, "epoch": 0, "loss": 1.0, "loss_phones": 2.0, "learning_rate": 1e-3}
    written(tmp_path, [line, line | {"step": 2}])
    path = tmp_path / METRICS
    path.write_text(path.read_text()[:-20])  # as a run that is writing leaves it
    assert len(runs.read_course(tmp_path).steps) == 1
    for wrong in ([line | {"loss": "x"}], [3], [[]]):
        written(tmp_path, wrong)
        with pytest.raises(ConfigError, match="cannot be read"):
            runs.read_course(tmp_path)
