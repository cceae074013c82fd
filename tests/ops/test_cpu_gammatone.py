"""The fast gammatone recurrences equal their definition, and the definition equals dumb loops."""

import numpy as np
import oracle
import pytest
import torch
from scipy.signal import lfilter

from speechasym.auditory import filterbank
from speechasym.ops import cpu_gammatone, ref, scan

RATE = 16000


def design(channels=7, low=50.0, high=7600.0, rate=RATE, order=4):
    c = filterbank.design(
        filterbank.FilterbankConfig(
            sample_rate=rate, channels=channels, low_hz=low, high_hz=high, order=order,
            frame_rate=rate / 160,
        )
    )  # fmt: skip
    return c


def noise(*shape):
    return (np.random.default_rng(shape).standard_normal(shape) * 0.1).astype(np.float32)


def error(got, want):
    """Greatest relative L2 error over channels (second axis from the end)."""
    got, want = np.asarray(got), np.asarray(want)
    norm = np.linalg.norm(want, axis=-1)
    return float(np.max(np.linalg.norm(got - want, axis=-1) / np.where(norm > 0, norm, 1)))


@pytest.mark.parametrize("order", [1, 3, 4])
def test_definition_is_the_cascade(order):
    c = design(3, order=order)
    x = noise(300)
    z, state = ref.gammatone(x, c.pole, order)
    for i in range(3):
        want = oracle.cascade(x.tolist(), c.frequency[i], c.bandwidth[i], RATE, order)
        np.testing.assert_allclose(z[i], want, rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose(state[-1], z[:, -1])


@pytest.mark.parametrize("hop", [1, 7, 100])
def test_definition_of_pooling(hop):
    c = design(2)
    x = noise(300)
    power, lag1, sample, _ = ref.gammatone_pooled(x, c.pole, 4, hop)
    for i in range(2):
        z = oracle.cascade(x.tolist(), c.frequency[i], c.bandwidth[i], RATE, 4)
        for got, want in zip((power[i], lag1[i], sample[i]), oracle.pooled(z, hop), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-15)


def test_impulse_response_is_the_closed_form():
    c = design(5)
    x = np.zeros((1, 400), np.float32)
    x[0, 0] = 1
    z, _ = cpu_gammatone.gammatone(x, c.pole, 4)
    t, _ = scan.gammatone(torch.from_numpy(x).double(), torch.from_numpy(c.pole), 4)
    for i in range(5):
        want = [
            oracle.impulse_response(k, c.frequency[i], c.bandwidth[i], RATE, 4) for k in range(400)
        ]
        assert error(z[0, i], want) < 3e-6
        assert error(t[0, i].numpy(), want) < 1e-12


def test_impulse_response_against_the_gammatone_function():
    # over(k+3, 3) = ((k+2)^3 - (k+2)) / 6: t^3 exp(-2 pi b t) at t = (k+2) / rate, to 1/(k+2)^2
    c = design(5)
    x = np.zeros((1, 4000), np.float32)
    x[0, 0] = 1
    z, _ = cpu_gammatone.gammatone(x, c.pole, 4)
    k = np.arange(4000)
    for i in range(5):
        t = (k + 2) / RATE
        shape = t**3 * np.exp(-2 * np.pi * c.bandwidth[i] * t)
        envelope = np.abs(z[0, i])
        scale = envelope @ shape / (shape @ shape)
        off = np.abs(envelope - scale * shape)
        peak = shape.argmax()
        assert off[peak] < 2 / (peak + 2) ** 2 * envelope.max()
        assert np.linalg.norm(off) < 2e-2 * np.linalg.norm(envelope)


@pytest.mark.parametrize("length", [1, 2, 63, 159, 160, 161, 500, 1031])
def test_full_rate_equals_definition(length):
    c = design()
    x = noise(2, length)
    want = np.stack([ref.gammatone(row, c.pole, 4)[0] for row in x])
    state = np.stack([ref.gammatone(row, c.pole, 4)[1] for row in x])
    z, after = cpu_gammatone.gammatone(x, c.pole, 4)
    assert error(z, want) < 1e-6
    assert error(cpu_gammatone.settle(after, c.pole), state) < 2e-6
    z, after = scan.gammatone(torch.from_numpy(x), torch.from_numpy(c.pole), 4)
    assert error(z, want) < 1e-6
    assert error(after, state) < 2e-6


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("hop", [1, 2, 7, 16, 63, 160, 441, 500])
@pytest.mark.parametrize("channels", [1, 17])
def test_pooled_equals_definition(hop, channels, aligned):
    c = design(channels)
    delay = np.random.default_rng(hop).integers(0, 90, channels) if aligned else None
    lead = 0 if delay is None else int(delay.max())
    x = noise(2, lead + 5 * hop + 3)
    whole = x[:, : lead + 5 * hop]
    want = [ref.gammatone_pooled(row, c.pole, 4, hop, None, delay) for row in whole]
    want = [np.stack(t) for t in zip(*want, strict=True)]
    got = cpu_gammatone.gammatone_pooled(whole, c.pole, 4, hop, None, delay)
    also = scan.gammatone_pooled(
        torch.from_numpy(whole), torch.from_numpy(c.pole), 4, hop, None,
        None if delay is None else torch.from_numpy(delay),
    )  # fmt: skip
    for k in range(3):
        assert got[k].shape == want[k].shape == (2, channels, 5)
        assert error(got[k], want[k]) < 5e-6  # five frames of onset: the least energy there is
        assert error(also[k], want[k]) < 5e-6
    assert error(cpu_gammatone.settle(got[3], c.pole), want[3]) < 2e-6
    assert error(also[3], want[3]) < 2e-6


def scipy_cascade(x, pole, order):
    """Independent of ours: scipy's direct-form filter, in float64."""
    out = []
    for p in pole:
        y = x.astype(complex) * 2 * (1 - abs(p)) ** order
        for _ in range(order):
            y = lfilter([1.0], [1.0, -p], y)
        out.append(y)
    return np.stack(out)


@pytest.mark.parametrize("rate", [8000, 16000, 48000, 192000])
def test_accuracy_against_an_independent_cascade(rate):
    """What the docs promise: 2e-5 per channel at any sample rate, and ten times less at 16 kHz."""
    c = design(64, high=min(7600, 0.475 * rate), rate=rate)
    x = noise(1, rate // 2)
    want = scipy_cascade(x[0], c.pole, 4)
    bound = 1.5e-6 if rate <= 16000 else 2e-5
    assert error(cpu_gammatone.gammatone(x, c.pole, 4)[0][0], want) < bound
    hop = rate // 100
    frames = want.reshape(64, -1, hop)
    got = cpu_gammatone.gammatone_pooled(x, c.pole, 4, hop)
    also = scan.gammatone_pooled(torch.from_numpy(x), torch.from_numpy(c.pole), 4, hop)
    before = np.concatenate([np.zeros((64, 1)), want[:, :-1]], 1).reshape(frames.shape)
    for k, truth in enumerate(
        ((np.abs(frames) ** 2).mean(2), (frames * before.conj()).mean(2), frames[:, :, -1])
    ):
        assert error(got[k][0], truth) < bound
        assert error(also[k][0], truth) < 2e-5


def test_accuracy_where_float32_is_not_enough():
    """A fiftieth of the ear's bandwidth at 192 kHz: float32 sums are off by 5e-5."""
    rate, hop = 192000, 1920
    config = filterbank.FilterbankConfig(
        sample_rate=rate, channels=3, high_hz=500, bandwidth_factor=0.02
    )
    c = filterbank.design(config)
    x = noise(1, rate)
    want = scipy_cascade(x[0], c.pole, 4)
    assert error(cpu_gammatone.gammatone(x, c.pole, 4)[0][0], want) < 1e-6
    power = (np.abs(want.reshape(3, -1, hop)) ** 2).mean(2)
    assert error(cpu_gammatone.gammatone_pooled(x, c.pole, 4, hop)[0][0], power) < 1e-6


@pytest.mark.parametrize("order", [1, 2, 5, 9])
def test_any_order(order):
    c = design(20, order=order)
    x = noise(1, 960)
    want = ref.gammatone_pooled(x[0], c.pole, order, 160)
    got = cpu_gammatone.gammatone_pooled(x, c.pole, order, 160)
    also = scan.gammatone_pooled(torch.from_numpy(x), torch.from_numpy(c.pole), order, 160)
    for k in range(3):
        assert error(got[k][0], want[k]) < 5e-6
        assert error(also[k][0], want[k]) < 5e-6


def test_very_wide_filters_do_not_overflow():
    pole = np.exp(np.array([-8.0 + 1j, -2.0 + 2j, -0.01 + 0.1j]))  # |pole|^-160 passes float32
    x = noise(1, 1600)
    want = ref.gammatone_pooled(x[0], pole, 4, 160)
    got = cpu_gammatone.gammatone_pooled(x, pole, 4, 160)
    for k in range(3):
        assert error(got[k][0], want[k]) < 2e-6


def test_buffers_are_written_throughout(monkeypatch):
    """Outputs come from memory full of NaN and must hold none afterwards."""
    monkeypatch.setattr(
        cpu_gammatone.np, "empty", lambda shape, dtype=float: np.full(shape, np.nan, dtype)
    )
    c = design(19)
    for got in (cpu_gammatone.gammatone_pooled(noise(3, 480), c.pole, 4, 160)[:3],
                cpu_gammatone.gammatone(noise(3, 500), c.pole, 4)[:1]):  # fmt: skip
        for array in got:
            assert np.isfinite(array).all()


def test_silence_after_sound_ends_in_exact_zero():
    # denormal numbers would make a pause slow, and never reach zero
    c = design(64)
    x = np.zeros((1, RATE * 4), np.float32)
    x[0, :100] = 1
    power, lag1, sample, state = cpu_gammatone.gammatone_pooled(x, c.pole, 4, 160)
    assert power[0, :, 1].min() > 0
    assert not power[0, :, -1].any() and not sample[0, :, -1].any() and not lag1[0, :, -1].any()
    assert not state.stages.any()


def test_threads_give_the_same_bits(monkeypatch):
    monkeypatch.setattr(cpu_gammatone, "PARALLEL_WORK", 1)
    c = design(40)
    x = noise(3, 1600)
    one = cpu_gammatone.gammatone_pooled(x, c.pole, 4, 160, threads=1)
    two = cpu_gammatone.gammatone_pooled(x, c.pole, 4, 160, threads=2)
    for k in range(3):
        assert np.array_equal(one[k], two[k])


def gradient_inputs():
    c = design(2)
    angle = torch.from_numpy(c.frequency * 2 * np.pi / RATE)
    decay = torch.from_numpy(c.bandwidth * 2 * np.pi / RATE)
    x = torch.from_numpy(noise(2, 41).astype(float))
    return [t.requires_grad_() for t in (x, angle, decay)]


@pytest.mark.parametrize("aligned", [False, True])
def test_gradients_of_pooled_scan_against_finite_differences(aligned):
    delay = torch.tensor([5, 0]) if aligned else None

    def f(x, angle, decay):
        pole = torch.exp(torch.complex(-decay, angle))
        power, lag1, sample, _ = scan.gammatone_pooled(x, pole, 4, 12, None, delay)
        return power, torch.view_as_real(lag1), torch.view_as_real(sample)

    assert torch.autograd.gradcheck(f, gradient_inputs(), eps=1e-6, atol=1e-6, rtol=1e-4)


def test_gradients_of_full_rate_scan_and_its_state():
    def f(x, angle, decay):
        pole = torch.exp(torch.complex(-decay, angle))
        z, state = scan.gammatone(x[:, :37], pole, 4)
        z2, state = scan.gammatone(x[:, 37:], pole, 4, state)
        return torch.view_as_real(torch.cat([z, z2], 2)), torch.view_as_real(state)

    assert torch.autograd.gradcheck(f, gradient_inputs(), eps=1e-6, atol=1e-6, rtol=1e-4)


def test_gradient_in_silence_is_finite():
    c = design(3)
    pole = torch.from_numpy(c.pole).requires_grad_()
    power, lag1, sample, _ = scan.gammatone_pooled(torch.zeros(1, 320), pole, 4, 160)
    (power.sum() + lag1.real.sum() + sample.imag.sum()).backward()
    assert torch.isfinite(torch.view_as_real(pole.grad)).all()


@pytest.mark.gpu
def test_scan_on_cuda_equals_the_cpu():
    c = design(64)
    x = torch.from_numpy(noise(4, RATE))
    want = scan.gammatone_pooled(x, torch.from_numpy(c.pole), 4, 160)
    got = scan.gammatone_pooled(x.cuda(), torch.from_numpy(c.pole).cuda(), 4, 160)
    for k in range(4):
        assert error(got[k].cpu(), want[k]) < 1e-5
