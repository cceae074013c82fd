"""Forced oscillators: loop, oracle and scan agree; energy is kept; motions stay bounded."""

import math

import numpy as np
import oracle
import pytest
import torch

from speechasym.ops import oscillators, ref_oscillators

NAMES = ("force", "stiffness", "keep", "state")


def inputs(frames, batch=2, count=5, dtype=torch.float64):
    generator = torch.Generator().manual_seed(frames)

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    stiffness = torch.linspace(1e-3, 3.9, count, dtype=dtype)
    keep = torch.tensor([1, 0.99, 0.9, 0.5, 1], dtype=dtype)[:count]
    return [draw(batch, frames, count), stiffness, keep, draw(batch, count, 2)]


def plain(force, stiffness, keep, state):
    """The definition in torch, one frame at a time, recorded for gradients."""
    x, v = state.unbind(2)
    path = []
    for push in force.unbind(1):
        v = keep * (v - stiffness * x + push)
        x = x + v
        path.append(torch.stack([x, v], 2))
    return torch.stack(path, 1), path[-1]


def test_definition_against_the_oracle():
    force, stiffness, keep, state = (t.numpy() for t in inputs(23, 1))
    path, end = ref_oscillators.oscillate(force[0], stiffness, keep, state[0])
    for j in range(5):
        want = oracle.oscillator(force[0, :, j].tolist(), stiffness[j], keep[j], *state[0, j])
        np.testing.assert_allclose(path[:, j], want, atol=1e-12)
        np.testing.assert_allclose(end[j], want[-1], atol=1e-12)
    at_rest, _ = ref_oscillators.oscillate(0 * force[0], stiffness, keep)
    assert not at_rest.any()


@pytest.mark.parametrize("frames", [1, 15, 16, 17, 33, 100, 271])
def test_the_scan_equals_the_loop(frames):
    arguments = inputs(frames)
    force, stiffness, keep, state = (t.numpy() for t in arguments)
    path, end = oscillators.oscillate(*arguments)
    for i in range(2):
        want, last = ref_oscillators.oscillate(force[i], stiffness, keep, state[i])
        np.testing.assert_allclose(path[i], want, atol=1e-10)
        np.testing.assert_allclose(end[i], last, atol=1e-10)
    rest, _ = oscillators.oscillate(arguments[0], arguments[1], arguments[2])
    np.testing.assert_allclose(
        rest[0], ref_oscillators.oscillate(force[0], stiffness, keep)[0], atol=1e-10
    )


@pytest.mark.parametrize("frames", [1, 17, 40])
def test_gradients_equal_the_recorded_loop(frames):
    arguments = [t.requires_grad_() for t in inputs(frames)]
    outputs = plain(*arguments)
    weights = [torch.randn_like(t) for t in outputs]
    want = torch.autograd.grad(outputs, arguments, weights)
    got = torch.autograd.grad(oscillators.oscillate(*arguments), arguments, weights)
    for name, a, b in zip(NAMES, got, want, strict=True):
        torch.testing.assert_close(a, b, atol=1e-8, rtol=1e-8, msg=lambda m, n=name: f"{n}: {m}")


def test_parts_equal_the_whole_and_nothing_leaves_the_state():
    force, stiffness, keep, state = inputs(50)
    whole, end = oscillators.oscillate(force, stiffness, keep, state)
    parts = []
    for part in force.split([3, 0, 30, 17], 1):
        path, state = oscillators.oscillate(part, stiffness, keep, state)
        parts.append(path)
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-10, rtol=0)
    torch.testing.assert_close(state, end, atol=1e-10, rtol=0)


@pytest.mark.parametrize(("dtype", "drift"), [(torch.float64, 1e-8), (torch.float32, 0.1)])
def test_energy_is_kept_over_a_long_time(dtype, drift):
    stiffness = torch.tensor([1e-4, 0.1, 1.0, 3.9], dtype=dtype)
    state = torch.tensor([1.0, 0.0], dtype=dtype).expand(1, 4, 2)
    force = torch.zeros(1, 100_000, 4, dtype=dtype)
    path, _ = oscillators.oscillate(force, stiffness, torch.ones(4, dtype=dtype), state)
    x, v = path.double().unbind(3)
    energy = v.square() - stiffness * x * v + stiffness * x.square()
    assert ((energy / stiffness).sub(1).abs().max() < drift).item()


def test_damped_motion_falls_at_its_rate():
    keep, angle = 0.98, 0.3
    stiffness = (1 + keep - 2 * math.sqrt(keep) * math.cos(angle)) / keep
    state = torch.tensor([[[1.0, 0.0]]], dtype=torch.float64)
    t = torch.tensor([stiffness], dtype=torch.float64), torch.tensor([keep], dtype=torch.float64)
    path, _ = oscillators.oscillate(torch.zeros(1, 700, 1, dtype=torch.float64), *t, state)
    x = path[0, :, 0, 0].numpy()
    # x solves x(t+1) = 2 r cos(angle) x(t) - r^2 x(t-1): a sinusoid that falls by r each frame
    r = math.sqrt(keep)
    np.testing.assert_allclose(
        x[2:], 2 * r * math.cos(angle) * x[1:-1] - r * r * x[:-2], atol=1e-12
    )
    assert abs(x[-30:]).max() < 2 * r**670
