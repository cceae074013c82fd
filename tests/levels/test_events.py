"""Events: held winners, pooling with gradients, spans, and the control of the scale."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speechasym.levels import events
from speechasym.ops import cpu_hysteresis as cpu
from speechasym.ops import ref, scan


def held(rows, width):
    """Apply the definition step by step."""
    out, now = [], None
    for row in rows:
        best = max(range(len(row)), key=lambda u: (row[u], -u))
        if now is None or row[best] - row[now] > width:
            now = best
        out.append(now)
    return out


def test_hold_is_the_plain_loop():
    rows = [[0.5, 0.4, 0.0], [0.4, 0.5, 0.0], [0.1, 0.75, 0.7], [0.0, 0.6, 0.8], [0.0, 0.1, 0.9]]
    a = np.array(rows)
    assert held(rows, 0.25) == [0, 0, 1, 1, 2]
    assert ref.hold(a, 0.25)[0].tolist() == held(rows, 0.25)
    assert ref.hold(a, 0.0)[0].tolist() == [0, 1, 1, 2, 2] == held(rows, 0.0)


@given(
    st.integers(0, 2**31), st.sampled_from([0, 1, 2, 63, 100]), st.integers(2, 6),
    st.sampled_from([0.0, 0.1, 0.5]), st.booleans(),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_all_versions_of_hold_agree(seed, frames, units, width, carried):
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 9, (3, frames, units)).astype(np.float32) / 8  # with ties
    lengths = np.array([frames, frames // 2, 0])
    state = rng.integers(-1, units, 3) if carried else None
    fast, after = cpu.hold(a, width, lengths, state)
    torched, torch_after = scan.hold(
        torch.tensor(a),
        width,
        torch.tensor(lengths),
        None if state is None else torch.tensor(state),
    )
    assert fast.tolist() == torched.tolist()
    if not carried:  # the scale may stay on the device
        scale = torch.tensor(width)
        assert torch.equal(scan.hold(torch.tensor(a), scale, torch.tensor(lengths))[0], torched)
    assert after.tolist() == torch_after.tolist()
    for b, n in enumerate(lengths):
        slow, _ = ref.hold(a[b, :n], width, -1 if state is None else state[b])
        assert fast[b, :n].tolist() == slow.tolist()


def test_hold_resumes_from_its_state():
    a = np.random.default_rng(0).random((2, 50, 5)).astype(np.float32)
    whole, last = cpu.hold(a, 0.2, np.array([50, 50]))
    first, state = cpu.hold(a[:, :17], 0.2, np.array([17, 17]))
    rest, end = cpu.hold(a[:, 17:], 0.2, np.array([33, 33]), state)
    assert np.concatenate([first, rest], 1).tolist() == whole.tolist()
    assert end.tolist() == last.tolist()


def mask(*lengths, frames=None):
    frames = frames or max(lengths)
    return torch.arange(frames) < torch.tensor(lengths)[:, None]


def test_changes_and_pooling_by_hand():
    winner = torch.tensor([[3, 3, 1, 1, 1, 3], [2, 2, 2, 0, 0, 0]])
    real = mask(6, 4)
    segments = events.changes(winner, real)
    assert segments.number.tolist() == [3, 2]
    assert segments.size.tolist() == [[2, 3, 1], [3, 1, 0]]
    assert segments.mask.tolist() == [[True] * 3, [True, True, False]]
    x = torch.arange(12.0).view(2, 6, 1)
    weight = torch.tensor([[1.0, 3, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]])
    pooled = events.pool(x, weight, segments)
    assert pooled[..., 0].tolist() == [[0.75, 3.0, 5.0], [7.0, 9.0, 0.0]]
    step = torch.arange(6).expand(2, 6)
    start, end = events.spans(step * 3, step * 3 + 3, segments)
    assert start.tolist() == [[0, 6, 15], [0, 9, 0]]
    assert end.tolist() == [[6, 15, 18], [9, 12, 0]]


def test_windows_are_the_baseline():
    segments = events.windows(mask(7, 3), 3)
    assert segments.size.tolist() == [[3, 3, 1], [3, 0, 0]]


def test_padding_changes_nothing():
    torch.manual_seed(0)
    a = torch.rand(1, 20, 4)
    longer = torch.cat([a, torch.full((1, 5, 4), torch.nan)], 1)
    short = events.changes(events.hold(a, mask(20), 0.3), mask(20))
    real = mask(20, frames=25)
    long = events.changes(events.hold(longer, real, 0.3), real)
    assert short.size.tolist() == long.size.tolist()
    assert short.of_step.tolist() == long.of_step[:, :20].tolist()


def test_an_empty_row_has_no_event():
    segments = events.changes(torch.zeros(2, 4, dtype=torch.long), mask(4, 0))
    assert segments.number.tolist() == [1, 0]
    assert events.pool(torch.ones(2, 4, 3), torch.ones(2, 4), segments)[1].abs().sum() == 0


def test_gradients_reach_every_step_and_weight():
    torch.manual_seed(0)
    segments = events.changes(torch.tensor([[0, 0, 1, 1, 1]]), mask(5))
    x = torch.randn(1, 5, 2, dtype=torch.float64, requires_grad=True)
    weight = torch.rand(1, 5, dtype=torch.float64).add(0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, w: events.pool(x, w, segments), (x, weight))
    events.pool(x, weight, segments).square().sum().backward()
    assert (x.grad != 0).all() and (weight.grad != 0).all()


def test_the_scale_finds_the_target_rate():
    torch.manual_seed(0)
    hold = events.HysteresisScale(0.3)
    a = torch.rand(4, 200, 8).cumsum(1)
    a = a / a.sum(-1, keepdim=True) + 0.1 * torch.rand(4, 200, 8)
    real = mask(200, 200, 200, 200)
    for _ in range(300):
        segments = events.changes(events.hold(a, real, hold.scale), real)
        hold.track(segments.number.sum(), real.sum())
    rate = float(segments.number.sum() / real.sum())
    assert rate == pytest.approx(0.3, abs=0.03)
