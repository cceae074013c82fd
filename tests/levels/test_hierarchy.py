"""The stack: heads at their levels, presets, configuration, and the recurrent baseline."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from speechasym.errors import ConfigError
from speechasym.levels import presets
from speechasym.levels.config import RecurrentConfig
from speechasym.levels.hierarchy import build_model, count_parameters
from speechasym.levels.recurrent import Recurrent

SIZES = {"phones": 39, "letters": 28, "words": 98}
SMALL = {
    "preset": "tiny",
    "levels": [
        {"width": 16, "units": 8, "stride": 3, "events": "hysteresis"},
        {"width": 12, "units": 8, "events": "hysteresis"},
        {"width": 16, "units": 8},
    ],
}


def test_heads_read_their_levels():
    model = build_model(SMALL, 6, {"phones": 5, "letters": 7, "words": 9}).eval()
    lengths = torch.tensor([60, 41])
    out = model(torch.randn(2, 60, 6), lengths)
    assert len(out.levels) == 3
    for name, level, slots, size in (
        ("phones", 0, 1, 5), ("letters", 1, 2, 7), ("words", 2, 1, 9),
    ):  # fmt: skip
        scores, steps = out.heads[name]
        own = out.levels[level]
        assert scores.shape == (2, own.y.shape[1] * slots, size + 1)
        assert steps.tolist() == (own.mask.sum(1) * slots).tolist()
        torch.testing.assert_close(scores.exp().sum(-1), torch.ones(scores.shape[:2]))
        start, end = out.spans[name]
        assert start.shape == end.shape == scores.shape[:2]
        for row, length in enumerate(lengths.tolist()):
            assert start[row, 0] == 0 and end[row, steps[row] - 1] == length
    assert out.levels[1].mask.sum() == out.levels[0].passed.mask.sum()
    assert set(out.losses) == {"predict0", "predict1", "predict2"}


def test_any_subset_of_heads():
    model = build_model(SMALL, 6, {"phones": 5})
    assert list(model(torch.randn(1, 30, 6), torch.tensor([30])).heads) == ["phones"]


def test_letters_can_outnumber_events():
    # two slots: one event may stand for two letters
    model = build_model(SMALL | {"heads": {"letters": {"slots": 3}}}, 6, {"letters": 4}).eval()
    out = model(torch.randn(1, 90, 6), torch.tensor([90]))
    events = int(out.levels[1].mask.sum())
    assert int(out.heads["letters"][1]) == 3 * events


def test_a_head_tells_the_level_above():
    torch.manual_seed(0)
    heads = {"phones": {"tells": True}, "letters": {"level": 1, "slots": 2, "tells": True}}
    sizes = {"phones": 5, "letters": 7, "words": 9}
    model = build_model(SMALL | {"heads": heads}, 6, sizes).eval()
    x, lengths = torch.randn(2, 60, 6), torch.tensor([60, 41])
    before = model(x, lengths)
    # what is told is each symbol's probability, pooled with the steps' own weights over events
    own = before.levels[0]
    told = model.tells["phones"](before.heads["phones"][0].exp())
    weight = model.levels[0].weigh(own.y).squeeze(-1).clamp(-8, 8).exp()
    for row in range(2):
        for event in range(int(own.events.number[row])):
            inside = own.events.of_step[row] == event
            share = weight[row][inside] / weight[row][inside].sum()
            want = (share[:, None] * (own.y + told)[row][inside]).sum(0)
            want = want + float(inside.sum().log2()) * model.levels[0].duration
            torch.testing.assert_close(own.passed.y[row, event], want, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        model.tells["phones"].weight.mul_(-3)
    after = model(x, lengths)
    torch.testing.assert_close(after.heads["phones"][0], before.heads["phones"][0])
    assert not torch.allclose(after.levels[1].y, before.levels[1].y)
    assert set(model.tells) == {"phones", "letters"}
    loss = after.heads["words"][0].sum()
    loss.backward()
    assert model.heads["phones"].weight.grad.abs().sum() > 0  # the word's loss reaches the phones


@pytest.mark.parametrize("name, most", [("tiny", 300_000), ("small", 1_000_000)])
def test_presets_keep_to_their_size(name, most):
    count = count_parameters(build_model({"preset": name}, 33, SIZES))
    assert most / 2 < count <= most
    # with the features' full set of tracks and stops, or mel channels, still within
    assert count_parameters(build_model({"preset": name}, 80, SIZES)) <= most


def test_base_keeps_to_its_size():
    with torch.device("meta"):
        assert 5e6 < count_parameters(build_model({"preset": "base"}, 80, SIZES)) <= 10e6


@pytest.mark.parametrize("precise", [True, False])
@pytest.mark.parametrize("name", [n for n in presets.PRESETS if n != "base"])
def test_every_preset_runs_and_learns(name, precise):
    torch.manual_seed(0)
    model = build_model({"preset": name}, 10, {"phones": 5, "letters": 4, "words": 3})
    with torch.autocast("cpu", torch.bfloat16, enabled=not precise):
        out = model(torch.randn(2, 40, 10), torch.tensor([40, 33]))
    assert all(scores.dtype == torch.float32 for scores, _ in out.heads.values())
    sum(scores.square().mean() for scores, _ in out.heads.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_plain_models_are_configurations():
    for name, own in (("transformer", "Attention"), ("state-space", "StateSpace")):
        model = build_model({"preset": name}, 10, SIZES)
        kinds = {
            type(block.function).__name__ for level in model.levels for block in level.blocks.blocks
        }
        assert kinds == {own, "FeedForward"}
        assert not any("units" in key for key in model.state_dict())


def test_keys_override_the_preset():
    full = presets.merged(
        {"preset": "tiny", "every": {"law": "power"}, "levels": {"0": {"law": "gelu", "units": 9}}}
    )
    assert [level["law"] for level in full["levels"]] == ["gelu", "power", "power"]
    assert full["levels"][0]["units"] == 9
    assert full["levels"][1] == presets.PRESETS["tiny"]["levels"][1] | {"law": "power"}
    assert "law" not in presets.PRESETS["tiny"]["levels"][0]  # the preset itself stays


@pytest.mark.parametrize(
    "mapping, message",
    [
        ({"preset": "tyni"}, "Did you mean 'tiny'"),
        ({"preset": "tiny", "every": {"unist": 4}}, "levels.0.unist.*Did you mean units"),
        ({"preset": "tiny", "levels": {"7": {"units": 4}}}, "model.levels.7: there are 3"),
        ({"preset": "tiny", "heads": {"words": {"level": 5}}}, "heads.words.level"),
        ({"preset": "tiny", "heads": {"wrods": {"level": 1}}}, "Did you mean words"),
        ({"levels": []}, "levels"),
        ({"levels": 3}, "model.levels: must be a mapping, got 3"),
        ({"every": 3}, "model.every: must be a mapping, got 3"),
        ({"levels": {0: 5}}, "model.levels.0: must be a mapping, got 5"),
        ({"preset": [1]}, "model.preset"),
        ({"kind": "transformer"}, "model.kind"),
        ({"every": {"predict": float("inf")}}, "predict"),
        ({"preset": "recurrent", "hidden": 0}, "hidden"),
        ({"preset": "recurrent", "hiden": 5}, "Did you mean hidden"),
        ({"preset": "recurrent", "every": {"law": "power"}}, "recurrent has no levels"),
        ({"preset": "tiny", "levels": {"0": {"width": "wide"}}}, "width.*must be an integer"),
    ],
)
def test_a_wrong_configuration_is_named(mapping, message):
    with pytest.raises(ConfigError, match=message):
        build_model(mapping, 6, SIZES)


def test_the_baseline_is_a_bidirectional_gru():
    torch.manual_seed(0)
    model = Recurrent(RecurrentConfig(width=8, hidden=5), 6, {"phones": 3}).eval()
    gru = nn.GRU(8, 5, 2, batch_first=True, bidirectional=True)
    with torch.no_grad():
        for n in range(2):
            for own, suffix in ((model.forwards[n], ""), (model.backwards[n], "_reverse")):
                for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                    getattr(gru, f"{part}_l{n}{suffix}").copy_(getattr(own, f"{part}_l0"))
    x, lengths = torch.randn(3, 50, 6), torch.tensor([50, 31, 8])
    steps = (lengths + 2) // 3
    mask = torch.arange(50) < lengths[:, None]
    h = nn.functional.pad((x * mask[..., None]).transpose(1, 2), (0, 1))
    h = nn.functional.gelu(model.enter(h)).transpose(1, 2)[:, : steps.max()]
    packed = pack_padded_sequence(h, steps, batch_first=True, enforce_sorted=False)
    want, _ = pad_packed_sequence(gru(packed)[0], batch_first=True)
    want = model.heads["phones"](want).log_softmax(-1)
    got, got_steps = model(x, lengths).heads["phones"]
    assert got_steps.tolist() == steps.tolist()
    for row, n in enumerate(steps.tolist()):
        torch.testing.assert_close(got[row, :n], want[row, :n], atol=1e-6, rtol=1e-5)


def test_intermediate_heads_read_lower_layers():
    config = RecurrentConfig(width=8, hidden=5, intermediate=True)
    model = Recurrent(config, 6, {"phones": 3, "letters": 3, "words": 3})
    assert [model.depth(head) for head in ("phones", "letters", "words")] == [0, 1, 1]
    out = model(torch.randn(1, 30, 6), torch.tensor([30]))
    out.heads["phones"][0].sum().backward()
    assert model.forwards[1].weight_ih_l0.grad is None


def test_no_features_are_refused():
    model = build_model(SMALL, 6, {"phones": 5})
    with pytest.raises(ConfigError, match="columns"):
        model(torch.randn(1, 30, 7), torch.tensor([30]))
    with pytest.raises(ConfigError, match="lengths"):
        model(torch.randn(1, 30, 6), torch.tensor([31]))


def test_fitted_sets_the_wanted_rates_before_training():
    torch.manual_seed(0)
    sounds = torch.randn(12, 6)
    model = build_model(SMALL, 6, {"words": 3})
    x = sounds[torch.randint(12, (4, 25))].repeat_interleave(6, 1) + 0.3 * torch.randn(4, 150, 6)
    lengths = torch.tensor([150, 150, 120, 90])
    model.initialise([(x, lengths)])
    assert model.training
    out = model.eval()(x, lengths)
    for level in out.levels[:2]:
        rate = float(level.passed.mask.sum() / level.mask.sum())
        assert rate == pytest.approx(0.5, abs=0.1)
    used = out.levels[0].activation[out.levels[0].mask].argmax(-1).unique()
    assert len(used) >= 6  # of 8: not one winner for all


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["tiny", "state-space-intermediate", "recurrent"])
def test_cuda_says_what_the_cpu_says(name):
    torch.manual_seed(0)
    model = build_model({"preset": name}, 10, {"phones": 5, "letters": 4, "words": 3}).eval()
    x, lengths = torch.randn(3, 90, 10), torch.tensor([90, 61, 40])
    if name == "tiny":
        model.initialise([(x, lengths)])
    want = model(x, lengths)
    got = model.cuda()(x.cuda(), lengths.cuda())
    for head, (scores, steps) in want.heads.items():
        assert got.heads[head][1].tolist() == steps.tolist()  # the same events
        for row, n in enumerate(steps.tolist()):
            torch.testing.assert_close(
                got.heads[head][0][row, :n].cpu(), scores[row, :n], atol=1e-3, rtol=1e-3
            )
    model.train()
    got = model(x.cuda(), lengths.cuda())
    sum(scores.square().mean() for scores, _ in got.heads.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
