"""The definition of every recurrence, and of attention weights, as a plain loop in float64.

The functions of the same names in the other modules of `ops` must give the same values, and
`ranks.weights` those of `attention_weights`.

Shapes: T samples, C channels, F frames, N order, K widths or thresholds, U units.
"""

import numpy as np
from numpy.typing import NDArray


def gammatone(
    x: NDArray, pole: NDArray, order: int, state: NDArray | None = None
) -> tuple[NDArray, NDArray]:
    """Filter with analytic gammatones, each a cascade of `order` equal complex poles [1].

    y_k(t) = pole y_k(t-1) + y_(k-1)(t), with y_0(t) = 2 (1 - |pole|)^order x(t), and z = y_order.
    The gain makes |z| = A for a sine of amplitude A at the centre frequency, arg(pole).

    Args:
        x: (T,) samples.
        pole: (C,) exp((-2 pi b + 2 pi i f) / sample_rate), bandwidth b and centre f in Hz.
        order: number of equal poles N; 4 is the ear's.
        state: (N, C) the stages' last outputs; None: silence.

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
    x: NDArray, pole: NDArray, order: int, hop: int, state: NDArray | None = None,
    delay: NDArray | None = None,
) -> tuple[NDArray, NDArray, NDArray, NDArray]:  # fmt: skip
    """Filter as `gammatone`, and pool the channels over frames of `hop` samples.

    Args:
        x: (D + F hop,) samples, where D = max(delay), or 0 without delays.
        pole, order, state: as in `gammatone`.
        hop: samples per frame.
        delay: (C,) whole samples >= 0: channel c reads x[D + t - delay[c]] at time t.

    Returns:
        power (C, F): mean |z(t)|^2 over the frame;
        lag1 (C, F) complex: mean z(t) conj z(t-1), whose argument is the energy-weighted
        instantaneous frequency in radians per sample;
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
        delayed = x[start : start + frames * hop]
        before = None if state is None else state[:, c : c + 1]
        z, after = gammatone(delayed, pole[c : c + 1], order, before)
        last = 0j if before is None else before[-1, 0]
        for t in range(frames * hop):
            f = t // hop
            power[c, f] += abs(z[0, t]) ** 2 / hop
            lag1[c, f] += z[0, t] * np.conj(last) / hop
            sample[c, f] = last = z[0, t]
        new_state[:, c] = after[:, 0]
    return power, lag1, sample, new_state


def play(x: NDArray, width: NDArray, state: NDArray | None = None) -> tuple[NDArray, NDArray]:
    """Apply play operators [2], p(t) = clamp(p(t-1), x(t) - r, x(t) + r), which ignore moves < r.

    Args:
        x: (T,) any track.
        width: (K,) half-widths r > 0, in the unit of x.
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


def relay(
    x: NDArray, up: NDArray, down: NDArray, state: NDArray | None = None
) -> tuple[NDArray, NDArray]:
    """Apply relays (Schmitt triggers): +1 from x(t) >= up, -1 from x(t) <= down, else as before.

    Args:
        x: (T,) any track.
        up, down: (K,) thresholds in the unit of x, down < up.
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
    power: NDArray, smooth: float, rise: float, settle: int, state: NDArray | None = None,
    past: int = 0,
) -> tuple[NDArray, NDArray]:  # fmt: skip
    """Track the noise floor of a power: it falls with the smoothed level, and rises slowly.

    Args:
        power: (F,) mean powers > 0 of frames.
        smooth: weight of a new frame in the running mean s of the power.
        rise: fraction of the distance to s in dB by which the floor n rises per frame.
        settle: frames at the beginning of the signal, where filters fill up and n follows s.
        state: (2,) s and n before the first frame; None: start from the first frame.
        past: frames before the first one.

    Returns:
        n (F,) in dB re power 1, and the state (2,).
    """
    out = np.empty(len(power), power.dtype)
    s, n = state if state is not None else (power[0], 0.0)
    for f in range(len(power)):
        s = s + smooth * (power[f] - s)
        s_db = 10 * np.log10(s)
        n = s_db if s_db < n or past + f < settle else n + rise * (s_db - n)
        out[f] = n
    return out, np.array([s, n])


def grounded_moves(step: NDArray, weight: NDArray, state: float = 0.0) -> tuple[NDArray, float]:
    """Return the moves of a track above a floor that rises and falls itself.

    The sum of the moves is never below 0, and on the floor it is 0: a sound that rises from one
    floor and ends in a higher one, which it has raised, falls as far as it rose.

    Args:
        step: (T,) moves of the greater of track and floor.
        weight: (T,) above 0 where either end of a move is above the floor.
        state: sum of the moves before the first step.

    Returns:
        moves (T,), and the state.
    """
    moves = np.zeros(len(step), step.dtype)
    height = state
    for t in range(len(step)):
        moves[t] = max(step[t], -height) if weight[t] > 0 else -height
        height = height + moves[t]
    return moves, height


def direction_moves(
    z: NDArray, weight: NDArray, share: float, least: float, state: NDArray | None = None
) -> tuple[NDArray, NDArray]:
    """Return the moves of the mean direction of a complex track, in cycles, the shorter way.

    m(t) = m(t-1) + share weight(t) (z(t) / |z(t)| - m(t-1)). Where |m| >= least, its angle is read;
    a move is the difference to the reading before, so that a track that comes back to the same
    direction has moved by whole turns. The first reading is not a move.

    Args:
        z: (T,) complex.
        weight: (T,) of each sample, 0 to 1; at 0, m rests.
        share: of a new direction in the mean.
        least: length of m, 0 to 1, from which its direction is definite.
        state: (3,) real and imaginary part of m, and the last reading in cycles, 9 for none;
            None: m is 0, without a reading.

    Returns:
        moves (T,), and the state.
    """
    moves = np.zeros(len(z))
    x, y, last = (0.0, 0.0, 9.0) if state is None else state
    m = complex(x, y)
    for t in range(len(z)):
        m += share * weight[t] * (z[t] / max(abs(z[t]), 1e-15) - m)
        if abs(m) >= least:
            turn = np.angle(m) / (2 * np.pi)
            if last < 9:
                moves[t] = turn - last - np.rint(turn - last)
            last = turn
    return moves, np.array([m.real, m.imag, last])


def stop_pooled(
    step: NDArray, weight: NDArray, width: NDArray, decay: NDArray, hop: int,
    state: NDArray | None = None,
) -> tuple[NDArray, NDArray, NDArray, NDArray]:  # fmt: skip
    """Apply stops and plays to a track given by its steps, which may be of a circular quantity.

    The stop of a track y with steps step(t) is s(t) = clamp(s(t-1) + step(t), -r, r), and what the
    clamp removes is the play's move: p = y - s. A track of weighted or wrapped steps (phase) has
    no values to clamp around, and over hours y may drift without bounds; s cannot.

    Args:
        step: (F hop,) moves of the track.
        weight: (F hop,) of s at each sample, 0 to 1.
        width: (K,) half-widths r > 0.
        decay: (K,) factor by which past moves are multiplied at each frame.
        hop: samples per frame.
        state: (3, K) s, rise and fall before the first sample; None: zeros.

    Returns:
        stop (K, F): mean of weight s / r over the frame, -1 to 1;
        rise, fall (K, F): sums of the play's past upward and downward moves (>= 0), weighted with
        `decay` to the power of their age in frames;
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
    x: NDArray, rate: float, state: NDArray | None = None, past: int = 0
) -> tuple[NDArray, NDArray]:
    """Normalise frames by running mean and standard deviation, which are causal.

    Args:
        x: (F, D) frames.
        rate: weight of a new frame; that of the n-th frame of the signal is at least 1 / n.
        state: (2, D) mean and variance; None: 0.
        past: frames before the first one.

    Returns:
        (F, D), and the state. Standard deviations below 1e-4 count as 1e-4.
    """
    now = np.zeros((2, x.shape[1])) if state is None else state.copy()
    out = np.empty_like(x)
    for f in range(len(x)):
        share = max(rate, 1 / (past + f + 1))
        off = x[f] - now[0]
        now[0] += share * off
        now[1] = (1 - share) * (now[1] + share * off**2)
        out[f] = (x[f] - now[0]) / np.maximum(np.sqrt(now[1]), 1e-4)
    return out, now


def hold(a: NDArray, width: float, state: int = -1) -> tuple[NDArray[np.int64], int]:
    """Return the winning units, with hysteresis: a winner stays until another beats it by a width.

    Args:
        a: (F, U) activations; the first of equal ones wins.
        width: margin that another unit needs, >= 0, in the unit of `a`.
        state: winner before the first step; -1: none.

    Returns winners (F,), and the last of them.
    """
    winner = np.empty(len(a), np.int64)
    for t in range(len(a)):
        best = int(np.argmax(a[t]))
        if state < 0 or a[t, best] > a[t, state] + width:
            state = best
        winner[t] = state
    return winner, state


def rises(x: NDArray, width: float) -> NDArray[np.bool_]:
    """Return where (T,) a play operator of half-width r = width / 2 on x (T,) turns upwards [2].

    So x has risen there by more than the width since it was lowest; the next rise is heard once x
    has fallen by as much. Before the first sample the play counts as falling.
    """
    p, _ = play(x, np.array([width / 2], x.dtype))
    result, direction = np.zeros(len(x), bool), -1
    for t in range(1, len(x)):
        if p[0, t] != p[0, t - 1]:
            now = 1 if p[0, t] > p[0, t - 1] else -1
            result[t] = now > direction
            direction = now
    return result


def selective_scan(
    x: NDArray, log_decay: NDArray, b: NDArray, c: NDArray, state: NDArray | None = None
) -> tuple[NDArray, NDArray]:
    """Compute h(t) = exp(log_decay(t)) h(t-1) + outer(b(t), x(t)) and y(t) = c(t) h(t) [1].

    Args:
        x: (F, H, P) inputs of H independent heads with P channels each.
        log_decay: (F, H), at most 0.
        b, c: (F, S) input and output weights of S states, shared by the heads.
        state: (H, S, P) before the first frame; None: 0.

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


def any_sequence(log_probs: NDArray, follow: NDArray) -> float:
    """Return the log of CTC's sum over all paths, each weighted by a bigram of its symbols.

    Args: log_probs (S, V) natural logarithms; follow (V, V) how probable the second symbol is after
    the first, or at the beginning (row 0), and the end (column 0). Class 0 is the blank.
    """
    sums = {(0, False): 1.0}  # by the last symbol, and whether the path ends with it
    for row in np.exp(log_probs.astype(float)):
        before, sums = sums, {}
        for (last, written), value in before.items():
            moves = {(last, False): row[0]} | ({(last, True): row[last]} if written else {})
            new = [k for k in range(1, len(row)) if k != last or not written]
            moves |= {(k, True): row[k] * follow[last, k] for k in new}
            for state, weight in moves.items():
                sums[state] = sums.get(state, 0.0) + value * weight
    return float(np.log(sum(value * follow[last, 0] for (last, _), value in sums.items())))


def attention_weights(
    scores: NDArray, visible: NDArray, law: str, beta: float, growth: float = 0.0, soft: float = 0.3
) -> NDArray:
    """Weigh the visible keys of a query by their scores, see `ranks.weights.CompetitorWeights`.

    Args:
        scores: (M,), larger is stronger.
        visible: (M,) bool, at least one True; N is their number.
        law: geometric, pareto, power or entmax (1.5).
        beta: > 0, of one key; it is divided by 1 + growth log N, growth >= 0.
        soft: width of the ranks of the power law, in the unit of scores.

    Returns weights (M,) that sum to 1, 0 where nothing is visible.
    """
    keys = [k for k in range(len(scores)) if visible[k]]
    beta = beta / (1 + growth * np.log(len(keys)))
    top = max(scores[k] for k in keys)
    x = [top - scores[k] for k in keys]
    if law == "entmax":
        # p = max(0, -x / (2 beta) - threshold)^2 sums to 1: bisection on the threshold
        low, high = -1.0, 0.0
        for _ in range(100):
            middle = (low + high) / 2
            enough = sum(max(0.0, -d / (2 * beta) - middle) ** 2 for d in x) >= 1
            low, high = (middle, high) if enough else (low, middle)
        weight = [max(0.0, -d / (2 * beta) - low) ** 2 for d in x]
    elif law == "power":
        weight = []
        for i, a in enumerate(x):
            rank = 1.0
            for j, b in enumerate(x):
                u = (a - b) / soft
                if j != i:
                    rank += np.exp(u) / 2 if u < 0 else 1 - np.exp(-u) / 2
            weight.append(rank ** (-1 / beta))
    else:
        weight = [np.exp(-(np.log1p(d) if law == "pareto" else d) / beta) for d in x]
    weight = weight if law == "entmax" else [w / sum(weight) for w in weight]
    out = np.zeros(len(scores))
    out[keys] = weight
    return out
