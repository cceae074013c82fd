"""Long recordings for a test of length: join the utterances of each speaker; or keep short ones.

    python -m recipes.claims.limits.splice TEST_CUTS --out LONG_CUTS --from 15 --to 60
    python -m recipes.claims.limits.splice TRAIN_CUTS --out SHORT_CUTS --keep 8

Each utterance is used at most once, next to others of its speaker, in an order drawn by --seed.
Durations are drawn evenly between the two bounds, in s; what is left over is left out.
"""

import argparse
import gzip
import json
import random
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from speechasym import files
from speechasym.corpora.manifests import check_writable, read_cuts
from speechasym.errors import ConfigError, SpeechAsymError

if TYPE_CHECKING:
    from lhotse.cut import Cut


def groups(
    seconds: Sequence[float], least: float, most: float, rng: random.Random
) -> list[list[int]]:
    """Divide utterances into groups of `least` to `most` seconds altogether.

    Args:
        seconds: durations of the utterances.
        least, most: bounds of a group, s.
        rng: draws the order, and the duration at which a group ends.

    Returns:
        Lists of indices, none of them twice. Utterances that fit into no group are left out.

    Example:
        >>> groups([6.0, 6.0, 40.0, 1.0], 10, 20, random.Random(1))
        [[1, 3, 0]]
    """
    order = [i for i, s in enumerate(seconds) if s <= most]
    rng.shuffle(order)
    found: list[list[int]] = []
    current: list[int] = []
    total, target = 0.0, rng.uniform(least, most)
    for i in order:
        if total + seconds[i] > most:  # the group ends early, or begins again
            if total >= least:
                found.append(current)
            current, total, target = [], 0.0, rng.uniform(least, most)
        current.append(i)
        total += seconds[i]
        if total >= target:
            found.append(current)
            current, total, target = [], 0.0, rng.uniform(least, most)
    if total >= least:
        found.append(current)
    return found


def spliced(cuts: "Sequence[Cut]", least: float, most: float, seed: int = 0) -> "list[Cut]":
    """Return cuts of `least` to `most` seconds, each of one speaker, as `SPEAKER-long-NUMBER`.

    Raises `ConfigError` if no speaker has enough speech, or the bounds are not in order.
    """
    if not 0 < least <= most:
        problem = f"must be above 0 and in order, got {least:g} and {most:g}"
        raise ConfigError("--from, --to", problem, "Use for example 15 and 60")
    speakers = defaultdict(list)
    for cut in cuts:
        speakers[next((s.speaker for s in cut.supervisions if s.speaker), "unknown")].append(cut)
    result = []
    for speaker, own in sorted(speakers.items()):
        rng = random.Random(f"{seed} {speaker}")
        for number, group in enumerate(groups([c.duration for c in own], least, most, rng)):
            joined = own[group[0]]
            for i in group[1:]:
                joined = joined.append(own[i])
            result.append(joined.with_id(f"{speaker}-long-{number}"))
    if not result:
        problem = f"no speaker has {least:g} to {most:g} s of speech in utterances that fit"
        raise ConfigError("CUTS", problem, "Lower --from, or give more recordings")
    return result


def _write(cuts: "Sequence[Cut]", out: Path) -> None:
    """Write a manifest, whole or not at all. Raises `OutputError`."""
    check_writable(out.parent).mkdir(parents=True, exist_ok=True)
    with files.atomic(out) as file, gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
        for cut in cuts:
            packed.write(f"{json.dumps(cut.to_dict(), ensure_ascii=False)}\n".encode())


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the manifest and say what is in it; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.claims.limits.splice",
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter,
    )  # fmt: skip
    add = parser.add_argument
    add("cuts", help="manifest of cuts, as written by `speechasym prepare`")
    add("--out", required=True, help="manifest to write, .jsonl.gz")
    add("--from", dest="least", type=float, default=15.0, help="least duration, s")
    add("--to", dest="most", type=float, default=60.0, help="greatest duration, s")
    add("--keep", type=float, help="only keep utterances of at most this duration, s; join nothing")
    add("--seed", type=int, default=0, help="of order and durations")
    options = parser.parse_args(arguments)
    try:
        if not options.out.endswith(".jsonl.gz"):
            raise ConfigError("--out", f"must end in .jsonl.gz, got {options.out}", "Rename it")
        before = list(read_cuts(options.cuts))
        if options.keep is None:
            after = spliced(before, options.least, options.most, options.seed)
        else:
            after = [cut for cut in before if cut.duration <= options.keep]
            if not after:
                problem = f"no utterance has at most {options.keep:g} s"
                raise ConfigError("--keep", problem, "Use a greater value")
        _write(after, Path(options.out))
    except SpeechAsymError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    seconds = [cut.duration for cut in after]
    print(
        f"{options.out}: {len(after)} cuts of {min(seconds):.1f} to {max(seconds):.1f} s,"
        f" {sum(seconds) / 60:.1f} of {sum(c.duration for c in before) / 60:.1f} minutes"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
