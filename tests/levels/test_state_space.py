"""The selective state space in both directions."""

import torch

from speechasym.levels.config import BlockConfig
from speechasym.levels.state_space import StateSpace


def signal(batch, frames, width):
    generator = torch.Generator().manual_seed(batch + 10 * frames)
    return torch.randn(batch, frames, width, generator=generator)


def test_time_reversed_statespace_swaps_its_heads():
    torch.manual_seed(0)
    config = BlockConfig(function="statespace", width=8, heads=4, states=3, kernel=3)
    space, mirrored = StateSpace(config), StateSpace(config)
    mirrored.load_state_dict(space.state_dict())
    swap = torch.tensor([2, 3, 0, 1])
    channels = torch.arange(8).view(4, 2)[swap].flatten()
    rows = torch.cat([channels, 8 + channels, torch.arange(16, 22), 22 + swap])
    with torch.no_grad():
        for name in ("step_bias", "log_rate", "skip"):
            getattr(mirrored, name).copy_(getattr(space, name)[swap])
        mirrored.inside.weight.copy_(space.inside.weight[rows])
        kept = torch.cat([channels, torch.arange(8, 14)])
        mirrored.taps.weight.copy_(space.taps.weight[:, kept].flip(0))
        mirrored.taps.bias.copy_(space.taps.bias[kept])
        mirrored.out.weight.copy_(space.out.weight[:, channels])
    x = signal(2, 20, 8)
    torch.testing.assert_close(mirrored(x.flip(1)).flip(1), space(x), atol=1e-6, rtol=0)
    assert not torch.allclose(space(x.flip(1)).flip(1), space(x), atol=1e-2)
