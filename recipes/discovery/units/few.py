"""Choose a few minutes of labelled cuts, of all speakers alike.

    python -m recipes.discovery.units.few CUTS OUT MINUTES ...

writes OUT/few-MINUTES.jsonl.gz; the cuts of fewer minutes are among those of more.
"""

import sys
from collections import defaultdict
from itertools import zip_longest
from pathlib import Path
from typing import Any

from speechasym.corpora.manifests import read_cuts
from speechasym.errors import ConfigError, SpeechAsymError


def choose(cuts: list[Any], minutes: float) -> list[Any]:
    """Return cuts of so many minutes, taken from the speakers in turn.

    Raises `ConfigError` if there are not so many.
    """
    by_speaker = defaultdict(list)
    for cut in sorted(cuts, key=lambda cut: cut.id):
        by_speaker[cut.supervisions[0].speaker].append(cut)
    turns = [cut for turn in zip_longest(*by_speaker.values()) for cut in turn if cut is not None]
    chosen: list[Any] = []
    seconds = 0.0
    for cut in turns:
        if seconds >= 60 * minutes:
            return chosen
        chosen.append(cut)
        seconds += cut.duration
    if seconds < 60 * minutes:
        problem = f"hold {seconds / 60:.1f} minutes, fewer than {minutes:g}"
        raise ConfigError("cuts", problem, "Give more")
    return chosen


def main(words: list[str]) -> None:
    """Run the command."""
    from lhotse import CutSet

    path, out, *minutes = words
    cuts = list(read_cuts(path))
    for text in minutes:
        few = choose(cuts, float(text))
        target = Path(out) / f"few-{text}.jsonl.gz"
        target.parent.mkdir(parents=True, exist_ok=True)
        CutSet.from_cuts(few).to_file(target)
        print(target, f"{len(few)} cuts, {sum(cut.duration for cut in few) / 60:.1f} minutes")


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    try:
        main(sys.argv[1:])
    except SpeechAsymError as error:
        sys.exit(f"few.py: {error}")
