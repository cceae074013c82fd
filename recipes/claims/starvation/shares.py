"""Nested shares of a manifest: the same speakers, fewer sentences of each (C19).

    python -m recipes.claims.starvation.shares CUTS --out OUT --sentences 1,2,4,8 [--wrong 0.2]

writes OUT/sentencesN_cuts.jsonl.gz, in which each speaker has N sentences, those of a smaller share
among them, and OUT/shares.json with their lengths. With --wrong, so many of the phones are another
one at random.
"""

import argparse
import gzip
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from recipes.compare.jobs import guarded
from speechasym import files
from speechasym.config import names
from speechasym.corpora.manifests import check_writable, read_cuts
from speechasym.errors import ConfigError

if TYPE_CHECKING:
    from lhotse.cut import Cut

SHARES = "shares.json"
PAUSES = {"h#", "pau", "epi"}


def shares(cuts: "Sequence[Cut]", counts: Sequence[int], seed: int = 0) -> "dict[int, list[Cut]]":
    """Return {N: the cuts of which each speaker has N}, each share within the next.

    Raises `ConfigError` if a speaker has fewer than the most sentences.
    """
    by: dict[str, list[Cut]] = {}
    for cut in cuts:
        by.setdefault(str(cut.supervisions[0].speaker), []).append(cut)
    chosen: dict[str, int] = {}  # id of the cut -> its place in the order of its speaker
    for speaker, own in sorted(by.items()):
        if len(own) < max(counts):
            problem = f"speaker {speaker} has {len(own)} sentences, fewer than {max(counts)}"
            raise ConfigError("--sentences", problem, f"Use at most {len(own)}")
        order = sorted(own, key=lambda cut: cut.id)
        random.Random(f"{seed} {speaker}").shuffle(order)
        chosen |= {cut.id: place for place, cut in enumerate(order)}
    return {n: [cut for cut in cuts if chosen[cut.id] < n] for n in counts}


def with_errors(cuts: "Sequence[Cut]", share: float, seed: int = 0) -> "list[Cut]":
    """Return the cuts with a share of the phones, in the mean, replaced by others at random.

    Pauses stay. Raises `ConfigError` unless 0 <= share <= 1.
    """
    if not 0 <= share <= 1:
        raise ConfigError("--wrong", f"must be from 0 to 1, got {share:g}", "Use 0.2")
    from lhotse.utils import fastcopy

    draw = random.Random(seed)
    aligned = [s.alignment["phone"] for cut in cuts for s in cut.supervisions if s.alignment]
    phones = sorted({item.symbol for items in aligned for item in items} - PAUSES)
    changed = []
    for cut in cuts:
        said = []
        for supervision in cut.supervisions:
            items = [
                item._replace(symbol=draw.choice([p for p in phones if p != item.symbol]))
                if item.symbol not in PAUSES and draw.random() < share else item
                for item in (supervision.alignment or {})["phone"]
            ]  # fmt: skip
            alignment = {**(supervision.alignment or {}), "phone": items}
            said.append(fastcopy(supervision, alignment=alignment))
        changed.append(fastcopy(cut, supervisions=said))
    return changed


def write(chosen: "Mapping[int, Sequence[Cut]]", out: Path) -> None:
    """Write a manifest of each share, and their lengths. Raises `OutputError`."""
    check_writable(out).mkdir(parents=True, exist_ok=True)
    lengths = {}
    for n, cuts in chosen.items():
        path = out / f"sentences{n}_cuts.jsonl.gz"
        with files.atomic(path) as file, gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
            for cut in cuts:
                packed.write(f"{json.dumps(cut.to_dict(), ensure_ascii=False)}\n".encode())
        lengths[n] = {"cuts": len(cuts), "seconds": round(sum(cut.duration for cut in cuts), 1)}
        print(f"{path}: {len(cuts)} sentences, {lengths[n]['seconds'] / 60:.1f} minutes")
    files.write_json(out / SHARES, lengths)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.claims.starvation.shares",
        description=(__doc__ or "").split("\n")[0],
    )
    add = parser.add_argument
    add("cuts", type=Path, help="manifest of cuts to train on")
    add("--out", type=Path, required=True, help="folder of the shares")
    add("--wrong", type=float, default=0.0, metavar="SHARE", help="of the phones to get wrong")
    add("--sentences", default="1,2,4,8", help="comma-separated sentences of each speaker")
    options = parser.parse_args(arguments)

    def act() -> int:
        words: list[str] = list(names(options.sentences) or [])
        if not words or not all(word.isdecimal() and int(word) for word in words):
            problem = f"must be whole numbers >= 1, got {options.sentences!r}"
            raise ConfigError("--sentences", problem, "Use for example 1,2,4,8")
        cuts = list(read_cuts(options.cuts))
        if options.wrong:
            cuts = with_errors(cuts, options.wrong)
        write(shares(cuts, [int(word) for word in words]), options.out)
        return 0

    return guarded(act)


if __name__ == "__main__":
    raise SystemExit(main())
