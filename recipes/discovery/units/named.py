"""Write cuts whose phones are units that a run has found between pieces: names to learn from.

    python -m recipes.discovery.units.named RUN|kmeans-SEED CUTS RESULTS OUT

RUN: finished, without labels; kmeans-SEED: 128 clusters of the compact set instead, the rival.
CUTS: manifest. RESULTS: of `measure`. OUT: manifest to write.
"""

import sys
from pathlib import Path

import torch

from recipes.discovery.units import measure, systems
from recipes.discovery.units.corpus import RATE
from speechasym.corpora.manifests import stream_cuts
from speechasym.errors import SpeechAsymError
from speechasym.training.cuts import load_samples


def main(words: list[str]) -> None:
    """Run the command."""
    from lhotse import CutSet
    from lhotse.supervision import AlignmentItem

    run, path, results, out = map(Path, words)
    torch.set_num_threads(1)
    cuts = [cut for _, cut in stream_cuts(path)]
    sounds = {cut.id: load_samples(cut, RATE) for cut in cuts}
    limits = measure.limits(sounds, measure.Results(results))
    rival, _, number = run.name.partition("-")
    if rival == "kmeans" and number.isdigit():
        seed = int(number)
        step = max(1, len(sounds) // measure.FITTED_CUTS)
        some = dict(list(sounds.items())[::step][: measure.FITTED_CUTS])
        compact = systems.FROZEN[measure.CHANGED[1]]
        found = systems.clusters(some, sounds, compact, (128,), seed + 1, limits)[128, seed]
    else:
        found = systems.levels(run, sounds, limits)["level 0 between pieces"]
    units = found.units
    for cut in cuts:
        one = cut.supervisions[0]
        rows = [
            AlignmentItem(f"u{row.label}", row.start, round(row.end - row.start, 6))
            for row in units[cut.id]
        ]
        cut.supervisions = [one.with_alignment("phone", rows)]
    CutSet.from_cuts(cuts).to_file(out)
    print(out, f"{sum(map(len, units.values()))} units in {len(cuts)} cuts")


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    try:
        main(sys.argv[1:])
    except SpeechAsymError as error:
        sys.exit(f"named.py: {error}")
