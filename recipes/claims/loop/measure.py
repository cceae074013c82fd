"""Exponents, spread and rank laws of feedback loops, trained and untrained (C23).

    python -m recipes.claims.loop.measure --run NAME-seedN=FOLDER ... --cuts CUTS --noise NOISE

For each run a file OUT/NAME-seedN.json, and one of a net of the same configuration before training;
those that exist are kept.

Shapes: B utterances, U units.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recipes.claims.arbitration import readings
from recipes.claims.arbitration.measure import scored
from recipes.claims.asymmetry.common import log
from recipes.claims.context.windows import by_speaker
from recipes.claims.loop.closed import ClosedLoop, listening, scaled, spread
from recipes.claims.loop.exponent import growths
from recipes.claims.ranks.learned import wins
from recipes.provenance import commit, machine
from speechasym import files
from speechasym.corpora.manifests import stream_cuts
from speechasym.levels.hierarchy import build_model
from speechasym.recognition.trained_model import TrainedModel, open_run
from speechasym.training.cut_features import FeatureTask, features_of

GAINS = (0.0, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 16.0)
CROSSED = (1.0, 2.0, 4.0, 8.0)  # gains at which other numbers of passes are tried
DISTANCES = (1e-4, 1e-3, 1e-2, 1e-1, 0.5)  # shares of the norm of what is heard
DISTANCE = 1e-3  # of other gains than 1
PASSES, TRANSIENT = 30, 10
IN_USE = (2, 10)  # passes before the answer
SETTLING = 40  # passes in which a loop is watched
LONGEST = 12  # period that is looked for
SAME = 1e-3  # share of its norm by which a state may differ from where it was
AFTER = 8  # passes after an event has changed


def batch(trained: TrainedModel, cuts: str | Path, count: int) -> tuple[Tensor, Tensor]:
    """Return features (B, frames, columns) and frames (B,) of utterances spread over the cuts."""
    every = [cut for _, cut in stream_cuts(cuts)]
    chosen = every[:: max(1, len(every) // count)][:count]
    rows = [features_of(FeatureTask(cut, trained.feature_config)) for cut in chosen]
    padded = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(r) for r in rows], True)
    return padded, torch.tensor([len(r) for r in rows])


def untrained(trained: TrainedModel, cuts: str | Path, seed: int) -> TrainedModel:
    """Return a net of the same configuration as it is before training; it hears, at random."""
    torch.manual_seed(seed)
    sizes = {head: len(symbols) for head, symbols in trained.written.items()}
    config: Any = trained.config.model
    inputs: Any = trained.model.inputs
    model: Any = build_model(config, inputs, sizes).eval()
    model.initialise([batch(trained, cuts, 30)])
    return trained._replace(model=listening(model, seed))


def with_passes(trained: TrainedModel, passes: int, gain: float = 1.0) -> TrainedModel:
    """Return a net that is read after so many passes, with another gain of what is heard."""
    model: Any = trained.model
    model = scaled(model, gain)
    feedback = replace(model.config.feedback, passes=passes, settle=0.0)
    model.config = replace(model.config, feedback=feedback)
    return trained._replace(model=model)


def settling(loop: ClosedLoop) -> tuple[list[list[float]], list[int], Tensor, float]:
    """Return how a loop settles, where it is then, and the greatest norm that a state had.

    Returns:
        changes of what is heard from pass to pass, as shares of its norm (passes, B); the passes
        after which each utterance comes back to where it was, 1: a fixed point, 0: it does not;
        the last state (B, N); the norm.
    """
    states = [loop.start]
    for _ in range(SETTLING):
        states.append(loop(states[-1]))
    passes = torch.stack(states)
    sizes = passes.norm(dim=2)
    moves = (passes[1:] - passes[:-1]).norm(dim=2) / sizes[1:]
    back = (passes[-1 - LONGEST : -1].flip(0) - passes[-1]).norm(dim=2) < SAME * sizes[-1]
    periods = torch.where(back.any(0), back.int().argmax(0) + 1, 0)
    return moves.tolist(), periods.tolist(), passes[-1], float(sizes.max())


def dynamics(trained: TrainedModel, features: Tensor, lengths: Tensor) -> dict[str, Any]:
    """Return exponents by gain and by distance, how the loop settles, how an event spreads."""
    model: Any = trained.model
    exponents = []
    for gain in GAINS:
        loop = ClosedLoop(scaled(model, gain), features, lengths)
        for distance in DISTANCES if gain == 1 else (DISTANCE,):
            grown = growths(loop, loop.start, passes=PASSES, transient=TRANSIENT, distance=distance)
            row = [x if np.isfinite(x) else None for x in grown.mean(0).tolist()]
            exponents.append({"gain": gain, "distance": distance, "exponents": row})
    loop = ClosedLoop(model, features, lengths)
    moves, periods, state, largest = settling(loop)
    spreads = {}
    for level in range(len(loop.channels)):
        found = spread(loop, state, level, AFTER)
        spreads[level] = {name: x.nan_to_num(0).tolist() for name, x in found.items()}
    return {
        "exponents": exponents, "moves": moves, "periods": periods, "largest": largest,
        "steps": loop.grid.mask.sum(1).tolist(), "spread": spreads,
    }  # fmt: skip


def errors(
    nets: Mapping[str, TrainedModel], cuts: str, noise: Path | None, snr_db: Sequence[float],
    every: int,
) -> dict[str, Any]:  # fmt: skip
    """Return errors and tokens {condition: {net: {head: {speaker: [errors, tokens]}}}}."""
    found: dict[str, Any] = {}
    for snr in (None, *(snr_db if noise else ())):
        condition = readings.read(nets, cuts, "test", noise=noise, snr_db=snr, every=every)
        speakers = {u.name: u.speaker for u in condition.utterances}
        name = "clean" if snr is None else f"{snr:g} dB"
        found[name] = {net: {} for net in nets}
        for net in nets:
            for head, symbols in condition.symbols.items():
                answers = {
                    u.name: [symbols[n - 1] for n in u.readings[head][net].labels]
                    for u in condition.utterances
                }
                counts = by_speaker(scored(condition, head, answers), speakers)
                found[name][net][head] = counts
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--run", action="append", required=True, metavar="NAME-seedN=FOLDER")
    add("--cuts", required=True, help="test utterances")
    add("--train", help="cuts that untrained nets are set by; default: those of the run")
    add("--noise", type=Path, help="folder of noises; default: errors as recorded only")
    add("--snr", type=float, nargs="*", default=[5.0], help="dB")
    add("--every", type=int, default=2, help="reads one of so many utterances for errors")
    add("--count", type=int, default=8, help="utterances whose loop is watched")
    add("--out", type=Path, default=Path("out/claims/loop"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    for word in options.run:
        name, folder = word.split("=", 1)
        seed = name.rsplit("-seed", 1)[1]
        trained = open_run(folder)
        feedback: Any = trained.config.model
        passes = feedback.feedback.passes
        before = untrained(trained, options.train or trained.config.data.train, int(seed))
        for kind, net in (("trained", trained), ("untrained", before)):
            path = options.out / f"{name}-{kind}.json"
            if path.exists():
                continue
            result: dict[str, Any] = {"name": name, "kind": kind, "passes": passes}
            result |= dynamics(net, *batch(trained, options.cuts, options.count))
            log(f"{path.stem}: exponents")
            result["wins"] = {
                when: {level: won.tolist() for level, won in
                       wins(with_passes(net, last), Path(options.cuts), 300).items()}
                for when, last in (("first pass", 1), ("last pass", passes))
            }  # fmt: skip
            if kind == "trained":
                nets = {f"gain {gain:g}": with_passes(net, passes, gain) for gain in GAINS}
                nets |= {
                    f"gain {gain:g}, passes {n}": with_passes(net, n, gain)
                    for gain in CROSSED for n in IN_USE
                }  # fmt: skip
                result["errors"] = errors(nets, options.cuts, options.noise, options.snr,
                                          options.every)  # fmt: skip
            files.write_json(path, result | {"commit": commit(), "machine": machine()})
            log(f"wrote {path}")


if __name__ == "__main__":
    main()
