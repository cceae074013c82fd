"""Train and test several systems with several seeds on the same data; make a table with intervals.

python -m recipes.compare CONFIG SYSTEMS --test CUTS --out OUT [--seeds 5] [--only NAME,...]
    [--lexicon FILE --lm ARPA] [--decode KEY=VALUE ...]

SYSTEMS is YAML; the first system is ours, the others are compared with it:

    ours: {shows: three levels}
    recurrent: {shows: two GRUs, set: [model.preset=recurrent, "data.features={features: logmel}"]}

Run again, it skips what is in OUT/results.jsonl, and resumes interrupted runs.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from recipes.compare.jobs import (
    guarded,
    interrupt_on_sigterm,
    pending,
    plan_job,
    publish,
    read_lines,
    run_all,
    select,
)
from recipes.compare.report import REPORT, RESULTS, report
from recipes.compare.systems import read_systems, run_system, word_decoding
from speechasym import files
from speechasym.config import check_count


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(
        prog="python -m recipes.compare", description=(__doc__ or "").split("\n")[0]
    )
    add = parser.add_argument
    add("config", type=Path, help="YAML file of the configuration that all systems start from")
    add("systems", type=Path, help="YAML file, NAME: {shows: ..., set: [key=value]}; ours first")
    add("--test", type=Path, required=True, metavar="CUTS", help="manifest to evaluate on")
    add("--out", type=Path, required=True, help="folder of all runs")
    add("--seeds", type=int, default=5, help="number of seeds, from 0")
    add("--workers", type=int, default=2, help="runs at a time; 0: in this process")
    add(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="for all systems"
    )
    add("--only", help="comma-separated names of the systems to train")
    add("--lexicon", type=Path, metavar="FILE", help="pronunciations, to search for words too")
    add("--lm", type=Path, metavar="ARPA", help="n-gram language model of words for the search")
    add(
        "--decode", nargs="+", action="extend", default=[], metavar="KEY=VALUE",
        help="settings of the search: source=both, lm_weight=0.5, beam=50, spelling=true ...",
    )  # fmt: skip
    add("--report", action="store_true", help="write the report of finished runs; train nothing")
    options = parser.parse_args(arguments)
    kept = [argument for argument in arguments if argument != "--report"]
    command = shlex.join(["python", "-m", "recipes.compare", *kept])
    return guarded(lambda: run(options, command))


def run(options: argparse.Namespace, command: str) -> int:
    """Train the missing runs and write the report; return 1 if a run failed."""
    systems = read_systems(options.systems)
    names = [system.name for system in systems]
    selected = select(systems, options.only, f"Use one of {', '.join(names)}")
    check_count("--seeds", options.seeds)
    with files.locked_folder(options.out):
        results, failed = options.out / RESULTS, 0
        if not options.report:
            decoding = word_decoding(options.lexicon, options.lm, options.decode)
            common = [*options.set, "threads=1", "data.workers=0"]
            jobs = [
                plan_job(
                    system, seed, options.config, common, options.out, options.test, decoding
                )
                for seed in range(options.seeds) for system in selected
            ]  # fmt: skip
            jobs = pending(jobs, read_lines(results), "system")
            failed = run_all(jobs, run_system, results, options.workers)
        if lines := [line for line in read_lines(results) if line["system"] in names]:
            publish(report(lines, systems, command), options.out / REPORT)
    return int(failed > 0)


if __name__ == "__main__":
    interrupt_on_sigterm()
    raise SystemExit(main())
