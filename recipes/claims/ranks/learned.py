"""Which law do the units that levels learned follow, and are their numbers ordered? (C16).

Shapes: G utterances, U units.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recipes.claims.asymmetry.common import log
from recipes.claims.ranks.units import ROUNDS, Ranks, measure, picture, report
from speechasym.corpora.manifests import stream_cuts
from speechasym.errors import ConfigError
from speechasym.plots.ranks import unit_use
from speechasym.recognition.trained_model import TrainedModel, open_run
from speechasym.training import cut_features

MOST_S = 1000.0  # of speech


def wins(trained: TrainedModel, cuts: Path, most_s: float) -> dict[int, NDArray[np.float64]]:
    """Return {level: how many events each unit won in each utterance, (G, U)}."""
    rows: dict[int, list[NDArray[np.float64]]] = {}
    seconds = 0.0
    for _, cut in stream_cuts(cuts):
        features = cut_features.features_of(cut_features.FeatureTask(cut, trained.feature_config))
        for use in unit_use(trained, [trained.output(features)]):
            rows.setdefault(use.level, []).append(use.wins)
        seconds += cut.duration
        if seconds > most_s:
            break
    return {level: np.array(won) for level, won in rows.items()}


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out/claims/ranks"))
    parser.add_argument("--run", action="append", required=True, metavar="NAME=[RUN]=CUTS")
    parser.add_argument("--seconds", type=float, default=MOST_S, help="of speech for each run")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args(arguments)
    runs = []
    for word in options.run:
        if word.count("=") != 2 or word.endswith("="):
            problem = f"must be NAME=RUN=CUTS, got {word!r}"
            raise ConfigError("run", problem, "Leave RUN empty for the pretrained model")
        name, run, cuts = word.split("=")
        runs.append((name, open_run(run or None), Path(cuts)))
    rows: list[Ranks] = []
    for name, trained, path in runs:
        for level, won in wins(trained, path, options.seconds).items():
            rows.append(measure(f"{name}, level {level} of {won.shape[1]}", won, options.rounds))
            log(f"fitted {rows[-1].name}")
    levels = sorted({f"level {row.name.split('level ')[1].split()[0]}" for row in rows})
    picture(rows, options.out / "learned.png", levels)
    (options.out / "learned.md").write_text(report(rows), "utf-8")
    print(report(rows))


if __name__ == "__main__":
    main()
