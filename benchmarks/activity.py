"""Measure speech activity beside other detectors: the tables of docs/segments.md.

    python benchmarks/activity.py --data DATA --cache CACHE [--readers 28]

DATA holds LibriSpeech, LibriSpeech-more, timit and noise. Detectors that are not installed are left
out. Thresholds are chosen on `local-dev` (4 readers); those by which a noise is scored have not
heard it. Test: 28 readers of train-clean-5 and 12 speakers of TIMIT.

Frames of 10 ms. Cost: 0.75 of the speech missed + 0.25 of the rest accepted. Intervals: 95 %,
bootstrap over readers.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import activity_rivals as rivals
import numpy as np
from activity_recordings import NOISES, Mixture, frame_db, librispeech, mixtures, timit
from measure import ROOT
from numpy.typing import NDArray

from speechasym.recognition import activity, activity_evidence
from speechasym.recognition.activity import ActivityConfig
from speechasym.scoring.boundaries import score_boundaries

sys.path.insert(0, str(ROOT / "scripts"))
import fit_activity

LEVELS, RULE = "levels", "levels, untrained"
RULE_COLUMN = "mean of bands2 over 0.41 s"
LEAST_MARGIN = 1e-3
MARGINS = (0.0, 0.25, 0.5, 1.0)  # deviations of a score between the two thresholds
TOLERANCES = (0.1, 0.2)  # s
SHORTEST_GAP_S = 0.2


class Scored(NamedTuple):
    """A recording, and the scores (F,) of each detector."""

    mixture: Mixture
    scores: dict[str, NDArray]
    level_db: NDArray


def detectors() -> dict[str, rivals.Score]:
    """Return what is installed, by name."""
    found: dict[str, rivals.Score] = {
        "energy": rivals.energy, "long-term flatness": rivals.flatness,
        "modulation 2 to 8 Hz": rivals.modulation,
    }  # fmt: skip
    for name, make in (("WebRTC", rivals.webrtc), ("Silero", rivals.silero)):
        try:
            found[name] = make()
        except ImportError:
            print(f"{name}: not installed", file=sys.stderr)
    return found


def score(
    mixed: Iterable[Mixture], others: dict[str, rivals.Score], seconds: dict[str, float],
    change: Callable[[NDArray], NDArray] | None = None,
) -> list[Scored]:  # fmt: skip
    """Run every detector on every recording; adds the processor time of each to `seconds`."""
    rows = []
    logistic = activity.read_logistic(activity.FILE)
    column = activity_evidence.columns().index(RULE_COLUMN)
    for m in mixed:
        x = m.x if change is None else change(m.x)
        size, scores, clock = len(m.speech), {}, time.process_time()
        evidence = np.concatenate(list(activity_evidence.evidence([x])))[:size]
        scores[LEVELS] = logistic.log_odds(evidence.astype(np.float64))
        seconds[LEVELS] = seconds.get(LEVELS, 0) + time.process_time() - clock
        scores[RULE] = np.log(evidence[:, column].astype(np.float64) + 1e-9)
        for name, detector in others.items():
            clock = time.process_time()
            scores[name] = detector(x)[:size]
            seconds[name] = seconds.get(name, 0) + time.process_time() - clock
        seconds["sound"] = seconds.get("sound", 0) + len(x) / 16000
        rows.append(Scored(m, scores, frame_db(x)[:size]))
    return rows


def curve(score: NDArray, speech: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Thresholds, share of speech missed, share of the rest accepted."""
    values, where = np.unique(score, return_inverse=True)
    yes = np.bincount(where, speech == 1, len(values))
    no = np.bincount(where, speech == 0, len(values))
    missed = np.concatenate([[0], np.cumsum(yes)]) / max(1, yes.sum())
    accepted = 1 - np.concatenate([[0], np.cumsum(no)]) / max(1, no.sum())
    return np.append(values, values[-1] + 1), missed, accepted


def joined(rows: list[Scored], name: str) -> tuple[NDArray, NDArray]:
    """Scores and labels of all frames that count."""
    score = np.concatenate([row.scores[name] for row in rows])
    speech = np.concatenate([row.mixture.speech for row in rows])
    return score[speech >= 0], speech[speech >= 0]


def area_and_equal(rows: list[Scored], name: str) -> tuple[float, float]:
    """Area under the curve, and the equal error rate."""
    _, missed, accepted = curve(*joined(rows, name))
    area = float(np.trapezoid(1 - missed[::-1], accepted[::-1]))
    at = int(np.abs(missed - accepted).argmin())
    return area, float((missed[at] + accepted[at]) / 2)


class Operating(NamedTuple):
    """What was chosen on other readers and other noises."""

    f1: float  # threshold with the greatest F1
    cost: float  # threshold with the least cost
    margin: float  # between the thresholds of a segment


def choose(rows: list[Scored], name: str) -> Operating:
    """Choose thresholds, and the margin with the greatest F1 of segments."""
    value, speech = joined(rows, name)
    thresholds, missed, accepted = curve(value, speech)
    share = (speech == 1).mean()
    hits = (1 - missed) * share
    f1 = 2 * hits / (hits + share + accepted * (1 - share))
    best = float(thresholds[f1.argmax()])
    cost = float(thresholds[(0.75 * missed + 0.25 * accepted).argmin()])
    spread = float(value.std())
    f1s = [f1_of(rows, name, Operating(best, cost, m * spread), True) for m in MARGINS]
    return Operating(best, cost, MARGINS[int(np.argmax(f1s))] * spread)


def decided(row: Scored, name: str, at: Operating) -> NDArray[np.bool_]:
    """Where there is speech after hysteresis and shortest durations."""
    return classes_of(row, name, at)[0]


def classes_of(row: Scored, name: str, at: Operating) -> tuple[NDArray, NDArray]:
    """Where there is speech, and silence, by two thresholds around the one that was chosen."""
    margin = max(at.margin, LEAST_MARGIN)  # equal scores must not fall between
    shifted = row.scores[name].astype(np.float64) - at.f1 - margin / 2 + LEAST_MARGIN / 2
    return activity.classes(shifted, row.level_db, ActivityConfig(threshold=0.5, margin=margin))


def f1_of(rows: list[Scored], name: str, at: Operating, segments: bool = False) -> float:
    """F1 of frames, as they come or after hysteresis."""
    hits = wrong = speech = 0
    for row in rows:
        yes = decided(row, name, at) if segments else row.scores[name] >= at.f1
        truth = row.mixture.speech
        hits += int((yes & (truth == 1)).sum())
        wrong += int((yes & (truth == 0)).sum())
        speech += int((truth == 1).sum())
    return 2 * hits / (hits + wrong + speech)


def cost_of(rows: list[Scored], name: str, at: Operating) -> float:
    """0.75 of the speech missed + 0.25 of the rest accepted."""
    value, speech = joined(rows, name)
    yes = value >= at.cost
    return float(0.75 * (~yes[speech == 1]).mean() + 0.25 * yes[speech == 0].mean())


def boundaries(mask: NDArray) -> list[float]:
    """Starts and ends of runs in s; gaps shorter than 0.2 s are closed."""
    closed = ~activity.without_short(~mask, round(100 * SHORTEST_GAP_S))
    return (np.flatnonzero(np.diff(closed.astype(int), prepend=0, append=0)) / 100).tolist()


def boundary_scores(rows: list[Scored], name: str, at: dict[str, Operating]) -> list[float]:
    """F1 of boundaries within each tolerance, and the median distance to the nearest, s."""
    truth = {str(n): boundaries(row.mixture.speech != 0) for n, row in enumerate(rows)}
    found = {
        str(n): boundaries(decided(row, name, at[row.mixture.noise])) for n, row in enumerate(rows)
    }
    f1s = [score_boundaries(truth, found, tolerance=t).f1 for t in TOLERANCES]
    near = [
        min((abs(t - other) for other in found[n]), default=9.0) for n in truth for t in truth[n]
    ]
    return [*f1s, float(np.median(near))]


def interval(values: list[float], seed: int = 0) -> tuple[float, float, float]:
    """Mean over readers, and its 95 % interval."""
    row = np.array(values)
    drawn = row[np.random.default_rng(seed).integers(len(row), size=(2000, len(row)))].mean(1)
    low, high = np.quantile(drawn, [0.025, 0.975]).tolist()
    return float(row.mean()), low, high


def groups(rows: list[Scored]) -> dict[str, list[Scored]]:
    """All, and by condition and noise."""
    table = {"all": rows}
    for row in rows:
        for key in {row.mixture.condition, row.mixture.noise} - {"none"}:
            table.setdefault(key, []).append(row)
    return table


def measure(rows: list[Scored], at: dict[str, dict[str, Operating]]) -> dict[str, Any]:
    """{group: {detector: {measure: (mean, low, high)}}} over readers."""
    result: dict[str, Any] = {}
    for group, part in groups(rows).items():
        readers = dict.fromkeys(row.mixture.reader for row in part)
        own = [[row for row in part if row.mixture.reader == reader] for reader in readers]
        for name in part[0].scores:
            areas = [area_and_equal(few, name) for few in own]
            f1s, segments, costs = [], [], []
            for few in own:
                by = [[row for row in few if row.mixture.noise == n] for n in at[name]]
                pairs = [(r, at[name][n]) for r, n in zip(by, at[name], strict=True) if r]
                weight = [sum(int((r.mixture.speech == 1).sum()) for r in rs) for rs, _ in pairs]
                f1s.append(float(np.average([f1_of(r, name, o) for r, o in pairs], weights=weight)))
                segments.append(
                    float(np.average([f1_of(r, name, o, True) for r, o in pairs], weights=weight))
                )
                costs.append(
                    float(np.average([cost_of(r, name, o) for r, o in pairs], weights=weight))
                )
            result.setdefault(group, {})[name] = {
                "area": interval([a for a, _ in areas]), "equal": interval([e for _, e in areas]),
                "f1": interval(f1s), "segments": interval(segments), "cost": interval(costs),
                "boundaries": boundary_scores(part, name, at[name]),
            }  # fmt: skip
    return result


def three_classes(rows: list[Scored], at: dict[str, Operating]) -> dict[str, dict[str, float]]:
    """Share of frames of each kind that is called speech, noise and silence."""
    counts = np.zeros((3, 3))
    for row in rows:
        m = row.mixture
        speech, silent = classes_of(row, LEVELS, at[m.noise])
        noisy = np.zeros(len(m.speech), bool)
        if m.noise != "none":
            inside = np.flatnonzero(m.speech != 0)
            alone = np.arange(len(m.speech))
            noisy = ~m.silence & ((alone < inside[0]) | (alone > inside[-1]))
            if m.condition == "beside":  # the pauses of the utterance have no noise
                noisy &= m.speech == 0
        for k, kind in enumerate((m.speech == 1, noisy, m.silence)):
            counts[k] += [(kind & c).sum() for c in (speech, ~speech & ~silent, silent)]
    table = counts / counts.sum(1, keepdims=True)
    return {
        kind: dict(zip(activity.LABELS, row.tolist(), strict=True))
        for kind, row in zip(activity.LABELS, table, strict=True)
    }


def print_tables(result: dict[str, Any]) -> None:
    """Print the tables of docs/segments.md."""

    def cell(row: dict[str, Any], kind: str) -> str:
        mean, low, high = row[kind]
        if kind == "area":
            return f"{mean:.3f} ({low:.3f} to {high:.3f})"
        return f"{100 * mean:.1f} ({100 * low:.1f} to {100 * high:.1f})"

    for part in ("librispeech", "timit", "telephone"):
        rows = [
            [name, *(cell(row, kind) for kind in ("area", "equal", "f1", "segments", "cost")),
             f"{100 * row['boundaries'][0]:.0f}", f"{100 * row['boundaries'][1]:.0f}",
             f"{1000 * row['boundaries'][2]:.0f}"]
            for name, row in result[part]["all"].items()
        ]  # fmt: skip
        print_table([part, "area", "equal error, %", "F1, %", "F1 of segments, %", "cost, %",
                     "boundaries in 0.1 s", "0.2 s", "median ms"], rows)  # fmt: skip
        conditions = [group for group in result[part] if group != "all"]
        names = list(result[part]["all"])
        print_table(["area", *names], [
            [group, *(f"{result[part][group][name]['area'][0]:.3f}" for name in names)]
            for group in conditions
        ])  # fmt: skip
    print_table(["is", *activity.LABELS], [
        [kind, *(f"{share:.1%}" for share in row.values())]
        for kind, row in result["classes"].items()
    ])  # fmt: skip
    print_table(["processor time per second of sound", "ms"], [
        [name, f"{1000 * value:.2f}"] for name, value in result["real-time factor"].items()
    ])  # fmt: skip


def print_table(head: list[str], rows: list[list[str]]) -> None:
    """Print a table in markdown."""
    for row in (head, ["---"] * len(head), *rows):
        print("| " + " | ".join(row) + " |")
    print()


def main() -> None:
    """Measure everything, and print tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the recordings")
    parser.add_argument("--cache", type=Path, required=True, help="folder for alignments")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures here")
    parser.add_argument("--readers", type=int, default=28, help="of the test (default: 28)")
    o = parser.parse_args()
    noises, seconds = o.data / "noise", dict[str, float]()
    others = detectors()
    dev = librispeech(o.data / "LibriSpeech" / "local-dev", o.cache / "dev.json")
    chosen = score(mixtures(dev, noises, every=2), others, seconds)
    at = {
        name: {
            noise: choose([row for row in chosen if row.mixture.noise != noise], name)
            for noise in (*NOISES, "none")
        }
        for name in chosen[0].scores
    }
    print("thresholds chosen", file=sys.stderr)
    folder = o.data / "LibriSpeech-more" / "train-clean-5"
    test = dict(list(librispeech(folder, o.cache / "test.json").items())[: o.readers])
    scored = score(mixtures(test, noises, every=3), others, seconds)
    result: dict[str, Any] = {
        "librispeech": measure(scored, at),
        "classes": three_classes(scored, at[LEVELS]),
    }
    print("librispeech measured", file=sys.stderr)
    phone = score(mixtures(test, noises, ("10",), every=3), others, seconds, fit_activity.telephone)
    result["telephone"] = measure(phone, at)
    hand = dict(list(timit(o.data / "timit").items())[: o.readers])
    result["timit"] = measure(
        score(mixtures(hand, noises, ("10", "0"), every=3), others, seconds), at
    )
    sound = seconds.pop("sound")
    result["real-time factor"] = {name: s / sound for name, s in seconds.items()}
    result["sound"], result["at"] = (
        sound,
        {n: {k: list(v) for k, v in t.items()} for n, t in at.items()},
    )
    if o.json:
        o.json.write_text(json.dumps(result, indent=1))
    print_tables(result)


if __name__ == "__main__":
    main()
