"""The depthwise convolution against PyTorch's."""

import pytest
import torch
from torch.nn import functional

from speechasym.levels.base import Depthwise


def signal(batch, frames, width):
    generator = torch.Generator().manual_seed(batch + 10 * frames)
    return torch.randn(batch, frames, width, generator=generator)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (3, 1), (5, 3), (9, 2)])
def test_taps_are_a_depthwise_convolution(causal, kernel, dilation):
    taps = Depthwise(4, kernel, dilation, causal).double()
    torch.nn.init.normal_(taps.bias)
    x = signal(2, 11, 4).double().requires_grad_()
    reach = (kernel - 1) * dilation
    pad = (reach, 0) if causal else (reach // 2, reach // 2)
    want = functional.conv1d(
        functional.pad(x.mT, pad), taps.weight.T[:, None], taps.bias, dilation=dilation, groups=4
    ).mT
    y, _ = taps(x)
    torch.testing.assert_close(y, want)
    args, weights = (x, taps.weight, taps.bias), torch.randn_like(want)
    for a, b in zip(
        torch.autograd.grad(y, args, weights), torch.autograd.grad(want, args, weights), strict=True
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("frames", [1, 33])
def test_taps_read_no_memory_before_it_is_written(frames, monkeypatch):
    taps = Depthwise(4, 5)
    x = signal(2, frames, 4).requires_grad_()
    args = (x, taps.weight, taps.bias)
    want = torch.autograd.grad(taps(x)[0].square().sum(), args)
    empty = torch.empty_like
    monkeypatch.setattr(torch, "empty_like", lambda t: empty(t).fill_(torch.nan))
    got = torch.autograd.grad(taps(x)[0].square().sum(), args)
    assert all(map(torch.equal, got, want))
