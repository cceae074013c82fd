"""Compare rules by which several nets give one answer, and calibrate how sure it is (C14).

    python -m recipes.claims.arbitration.measure --run NAME=FOLDER ... --dev CUTS --test CUTS \\
        --noise FOLDER --out OUT --name mini

What nets read is kept in OUT/NAME/*.npz and used again. Rules have nothing to choose but the gate,
the best net and the temperature, which are chosen on dev.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recipes.claims.arbitration import readings
from recipes.claims.arbitration.readings import Condition
from recipes.claims.arbitration.rules import RULES, Gate, Scene, decided
from recipes.claims.arbitration.temperatures import best_temperature, tempered
from recipes.claims.asymmetry.common import log
from recipes.provenance import commit, machine
from speechasym import files
from speechasym.levels.arbitration import Verdict
from speechasym.recognition.trained_model import open_run
from speechasym.scoring import calibration
from speechasym.scoring.error_rates import ErrorRate, error_rate

RIVAL = "mean of log-probabilities"
OURS = list(RULES)[-1]
GATE = "softmax gate, learned on dev"
AGAINST = (
    "best net, chosen on dev", "the same, searched as ours", "majority (ROVER)",
    GATE, "arbitration by answers: equal voices",
)  # fmt: skip
Answers = dict[str, list[str]]  # {utterance: symbols}


def scenes(condition: Condition, head: str, nets: Sequence[str], usual: dict) -> list[Scene]:
    """Return the utterances of a condition as these nets read them with a head."""
    return [Scene(utterance, head, nets, usual) for utterance in condition.utterances]


def scored(condition: Condition, head: str, answers: Answers) -> ErrorRate:
    """Return the error rate of answers, with its drawings of speakers."""
    said = {u.name: u.said[head] for u in condition.utterances}
    speakers = {u.name: u.speaker for u in condition.utterances}
    return error_rate(said, answers, speakers=speakers)


def row(score: ErrorRate, rival: ErrorRate) -> dict[str, Any]:
    """Return a rate with its interval, and its difference from a rival's, in points."""
    low, high = np.nanquantile(score.samples - rival.samples, [0.025, 0.975])
    return {
        "rate": score.rate, "interval": [score.low, score.high],
        "difference": [score.rate - rival.rate, float(low), float(high)],
    }  # fmt: skip


def sure(verdicts: Sequence[Verdict], seen: Sequence[Scene], symbols: Sequence[str]) -> tuple:
    """Return log-probabilities (N, V) of all events, their labels, and which were said (N,)."""
    rows: list[NDArray[np.float32]] = []
    labels: list[int] = []
    correct: list[NDArray[np.bool_]] = []
    for verdict, scene in zip(verdicts, seen, strict=True):
        rows.append(verdict.log_probs[verdict.steps].numpy())
        labels += verdict.labels
        hypothesis = [symbols[label - 1] for label in verdict.labels]
        correct.append(calibration.hits(scene.said, hypothesis))
    return np.concatenate(rows), np.array(labels, int), np.concatenate(correct)


def compare(
    conditions: dict[str, Condition], head: str, nets: Sequence[str], rules: Sequence[str]
) -> dict[str, Any]:
    """Compare rules for one head.

    Args:
        conditions: {PART-CONDITION: what is read}, such as dev-clean and test-10.
        nets: the names of the nets that read together.
        rules: names of `RULES`, and `gate`.
    """
    symbols = next(iter(conditions.values())).symbols[head]
    clean = conditions["dev-clean"]
    usual = {
        net: float(np.mean([u.errors[head][net] for u in clean.utterances]))
        for net in nets if net in clean.utterances[0].errors[head]
    }  # fmt: skip
    seen = {name: scenes(condition, head, nets, usual) for name, condition in conditions.items()}

    def text(labels: Sequence[int]) -> list[str]:
        return [symbols[label - 1] for label in labels]

    single = {
        name: [
            scored(conditions[name], head, {s.name: text(s.readings[n].labels) for s in rows})
            for n in range(len(nets))
        ]
        for name, rows in seen.items()
    }
    best = int(np.argmin([score.rate for score in single["dev-clean"]]))
    answers = {name: RULES[name] for name in rules if name in RULES}
    if "gate" in rules:
        gate = Gate(len(nets))
        dev = [scene for name, rows in seen.items() if name.startswith("dev") for scene in rows]
        gate.learn(dev, {symbol: n + 1 for n, symbol in enumerate(symbols)})
        answers[GATE] = gate.answer
    result: dict[str, Any] = {"head": head, "nets": list(nets), "best": nets[best]}
    result["conditions"] = {}
    for name, rows in seen.items():
        if name.startswith("dev"):
            continue
        scores = {f"net {net}": one for net, one in zip(nets, single[name], strict=True)}
        scores["best net, chosen on dev"] = single[name][best]
        seconds = {}
        for rule, answer in answers.items():
            began = time.process_time()
            read = {s.name: text(answer(s)) for s in rows}
            seconds[rule] = round(time.process_time() - began, 2)
            scores[rule] = scored(conditions[name], head, read)
        table = {rule: row(score, scores[RIVAL]) for rule, score in scores.items()}
        for rule in seconds:
            table[rule]["seconds"] = seconds[rule]
        for rule in AGAINST:
            if rule in scores:
                table[OURS][f"against {rule}"] = row(scores[OURS], scores[rule])["difference"]
        result["conditions"][name.removeprefix("test-")] = table
        log(f"{head} {name}: " + "; ".join(f"{k} {100 * v['rate']:.1f}" for k, v in table.items()))
    result["calibration"] = calibrated(seen, symbols)
    return result


def calibrated(seen: dict[str, list[Scene]], symbols: Sequence[str]) -> dict[str, Any]:
    """Return calibration errors on test: at temperature 1, at the best on dev, and crossed.

    Crossed: each half of test, in the order of its cuts, has the temperature that is best for the
    other half, because cuts of dev, or their voices, may have been trained on.
    """
    events = {name: sure([decided(s) for s in rows], rows, symbols) for name, rows in seen.items()}

    dev = [e for name, e in events.items() if name.startswith("dev")]
    on_dev = best_temperature(*map(np.concatenate, zip(*dev, strict=True)))
    result: dict[str, Any] = {"temperature": on_dev}
    halves = {name: (np.arange(len(e[1])) * 2 // max(1, len(e[1]))) for name, e in events.items()}
    crossed = []
    for half in (0, 1):
        rows = [
            [x[halves[name] == half] for x in e]
            for name, e in events.items() if name.startswith("test")
        ]  # fmt: skip
        crossed.append(best_temperature(*map(np.concatenate, zip(*rows, strict=True))))
    result["crossed"] = crossed
    for name, (log_probs, labels, correct) in events.items():
        if name.startswith("dev") or not len(labels):
            continue
        temperatures = [np.ones(len(labels)), np.full(len(labels), result["temperature"])]
        temperatures.append(np.array(crossed)[1 - halves[name]])
        errors = []
        for t in temperatures:
            p = tempered(log_probs, labels, t).clip(0, 1)
            errors.append(calibration.calibration_error(p, correct))
        p = tempered(log_probs, labels, temperatures[1])
        result[name] = {
            "events": len(labels), "correct": float(correct.mean()), "ece": errors,
            "kept": [float((p >= 0.5).mean()), float(correct[p >= 0.5].mean())],
        }  # fmt: skip
    return result


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--run", action="append", required=True, metavar="NAME=FOLDER")
    add("--dev", required=True)
    add("--test", required=True)
    add("--noise", type=Path, help="folder of noises; default: only as recorded")
    add("--lexicon", help="for the phones that are said, if the cuts have none")
    add("--snr", type=float, nargs="*", default=[10.0, 0.0])
    add("--every", type=int, default=1, help="of test, reads one of so many cuts in noise")
    add("--every-dev", type=int, default=1)
    add("--heads", nargs="*")
    add("--rules", nargs="*", default=[*RULES, "gate"])
    add("--name", required=True, help="of the corpus")
    add("--nets", default="all", help="what the results call these nets")
    add("--out", type=Path, default=Path("out/claims/arbitration"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    paths = dict(word.split("=", 1) for word in options.run)
    runs: dict[str, Any] = {}
    conditions: dict[str, Condition] = {}
    for part, cuts in (("dev", options.dev), ("test", options.test)):
        for snr in [None, *(options.snr if options.noise else [])]:
            name = f"{part}-{'clean' if snr is None else f'{snr:g}'}"
            path = options.out / options.name / f"{name}.npz"
            if not path.exists():
                runs = runs or {name: open_run(folder) for name, folder in paths.items()}
                every = (
                    options.every_dev if part == "dev" else options.every if snr is not None else 1
                )
                condition = readings.read(
                    runs, cuts, part, noise=options.noise, snr_db=snr, every=every,
                    lexicon=options.lexicon,
                )  # fmt: skip
                readings.save(path, condition)
                log(f"read {path}")
            conditions[name] = readings.load(path, list(paths), options.heads)
    heads = options.heads or list(conditions["dev-clean"].symbols)
    for head in heads:
        result = compare(conditions, head, list(paths), options.rules)
        result |= {
            "corpus": options.name,
            "set": options.nets,
            "commit": commit(),
            "machine": machine(),
        }
        path = options.out / "results" / f"{options.name}-{options.nets}-{head}.json"
        files.write_json(path, result)


if __name__ == "__main__":
    main()
