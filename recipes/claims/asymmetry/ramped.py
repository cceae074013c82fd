"""A. Ramped against damped sounds of equal energy [1].

A damped sound rises abruptly and decays, repeatedly; a ramped one is the same reversed in time.
To people the carrier is more continuous in the ramped one: for both to sound equally continuous,
the damped half-life must be 5 times (sine) or 2.5 times (noise) the ramped one [1].

[1] T. Irino, R. D. Patterson, "Temporal symmetry in auditory perception and the auditory system",
    129th meeting of the Acoustical Society of America, 1995.

Shapes: T samples, F frames at 500 Hz, C channels, K widths, H half-lives.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import speechasym
from recipes.claims.asymmetry.common import (
    COLOURS,
    RATE,
    SCALES,
    Interval,
    axes,
    formatted,
    interval,
    log,
    logmel,
    save,
)
from recipes.provenance import table
from speechasym.asymmetry.hysteresis import Play

CARRIERS = (500, 1000, 2000, 4000)  # Hz
PERIODS = (25, 50)  # ms
HALF_LIVES = (1, 2, 4, 8, 16, 32)  # ms, of the ramped sounds
# the damped ones extend further, by half octaves, so that a match five times as long is possible
DAMPED = tuple(2 ** (k / 2) for k in range(-2, 15))  # 0.5 to 128 ms
SECONDS, SILENCE, AFTER = 0.4, 0.1, 0.05  # of sound; around it; of ringing that is included
RMS_DB, FLOOR_DB = -20.0, -80.0  # 60 dB above the floor
OTHER_FLOORS_DB = (-60.0, -100.0)  # to see whether the choice matters
INNER = 500  # frames a second, as the extractors have it inside
WIDTHS = [level.decibel for level in SCALES]
PEOPLE = {"sine": 5.0, "noise": 2.5}

MEANING = {
    "work": "rise and fall of the play, dB a second",
    "play": "mean of the play above the floor, dB",
    "continuity": "play / work: how much remains for each move, s",
    "energy": "energy of the play taken as a level, dB re the floor",
    "rising": "share of the energy on a rising branch, by (1 + s/r) / 2",
    "index": "mean signed asymmetry s/r during the sound",
}
SIGNED = ("index",)
LESS = ("work",)  # transients are weaker to people in ramped sounds, everything else is stronger
EQUAL = 0.005  # of the ratio: less than this, in either direction, counts as no difference
ENOUGH = 0.8  # share of the ramped sounds that must have a match for it to be interpreted
DECIBEL = ("energy",)


def damped(carrier: int | None, period_ms: float, half_life_ms: float, seed: int = 0) -> NDArray:
    """Return (T,) repeated exponential decays of a sine, restarted each time, or of noise.

    Of noise if `carrier` is None. Mean square at `RMS_DB`, without silence around it.
    """
    size = round(SECONDS * RATE)
    since = np.arange(size) % round(period_ms * RATE / 1000) / RATE
    if carrier is None:
        x = np.random.default_rng(seed).standard_normal(size)
    else:
        x = np.sin(2 * np.pi * carrier * since)
    x = x * 2 ** (-1000 * since / half_life_ms)
    return x * 10 ** (RMS_DB / 20) / np.sqrt(np.mean(x**2))


def ramped(carrier: int | None, period_ms: float, half_life_ms: float, seed: int = 0) -> NDArray:
    """Return the same reversed in time, with equal energy and long-term spectrum."""
    return damped(carrier, period_ms, half_life_ms, seed)[::-1].copy()


def responses(x: NDArray, floor_db: float = FLOOR_DB) -> dict[str, float]:
    """Return every response to a sound, {"HEARER RESPONSE": value}."""
    quiet = np.zeros(round(SILENCE * RATE))
    x = np.concatenate([quiet, x, quiet])
    fine = speechasym.features(x, RATE, features="gammatone", rate=INNER)
    track = np.maximum(fine - floor_db, 0)  # (F, C) dB above the floor
    out = _all("power, 500 Hz", track, track, INNER)
    plays = Play(WIDTHS)(torch.from_numpy(track.T.copy()))[0].numpy()  # (C, K, F)
    for k, width in enumerate(WIDTHS):
        play = plays[:, k].T
        out |= _all(f"level {k + 1}", track, play, INNER, width)
    mel = np.maximum(logmel(x), -100) + 100
    return out | _all("log-mel", mel, mel, 100)


def _all(
    name: str, track: NDArray, play: NDArray, rate: int, width: float | None = None
) -> dict[str, float]:
    """Return the responses of a play of a track, both (F, C), or of the track without width."""
    begin, end = round(SILENCE * rate), round((SILENCE + SECONDS + AFTER) * rate)
    p, x = play[begin:end], track[begin:end]
    work = np.abs(np.diff(play[begin - 1 : end], axis=0)).mean(1).sum() / SECONDS
    out = {
        "work": work,
        "play": p.mean(),
        "continuity": p.mean() / work,
        "energy": 10 * np.log10(np.mean(10 ** (p / 10))),
    }
    if width is not None:
        power, index = 10 ** (x / 10) - 1, (x - p) / width
        out["rising"] = (power * (1 + index) / 2).sum() / power.sum()
        out["index"] = index[x > 0].mean()
    return {f"{name} {key}": float(value) for key, value in out.items()}


def matched_log_ratio(
    half_life: NDArray, ramped: NDArray, damped_half_life: NDArray, damped: NDArray
) -> NDArray:
    """Return ln(damped / ramped half-life) of equal response, for each ramped sound: (H,).

    The damped curve is interpolated over the logarithm of the half-life; if it passes the wanted
    response more than once, the crossing nearest to the ramped half-life counts, which favours no
    asymmetry. NaN if it never does.
    """
    where = np.log(damped_half_life)
    out = np.full(len(half_life), np.nan)
    for i, (ramped_log, wanted) in enumerate(zip(np.log(half_life), ramped, strict=True)):
        off = damped - wanted
        before, after = off[:-1], off[1:]
        (crossing,) = np.nonzero((before * after <= 0) & (before != after))
        if len(crossing):
            share = before[crossing] / (before[crossing] - after[crossing])
            matches = where[crossing] + share * (where[crossing + 1] - where[crossing])
            ratios = matches - ramped_log
            out[i] = ratios[np.abs(ratios).argmin()]
    return out


def conditions(quick: bool) -> dict[str, list[tuple[int | None, int, int]]]:
    """Return carrier, period and seed of every condition, of sines and of noise."""
    periods = PERIODS[:1] if quick else PERIODS
    carriers, seeds = (CARRIERS[1:3], range(2)) if quick else (CARRIERS, range(8))
    return {
        "sine": [(c, p, 0) for c in carriers for p in periods],
        "noise": [(None, p, s) for s in seeds for p in periods],
    }


def curves(sound: str, quick: bool, floor_db: float) -> dict[str, tuple[NDArray, NDArray]]:
    """Return every response to ramped and to damped sounds: (conditions, half-lives) each."""
    up: dict[str, list] = {}
    down: dict[str, list] = {}
    for carrier, period, seed in conditions(quick)[sound]:
        for make, lives, to in ((ramped, HALF_LIVES, up), (damped, DAMPED, down)):
            by_life = [responses(make(carrier, period, h, seed), floor_db) for h in lives]
            for name in by_life[0]:
                to.setdefault(name, []).append([r[name] for r in by_life])
    return {name: (np.array(up[name]), np.array(down[name])) for name in up}


def run(quick: bool) -> dict[str, Any]:
    """Return curves at the usual floor, their evaluation, and the matches at other floors."""
    by_sound, rows, others = {}, [], []
    for sound in PEOPLE:
        for floor in (FLOOR_DB, *(() if quick else OTHER_FLOORS_DB)):
            log(f"A: ramped and damped {sound}, floor {floor:g} dB")
            here = curves(sound, quick, floor)
            if floor == FLOOR_DB:
                by_sound[sound] = here
                rows += [_row(sound, name, *c) for name, c in here.items()]
                continue
            for name in ("level 1 continuity", "level 2 continuity", "power, 500 Hz continuity"):
                others.append(_row(sound, name, *here[name]) | {"floor": floor})
    return {"curves": by_sound, "rows": rows, "floors": others}


def _row(sound: str, name: str, up: NDArray, down: NDArray) -> dict[str, Any]:
    """Return the evaluation of one response to one kind of sound."""
    hearer, response = name.rsplit(" ", 1)
    same = down[:, [DAMPED.index(h) for h in HALF_LIVES]]
    matches = np.array(
        [
            matched_log_ratio(np.array(HALF_LIVES), u, np.array(DAMPED), d)
            for u, d in zip(up, down, strict=True)
        ]
    )
    effect: Callable[[NDArray], float] = lambda v: float(np.exp(np.nanmean(v)))  # noqa: E731
    if response in SIGNED:
        difference = up - same
    elif response in DECIBEL:
        difference = (up - same) * np.log(10) / 10  # as a ratio of energies
    else:
        difference = np.log(up / same)
    return {
        "sound": sound, "hearer": hearer, "response": response,
        "more": interval(up > same + 1e-6 * np.abs(same)),
        "ratio": interval(difference, np.mean if response in SIGNED else effect),
        "match": interval(matches, lambda v: effect(v) if (~np.isnan(v)).any() else np.nan),
        "matched": float(np.mean(~np.isnan(matches))),
    }  # fmt: skip


def verdict(row: dict[str, Any]) -> str:
    """Compare a response with people: first the direction, then the size of the match."""
    more: Interval = row["more"]
    bounds = (1 - more.high, 1 - more.low) if row["response"] in LESS else (more.low, more.high)
    if row["response"] not in SIGNED and abs(np.log(row["ratio"][1:])).max() < EQUAL:
        return "equal"
    if bounds[1] < 0.5:
        return "wrong way"
    if bounds[0] <= 0.5:
        return "undecided"
    if row["matched"] < ENOUGH:
        return "right way, no match"
    match, people = row["match"], PEOPLE[row["sound"]]
    if match.low <= people <= match.high:
        return "right way and size"
    return f"right way, too {'small' if match.value < people else 'large'}"


def report(result: dict[str, Any]) -> str:
    """Return the report of this experiment in Markdown."""
    order = sorted(result["rows"], key=lambda r: (list(MEANING).index(r["response"]), r["hearer"]))
    parts = ["Responses: " + "; ".join(f"*{k}*: {v}" for k, v in MEANING.items()) + ".", ""]
    for sound, people in PEOPLE.items():
        rows = [
            [
                r["response"], r["hearer"], formatted(r["more"], 0, 100), formatted(r["ratio"], 2),
                formatted(r["match"], 2), f"{100 * r['matched']:.0f}", verdict(r),
            ]
            for r in order if r["sound"] == sound
        ]  # fmt: skip
        head = [
            "response", "hearer", "ramped greater, % of pairs", "ramped / damped (index: minus)",
            f"matched half-life ratio (people {people:g})", "matched, %", "reading",
        ]  # fmt: skip
        parts += [f"**{sound.capitalize()} carriers**", "", table(head, rows)]
    good = {
        s: {f"{r['hearer']} {r['response']}" for r in order
            if r["sound"] == s and verdict(r) == "right way and size"}
        for s in PEOPLE
    }  # fmt: skip
    both = sorted(set.intersection(*good.values()))
    parts += [f"Right way and size for sines and for noise: {', '.join(both) or 'none'}.", ""]
    if result["floors"]:
        rows = [
            [r["sound"], r["hearer"], f"{r['floor']:g}", formatted(r["match"], 2)]
            for r in result["floors"]
        ]
        parts += ["Matched half-life ratio of continuity with other floors than -80 dB:", ""]
        parts += [table(["sound", "hearer", "floor, dB", "ratio"], rows)]
    return "\n".join(parts)


def figure(result: dict[str, Any], out: Path) -> None:
    """Plot the curves of three hearers."""
    names = ("level 1 continuity", "level 3 continuity", "power, 500 Hz continuity")
    fig, row = axes(len(names), 11, 3.6)
    for axis, name in zip(row, names, strict=True):
        for sound, colour in zip(PEOPLE, COLOURS, strict=False):
            up, down = result["curves"][sound][name]
            axis.plot(HALF_LIVES, up.mean(0), "-o", color=colour, label=f"{sound}, ramped", ms=4)
            axis.plot(DAMPED, down.mean(0), "--", color=colour, label=f"{sound}, damped")
        axis.set(
            xscale="log", yscale="log", title=name, xlabel="half-life (ms)",
            xticks=[1, 4, 16, 64], xticklabels=["1", "4", "16", "64"],
        )  # fmt: skip
    row[0].set_ylabel("continuity: play / work (s)")
    row[0].legend(frameon=False, fontsize=8)
    save(fig, out / "ramped.png")
