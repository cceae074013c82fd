"""What noise does to a net, wherever it enters: which strengths are equal (C22).

    python -m recipes.claims.fluctuations.strength --run RUN ... --cuts CUTS

Noise enters on the distances of units (`units`, in the unit of distances), on normalised features
(`features`, in their standard deviations) or on tracks before their play (`tracks`, in
half-widths), in nets trained without any. Equal is what makes as many steps of the lowest level
go to another unit.
"""

import argparse
import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recipes.claims.fluctuations.on_tracks import fluctuating
from recipes.claims.loop.measure import batch
from recipes.provenance import table
from speechasym.corpora.manifests import stream_cuts
from speechasym.levels.base import frame_mask
from speechasym.levels.events import Steps
from speechasym.levels.level import ModelOutput
from speechasym.levels.units import Units
from speechasym.recognition.trained_model import TrainedModel, open_run, step_frames
from speechasym.training.augment import hashed_seed
from speechasym.training.cut_features import FeatureTask, features_of

STRENGTHS = {
    "units": (0.1, 0.3, 1.0, 3.0),
    "features": (0.03, 0.1, 0.2, 0.3, 0.5, 1.0),
    "tracks": (0.1, 0.3, 1.0, 3.0),
}
DRAWS = (1, 8)
MEASURES = ("other unit, %", "noise in the output, %", "other phone, %", "other letter, %")


def in_use(trained: TrainedModel, strength: float, draws: int = 1) -> TrainedModel:
    """Return a net whose units fluctuate in use, on all levels."""
    model = copy.deepcopy(trained.model)
    for module in model.modules():
        if isinstance(module, Units):
            module.fluctuation, module.draws = strength, draws
    return trained._replace(model=model)


def refitted(trained: TrainedModel, cuts: str | Path) -> TrainedModel:
    """Return a net whose hysteresis finds its widths again, for the rate of events of training.

    In training they follow activations that fluctuate; without noise these are steadier, and
    means over draws are flatter, so that units hold longer.
    """
    model: Any = copy.deepcopy(trained.model)
    features, lengths = batch(trained, cuts, 30)
    below = Steps.of_frames(features, frame_mask(features, lengths, model.inputs))
    with torch.no_grad():
        for level in model.levels:
            h, x = level.start(below)
            level.find_scale([(level.blocks(h, x.mask), x.mask)])
            below = level(below).passed
    return trained._replace(model=model)


def heard(net: TrainedModel, cut: Any, kind: str, strength: float, draws: int) -> ModelOutput:
    """Return a net's output for a cut, with noise of a kind."""
    with fluctuating(strength if kind == "tracks" else 0.0, draws):
        rows = features_of(FeatureTask(cut, net.feature_config))
    if kind == "features":
        rng = np.random.default_rng(hashed_seed(cut.id))
        rows = rows + strength * rng.standard_normal(rows.shape).astype(np.float32)
    return (in_use(net, strength, draws) if kind == "units" else net).output(rows)


def difference(plain: ModelOutput, noisy: ModelOutput) -> NDArray[np.float64]:
    """Return `MEASURES`, units and output at the lowest level, and the events of each level."""
    a, b = plain.levels[0], noisy.levels[0]
    assert a.winner is not None and b.winner is not None
    spread = (a.y - a.y.mean(1, keepdim=True)).square().sum()
    shares = [(a.winner != b.winner).float().mean(), (a.y - b.y).square().sum() / spread]
    shares += [np.mean(best(plain, head) != best(noisy, head)) for head in ("phones", "letters")]
    return np.array([*(100 * float(share) for share in shares), *events_of(noisy)], float)


def best(output: ModelOutput, head: str) -> NDArray[np.int64]:
    """Return the best class of a head, blank included, at each frame (F,)."""
    log_probs, frames = step_frames(output, head)
    steps = np.searchsorted(frames[:, 0], np.arange(int(frames[-1, 1])) + 0.5) - 1
    classes: NDArray[np.int64] = log_probs.argmax(-1).numpy()[steps]
    return classes


def events_of(output: ModelOutput) -> list[int]:
    """Return how many events each level has that makes some."""
    return [int(level.events.mask.sum()) for level in output.levels if level.events is not None]


def measure(nets: Sequence[TrainedModel], cuts: Sequence[Any]) -> list[list[Any]]:
    """Return kind, strength, draws and (nets, measures) of all noises."""
    seconds = sum(cut.duration for cut in cuts)
    conditions = [("none", 0.0, 1)]
    conditions += [(k, s, d) for k, some in STRENGTHS.items() for s in some
                   for d in (DRAWS if k != "features" else (1,))]  # fmt: skip
    conditions.append(("tracks", 0.0, 0))  # without what passes the hysteresis
    plain = [[heard(net, cut, "none", 0.0, 1) for cut in cuts] for net in nets]
    lines = []
    for condition in conditions:
        rows = []
        for net, outputs in zip(nets, plain, strict=True):
            both = zip(outputs, (heard(net, cut, *condition) for cut in cuts), strict=True)
            whole = np.array([difference(*pair) for pair in both])
            split = len(MEASURES)
            rows.append([*whole[:, :split].mean(0), *whole[:, split:].sum(0) / seconds])
        lines.append([*condition, np.array(rows)])
    return lines


def equal(lines: Sequence[Sequence[Any]], share: float, kind: str) -> float:
    """Return the strength of a kind at which so many % of the steps go to another unit."""
    own = [(line[1], line[3][:, 0].mean()) for line in lines if (line[0], line[2]) == (kind, 1)]
    strengths, shares = zip(*own, strict=True)
    return float(np.exp(np.interp(share, shares, np.log(strengths))))


def report(lines: Sequence[Sequence[Any]]) -> str:
    """Return a table, means over nets with the least and the greatest, and equal strengths."""
    levels = [f"events a second, level {n}" for n in range(lines[0][3].shape[1] - len(MEASURES))]
    digits = (1, 3, 1, 1, *[2] * len(levels))
    body = []
    for kind, strength, draws, rows in lines:
        cells = [f"{column.mean():.{n}f} ({column.min():.{n}f}-{column.max():.{n}f})"
                 for column, n in zip(rows.T, digits, strict=True)]  # fmt: skip
        body.append([kind, f"{strength:g}", str(draws), *cells])
    text = table(["noise on", "strength", "draws", *MEASURES, *levels], body) + "\n"
    for kind, strength, draws, rows in lines:
        if kind in ("units", "tracks") and draws == 1:
            features = equal(lines, rows[:, 0].mean(), "features")
            ends = STRENGTHS["features"][0], STRENGTHS["features"][-1]
            beyond = dict(zip(ends, ("at most ", "at least "), strict=True))
            bound = beyond.get(round(features, 6), "")
            text += f"{kind} {strength:g}: as features {bound}{features:.3f}\n"
    return text


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--run", nargs="+", type=Path, required=True, help="nets trained without noise")
    add("--cuts", required=True, help="utterances")
    add("--count", type=int, default=30, help="utterances to read")
    add("--out", type=Path, default=Path("out/claims/fluctuations"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    every = [cut for _, cut in stream_cuts(options.cuts)]
    chosen = every[:: max(1, len(every) // options.count)][: options.count]
    text = report(measure([open_run(run) for run in options.run], chosen))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "strength.md").write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
