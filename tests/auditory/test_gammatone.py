import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import speechasym
from speechasym.auditory import filterbank

RATE = 16000
X = torch.from_numpy((np.random.default_rng(1).standard_normal((2, 4000)) * 0.1).astype(np.float32))


def tone(hz, rate=RATE, seconds=1.0, amplitude=1.0):
    t = np.arange(round(rate * seconds)) / rate
    return torch.from_numpy((amplitude * np.sin(2 * np.pi * hz * t)).astype(np.float32))


def assert_close(a, b, rel=1e-5):
    assert a.shape == b.shape
    assert float((a - b).detach().abs().pow(2).sum().sqrt()) <= rel * float(
        b.detach().abs().pow(2).sum().sqrt()
    )


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100])
@pytest.mark.parametrize("order", [3, 4])
def test_gain_is_one_at_the_centre(rate, order):
    b = speechasym.Gammatone(rate, channels=20, order=order, high_hz=rate * 0.35, frame_rate=50)
    for c in (3, 10, 19):
        y, _ = b(tone(float(b.frequency[c]), rate, amplitude=0.5))
        assert float(b.level_db(y)[c, -1]) == pytest.approx(20 * np.log10(0.5), abs=0.03)
        assert float(b.deviation(y)[c, -1]) == pytest.approx(0, abs=5e-3)
        assert int(b.level_db(y)[:, -1].argmax()) == c


def test_frequency_follows_the_tone_not_the_channel():
    b = speechasym.Gammatone(RATE)
    hz = 1234.5
    y, _ = b(tone(hz))
    near = (b.frequency - hz).abs().argsort()[:5]
    width = speechasym.Gammatone._erb(b)
    heard = b.frequency + b.deviation(y)[:, -1] * width
    np.testing.assert_allclose(heard[near].numpy(), hz, atol=0.1)


def test_full_rate_is_analytic():
    b = speechasym.Gammatone(RATE, channels=10, low_hz=300)
    c = 5
    hz = float(b.frequency[c])
    z, _ = b.channels(tone(hz))
    late = z[c, 8000:]
    t = np.arange(8000, 16000) / RATE
    want = np.exp(2j * np.pi * hz * t) * -1j  # sin = Re(-i e^(i w t))
    assert np.abs(late.numpy() - want).max() < 5e-3


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("frame_rate", [100, 1000])
def test_any_chunking_is_the_whole(align, grad, frame_rate):
    b = speechasym.Gammatone(RATE, channels=18, align=align, frame_rate=frame_rate)
    x = X.clone().requires_grad_(grad)
    whole, _ = b(x)
    for sizes in ([1, 2, 3, 157, 160, 161, 0, 800], [16, 1000], [4000]):
        parts, state, start = [], None, 0
        while start < x.shape[1]:
            size = sizes[len(parts) % len(sizes)] if start < 2000 else x.shape[1] - start
            y, state = b(x[:, start : start + size], state)
            parts.append(y)
            start += size
        for k in range(3):
            got = torch.cat([p[k] for p in parts], -1)
            if grad:
                assert_close(got, whole[k], 1e-6)
            else:
                assert torch.equal(got, whole[k])


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 700), min_size=1, max_size=8))
def test_full_rate_chunking(sizes):
    b = speechasym.Gammatone(RATE, channels=5)
    whole, _ = b.channels(X)
    parts, state, start = [], None, 0
    for size in [*sizes, X.shape[1]]:
        z, state = b.channels(X[:, start : start + size], state)
        parts.append(z)
        start += size
    assert torch.equal(torch.cat(parts, -1), whole)


@pytest.mark.parametrize("align", [False, True])
def test_causal(align):
    b = speechasym.Gammatone(RATE, channels=9, align=align)
    changed = X.clone()
    changed[:, 1600:] = 0
    a, _ = b(X)
    c, _ = b(changed)
    for k in range(3):
        assert torch.equal(a[k][..., :10], c[k][..., :10])
        assert not torch.equal(a[k], c[k])


def test_numba_and_torch_take_over_from_each_other():
    b = speechasym.Gammatone(RATE, channels=12, align=True, frame_rate=500)
    whole, _ = b(X)
    for first_grad in (True, False):
        with torch.set_grad_enabled(first_grad):
            y1, state = b(X[:, :1500].requires_grad_(first_grad), None)
        with torch.set_grad_enabled(not first_grad):
            y2, _ = b(X[:, 1500:].clone().requires_grad_(not first_grad), state)
        for k in range(3):
            assert_close(torch.cat([y1[k], y2[k]], -1), whole[k], 2e-6)


def test_alignment_makes_an_impulse_peak_everywhere_at_once():
    plain = speechasym.Gammatone(RATE, frame_rate=RATE)  # a frame is a sample
    aligned = speechasym.Gammatone(RATE, frame_rate=RATE, align=True)
    x = torch.zeros(3000)
    x[0] = 1
    peaks = plain(x)[0].power.argmax(-1)
    together = aligned(x)[0].power.argmax(-1)
    assert int(peaks.max() - peaks.min()) > 200
    assert int(together.max() - together.min()) <= 1
    assert int(together.max()) >= aligned.latency > 200


def test_lengths_are_silence_and_then_nothing():
    b = speechasym.Gammatone(RATE, channels=6)
    lengths = torch.tensor([4000, 1000])
    y, _ = b(X, lengths=lengths)
    alone, _ = b(torch.nn.functional.pad(X[1, :1000], (0, 3000)))
    for k in range(3):
        assert torch.equal(y[k][1, :, :7], alone[k][:, :7])
        assert not y[k][1, :, 7:].any()
        assert y[k][0, :, 7:].any()


def test_shapes():
    b = speechasym.Gammatone(RATE, channels=6)
    assert b(X[0])[0].power.shape == (6, 25)
    assert b(X)[0].lag1.shape == (2, 6, 25)
    assert b(X[None])[0].sample.shape == (1, 2, 6, 25)
    assert b(X[:, :159])[0].power.shape == (2, 6, 0)
    assert b(X[:, :0])[0].power.shape == (2, 6, 0)
    assert b(X[0].numpy())[0].power.shape == (6, 25)
    assert b.channels(X[0])[0].shape == (6, 4000)
    assert b.channels(X[0, :0])[0].shape == (6, 0)


def test_learning_moves_a_channel_to_the_tone():
    torch.manual_seed(0)
    b = speechasym.Gammatone(RATE, channels=1, low_hz=900, high_hz=1100, learnable=True)
    assert len(list(b.parameters())) == 2
    before = b.frequency[0].item()
    step = torch.optim.Adam([b.log_frequency], lr=5e-3)
    x = tone(1100, seconds=0.1)
    for _ in range(60):
        step.zero_grad()
        (-b(x)[0].power.mean()).backward()
        step.step()
    assert before < 1010 and abs(b.frequency[0].item() - 1100) < 20


def test_moving_and_halving_keeps_the_design():
    b = speechasym.Gammatone(RATE, channels=4)
    before = b.frequency.clone()
    b.half().float().to("cpu")
    assert b.log_frequency.dtype == torch.float64
    assert torch.equal(b.frequency, before)
    again = speechasym.Gammatone(RATE, channels=4, low_hz=60)
    again.load_state_dict(b.state_dict())
    assert torch.equal(again.frequency, before)


def load(b, a):
    b.load_state_dict(a.state_dict())


def assign(b, a):
    b.load_state_dict(a.state_dict(), assign=True)


def write_in_place(b, a):
    b.log_frequency.data.copy_(a.log_frequency.data)
    b.log_bandwidth.data.numpy()[:] = a.log_bandwidth.data.numpy()


def average(b, a):
    for mine, other in zip(b.state_dict().values(), a.state_dict().values(), strict=True):
        mine.lerp_(other, 0.5)


@pytest.mark.parametrize("change", [load, assign, write_in_place, average])
@pytest.mark.parametrize("learnable", [False, True])
@pytest.mark.parametrize("align", [False, True])
def test_changed_filters_are_those_of_every_path(change, learnable, align):
    options = dict(channels=8, align=align, learnable=learnable)
    a = speechasym.Gammatone(RATE, low_hz=50, **options)
    b = speechasym.Gammatone(RATE, low_hz=300, **options)
    with torch.no_grad():
        b(X)  # before the change
    change(b, a)
    with torch.no_grad():
        fast, slow = b(X)[0], b(X.double())[0]
        channels, slow_channels = b.channels(X)[0], b.channels(X.double())[0]
    np.testing.assert_allclose(b.coefficients().frequency, b.frequency.detach().numpy())
    np.testing.assert_allclose(b.coefficients().bandwidth, b.bandwidth.detach().numpy())
    for compiled, exact in zip((*fast, channels), (*slow, slow_channels), strict=True):
        assert_close(compiled.to(torch.complex128), exact.to(torch.complex128))
    if change is not average:
        assert_close(fast.power, a(X)[0].power)


def test_unchanged_filters_are_the_design_to_the_bit():
    b = speechasym.Gammatone(RATE)
    design = filterbank.design(b.config)
    assert np.array_equal(b.coefficients().pole, design.pole)


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("learnable", [False, True])
def test_autocast_and_half_types_are_computed_in_float32(align, learnable):
    b = speechasym.Gammatone(RATE, channels=8, align=align, learnable=learnable)
    for dtype in (torch.float16, torch.bfloat16):
        x = X.to(dtype)
        want, full = b(x.float())[0], b.channels(x.float())[0]
        for autocast in (False, True):
            given = x.clone().requires_grad_(autocast)
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                (frames, _), (z, _) = b(given), b.channels(given)
                assert b.level_db(frames).dtype == b.deviation(frames).dtype == torch.float32
            for got, right in zip((*frames, z), (*want, full), strict=True):
                assert got.dtype == right.dtype
                assert_close(got, right)
        frames.power.sum().backward()
        assert given.grad.dtype == dtype and bool((given.grad != 0).any())


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("shape", [(0, 1600), (2, 0), (0, 0), (3, 0, 1600), (0,)])
def test_empty_batches_and_chunks(shape, grad, align):
    b = speechasym.Gammatone(RATE, channels=8, align=align)
    x = torch.zeros(shape, requires_grad=grad)
    count = shape[-1] // 160
    y, state = b(x)
    assert all(part.shape == (*shape[:-1], 8, count) for part in y)
    y, _ = b(torch.zeros(*shape[:-1], 1600, requires_grad=grad), state)
    assert y.power.shape == (*shape[:-1], 8, 10)
    z, state = b.channels(x)
    assert z.shape == (*shape[:-1], 8, shape[-1])
    assert b.channels(x, state)[0].shape == z.shape
    if len(shape) == 2:
        lengths = torch.full(shape[:1], shape[1])
        assert b(x, lengths=lengths)[0].power.shape == (*shape[:-1], 8, count)


def test_double_precision():
    b = speechasym.Gammatone(RATE, channels=4)
    y, _ = b(X.double())
    assert y.power.dtype == torch.float64
    assert_close(y.power.float(), b(X)[0].power, 2e-6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(sample_rate=90), "lowest centre frequency"),
        (dict(sample_rate=0), "must be > 0, got 0"),
        (dict(sample_rate=RATE, high_hz=9000), "half the sample rate"),
        (dict(sample_rate=RATE, high_hz=20), "high_hz"),
        (dict(sample_rate=RATE, channels=0), "channels"),
        (dict(sample_rate=RATE, order=0), "order"),
        (dict(sample_rate=RATE, bandwidth_factor=0), "bandwidth_factor"),
        (dict(sample_rate=RATE, frame_rate=1300), "do not divide"),
        (dict(sample_rate=RATE, frame_rate=0), "must be >= 0.001, got 0"),
    ],
)
def test_bad_options_are_named(options, words):
    with pytest.raises(speechasym.ConfigError, match=words):
        speechasym.Gammatone(**options)


def test_options_are_those_of_the_filterbank():
    options = {"channels": 5, "low_hz": 60.0, "high_hz": 4000.0, "order": 3, "frame_rate": 50.0}
    options |= {"bandwidth_factor": 2.0, "align": True}
    config = speechasym.Gammatone(RATE, **options).config
    assert config == filterbank.FilterbankConfig(sample_rate=RATE, **options)
    with pytest.raises(TypeError, match="bands"):
        speechasym.Gammatone(RATE, bands=5)


@pytest.mark.parametrize("x", [torch.zeros(10, dtype=torch.int16), torch.tensor(1.0)])
def test_bad_signal_is_named(x):
    with pytest.raises(speechasym.ConfigError, match="floating-point samples"):
        speechasym.Gammatone(RATE)(x)


@pytest.mark.parametrize("lengths", [torch.tensor([1]), torch.tensor([1, 5000])])
def test_bad_lengths_are_named(lengths):
    with pytest.raises(speechasym.ConfigError, match="lengths"):
        speechasym.Gammatone(RATE)(X, lengths=lengths)


def test_levels_and_deviation_in_numpy_and_torch_agree():
    b = speechasym.Gammatone(RATE, channels=8)
    y, _ = b(X[0])
    tracks, _ = filterbank.pool(X[:1].numpy(), b.coefficients())
    np.testing.assert_allclose(
        filterbank.level_db(tracks.power[0]), b.level_db(y).numpy(), atol=1e-5
    )
    np.testing.assert_allclose(
        filterbank.frequency_deviation(tracks.lag1[0], b.coefficients(), RATE),
        b.deviation(y).numpy(),
        atol=1e-5,
    )


def test_silence_is_zero_not_noise():
    b = speechasym.Gammatone(RATE, channels=8)
    y, _ = b(torch.zeros(1600))
    assert (b.level_db(y) == -120).all()
    assert (b.deviation(y) == 0).all()
    assert (filterbank.phase_cycles(y.sample.numpy()) == 0).all()


@pytest.mark.gpu
def test_cuda_equals_cpu():
    b = speechasym.Gammatone(RATE)
    want, _ = b(X)
    got, _ = speechasym.Gammatone(RATE).cuda()(X.cuda())
    for k in range(3):
        assert_close(got[k].cpu(), want[k], 1e-5)


@pytest.mark.parametrize("grad", [False, True])
def test_alignment_brings_the_carriers_together_too(grad):
    # an impulse has phase 0 in every channel where its envelope peaks; whole-sample delays alone
    # would leave up to half a sample of carrier, 0.24 cycles at 7.6 kHz
    b = speechasym.Gammatone(RATE, frame_rate=RATE, align=True)
    x = torch.zeros(2000, requires_grad=grad)
    with torch.no_grad():
        x[0] = 1
    y, _ = b(x)
    together = round(float(y.power.detach().argmax(-1).float().mean()))
    phase = filterbank.phase_cycles(y.sample.detach()[:, together].numpy())
    slope = b.frequency.numpy() / RATE  # cycles a sample: the peak may lie between two
    best = min(float(np.abs(phase - slope * s).max()) for s in np.linspace(-1, 1, 41))
    assert best < 0.03
