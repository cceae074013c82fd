"""Dumb loops in plain Python, and closed forms. Imports nothing of ours."""

import cmath
import math


def cascade(x: list[float], frequency: float, bandwidth: float, rate: float, order: int):
    """One channel of the gammatone: `order` one-pole filters one after the other."""
    pole = cmath.exp(complex(-2 * math.pi * bandwidth / rate, 2 * math.pi * frequency / rate))
    signal = [complex(v) for v in x]
    for _ in range(order):
        before = 0j
        after = []
        for v in signal:
            before = pole * before + v
            after.append(before)
        signal = after
    gain = 2 * (1 - abs(pole)) ** order
    return [gain * v for v in signal]


def impulse_response(k: int, frequency: float, bandwidth: float, rate: float, order: int):
    """What the cascade answers to a unit impulse k samples ago: over(k+n-1, n-1) pole^k gain."""
    decay = math.exp(-2 * math.pi * bandwidth / rate)
    gain = 2 * (1 - decay) ** order
    turn = cmath.exp(2j * math.pi * frequency / rate * k)
    return gain * math.comb(k + order - 1, order - 1) * decay**k * turn


def pooled(z: list[complex], hop: int):
    """Mean power, mean lag-1 product and last sample of each frame of `hop` samples."""
    power, lag1, sample = [], [], []
    for start in range(0, len(z) - hop + 1, hop):
        p, q = 0.0, 0j
        for t in range(start, start + hop):
            p += abs(z[t]) ** 2
            q += z[t] * (z[t - 1].conjugate() if t else 0)
        power.append(p / hop)
        lag1.append(q / hop)
        sample.append(z[start + hop - 1])
    return power, lag1, sample


def tracks(power, turn, phase, floor, own, scale, hop, share, per_frame, settle):
    """Steps of the asymmetry tracks of each channel, from inner samples as lists [t][channel].

    power; turn: cycles a sample; phase: cycles; floor: power, [frame][channel]; own: cycles a
    sample at the centre; scale: ERB per cycle a sample; hop: samples an inner sample; share: of
    an inner sample in the mean direction of the lead; settle: inner samples without amplitude.
    """

    def short(cycles):
        return cycles - round(cycles)

    count = len(power[0])
    out = {"weight": [], "amplitude": [], "frequency": [], "carrier": [], "lead": []}
    height = [0.0] * count
    mean, reading = [0j] * (count - 1), [None] * (count - 1)
    for t in range(len(power)):
        least = floor[t // per_frame]
        above = [max(power[t][c], least[c]) for c in range(count)]
        out["weight"].append([1 - least[c] / above[c] for c in range(count)])
        before = max(t - 1, 0)
        below = floor[before // per_frame]
        was = [max(power[before][c], below[c]) for c in range(count)]
        w0 = out["weight"][before] if t else [0.0] * count
        climbs = [0.0] * count
        for c in range(count):
            step = 10 * math.log10(above[c] / was[c])
            if out["weight"][t][c] == w0[c] == 0:
                climbs[c] = -height[c]
            elif t >= settle:
                climbs[c] = max(step, -height[c])
            height[c] += climbs[c]
        out["amplitude"].append(climbs)
        sure = [min(a, b) for a, b in zip(out["weight"][t], w0, strict=True)]
        moved = [
            (short(turn[t][c] - own[c]) - short(turn[before][c] - own[c])) * scale[c]
            for c in range(count)
        ]
        out["frequency"].append([m * s for m, s in zip(moved, sure, strict=True)])
        missed = [
            short(phase[t][c] - phase[before][c] - turn[before][c] * hop) for c in range(count)
        ]
        out["carrier"].append([m * s for m, s in zip(missed, sure, strict=True)])
        leads = [0.0] * (count - 1)
        for c in range(count - 1):
            now = cmath.exp(2j * math.pi * (phase[t][c + 1] - phase[t][c]))
            both = min(out["weight"][t][c], out["weight"][t][c + 1])
            mean[c] = (1 - share * both) * mean[c] + share * both * now
            if abs(mean[c]) >= 0.5:
                angle = cmath.phase(mean[c]) / (2 * math.pi)
                if reading[c] is not None:
                    leads[c] = short(angle - reading[c])
                reading[c] = angle
        out["lead"].append(leads)
    return out


def stops(steps, width, decay, per_frame, start=0.0):
    """Stop at every inner sample; rise and fall work at every frame's end, of one track."""
    s, up, down, all_s, rises, falls = start, 0.0, 0.0, [], [], []
    for t, step in enumerate(steps):
        if t % per_frame == 0:
            up, down = up * decay, down * decay
        new = min(max(s + step, -width), width)
        up += max(s + step - new, 0)
        down += max(new - s - step, 0)
        s = new
        all_s.append(s)
        if t % per_frame == per_frame - 1:
            rises.append(up)
            falls.append(down)
    return all_s, rises, falls


def edit_cost(reference, hypothesis, free=None):
    """Fewest substitutions, deletions and insertions; deleting `free` costs nothing."""
    known = {}

    def best(i, j):
        if (i, j) not in known:
            ways = [0] if i == j == 0 else []
            if i:
                ways.append(best(i - 1, j) + (reference[i - 1] != free))
            if j:
                ways.append(best(i, j - 1) + 1)
            if i and j:
                ways.append(best(i - 1, j - 1) + (reference[i - 1] != hypothesis[j - 1]))
            known[i, j] = min(ways)
        return known[i, j]

    return best(len(reference), len(hypothesis))


def most_pairs(times, others, reach):
    """Most pairs, one to one, that are no farther apart than `reach`: every choice is tried."""
    if not times:
        return 0
    most = most_pairs(times[1:], others, reach)
    for i, other in enumerate(others):
        if abs(times[0] - other) <= reach:
            most = max(most, 1 + most_pairs(times[1:], others[:i] + others[i + 1 :], reach))
    return most


def near_another(times, others, reach):
    """How many times have any of the others within reach."""
    return sum(any(abs(time - other) <= reach for other in others) for time in times)


def selective_scan(x, decay, b, c, state):
    """h = a h + b x, y = sum c h, of one head and one channel: lists x, a (F,), b, c (F,)(S,)."""
    h, y = list(state), []
    for t in range(len(x)):
        for s in range(len(h)):
            h[s] = decay[t] * h[s] + b[t][s] * x[t]
        y.append(sum(c[t][s] * h[s] for s in range(len(h))))
    return y, h


def oscillator(force, stiffness, keep, x, v):
    """Positions and velocities of one oscillator, pushed by a list of forces."""
    path = []
    for push in force:
        v = keep * (v + (push - stiffness * x))
        x += v
        path.append((x, v))
    return path
