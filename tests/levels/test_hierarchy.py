"""The hierarchy: heads at their levels, conditioning, initialisation."""

import pytest
import torch

from speechasym.errors import ConfigError
from speechasym.levels.hierarchy import build_model

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


def test_a_head_feeds_the_level_above():
    torch.manual_seed(0)
    heads = {"phones": {"tells": True}, "letters": {"level": 1, "slots": 2, "tells": True}}
    sizes = {"phones": 5, "letters": 7, "words": 9}
    model = build_model(SMALL | {"heads": heads}, 6, sizes).eval()
    x, lengths = torch.randn(2, 60, 6), torch.tensor([60, 41])
    before = model(x, lengths)
    # what is added is each symbol's probability, pooled with the steps' weights over events
    own = before.levels[0]
    added = model.tells["phones"](before.heads["phones"][0].exp())
    weight = model.levels[0].weigh(own.y).squeeze(-1).clamp(-8, 8).exp()
    for row in range(2):
        for event in range(int(own.events.number[row])):
            inside = own.events.of_step[row] == event
            share = weight[row][inside] / weight[row][inside].sum()
            want = (share[:, None] * (own.y + added)[row][inside]).sum(0)
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


def test_features_of_other_shapes_are_refused():
    model = build_model(SMALL, 6, {"phones": 5})
    with pytest.raises(ConfigError, match="columns"):
        model(torch.randn(1, 30, 7), torch.tensor([30]))
    with pytest.raises(ConfigError, match="lengths"):
        model(torch.randn(1, 30, 6), torch.tensor([31]))


def test_initialise_gives_the_target_rates():
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
def test_cuda_and_cpu_agree(name):
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
