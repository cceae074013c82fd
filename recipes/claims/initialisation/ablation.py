"""Train `initialise: asymmetry` with only some of its parts, to see which of them help (C17).

python -m recipes.claims.initialisation.ablation CONFIG --test CUTS --out OUT --keep enter,law ...
    [--seeds 3] [--set KEY=VALUE ...]

Each --keep is a variant, of comma-separated parts: enter, functions, key (the first maps of levels,
functions and units), scales, prototypes, law, balance; or none. What is not kept stays as `drawn`
sets it. Results join those of `recipes.compare` in OUT.
"""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from torch import Tensor

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

PARTS = ("enter", "functions", "key", "scales", "prototypes", "law", "balance")


@contextmanager
def only(kept: Sequence[str]) -> Iterator[None]:
    """Let asymmetry set these parts only."""
    point, set_block, set_units = (
        getattr(initialise, name) for name in ("_point", "_set_block", "_set_units")
    )
    maps = ["enter"]  # that are being set

    def point_if_kept(*words: Any) -> None:
        if maps[-1] in kept:
            point(*words)

    def block(method: str, block: Any, parts: Any, share: float | None) -> None:
        maps.append("functions")
        set_block(method, block, parts, share if "balance" in kept else None)
        maps.pop()

    def units(*words: Any) -> None:
        maps.append("key")
        set_units(*words)
        maps.pop()

    def nothing(*_: Any) -> None:
        return None

    def no_events(keys: Any, count: int) -> Tensor:
        return keys[0][0].new_zeros(0, keys[0][0].shape[2])

    changed: dict[str, Any] = {"_point": point_if_kept, "_set_block": block, "_set_units": units}
    changed |= {} if "scales" in kept else {"_set_scales": nothing}
    changed |= {} if "prototypes" in kept else {"_events": no_events}
    changed |= {} if "law" in kept else {"_set_law": nothing}
    with ExitStack() as stack:
        for name, new in changed.items():
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
