"""Runs in processes of their own, and their lines of results; `mini/ablations.py` uses them too."""

import hashlib
import json
import os
import signal
import statistics
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from multiprocessing import get_context
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, NamedTuple

from recipes.provenance import commit, machine
from speechasym import files
from speechasym.config import names, to_dict
from speechasym.errors import ConfigError, OutputError, SpeechAsymError
from speechasym.training import environment, run_folder
from speechasym.training.config import TrainConfig, read_config

# heads, and words found by means of them, as `evaluation` names them -> measures
MEASURES = {
    "phones": "PER", "letters": "LER", "words": "WER", "letters as words": "WER of letters",
    "words by lexicon": "WER by lexicon",
}  # fmt: skip
RESULT = "result.json"  # of one run, in its folder


class WordDecoding(NamedTuple):
    """How words are found by a lexicon and a language model."""

    lexicon: Path | None
    lm: Path
    config: Any  # DecodingConfig
    spelling: bool
    identity: list[Any]  # all of the above, files by their sha256


class Job(NamedTuple):
    """A run to do, or done."""

    system: Any  # has `name`, `shows` and `words`
    seed: int
    config: TrainConfig
    folder: Path
    test: Path
    sha256: str  # of all that decides the result, except the code
    data: tuple[str, ...] = ()  # sha256 of the cuts to train on, to validate on, to test on
    decoding: WordDecoding | None = None

    @property
    def name(self) -> str:
        return self.folder.name


def plan_job(
    system: Any, seed: int, base: Path, common: Sequence[str], out: Path,
    test: Path | None = None, decoding: WordDecoding | None = None,
) -> Job:  # fmt: skip
    """Return the job of a system with a seed.

    Args:
        system: its `words` (key=value) override `common`, and those override the file.
        base: YAML file of the configuration.
        test: cuts; default: test_cuts.jsonl.gz beside those of training.
        decoding: ignored if the system lacks a head that it needs.

    Raises:
        ConfigError: the configuration does not allow it.
    """
    config = read_config(base, [*common, f"seed={seed}", *system.words])
    test = test or Path(config.data.train).with_name("test_cuts.jsonl.gz")
    settings = {k: v for k, v in to_dict(config).items() if k not in run_folder.FREE}
    settings["data"] = {
        k: v for k, v in settings["data"].items() if f"data.{k}" not in run_folder.FREE
    }
    data = [files.sha256(Path(path)) for path in (config.data.train, config.data.dev, test)]
    if decoding is not None and not set(decoding.config.heads) <= set(config.heads.used):
        decoding = None
    identity = [settings, data, *([] if decoding is None else [decoding.identity])]
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    folder = out / f"{system.name}-seed{seed}"
    return Job(system, seed, config, folder, test, digest, tuple(data), decoding)


def train_and_evaluate(job: Job) -> tuple[dict[str, Any], Any] | None:
    """Train, or resume, and evaluate; return the common part of the line, and the `Evaluation`.

    None if the run was stopped.
    """
    from speechasym.recognition import evaluation
    from speechasym.training import loop

    done = loop.train(job.config, job.folder, resume=True)
    if not done["finished"]:
        return None
    options: dict[str, Any] = {}
    if (decoding := job.decoding) is not None:
        options = asdict(decoding.config)
        options["words_from"] = options.pop("source")
        options |= {name: getattr(decoding, name) for name in ("lexicon", "lm", "spelling")}
    result = evaluation.evaluate(job.folder, job.test, device=job.config.device, **options)
    metrics = (job.folder / run_folder.METRICS).read_text("utf-8")
    speeds = [json.loads(line).get("audio_hours_per_hour") for line in metrics.splitlines()]
    return {
        "overrides": list(job.system.words), "seed": job.seed,
        "parameters": result.trained.parameters, "epochs": done["epochs"], "steps": done["steps"],
        "seconds": done["seconds"],
        "audio_hours_per_hour": statistics.median(s for s in speeds if s is not None),
        "rates": {MEASURES[n]: score.counts.rate for n, score in result.scores.items()},
        "dev": done["dev"], "best_step": done["best_step"], "sentences": len(result.speakers),
        "left_out": {head: len(cuts) for head, cuts in done["left_out"].items()},
        "commit": commit(), "versions": environment.versions(), "machine": machine(result.device),
        "sha256": job.sha256,
    }, result  # fmt: skip


def _work(do: Callable[[Job], dict[str, Any] | None], job: Job, core: int | None) -> None:
    """Do a job in this process of its own; its output goes to a file beside the run's folder."""
    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C goes to the main process only, which ends the others once
    if core is not None:
        os.sched_setaffinity(0, {core})
    with job.folder.with_suffix(".log").open("a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    import torch

    torch.set_num_threads(1)
    try:
        if result := do(job):
            files.write_json(job.folder / RESULT, result)
    except Exception:
        traceback.print_exc()
        raise SystemExit(1) from None


def run_all(
    jobs: Sequence[Job], do: Callable[[Job], dict[str, Any] | None], results: Path, workers: int
) -> int:
    """Do the jobs, several at a time; return how many failed. Ctrl-C stops them all.

    Without workers they are done in this process, which spares short runs the imports.

    Of several at a time each has a core of its own, while there are enough: otherwise two may
    share one for a long time while another is idle.

    Args:
        do: returns a job's line, or None if it was stopped; a function of a module.
        results: the file of lines.
        workers: jobs at a time; 0: one after another in this process.
    """
    waiting, failed = list(jobs), 0
    if not workers:
        return sum(not _done_here(job, do, results) for job in jobs)
    running: dict[Any, tuple[Any, Job, int]] = {}
    free, several = list(range(max(1, workers))), min(workers, len(jobs)) > 1
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    context = get_context("spawn")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        while waiting or running:
            while waiting and free:
                job, place = waiting.pop(0), free.pop(0)
                (job.folder / RESULT).unlink(missing_ok=True)
                core = cores[place % len(cores)] if cores and several else None
                process = context.Process(target=_work, args=(do, job, core))
                process.start()
                running[process.sentinel] = (process, job, place)
                print(f"{job.name}: started", flush=True)
            for sentinel in wait(list(running)):
                process, job, place = running.pop(sentinel)
                process.join()
                free.append(place)
                failed += not keep_result(job, results)
                left = len(waiting) + len(running)
                print(f"{len(jobs) - left} of {len(jobs)} done, {failed} failed", flush=True)
    except KeyboardInterrupt:
        for process, *_ in running.values():
            process.terminate()  # it writes its state
        for process, *_ in running.values():
            process.join()
        raise
    return failed


def _done_here(job: Job, do: Callable[[Job], dict[str, Any] | None], results: Path) -> bool:
    """Do a job in this process; return whether it succeeded."""
    (job.folder / RESULT).unlink(missing_ok=True)
    try:
        if (line := do(job)) is None:
            raise KeyboardInterrupt
        files.write_json(job.folder / RESULT, line)
    except Exception as error:
        traceback.print_exc()
        print(f"{job.name}: failed: {error}")
        return False
    return keep_result(job, results)


def keep_result(job: Job, results: Path) -> bool:
    """Append a job's line to the results, and print it; return False if the job failed."""
    if not (job.folder / RESULT).exists():
        log = job.folder.with_suffix(".log")
        last = log.read_text("utf-8").strip().splitlines()[-1:] if log.exists() else []
        print(f"{job.name}: failed, see {log}: {' '.join(last)}")
        return False
    line = json.loads((job.folder / RESULT).read_text("utf-8"))
    lines = [*read_lines(results), line]
    with files.atomic(results) as file:
        file.write("".join(json.dumps(line) + "\n" for line in lines).encode())
    measures = [m for m in MEASURES.values() if m in line["rates"]]
    rates = ", ".join(f"{m} {100 * line['rates'][m]:.1f} %" for m in measures)
    print(f"{job.name}: {rates}; {line['seconds']:.0f} s")
    return True


def read_lines(results: Path) -> list[dict[str, Any]]:
    """Read the results so far. Raises `OutputError` if they cannot be read."""
    try:
        return [json.loads(line) for line in results.read_text("utf-8").splitlines()]
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise OutputError(results, f"cannot be read ({error})", "Fix it, or remove it") from error


def pending(jobs: Sequence[Job], lines: Sequence[Mapping[str, Any]], key: str) -> list[Job]:
    """Return the jobs without a line of results, which has the system's name under `key`.

    Raises `OutputError` for a job that was done with other settings or data.
    """
    done = {(line[key], line["seed"]): line["sha256"] for line in lines}
    for job in jobs:
        if done.get((job.system.name, job.seed), job.sha256) != job.sha256:
            raise OutputError(
                job.folder.parent, f"{job.name} was done with other settings or data",
                "Choose another --out, or remove its line",
            )  # fmt: skip
    return [job for job in jobs if (job.system.name, job.seed) not in done]


def select(
    systems: Sequence[Any], only: str | None, remedy: str, kind: str = "system"
) -> list[Any]:
    """Return the systems of these comma-separated names, in their order. Raises `ConfigError`."""
    known = [system.name for system in systems]
    chosen = known if only is None else names(only) or [only]
    if missing := [name for name in chosen if name not in known]:
        raise ConfigError("--only", f"{missing[0]!r} is not a {kind}", remedy)
    return [system for system in systems if system.name in chosen]


def guarded(act: Callable[[], int]) -> int:
    """Return a command's exit code: 2 after a typed error, which is printed, 130 if stopped."""
    try:
        return act()
    except SpeechAsymError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command resumes", file=sys.stderr)
        return 130


def interrupt_on_sigterm() -> None:
    """Let SIGTERM stop a command as Ctrl-C does; background jobs of a shell ignore SIGINT."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def publish(text: str, path: Path) -> None:
    """Write a report, and print it."""
    with files.atomic(path) as file:
        file.write(text.encode())
    print(text)


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Return "median (least to greatest)", each with so many digits after the point."""
    if not values:
        return "-"
    middle, low, high = (
        f"{value:.{digits}f}" for value in (statistics.median(values), min(values), max(values))
    )
    return f"{middle} ({low} to {high})"
