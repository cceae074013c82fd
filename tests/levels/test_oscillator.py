"""The bank of oscillators: frequencies, directions, boundedness."""

import math

import pytest
import torch

import speechasym
from speechasym.levels.config import BlockConfig
from speechasym.levels.oscillator import PERIODS, Oscillator


def bank(**options):
    torch.manual_seed(0)
    return Oscillator(BlockConfig(function="oscillator", **({"width": 8} | options)))


def signal(batch, frames, width):
    generator = torch.Generator().manual_seed(batch + 10 * frames)
    return torch.randn(batch, frames, width, generator=generator)


def test_each_direction_covers_the_periods():
    for causal, copies in ((True, 1), (False, 2)):
        period = 2 * math.pi / bank(width=12, causal=causal).angle
        assert period[0].item() == pytest.approx(PERIODS[0], rel=1e-4)
        assert period[-1].item() == pytest.approx(PERIODS[1], rel=1e-4)
        assert (period.diff() < 0).sum() == copies - 1
    assert torch.equal(bank().amplitude, torch.ones(8))
    kept = bank(damped=True).amplitude
    assert (kept < 1).all() and kept[3] > kept[0]  # slow ones keep longer


def test_reversed_time_swaps_the_halves():
    own = bank(damped=True)
    other = bank(damped=True)
    swap = torch.arange(8).roll(4)
    with torch.no_grad():
        for name in ("turn", "log_rate", "skip"):
            getattr(other, name).copy_(getattr(own, name)[swap])
        other.read.copy_(own.read[:, swap])
        other.inside.weight.copy_(own.inside.weight[torch.cat([swap, 8 + swap])])
        other.out.weight.copy_(own.out.weight[:, swap])
        other.out.bias.copy_(own.out.bias)
    x = signal(2, 21, 8)
    torch.testing.assert_close(other(x.flip(1)).flip(1), own(x), atol=1e-5, rtol=0)
    assert not torch.allclose(own(x.flip(1)).flip(1), own(x), atol=1e-2)


@pytest.mark.parametrize("damped", [False, True])
def test_extreme_parameters_stay_bounded_and_finite(damped):
    own = bank(damped=damped, causal=True)
    x = signal(1, 3000, 8).requires_grad_()
    for turn, rate in ((-12.0, -12.0), (12.0, 3.0)):
        with torch.no_grad():
            own.turn.fill_(turn)
            if own.log_rate is not None:
                own.log_rate.fill_(rate)
        y = own(x)
        assert y.isfinite().all() and y.abs().max() < 1e3
        gradients = torch.autograd.grad(y.square().mean(), [x, own.turn])
        assert all(g.isfinite().all() for g in gradients)


def test_a_tone_moves_the_oscillator_of_its_frequency():
    own = bank(width=16, causal=True)
    with torch.no_grad():
        own.inside.weight.zero_()
        own.inside.weight[:16, 0] = 1  # each hears column 0
    moved = []
    for angle in own.angle[[2, 6, 10]].tolist():
        x = torch.zeros(1, 400, 16)
        x[0, :, 0] = torch.sin(angle * torch.arange(400))
        _, (state,) = own.stream(x)
        stiffness = 2 - 2 * own.angle.cos()
        energy = stiffness * state[0, :, 0].square() + state[0, :, 1].square()
        moved.append(energy.argmax().item())
    assert moved == [2, 6, 10]


def test_an_odd_bank_has_no_halves():
    with pytest.raises(
        speechasym.ConfigError, match=r"width: must be even.*got 9. Use 10, or caus"
    ):
        bank(width=9)
    assert bank(width=9, causal=True).angle.shape == (9,)
    with pytest.raises(speechasym.ConfigError, match="cannot stream"):
        bank().stream(signal(1, 3, 8))
