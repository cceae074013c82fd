"""A run that starts from another: what fits is taken over, symbols by their names."""

import json

import pytest
import tiny
import torch

from speechasym.errors import CheckpointError, ConfigError
from speechasym.training import checkpoints, loop
from speechasym.training.warm_start import start_from


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    folder = tmp_path_factory.mktemp("start")
    tiny.run(tiny.corpus(folder, 8), folder / "run", "epochs=1")
    return folder / "run"


def test_rows_go_to_the_symbols_of_their_name(before):
    tensors, meta = checkpoints.load_model(before)
    assert meta["inventories"]["phones"] == ["aa", "b", "iy", "s"]
    names = ("S", "aa", "zz")  # another order, another case, a new one
    torch.manual_seed(1)
    model = tiny.Tiny(meta["columns"], {"phones": 3})
    fresh = {name: value.clone() for name, value in model.state_dict().items()}
    taken, total = start_from(model, meta["columns"], {"phones": names}, before)
    state = model.state_dict()
    torch.testing.assert_close(state["conv.weight"], tensors["conv.weight"])
    for part in ("weight", "bias"):
        rows, old = state[f"heads.phones.{part}"], tensors[f"heads.phones.{part}"]
        for row, old_row in ((0, 0), (1, 4), (2, 1)):
            torch.testing.assert_close(rows[row], old[old_row])
        torch.testing.assert_close(rows[3], fresh[f"heads.phones.{part}"][3])
    width = state["heads.phones.weight"].shape[1]
    assert total - taken == width + 1


def test_phones_in_context_begin_as_the_phones_that_they_are(before):
    tensors, meta = checkpoints.load_model(before)
    model = tiny.Tiny(meta["columns"], {"phones": 3})
    start_from(model, meta["columns"], {"phones": ("IY+#", "S+C", "S+V")}, before)
    rows, old = model.state_dict()["heads.phones.weight"], tensors["heads.phones.weight"]
    for row, old_row in enumerate((0, 3, 4, 4)):
        torch.testing.assert_close(rows[row], old[old_row])


def test_a_run_that_starts_from_another_begins_better(before, tmp_path):
    words = tiny.corpus(tmp_path, 8)
    lost = {}
    for name, more in (("anew", []), ("started", [f"start={before}"])):
        tiny.run(words, tmp_path / name, "epochs=1", "learning_rate=1e-9", *more)
        text = (tmp_path / name / "metrics.jsonl").read_text("utf-8")
        lines = [json.loads(line) for line in text.splitlines()]
        lost[name] = next(line["loss_phones"] for line in lines if "loss_phones" in line)
    assert lost["started"] < lost["anew"]


def test_phones_that_the_cuts_lack_are_kept(before, tmp_path):
    words = tiny.corpus(tmp_path, 8)
    tiny.manifest(tmp_path / "train.jsonl", {"s0-00": "sea", "s1-01": "sea sea"})
    for name, more, phones in (
        ("started", [f"start={before}"], ["aa", "b", "iy", "s"]),
        ("anew", [], ["iy", "s"]),
    ):
        tiny.run(words, tmp_path / name, "epochs=1", *more)
        assert checkpoints.load_model(tmp_path / name)[1]["inventories"]["phones"] == phones


def test_which_phones_follow_which_is_taken_over(tmp_path):
    (tmp_path / "first").mkdir()
    words = tiny.corpus(tmp_path / "first", 8)
    tiny.run(words, tmp_path / "run", "epochs=1", "mmi=1")
    (tmp_path / "second").mkdir()
    other = tiny.corpus(tmp_path / "second", 8)
    tiny.manifest(tmp_path / "second" / "train.jsonl", {"s0-00": "sea", "s1-01": "sea sea"})
    tiny.run(other, tmp_path / "started", "epochs=1", "mmi=1", f"start={tmp_path / 'run'}")
    tiny.run(other, tmp_path / "anew", "epochs=1", "mmi=1")
    tables = [
        checkpoints.load_model(tmp_path / name)[1]["follow"]["phones"]
        for name in ("run", "started", "anew")
    ]
    assert tables[0] == tables[1] != tables[2]


def test_what_cannot_be_started_from(before, tmp_path):
    model = tiny.Tiny(5, {"phones": 3})
    with pytest.raises(ConfigError, match="columns"):
        start_from(model, 5, {"phones": ("a", "b", "c")}, before)
    with pytest.raises(CheckpointError):
        start_from(model, 5, {"phones": ("a", "b", "c")}, tmp_path / "none")
    columns = checkpoints.load_model(before)[1]["columns"]
    other = torch.nn.Linear(2, 2)
    with pytest.raises(ConfigError, match="nothing of"):
        start_from(other, columns, {"phones": ("a",)}, before)
    with pytest.raises(CheckpointError):
        loop.train(
            tiny.config(tiny.corpus(tmp_path, 4), f"start={tmp_path / 'nothing'}"),
            tmp_path / "x",
            show_progress=False,
        )
