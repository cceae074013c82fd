"""Laws that hysteresis obeys, on random tracks; and equality of the implementations."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import speechasym
from speechasym.asymmetry import hysteresis, loops
from speechasym.ops import cpu_hysteresis, ref, scan

VALUE = st.floats(-50, 50, width=32)
TRACK = st.lists(VALUE, min_size=1, max_size=60).map(lambda v: np.array(v, np.float32))
WIDTHS = np.array([0.5, 2.0, 7.25], np.float32)
UP, DOWN = np.array([1.0, 5.0, -2.0], np.float32), np.array([-1.0, 4.5, -20.0], np.float32)


def play(x, state=None, widths=WIDTHS):
    return ref.play(np.asarray(x, np.float32), widths, state)[0]


def walk(*shape):
    rng = np.random.default_rng(shape)
    return np.cumsum(rng.standard_normal(shape), -1).astype(np.float32)


@pytest.mark.parametrize("length", [1, 2, 63, 500])
@pytest.mark.parametrize("started", [False, True])
def test_implementations_are_equal_to_the_bit(length, started):
    x = walk(5, length)
    state = walk(5, 3) if started else None
    want = np.stack([ref.play(row, WIDTHS, s)[0] for row, s in pair(x, state)])
    got, after = scan.play(torch.from_numpy(x), torch.from_numpy(WIDTHS), tensor(state))
    assert np.array_equal(got.numpy(), want) and np.array_equal(after.numpy(), want[..., -1])
    got, after = cpu_hysteresis.play(x.T.copy(), WIDTHS, None if state is None else state.T)
    assert np.array_equal(got.transpose(2, 0, 1), want) and np.array_equal(after.T, want[..., -1])

    signs = None if state is None else np.sign(state)
    want = np.stack([ref.relay(row, UP, DOWN, s)[0] for row, s in pair(x, signs)])
    got, after = scan.relay(torch.from_numpy(x), *map(torch.from_numpy, (UP, DOWN)), tensor(signs))
    assert np.array_equal(got.numpy(), want) and np.array_equal(after.numpy(), want[..., -1])


def pair(x, state):
    return zip(x, [None] * len(x) if state is None else state, strict=True)


def tensor(state):
    return None if state is None else torch.from_numpy(state)


@given(TRACK, st.lists(st.integers(1, 4), min_size=60, max_size=60))
def test_rate_independence(x, repeats):
    # dwelling at a value changes nothing
    slow = np.repeat(x, repeats[: len(x)])
    ends = np.cumsum(repeats[: len(x)]) - 1
    assert np.array_equal(play(slow)[:, ends], play(x))
    assert np.array_equal(ref.relay(slow, UP, DOWN)[0][:, ends], ref.relay(x, UP, DOWN)[0])


@given(TRACK, st.floats(0, 40, width=32), st.data())
def test_wiping_out(x, margin, data):
    # an excursion above all that was and back down leaves no trace of what was before
    other = data.draw(st.permutations(list(x)))
    top, low = max(x.max() + margin, 40), min(x.min(), -40)
    tail = [top + 15, low - 15, 3.0]
    assert np.array_equal(play([*x, *tail])[:, -1], play([*other, *tail])[:, -1])


@given(VALUE, VALUE, st.floats(-20, 20, width=32))
def test_congruency(first, second, start):
    # the loop between two inputs has one shape, wherever p came from
    def loop(p):
        cycle = [first, second, first, second]
        return play(np.array(cycle), state=np.full(3, p, np.float32))[:, 2:]

    a, b = loop(start), loop(-start)
    np.testing.assert_allclose(a[:, 1] - a[:, 0], b[:, 1] - b[:, 0], atol=1e-5)


@given(TRACK, st.lists(st.floats(0, 9, width=32), min_size=60, max_size=60))
def test_monotone(x, lift):
    above = x + np.array(lift[: len(x)], np.float32)
    assert (play(above) >= play(x)).all()
    assert (ref.relay(above, UP, DOWN)[0] >= ref.relay(x, UP, DOWN)[0]).all()


@given(TRACK, TRACK)
def test_lipschitz_one(x, y):
    n = min(len(x), len(y))
    apart = np.abs(x[:n] - y[:n]).max()
    assert np.abs(play(x[:n]) - play(y[:n])).max() <= apart * (1 + 1e-6) + 1e-5


@given(TRACK)
def test_sign_symmetry(x):
    assert np.array_equal(play(-x), -play(x))


@given(TRACK)
def test_play_follows_within_its_width(x):
    p = play(x)
    assert (np.abs(x - p) <= WIDTHS[:, None] * (1 + 1e-6) + 1e-5).all()


@given(st.lists(st.integers(-400, 400), min_size=1, max_size=60))
def test_idempotent_on_its_own_output(values):
    # quarters are exact in binary. A play of the play, both of one width, follows at that width
    # again where it turns: what is idempotent is the clamp, p = clamp(p, x - r, x + r).
    x = np.array(values, np.float32) / 4
    p = play(x)
    for k, r in enumerate(WIDTHS):
        assert np.array_equal(np.clip(p[k], x - r, x + r), p[k])
        again = play(x, state=play(x)[:, :1].ravel())
        assert np.array_equal(again, p)


@settings(max_examples=30, deadline=None)
@given(TRACK, st.integers(0, 59))
def test_streaming(x, cut):
    x, cut = torch.from_numpy(x), min(cut, len(x) - 1)
    for operator in (
        hysteresis.Play([0.5, 2, 7]),
        hysteresis.Stop([0.5, 2], signed=True),
        hysteresis.Relay(UP.tolist(), DOWN.tolist()),
        hysteresis.PrandtlIshlinskii([1, 3]),
        hysteresis.Preisach([-3, 0, 1, 5]),
    ):
        whole, end = operator(x)
        y1, state = operator(x[: cut + 1])
        y2, state = operator(x[cut + 1 :], state)
        assert torch.equal(torch.cat([y1, y2], -1), whole)
        assert torch.equal(state, end)


OPERATORS = [
    hysteresis.Play([0.5, 2, 7]),
    hysteresis.Stop([0.5, 2], signed=True),
    hysteresis.Relay(UP.tolist(), DOWN.tolist()),
    hysteresis.PrandtlIshlinskii([1, 3]),
    hysteresis.Preisach([-3, 0, 1, 5]),
]


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: type(operator).__name__)
def test_empty_batches_and_chunks(operator):
    x = torch.from_numpy(walk(2, 20))
    whole, end = operator(x)
    # before the first sample, and between others
    nothing, state = operator(x[:, :0])
    assert nothing.shape == (*whole.shape[:-1], 0)
    first, state = operator(x[:, :9], state)
    nothing, state = operator(x[:, :0], state)
    assert nothing.shape == (*whole.shape[:-1], 0)
    rest, state = operator(x[:, 9:], state)
    assert torch.equal(torch.cat([first, rest], -1), whole) and torch.equal(state, end)
    y, state = operator(x[:0])
    assert y.shape == (0, *whole.shape[1:]) and state.shape == (0, *end.shape[1:])


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda operator: type(operator).__name__)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_autocast_and_half_types_are_computed_in_float32(operator, dtype):
    x = torch.from_numpy(walk(2, 20)).to(dtype)
    want, end = operator(x.float())
    for autocast in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            y, state = operator(x)
        assert y.dtype == torch.float32 and torch.equal(y, want) and torch.equal(state, end)


def test_gradients_against_finite_differences():
    x = torch.from_numpy(walk(2, 30)).double().requires_grad_()
    width = torch.tensor([0.7, 1.9], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: scan.play(a, b)[0], (x, width))
    loop = hysteresis.PrandtlIshlinskii([0.5, 2.0], learnable=True).double()

    def shape(a, w, r):
        return torch.func.functional_call(loop, {"weight": w, "log_width": r}, (a,))[0]

    assert torch.autograd.gradcheck(shape, (x, loop.weight, loop.log_width))
    mesh = hysteresis.Preisach([-2.0, 0.1, 1.3]).double()
    assert torch.autograd.gradcheck(
        lambda w: torch.func.functional_call(mesh, {"weight": w}, (x.detach(),))[0], mesh.weight
    )


def test_preisach_is_the_sum_of_its_relays():
    mesh = hysteresis.Preisach([-1.0, 0.0, 2.0])
    x = torch.tensor([-2.0, 0.5, 3.0, 0.5, -0.5, -2.0])
    # relays (0,-1), (2,-1), (2,0), a third each
    want = torch.tensor([-1, -1 / 3, 1, 1, 1 / 3, -1])
    torch.testing.assert_close(mesh(x)[0], want)


def test_area_of_a_play_loop():
    t = torch.linspace(0, 2 * torch.pi, 20001, dtype=torch.float64)[:-1]
    x = 3 * torch.cos(t)
    p, _ = scan.play(torch.cat([x, x]), torch.tensor([1.0], dtype=torch.float64))
    area = loops.loop_area(x.numpy(), p[0, 20000:].numpy())
    # a parallelogram: 2 r high along x, 2 (A - r) along y
    assert float(area) == pytest.approx(2 * 1 * 2 * (3 - 1), rel=1e-3)


@pytest.mark.parametrize("widths", [[], [0], [-1, 1], [1, 1], [2, 1], [1, float("nan")]])
def test_bad_widths_are_named(widths):
    with pytest.raises(speechasym.ConfigError, match="must be positive and strictly rising"):
        hysteresis.Play(widths)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: hysteresis.Relay([1], [1]), "below its up"),
        (lambda: hysteresis.Relay([1, 2], [0]), "below its up"),
        (lambda: hysteresis.Preisach([1]), "must be two or more"),
        (lambda: hysteresis.Preisach([2, 1]), "strictly rising"),
        (lambda: hysteresis.Play([1])(torch.tensor([0.0, float("nan")])), "element 1"),
        (lambda: hysteresis.Play([1])(torch.tensor([1, 2])), "floating-point"),
    ],
)
def test_bad_input_is_named(make, words):
    with pytest.raises(speechasym.ConfigError, match=words):
        make()
