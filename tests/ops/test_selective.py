"""The selective scan: loop, oracle and chunked form agree in outputs and gradients."""

import numpy as np
import oracle
import pytest
import torch

from speechasym.ops import ref, selective

SIZES = [1, 31, 32, 33, 63, 100, 500]
NAMES = ("x", "log_decay", "b", "c", "state")
SHAPE = (2, 3, 5, 4)  # batch, heads, channels a head, states


def inputs(frames, decay=1.0, started=True, dtype=torch.float64):
    """x, log_decay, b, c, state."""
    generator = torch.Generator().manual_seed(frames)

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    batch, heads, channels, states = SHAPE
    x, b, c = (draw(batch, frames, *rest) for rest in ((heads, channels), (states,), (states,)))
    log_decay = (-decay * draw(batch, frames, heads).abs()).clamp(min=selective.STRONGEST)
    return [x, log_decay, b, c, draw(batch, heads, states, channels) if started else None]


def plain(x, log_decay, b, c, state):
    """The recurrence in torch, one frame at a time, recorded for gradients."""
    y = []
    for t in range(x.shape[1]):
        written = b[:, t, None, :, None] * x[:, t, :, None, :]
        state = log_decay[:, t, :, None, None].exp() * state + written
        y.append((c[:, t, None, :, None] * state).sum(2))
    return torch.stack(y, 1), state


def by_loop(x, log_decay, b, c, state):
    """`ref.selective_scan` for a batch."""
    rows = [
        ref.selective_scan(*(t[i].numpy() for t in (x, log_decay, b, c, state) if t is not None))
        for i in range(len(x))
    ]
    return tuple(np.stack(t) for t in zip(*rows, strict=True))


def test_definition_against_the_oracle():
    x, log_decay, b, c, state = (t[0] for t in inputs(17))
    y, after = ref.selective_scan(*(t.numpy() for t in (x, log_decay, b, c, state)))
    for h in range(x.shape[1]):
        for p in range(x.shape[2]):
            want, end = oracle.selective_scan(
                x[:, h, p].tolist(),
                log_decay[:, h].exp().tolist(),
                b.tolist(),
                c.tolist(),
                state[h, :, p].tolist(),
            )
            np.testing.assert_allclose(y[:, h, p], want, atol=1e-12)
            np.testing.assert_allclose(after[h, :, p], end, atol=1e-12)


@pytest.mark.parametrize("frames", SIZES)
@pytest.mark.parametrize("started", [False, True])
def test_chunks_equal_the_loop(frames, started):
    args = inputs(frames, started=started)
    want, end = by_loop(*args)
    y, after = selective.selective_scan(*args)
    np.testing.assert_allclose(y.numpy(), want, atol=1e-11)
    np.testing.assert_allclose(after.numpy(), end, atol=1e-11)


@pytest.mark.parametrize("frames", SIZES)
@pytest.mark.parametrize("decay", [0.03, 1.0, 8.0])
def test_gradients_equal_the_recorded_loop(frames, decay):
    args = [t.requires_grad_() for t in inputs(frames, decay)]
    outputs = plain(*args)
    weights = [torch.randn_like(t) for t in outputs]
    want = torch.autograd.grad(outputs, args, weights)
    got = torch.autograd.grad(selective.selective_scan(*args), args, weights)
    for name, a, b in zip(NAMES, got, want, strict=True):
        torch.testing.assert_close(a, b, atol=1e-9, rtol=1e-8, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("decay", [0.0, 0.03, 1.0, 8.0])
def test_single_precision(decay):
    args = inputs(500, decay)
    want, end = plain(*args)
    y, after = selective.selective_scan(*(t.float() for t in args))
    scale = want.abs().max()
    assert ((y - want).abs().max() / scale).item() < 2e-6
    assert ((after - end).abs().max() / scale).item() < 2e-6


def test_gradients_against_finite_differences():
    x, log_decay, b, c, state = inputs(40)
    args = [
        x[:1, :, :2, :2],
        log_decay[:1, :, :2],
        b[:1, :, :2],
        c[:1, :, :2],
        state[:1, :2, :2, :2],
    ]
    args = [t.clone().requires_grad_() for t in args]
    assert torch.autograd.gradcheck(selective.selective_scan, args)


@pytest.mark.parametrize("cuts", [[1, 62], [33, 30], [0, 63], [20, 0, 21, 22]])
def test_chunking_equals_the_whole(cuts):
    x, log_decay, b, c, _ = inputs(sum(cuts), dtype=torch.float32)
    whole, end = selective.selective_scan(x, log_decay, b, c)
    state, y, at = None, [], 0
    for size in cuts:
        here = slice(at, at + size)
        part, state = selective.selective_scan(
            x[:, here], log_decay[:, here], b[:, here], c[:, here], state
        )
        y.append(part)
        at += size
    torch.testing.assert_close(torch.cat(y, 1), whole, atol=1e-5, rtol=0)
    torch.testing.assert_close(state, end, atol=1e-5, rtol=0)


def test_extreme_decays_neither_overflow_nor_leave_nan():
    x, log_decay, b, c, state = inputs(200, dtype=torch.float32)
    log_decay[:, ::3] = -1e30
    log_decay[:, 1::7] = -torch.inf
    log_decay[:, 5::11] = 0
    args = [t.clone().requires_grad_() for t in (x, log_decay, b, c, state)]
    y, after = selective.selective_scan(*args)
    want, end = plain(x, log_decay, b, c, state)
    torch.testing.assert_close(y, want, atol=1e-5, rtol=0)
    torch.testing.assert_close(after, end, atol=1e-5, rtol=0)
    for gradient in torch.autograd.grad(y.sum() + after.sum(), args):
        assert gradient.isfinite().all()


@pytest.mark.parametrize("frames", [1, 63, 100])
def test_no_memory_is_read_before_it_is_written(frames, monkeypatch):
    args = [t.requires_grad_() for t in inputs(frames)]
    want = selective.selective_scan(*args)
    wanted = torch.autograd.grad([t.sum() for t in want], args)
    empty = torch.empty_like
    monkeypatch.setattr(torch, "empty_like", lambda t: empty(t).fill_(torch.nan))
    got = selective.selective_scan(*args)
    gradients = torch.autograd.grad([t.sum() for t in got], args)
    assert all(map(torch.equal, (*got, *gradients), (*want, *wanted)))


def test_rest_changes_nothing():
    # frames without input and decay, as padding, leave the state as it is
    x, log_decay, b, c, state = inputs(70)
    x, log_decay = torch.zeros_like(x), torch.zeros_like(log_decay)
    _, after = selective.selective_scan(x, log_decay, b, c, state)
    assert torch.equal(after, state)
