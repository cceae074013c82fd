"""`recipes/claims/topology`: blocks dropped and moved, weights pruned, functions compared."""

import json
import shutil

import numpy as np
import pytest
import tiny
import torch
from helpers import ROOT, tone

from recipes.claims.quantisation.measure import answer, utterances
from recipes.claims.topology import functions, little, prune, series, students
from recipes.compare.systems import read_systems
from speechasym.errors import ConfigError
from speechasym.levels import functions as known
from speechasym.levels.config import BlockConfig
from speechasym.recognition.trained_model import open_run
from speechasym.training import loop, losses
from speechasym.training.config import read_config
from speechasym.training.on_device import Batch

HERE = ROOT / "recipes" / "claims" / "topology"
LEVEL = "model.levels=[{width: 16, repeat: 2, units: 0, functions: [convolution, linear]}]"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return tiny.corpus(tmp_path_factory.mktemp("corpus"), 8)


@pytest.fixture(scope="module")
def stack(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stacks") / "theory-seed0"
    loop.train(
        tiny.config(corpus, LEVEL, "epochs=6", "learning_rate=0.02"), folder, show_progress=False
    )
    return folder


def cuts_of(corpus):
    return corpus[1].partition("=")[2]


def test_blocks_are_dropped_and_moved_in_a_copy(corpus, stack):
    net = open_run(stack)
    assert series.blocks_of(net) == 4
    sounds = utterances(net, cuts_of(corpus), None)
    whole = answer(net, net.model, sounds)
    same = answer(net, series.rearranged(net, [0, 1, 2, 3]), sounds)
    assert same.loss == whole.loss and same.errors == whole.errors
    moved = answer(net, series.rearranged(net, [1, 0, 2, 3]), sounds)
    assert moved.loss != whole.loss
    with torch.no_grad():
        net.model.levels[0].blocks.blocks[2].norm_out.weight.zero_()  # it adds nothing
    whole = answer(net, net.model, sounds)
    without = answer(net, series.rearranged(net, [0, 1, 3]), sounds)
    assert without.loss["phones"] == pytest.approx(whole.loss["phones"], abs=1e-6)
    assert series.branches(net, sounds)[2] == 0 and len(net.model.levels[0].blocks.blocks) == 4


def test_orders_are_of_all_kinds():
    rows = list(series.orders(12))
    assert rows[0] == ("whole", [], list(range(12)))
    singles = [order for what, _, order in rows if what == "drop 1"]
    assert len(singles) == 12 and all(len(order) == 11 for order in singles)
    for what, part, order in rows:
        if what.startswith(("swap", "permute")):
            assert sorted(order) == list(range(12)) != order
            assert [a for a, b in enumerate(order) if a != b] and all(
                a == b or a in part for a, b in enumerate(order)
            )


def test_a_stack_is_measured_once(corpus, stack, tmp_path, capsys):
    call = [str(stack), "--cuts", cuts_of(corpus), "--out", str(tmp_path), "--every", "3"]
    assert series.main(call) == 0
    before = (tmp_path / "series.jsonl").read_bytes()
    assert series.main(call) == 0 and (tmp_path / "series.jsonl").read_bytes() == before
    text = (tmp_path / "series.md").read_text()
    assert "| swap neighbours |" in text and "| drop 3 |" in text and "| drop 4 |" not in text
    assert (tmp_path / "series.png").stat().st_size > 5000


def test_a_series_needs_a_stack(toy, capsys):
    call = [str(toy / "run"), "--cuts", str(toy / "test_cuts.jsonl.gz"), "--out", str(toy / "none")]
    assert series.main(call) == 2
    assert "is not a single level of residual blocks" in capsys.readouterr().err


@pytest.mark.parametrize("rule", ["magnitude", "movement"])
def test_pruned_weights_stay_at_0(corpus, stack, rule):
    net = open_run(stack)
    config = prune.config_of(net, ["seed=3"])
    assert config.seed == 3
    model = prune.train_on(net, config, 0.75, rule, 4)
    for name in prune.matrices(model):
        weight = model.get_parameter(name)
        assert int((weight == 0).sum()) == round(0.75 * weight.numel()), name
        before = net.model.get_parameter(name)
        assert not torch.equal(weight[weight != 0], before[weight != 0])  # it has been trained on


def test_the_smallest_weights_go_first(corpus, stack, tmp_path, capsys):
    masks = prune.kept({"a": torch.tensor([[3.0, 1.0], [2.0, 4.0]])}, 0.5)
    assert masks["a"].tolist() == [[True, False], [False, True]]
    for share in (-0.1, 1.0):
        with pytest.raises(ConfigError, match="must be >= 0 and < 1"):
            prune.kept({}, share)
    call = [str(stack), "--cuts", cuts_of(corpus), "--out", str(tmp_path), "--shares", "0.5", "0.9"]
    assert prune.main([*call, "--rules", "magnitude", "random"]) == 0
    text = (tmp_path / "prune.md").read_text()
    assert "| rule | steps | 0 % | 50 % | 90 % |" in text and "| random | 0 |" in text
    assert prune.main([*call, "--rules", "movement"]) == 2
    assert "movement needs steps of training on" in capsys.readouterr().err


def test_functions_of_the_recipe():
    torch.manual_seed(0)
    x = torch.randn(2, 5, 4)
    gate, added = (kind(BlockConfig(width=4, kernel=1)) for kind in (known.Gate, functions.Sum))
    added.load_state_dict(gate.state_dict())
    u, v = gate.inside(x).chunk(2, 2)
    torch.testing.assert_close(gate(x), u * v.sigmoid())
    torch.testing.assert_close(added(x), u + v.sigmoid())
    mask = functions.Mask(BlockConfig(width=4))
    torch.testing.assert_close(mask(x), mask.value * x)
    with torch.no_grad():
        products, means = (
            kind(BlockConfig(width=4)) for kind in (functions.Products, functions.Means)
        )
        products.inside.weight[:8], products.inside.bias[:8] = 0, 1  # queries and keys all alike
        means.inside.weight[:], means.inside.bias[:] = (t[8:] for t in products.inside.parameters())
        products.log_slope.copy_(means.log_slope)
        means.out.load_state_dict(products.out.state_dict())
        torch.testing.assert_close(products(x), means(x))  # 1: one channel of a head
    with functions.more_functions():
        assert BlockConfig(function="mask").function == "mask"
    with pytest.raises(ConfigError, match="mask"):
        BlockConfig(function="mask")


def test_systems_are_compared(corpus, tmp_path, capsys):
    base = tmp_path / "base.yaml"
    base.write_text("epochs: 1\n")
    words = [*corpus, *tiny.FEATURES, "batch_seconds=6", LEVEL, "threads=1", "device=cpu"]
    call = [str(base), "--test", cuts_of(corpus), "--out", str(tmp_path / "out"), "--seeds", "1"]
    assert functions.main([*call, "--only", "gate", "sum", "--set", *words]) == 0
    text = (tmp_path / "out" / "functions.md").read_text()
    assert "| sum | u(x) + sigmoid(v(x)): the same maps |" in text and "against gate" in text
    for name, words in (("stack", ()), ("functions", ())):
        config = read_config(HERE / f"{name}.yaml", words)
        assert len(config.model.levels) == 1 and config.model.levels[0].units == 0
    assert [s.name for s in read_systems(HERE / "students.yaml")] == [
        "taught",
        "labels",
        "taught-2",
    ]
    assert [s.name for s in read_systems(HERE / "stacks.yaml")] == ["theory", "pre", "post"]


def test_students_are_compared_with_labels_alone(corpus, stack, tmp_path, capsys):
    results = tmp_path / "results.jsonl"
    results.write_text(json.dumps({"system": "taught", "seed": 0}) + "\n")
    out = tmp_path / "out"
    call = [str(tmp_path), "--test", cuts_of(corpus), "--out", str(out)]
    assert students.main(call) == 2
    assert "labels: is not among the finished runs" in capsys.readouterr().err
    lines = [{"system": system, "seed": 0} for system in ("taught", "labels")]
    results.write_text("".join(json.dumps(line) + "\n" for line in lines))
    for system in ("taught", "labels"):
        shutil.copytree(stack, tmp_path / f"{system}-seed0")
    noise = tone(tmp_path / "noise" / "hum.wav", np.random.default_rng(0).normal(0, 0.1, 16000))
    assert students.main([*call, "--noise", str(noise.parent), "--snr", "0"]) == 0
    text = (out / "students.md").read_text()
    assert "| student | seeds | as recorded | 0 dB |" in text and "+0.0 [+0.0, +0.0]" in text
    read = [json.loads(line) for line in (out / "students.jsonl").read_text().splitlines()]
    assert len(read) == 4 and read[0]["counts"] == read[1]["counts"]
    assert read[2]["loss"] > read[0]["loss"]


def test_cuts_without_labels_count_for_nothing():
    torch.manual_seed(0)
    config = read_config(HERE / "functions.yaml", ["data.train=a", "data.dev=b"])
    heads = {"phones": (torch.randn(3, 9, 5).log_softmax(2), torch.tensor([9, 8, 7]))}
    targets = {"phones": (torch.tensor([[1, 2], [3, 4], [2, 1]]), torch.tensor([2, 1, 2]))}
    batch = Batch(["a", "b", "c"], torch.zeros(3, 9, 1), torch.tensor([9, 8, 7]), targets)

    def loss(batch, rows, total):
        x = {head: (y[rows], n[rows]) for head, (y, n) in heads.items()}
        return losses.head_losses(x, {}, batch, config, {"phones": total}, 1.0)

    some = {"phones": tuple(t[[0, 2]] for t in targets["phones"])}
    want = loss(batch._replace(ids=["a", "c"], targets=some), [0, 2], 4)[0]
    with little.without_labels({"b"}):
        value, parts, left_out = loss(batch, [0, 1, 2], 5)
    assert value == want == parts["phones"] and left_out == {"phones": []}
    with little.without_labels({"a", "b", "c"}):
        assert loss(batch, [0, 1, 2], 5)[0] == 0
    assert loss(batch, [0, 1, 2], 5)[0] != want
    names = [s.name for s in read_systems(HERE / "little.yaml")]
    assert names == ["taught-all", "taught-few", "labels-few"]
