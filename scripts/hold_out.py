"""Hold out speakers: split a manifest of cuts in two, to make choices without the test set.

    python scripts/hold_out.py CUTS --out DIR --folds 4          # every speaker held out once
    python scripts/hold_out.py CUTS --out DIR --speakers 1284,260

writes DIR/fold0_train_cuts.jsonl.gz, DIR/fold0_dev_cuts.jsonl.gz and so on. Speakers are taken in
the order of their names and spread evenly over the folds.
"""

import argparse
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from lhotse import CutSet

from speechasym.config import names
from speechasym.corpora.manifests import stream_cuts
from speechasym.errors import ConfigError, SpeechAsymError


def folds_of(speakers: Sequence[str], folds: int) -> list[list[str]]:
    """Divide speakers into folds of neighbours, so that a fold has several of a dialect or none.

    Raises `ConfigError` unless every fold has a speaker and leaves one to train on.
    """
    names = sorted(set(speakers))
    if not 1 < folds <= len(names):
        raise ConfigError(
            "--folds", f"must be from 2 to the number of speakers, got {folds} of {len(names)} "
            "speakers", "Use fewer folds",
        )  # fmt: skip
    edges = [round(i * len(names) / folds) for i in range(folds + 1)]
    return [names[a:b] for a, b in pairwise(edges)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the manifests and print the speakers of each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("cuts", help="manifest of cuts, as written by `speechasym prepare`")
    parser.add_argument("--out", required=True, help="folder for the manifests")
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--folds", type=int, help="number of pairs of manifests")
    how.add_argument("--speakers", help="comma-separated speakers to hold out in a single pair")
    options = parser.parse_args(arguments)
    try:
        speakers = {cut.supervisions[0].speaker for _, cut in stream_cuts(options.cuts)}
        if options.folds:
            folds = folds_of(list(speakers), options.folds)
        else:
            folds = [list(names(options.speakers) or [options.speakers])]
            if missing := sorted(set(folds[0]) - speakers):
                raise ConfigError(
                    "--speakers", f"{missing[0]} is not in {options.cuts}", "Check the names"
                )
        Path(options.out).mkdir(parents=True, exist_ok=True)
        for number, held_out in enumerate(folds):
            paths = [
                Path(options.out) / f"fold{number}_{p}_cuts.jsonl.gz" for p in ("train", "dev")
            ]
            with CutSet.open_writer(paths[0]) as train, CutSet.open_writer(paths[1]) as dev:
                for _, cut in stream_cuts(options.cuts):
                    (dev if cut.supervisions[0].speaker in held_out else train).write(cut)
            print(f"fold {number}: held out {', '.join(held_out)}")
    except SpeechAsymError as error:
        parser.exit(2, f"hold_out: {error}\n")


if __name__ == "__main__":
    main()
