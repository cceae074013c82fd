"""The recurrences of the asymmetry features: equal to their definitions and to dumb loops."""

import numpy as np
import oracle
import pytest
from asymmetry_signals import noise

from speechasym.ops import cpu_asymmetry, cpu_cepstra, cpu_hysteresis, ref


@pytest.mark.parametrize("frames", [0, 1, 63, 500])
@pytest.mark.parametrize("heard", [0, 4, 100])
def test_noise_floor_equals_its_definition(frames, heard):
    rng = np.random.default_rng(frames)
    power = (10 ** rng.uniform(-9, 0, (frames, 3))).astype(np.float32)
    state = None if not heard else np.float32([[1e-3, 1e-5, 0.1], [-40, -60, -5]])
    got, after = cpu_asymmetry.noise_floor(power, 0.2, 0.01, 10, state, heard)
    for c in range(3):
        if frames:
            before = None if state is None else state[:, c].astype(float)
            own = power[:, c].astype(float)
            want, end = ref.noise_floor(own, 0.2, 0.01, 10, before, heard)
            np.testing.assert_allclose(got[:, c], want, rtol=1e-5, atol=1e-4)
            np.testing.assert_allclose(after[:, c], end, rtol=1e-5, atol=1e-4)


def test_noise_floor_of_noise_is_its_level_and_survives_bursts():
    power = np.random.default_rng(0).exponential(1e-4, (3000, 1)).astype(np.float32)
    power[1000:1100] = 1.0  # 40 dB louder for a second
    floor, _ = cpu_asymmetry.noise_floor(power, 0.2, 0.002, 10)
    assert -49 < floor[20:1000].mean() < -40
    assert floor[1099] - floor[999] < 10
    assert floor[1110] < -35


def test_levels_equal_their_definition():
    power = (10 ** np.random.default_rng(3).uniform(-14, 3, (500, 40))).astype(np.float32)
    least = (10 ** np.random.default_rng(4).uniform(-10, -2, (100, 40))).astype(np.float32)
    floor = np.repeat(least, 5, 0).astype(float)
    weight, level, either, step = cpu_asymmetry.levels(power, least, None)
    want = np.maximum(power, floor)
    np.testing.assert_allclose(level[1:], 10 * np.log10(want), rtol=2e-7, atol=1e-6)
    np.testing.assert_allclose(weight, np.concatenate([floor[:1] * 0, 1 - floor / want]), atol=2e-7)
    np.testing.assert_array_equal(either, np.maximum(weight[1:], weight[:-1]))
    np.testing.assert_array_equal(step[1:], np.diff(level[1:], axis=0))
    assert not step[0].any()
    rest = cpu_asymmetry.levels(power[5:], least[1:], np.stack([weight[5], level[5]]))
    for part, whole in zip(rest, (weight[5:], level[5:], either[5:], step[5:]), strict=True):
        np.testing.assert_array_equal(part, whole)


@pytest.mark.parametrize("size", [0, 1, 64])
@pytest.mark.parametrize("state", [None, np.float64([0, 0.5, 3])])
def test_grounded_moves_equal_their_definition(size, state):
    rng = np.random.default_rng(size)
    step, weight = rng.normal(size=(size, 3)), np.maximum(0, rng.normal(size=(size, 3)))
    got, after = cpu_asymmetry.grounded_moves(step, weight, state)
    for c in range(3):
        before = 0.0 if state is None else state[c]
        want, end = ref.grounded_moves(step[:, c], weight[:, c], before)
        np.testing.assert_allclose(got[:, c], want, atol=1e-12)
        assert after[c] == pytest.approx(end) and end >= 0


@pytest.mark.parametrize("size", [0, 1, 64, 700])
@pytest.mark.parametrize("started", [False, True])
def test_direction_moves_equal_their_definition(size, started):
    rng = np.random.default_rng(size)
    turn = np.cumsum(rng.normal(0, 0.02, (size, 4)), 0) + rng.normal(0, 0.05, (size, 4))
    z = (rng.uniform(1e-4, 1, (size, 4)) * np.exp(2j * np.pi * turn)).astype(np.complex64)
    weight = np.clip(rng.uniform(-0.5, 1.5, (size, 4)), 0, 1).astype(np.float32)
    state = None
    if started:
        state = np.float32([[0.6, -0.1, 0.3, 9], [0.2, 0.5, -0.8, 9], [0.1, 9, -0.2, 9]])
    got, after = cpu_asymmetry.direction_moves(z, weight, 0.1, 0.5, state)
    assert not got[:, 3].any() and (size < 64 or got[:, :3].any())
    for c in range(3):
        before = None if state is None else state[:, c].astype(float)
        product = z[:, c + 1].astype(complex) * z[:, c].conj()
        want, end = ref.direction_moves(product, weight[:, c].astype(float), 0.1, 0.5, before)
        np.testing.assert_allclose(got[:, c], want, atol=1e-5)
        np.testing.assert_allclose(after[:, c], end, atol=1e-5)


@pytest.mark.parametrize("hop", [1, 5, 7])
@pytest.mark.parametrize("frames", [0, 1, 63])
@pytest.mark.parametrize("started", [False, True])
def test_stop_pooled_equals_its_definition_and_dumb_loops(hop, frames, started):
    rng = np.random.default_rng(frames)
    step = rng.standard_normal((frames * hop, 4))
    weight = rng.uniform(0, 1, step.shape)
    width, decay = np.array([0.5, 2.0, 5.0]), np.array([0.1, 0.5, 0.9])
    state = rng.uniform(0, 0.5, (3, 3, 4)) if started else None
    *got, index, after = cpu_asymmetry.stop_pooled(step, weight, width, decay, hop, state)
    total = got[1] + got[2] + width[:, None, None]
    np.testing.assert_allclose(index, (got[1] - got[2]) / total, rtol=1e-12)
    got.append(after)
    for c in range(4):
        before = None if state is None else state[:, :, c]
        want = ref.stop_pooled(step[:, c], weight[:, c], width, decay, hop, before)
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a[..., c], b, rtol=1e-12, atol=1e-13)
        if not started:
            for k in range(3):
                s, rise, fall = oracle.stops(step[:, c], width[k], decay[k], hop)
                mean = (np.array(s) * weight[:, c]).reshape(frames, hop).mean(1) / width[k]
                for a, b in zip(got, (mean, rise, fall), strict=False):
                    np.testing.assert_allclose(a[k, :, c], b, rtol=1e-12, atol=1e-13)


def test_stop_is_the_track_less_its_play():
    x = np.cumsum(np.random.default_rng(1).standard_normal((400, 5)), 0)
    width = np.array([0.7, 3.0])
    p, _ = cpu_hysteresis.play(x, width)
    moves = np.diff(p, axis=1, prepend=np.stack([x[:1], x[:1]]))
    mean = p.reshape(2, -1, 5, 5).mean(2)
    rise, fall = (m.clip(min=0).reshape(2, -1, 5, 5).sum(2) for m in (moves, -moves))
    step = np.diff(x, axis=0, prepend=x[:1])
    none = np.zeros(2)
    stop, up, down, index, _ = cpu_asymmetry.stop_pooled(step, np.ones_like(x), width, none, 5)
    track = x.reshape(-1, 5, 5).mean(1)
    np.testing.assert_allclose(stop * width[:, None, None], track - mean, atol=1e-10)
    np.testing.assert_allclose(up, rise, atol=1e-10)
    np.testing.assert_allclose(down, fall, atol=1e-10)
    want = (rise - fall) / (rise + fall + width[:, None, None])
    np.testing.assert_allclose(index, want, atol=1e-10)


def test_plays_of_plays_add_their_widths():
    """Level l + 1 could as well listen to what level l passes on."""
    x = np.cumsum(np.random.default_rng(2).standard_normal((500, 3)), 0)
    first, _ = cpu_hysteresis.play(x, np.array([1.5]))
    second, _ = cpu_hysteresis.play(first[0], np.array([3.0]))
    both, _ = cpu_hysteresis.play(x, np.array([4.5]))
    np.testing.assert_allclose(second, both, atol=1e-10)


@pytest.mark.parametrize("parts", [[300], [1, 299], [100, 0, 200]])
def test_running_norm_equals_its_definition(parts):
    x = noise((300, 4)) * [1, 10, 0.1, 0] + [0, 5, -3, 2]
    state, heard, got = None, 0, []
    for part in np.split(x.astype(np.float32), np.cumsum(parts)[:-1]):
        made, state = cpu_cepstra.running_norm(part, 0.05, state, heard)
        got.append(made)
        heard += len(part)
    want, end = ref.running_norm(x.astype(np.float32).astype(float), 0.05)
    np.testing.assert_allclose(np.concatenate(got), want, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(state, end, rtol=1e-6, atol=1e-9)
