"""Train `initialise: asymmetry` with only some of its parts, to see which of them help (C17).

python -m recipes.claims.initialisation.ablation CONFIG --test CUTS --out OUT --keep maps,law ...
    [--seeds 3] [--set KEY=VALUE ...]

Each --keep is a variant, of comma-separated parts: maps, scales, prototypes, law, balance; or none.
What is not kept stays as `drawn` sets it. Results join those of `recipes.compare` in OUT.
"""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from recipes.compare.jobs import (
    RESULT,
    guarded,
    interrupt_on_sigterm,
    keep_result,
    pending,
    plan_job,
    read_lines,
)
from recipes.compare.systems import System, run_system
from speechasym import files
from speechasym.config import check_choice
from speechasym.levels import initialise

PARTS = ("maps", "scales", "prototypes", "law", "balance")


@contextmanager
def only(kept: Sequence[str]) -> Iterator[None]:
    """Let asymmetry set these parts only."""

    def nothing(*_: Any) -> None:
        return None

    set_block = initialise._set_block

    def unbalanced(method: str, block: Any, parts: Any, share: float | None) -> None:
        set_block(method, block, parts, None)

    changed = {
        "maps": ("_point", nothing), "scales": ("_set_scales", nothing),
        "prototypes": ("_events", lambda keys, count: keys[0][0].new_zeros(0, keys[0][0].shape[2])),
        "law": ("_set_law", nothing), "balance": ("_set_block", unbalanced),
    }  # fmt: skip
    with ExitStack() as stack:
        for part, (name, new) in changed.items():
            if part not in kept:
                stack.enter_context(patch.object(initialise, name, new))
        yield


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.claims.initialisation.ablation",
        description=(__doc__ or "").split("\n")[0],
    )
    add = parser.add_argument
    add("config", type=Path, help="YAML file of the configuration")
    add("--test", type=Path, required=True, metavar="CUTS", help="manifest to evaluate on")
    add("--out", type=Path, required=True, help="folder of all runs")
    add("--keep", nargs="+", required=True, metavar="PARTS", help="a variant each, see above")
    add("--seeds", type=int, default=3, help="number of seeds, from 0")
    add("--set", nargs="+", default=[], metavar="KEY=VALUE", help="for all variants")
    options = parser.parse_args(arguments)
    return guarded(lambda: run(options))


def run(options: argparse.Namespace) -> int:
    """Train the missing runs one after another."""
    common = [*options.set, "initialise=asymmetry", "threads=1", "data.workers=0"]
    results, failed = options.out / "results.jsonl", 0
    for seed in range(options.seeds):
        for words in options.keep:
            kept = [] if words == "none" else words.split(",")
            for part in kept:
                check_choice("--keep", part, PARTS)
            name = "-".join(["only", *kept]) if kept else "only-none"
            system = System(name, f"asymmetry sets {words} only")
            job = plan_job(system, seed, options.config, common, options.out, options.test)
            if not pending([job], read_lines(results), "system"):
                continue
            with only(kept):
                line = run_system(job)
            if line:
                files.write_json(job.folder / RESULT, line)
            failed += not keep_result(job, results)
    return int(failed > 0)


if __name__ == "__main__":
    interrupt_on_sigterm()
    raise SystemExit(main())
