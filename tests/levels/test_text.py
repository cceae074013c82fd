"""The language model of levels (speechasym.levels.text)."""

from typing import Any

import pytest
import torch

from speechasym.errors import ConfigError
from speechasym.levels.config import BlockOptions, LevelConfig
from speechasym.levels.events import changes, windows
from speechasym.levels.text import TextConfig, TextModel, last_complete

CAUSAL = BlockOptions(causal=True, heads=2)


def level(**options: Any) -> LevelConfig:
    return LevelConfig(**{"width": 8, "units": 4, "block": CAUSAL} | options)


def model(*levels: LevelConfig, seed: int = 0) -> TextModel:
    torch.manual_seed(seed)
    net = TextModel(TextConfig(levels=levels, inputs=6), 5)
    net.initialise(torch.randint(5, (4, 40)))
    return net.eval()


THREE = (
    level(events="hysteresis"),
    level(events="stride", functions=("statespace", "attention")),
    level(units=0),
)


def by_entropy() -> TextModel:
    net = model(level(events="entropy"), level(events="entropy"), level(units=0))
    for each in net.hierarchy.levels[:-1]:
        each.hold.log_width.fill_(-7)  # what is expected hardly differs before training
    return net


@pytest.mark.parametrize("at", [0, 1, 17, 39])
@pytest.mark.parametrize("make", [lambda: model(*THREE), by_entropy], ids=["units", "entropy"])
def test_no_symbol_is_predicted_from_itself_or_later_ones(make: Any, at: int) -> None:
    net = make()
    x = torch.randint(5, (3, 40))
    other = x.clone()
    other[:, at] = (other[:, at] + 1) % 5
    first, second = net(x).log_probs, net(other).log_probs
    # rounding may differ, as the number of events does
    torch.testing.assert_close(first[:, :at], second[:, :at], rtol=0, atol=1e-5)
    assert not torch.isclose(first[:, at], second[:, at]).all()


def test_padding_does_not_change_a_text() -> None:
    net = model(*THREE)
    x = torch.randint(5, (2, 30))
    alone = net(x[:1, :21]).log_probs
    padded = net(x, torch.tensor([21, 30])).log_probs[:1, :21]
    torch.testing.assert_close(alone, padded)


def test_it_says_a_distribution_and_learns_from_all_parts() -> None:
    net = model(*THREE).train()
    output = net(torch.randint(5, (3, 40)))
    torch.testing.assert_close(output.log_probs.exp().sum(-1), torch.ones(3, 40))
    (output.log_probs[..., 0].mean() + sum(output.losses.values())).backward()
    idle = [n for n, p in net.named_parameters() if p.grad is None]
    assert {name.split(".")[0] for name in idle} <= {"hierarchy"}
    assert all(".weigh." in n or "duration" in n or "law" in n for n in idle), idle


def test_local_errors_do_not_pass_through_events() -> None:
    torch.manual_seed(0)
    x = torch.randint(5, (3, 40))
    said, reach = [], []
    for local in (False, True):
        torch.manual_seed(1)
        net = TextModel(TextConfig(levels=THREE, inputs=6, local=local), 5)
        output = net(x)
        said.append(output.log_probs)
        parameter = net.hierarchy.levels[0].weigh.weight  # of steps in what is passed on
        grad = torch.autograd.grad(output.log_probs[..., 0].sum(), parameter, allow_unused=True)[0]
        reach.append(grad is not None and bool(grad.any()))
        assert set(output.losses) == {"predict0", "predict1"}
    assert torch.equal(*said) and reach == [True, False]


def test_what_is_heard_is_the_last_complete_event() -> None:
    winner = torch.tensor([[1, 1, 2, 2, 2, 0], [3, 0, 3, 3, 1, 1]])
    mask = torch.ones(2, 6, dtype=torch.bool)
    mask[1, 5] = False
    events = changes(winner, mask)
    y = torch.arange(8.0).view(2, 4, 1)[:, : events.size.shape[1]] + 1
    heard = last_complete(y, events)[..., 0]
    for row in range(2):
        for step in range(int(mask[row].sum())):
            complete = sum(int(winner[row, i] != winner[row, i - 1]) for i in range(1, step + 1))
            expected = 0.0 if complete == 0 else float(y[row, complete - 1, 0])
            assert heard[row, step] == expected


def test_a_full_window_is_heard_at_its_last_step() -> None:
    mask = torch.ones(1, 7, dtype=torch.bool)
    heard = last_complete(torch.tensor([[[1.0], [2.0], [3.0]]]), windows(mask, 3))
    assert heard[0, :, 0].tolist() == [0, 0, 1, 1, 1, 2, 2]


@pytest.mark.parametrize(
    ("levels", "words"),
    [
        ((), "levels: is empty"),
        ((level(block=BlockOptions()),), "levels.0.block.causal"),
        ((level(events="hysteresis", stride=2), level()), "levels.0.stride"),
        ((level(), level()), "levels.0.events"),
    ],
)
def test_unfit_levels(levels: tuple[LevelConfig, ...], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        TextConfig(levels=levels)
