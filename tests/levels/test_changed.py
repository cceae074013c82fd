"""Events by change: they equal a loop, do not depend on padding, and reach the target rate."""

import math

import pytest
import torch

from speechasym.errors import ConfigError
from speechasym.levels import changed
from speechasym.levels.config import LevelConfig
from speechasym.levels.hierarchy import build_model

SIZES = {"width": 8, "units": 6, "stride": 1, "events": "change"}


def loop(y):
    track = [0.0] * min(len(y), changed.REACH)
    for t in range(changed.REACH, len(y)):
        one = y[max(0, t - changed.REACH) : t].sum(0)
        two = y[t : t + changed.REACH].sum(0)
        track.append(1 - float(one @ two / (one.norm() * two.norm())))
    if len(y) > changed.REACH:
        track[: changed.REACH] = [track[changed.REACH]] * changed.REACH
    return torch.tensor(track, dtype=y.dtype)


def peaks(track, width):
    found, rising, low, high, at = [], False, math.inf, -math.inf, 0
    for n, value in enumerate(track.tolist()):
        if not rising:
            low = min(low, value)
            if value > low + width:
                rising, high, at = True, value, n
        elif value > high:
            high, at = value, n
        elif value < high - width:
            found.append(at)
            rising, low = False, value
    return found


@pytest.mark.parametrize("frames", [1, 2, 7, 61])
def test_it_equals_a_loop(frames):
    y = torch.randn(
        1, frames, 4, generator=torch.Generator().manual_seed(frames), dtype=torch.double
    )
    mask = torch.ones(1, frames, dtype=torch.bool)
    track = changed.turning(y, mask)
    torch.testing.assert_close(track[0], loop(y[0]))
    for width in (0.05, 0.4, 1.0):
        label = changed.between_peaks(track, mask, width)[0]
        begins = [n for n in range(1, frames) if label[n] != label[n - 1]]
        assert begins == peaks(track[0], width)


def test_padding_does_not_matter():
    y = torch.randn(1, 40, 4, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(1, 40, dtype=torch.bool)
    more = torch.cat([y, torch.randn(1, 9, 4)], 1)
    padded = torch.cat([mask, torch.zeros(1, 9, dtype=torch.bool)], 1)
    one = changed.between_peaks(changed.turning(y, mask), mask, 0.2)
    two = changed.between_peaks(changed.turning(more, padded), padded, 0.2)
    assert torch.equal(one, two[:, :40]) and bool((two[:, 40:] == two[:, 39:40]).all())


def test_a_level_reaches_its_rate_and_has_no_winner():
    torch.manual_seed(0)
    model = build_model({"levels": [{**SIZES, "keep": 0.2}, {"width": 8, "units": 4}]}, 5, {})
    x, lengths = torch.randn(4, 200, 5), torch.tensor([200, 200, 150, 80])
    for _ in range(60):  # the scale follows
        model(x, lengths)
    output = model.eval()(x, lengths)
    rate = float(output.levels[0].events.number.sum()) / int(lengths.sum())
    assert rate == pytest.approx(0.2, abs=0.04) and output.levels[0].winner is None
    assert output.levels[1].mask.sum(1).tolist() == output.levels[0].events.number.tolist()


def test_what_it_cannot_do():
    with pytest.raises(ConfigError, match="needs units"):
        LevelConfig(events="change", units=0)
    block = {"causal": True, "kernel": 3}
    model = build_model(
        {"levels": [{**SIZES, "functions": ["convolution"], "block": block}]}, 5, {}
    )
    with pytest.raises(ConfigError, match="cannot stream"):
        model.stream(torch.randn(1, 20, 5))
