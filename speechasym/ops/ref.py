"""The plain definition of every recurrence, one loop each. Slow, float64, and always right.

`ops/cpu_gammatone` and `ops/scan` have functions of the same names and must give the same values.

Shapes: T samples, C channels, F frames, N order.
"""

import numpy as np
from numpy.typing import NDArray


def gammatone(
    x: NDArray, pole: NDArray, order: int, state: NDArray | None = None
) -> tuple[NDArray, NDArray]:
    """Analytic gammatone channels: `order` equal complex one-pole filters in cascade [1].

    y_k(t) = pole y_k(t-1) + y_(k-1)(t), with y_0(t) = 2 (1 - |pole|)^order x(t), and z = y_order.
    The gain makes |z| = A for a sine of amplitude A at the centre frequency, arg(pole).

    Args:
        x: (T,) samples.
        pole: (C,) exp((-2 pi b + 2 pi i f) / sample_rate), bandwidth b and centre f in Hz.
        order: number of equal poles N; 4 is the ear's.
        state: (N, C) the stages' last outputs; None is silence.

    Returns:
        z (C, T) complex, and the state after the last sample.

    [1] V. Hohmann, "Frequency analysis and synthesis using a Gammatone filterbank", Acta Acustica
        united with Acustica 88, 433-442, 2002.
    """
    gain = 2 * (1 - np.abs(pole)) ** order
    stages = np.zeros((order, len(pole)), complex) if state is None else state.astype(complex)
    z = np.empty((len(pole), len(x)), complex)
    for t in range(len(x)):
        y = gain * x[t]
        for k in range(order):
            y = pole * stages[k] + y
            stages[k] = y
        z[:, t] = y
    return z, stages


def gammatone_pooled(
    x: NDArray,
    pole: NDArray,
    order: int,
    hop: int,
    state: NDArray | None = None,
    delay: NDArray | None = None,
) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """The same channels, seen only once a frame of `hop` samples.

    Args:
        x: (D + F hop,) samples, where D = max(delay), or 0 without delays.
        pole, order, state: as in `gammatone`.
        hop: samples a frame.
        delay: (C,) whole samples >= 0: channel c reads x[D + t - delay[c]] at time t.

    Returns:
        power (C, F): mean |z(t)|^2 over the frame;
        lag1 (C, F) complex: mean z(t) conj z(t-1), whose argument is the energy-weighted
        instantaneous frequency in radians a sample;
        sample (C, F) complex: z at the frame's last sample;
        and the state (N, C) after it.
    """
    delay = np.zeros(len(pole), int) if delay is None else delay
    lead = int(delay.max(initial=0))
    frames = (len(x) - lead) // hop
    power = np.zeros((len(pole), frames))
    lag1 = np.zeros((len(pole), frames), complex)
    sample = np.zeros((len(pole), frames), complex)
    new_state = np.zeros((order, len(pole)), complex)
    for c in range(len(pole)):
        start = lead - int(delay[c])
        heard = x[start : start + frames * hop]
        before = None if state is None else state[:, c : c + 1]
        z, after = gammatone(heard, pole[c : c + 1], order, before)
        last = 0j if before is None else before[-1, 0]
        for t in range(frames * hop):
            f = t // hop
            power[c, f] += abs(z[0, t]) ** 2 / hop
            lag1[c, f] += z[0, t] * np.conj(last) / hop
            sample[c, f] = last = z[0, t]
        new_state[:, c] = after[:, 0]
    return power, lag1, sample, new_state


def play(x: NDArray, width: NDArray, state: NDArray | None = None) -> tuple[NDArray, NDArray]:
    """Play operators [2]: p(t) = clamp(p(t-1), x(t) - r, x(t) + r). Ignores what is less than r.

    Args:
        x: (T,) any track; width: (K,) half-widths r > 0 in its unit.
        state: (K,) p before the first sample; None: p starts at x(0).

    Returns:
        p (K, T), and the state (K,) after it. T must not be 0.

    [2] M. Brokate, J. Sprekels, "Hysteresis and Phase Transitions", Springer, 1996.
    """
    p = np.empty((len(width), len(x)), np.result_type(x, width))
    for t in range(len(x)):
        for k in range(len(width)):
            old = p[k, t - 1] if t else (x[0] if state is None else state[k])
            p[k, t] = min(max(old, x[t] - width[k]), x[t] + width[k])
    return p, p[:, -1].copy()


def play_pooled(
    x: NDArray, width: NDArray, hop: int, state: NDArray | None = None
) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """The plays of x (F hop,), seen only once a frame of `hop` samples.

    Returns:
        mean (K, F): mean of p over the frame; mean x - mean p is the mean stop output;
        rise (K, F): the sum of p's upward moves over the frame, in x's unit;
        fall (K, F): the sum of its downward moves, >= 0;
        and the state (K,). The first sample's move counts from the state.
    """
    p, after = play(x, width, state)
    frames = len(x) // hop
    mean, rise, fall = (np.zeros((len(width), frames), p.dtype) for _ in range(3))
    for k in range(len(width)):
        for t in range(frames * hop):
            old = p[k, t - 1] if t else (x[0] if state is None else state[k])
            move = p[k, t] - old
            mean[k, t // hop] += p[k, t] / hop
            rise[k, t // hop] += max(move, 0)
            fall[k, t // hop] += max(-move, 0)
    return mean, rise, fall, after


def relay(
    x: NDArray, up: NDArray, down: NDArray, state: NDArray | None = None
) -> tuple[NDArray, NDArray]:
    """Relays (Schmitt triggers): +1 from x(t) >= up, -1 from x(t) <= down, else as before.

    Args:
        x: (T,) any track; up, down: (K,) thresholds in its unit, down < up.
        state: (K,) outputs before the first sample, +1 or -1; None: -1.

    Returns:
        (K, T) of +1 and -1, and the state (K,) after it.
    """
    y = np.empty((len(up), len(x)), x.dtype)
    now = -np.ones(len(up), x.dtype) if state is None else state.copy()
    for t in range(len(x)):
        for k in range(len(up)):
            if x[t] >= up[k]:
                now[k] = 1
            elif x[t] <= down[k]:
                now[k] = -1
            y[k, t] = now[k]
    return y, now


def noise_floor(
    power: NDArray,
    smooth: float,
    rise: float,
    settle: int,
    state: NDArray | None = None,
    heard: int = 0,
) -> tuple[NDArray, NDArray]:
    """The noise under a track: falls with the smoothed level at once, rises towards it slowly.

    Args:
        power: (F,) mean powers > 0, frame by frame.
        smooth: weight of a new frame in the running mean s of the power.
        rise: share of the distance to s in dB that the floor n rises by a frame.
        state: (2,) s and n before the first frame; None: start from the first frame.
        settle: frames at the very beginning where the floor is s itself: filters fill up then.
        heard: frames heard before.

    Returns:
        n (F,) in dB re power 1, and the state (2,).
    """
    out = np.empty(len(power), power.dtype)
    s, n = state if state is not None else (power[0], 0.0)
    for f in range(len(power)):
        s = s + smooth * (power[f] - s)
        level = 10 * np.log10(s)
        n = level if level < n or heard + f < settle else n + rise * (level - n)
        out[f] = n
    return out, np.array([s, n])


def stop_pooled(
    step: NDArray,
    weight: NDArray,
    width: NDArray,
    decay: NDArray,
    hop: int,
    state: NDArray | None = None,
) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Stops and plays of a track given by its steps, which may come from circular quantities.

    The track y has steps step(t); the stop is s(t) = clamp(s(t-1) + step(t), -r, r), and what the
    clamp cuts off is the play's move: p = y - s. A track of weighted or wrapped steps (phase) has
    no values to clamp around, and y may run away by hours; s never does.

    Args:
        step: (F hop,) moves of the track; weight: (F hop,) how much s counts at each, 0 to 1.
        width: (K,) half-widths r > 0; decay: (K,) factor of past work at the end of each frame.
        state: (3, K) s, rise, fall before the first sample; None: zeros.

    Returns:
        stop (K, F): mean of weight s / r over the frame, -1 to 1;
        rise, fall (K, F): the play's upward and downward moves (>= 0), summed over the past, each
        frame `decay` less than the next;
        and the state (3, K).
    """
    frames = len(step) // hop
    now = np.zeros((3, len(width)), step.dtype) if state is None else np.array(state, step.dtype)
    stop, rise, fall = (np.zeros((len(width), frames), step.dtype) for _ in range(3))
    for k in range(len(width)):
        s, up, down = now[:, k]
        for f in range(frames):
            up, down = up * decay[k], down * decay[k]
            for t in range(f * hop, (f + 1) * hop):
                target = s + step[t]
                s = min(max(target, -width[k]), width[k])
                up += max(target - s, 0)
                down += max(s - target, 0)
                stop[k, f] += weight[t] * s / (hop * width[k])
            rise[k, f], fall[k, f] = up, down
        now[:, k] = s, up, down
    return stop, rise, fall, now


def running_norm(
    x: NDArray, rate: float, state: NDArray | None = None, heard: int = 0
) -> tuple[NDArray, NDArray]:
    """(F, D) less its running mean, over its running standard deviation; both know the past only.

    Args:
        x: (F, D) frames.
        rate: weight of a new frame; the n-th frame ever counts 1 / n while that is more.
        state: (2, D) mean and variance; None: 0. heard: frames before.

    Returns:
        (F, D), and the state. A deviation below 1e-4 counts as 1e-4.
    """
    now = np.zeros((2, x.shape[1])) if state is None else state.copy()
    out = np.empty_like(x)
    for f in range(len(x)):
        share = max(rate, 1 / (heard + f + 1))
        off = x[f] - now[0]
        now[0] += share * off
        now[1] = (1 - share) * (now[1] + share * off**2)
        out[f] = (x[f] - now[0]) / np.maximum(np.sqrt(now[1]), 1e-4)
    return out, now


def hold(a: NDArray, width: float, state: int = -1) -> tuple[NDArray[np.int64], int]:
    """Who wins among units, with hysteresis: the winner stays until another beats it by a width.

    Args:
        a: (F, U) activations; of equal ones the first counts.
        width: how much more another unit needs, >= 0, in the unit of `a`.
        state: the winner before the first step; -1: nobody.

    Returns:
        winners (F,), and the last of them.
    """
    winner = np.empty(len(a), np.int64)
    for t in range(len(a)):
        best = int(np.argmax(a[t]))
        if state < 0 or a[t, best] > a[t, state] + width:
            state = best
        winner[t] = state
    return winner, state


def selective_scan(
    x: NDArray, log_decay: NDArray, b: NDArray, c: NDArray, state: NDArray | None = None
) -> tuple[NDArray, NDArray]:
    """h(t) = exp(log_decay(t)) h(t-1) + outer(b(t), x(t)); y(t) = c(t) h(t), head by head [1].

    Args:
        x: (F, H, P) input of H heads with P channels each.
        log_decay: (F, H), at most 0.
        b, c: (F, S) weights into and out of S states, shared by the heads.
        state: (H, S, P) before the first frame; None is 0.

    Returns:
        y (F, H, P), and the state after the last frame.

    [1] T. Dao, A. Gu, "Transformers are SSMs: generalized models and efficient algorithms through
        structured state space duality", ICML, 2024.
    """
    frames, heads, channels = x.shape
    now = np.zeros((heads, b.shape[1], channels)) if state is None else state.astype(float)
    y = np.empty(x.shape)
    for t in range(frames):
        now = np.exp(log_decay[t])[:, None, None] * now + b[t][:, None] * x[t][:, None, :]
        y[t] = np.einsum("s,hsp->hp", c[t], now)
    return y, now
