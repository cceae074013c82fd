"""Several systems, several seeds each, trained and tested on the same data: a table with intervals.

python recipes/compare.py CONFIG SYSTEMS --test CUTS --out OUT [--seeds 5] [--only NAME,...]
    [--lexicon FILE --lm ARPA] [--decode KEY=VALUE ...]

SYSTEMS is YAML; the first system is ours, and the others stand beside it:

    ours: {shows: three levels}
    recurrent: {shows: two GRUs, set: [model.preset=recurrent, "data.features={features: logmel}"]}

Run again, it skips what OUT/results.jsonl has, and goes on with runs that were cut.

Here is too what `mini/ablations.py` shares: jobs in processes of their own, and what they leave.

Shapes: K seeds, S speakers, R drawings; the last axis holds errors and tokens of the references.
"""

import argparse
import hashlib
import json
import math
import os
import platform
import re
import shlex
import signal
import statistics
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from multiprocessing import get_context
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym import config as settings
from speechasym import files
from speechasym.errors import ConfigError, OutputError, SpeechAsymError
from speechasym.training import environment, run_folder
from speechasym.training.config import TrainConfig, config_to_dict, read_config

# heads and what is made of them, as `evaluation` names them -> measures
MEASURES = {
    "phones": "PER", "letters": "LER", "words": "WER", "letters as words": "WER of letters",
    "words by lexicon": "WER by lexicon",
}  # fmt: skip
RESULTS, REPORT, RESULT = "results.jsonl", "results.md", "result.json"
ROUNDS = 1000  # drawings of the bootstrap, as in `scoring`
FEW = 10  # speakers, fewer of which give intervals that are too narrow


# --- jobs, in processes of their own --------------------------------------------------------------


class Words(NamedTuple):
    """How words are found by a lexicon and a language model."""

    lexicon: Path | None
    lm: Path
    config: Any  # DecodingConfig
    spelling: bool
    told: list[Any]  # all of it, files by their sha256


class System(NamedTuple):
    """A configuration by what it changes."""

    name: str
    shows: str
    words: tuple[str, ...] = ()  # key=value, over the configuration's


class Job(NamedTuple):
    """A run to do, or done."""

    system: Any  # `System`, or another with its fields
    seed: int
    config: TrainConfig
    folder: Path
    test: Path
    sha256: str  # of all that decides the result but the code
    data: tuple[str, ...] = ()  # sha256 of the cuts to train on, to choose by, to test on
    words: Words | None = None

    @property
    def name(self) -> str:
        return self.folder.name


def planned(
    system: Any, seed: int, base: Path, own: Sequence[str], out: Path,
    test: Path | None = None, words: Words | None = None,
) -> Job:  # fmt: skip
    """A system with a seed; what it sets wins over `own`, and that over the file's.

    Args:
        test: cuts; None: test_cuts.jsonl.gz beside those of training.
        words: left out where the system lacks a head that they need.

    Raises `ConfigError` where the configuration does not allow it.
    """
    config = read_config(base, [*own, f"seed={seed}", *system.words])
    test = test or Path(config.data.train).with_name("test_cuts.jsonl.gz")
    known = {k: v for k, v in config_to_dict(config).items() if k not in run_folder.FREE}
    known["data"] = {k: v for k, v in known["data"].items() if f"data.{k}" not in run_folder.FREE}
    sets = [files.sha256(Path(path)) for path in (config.data.train, config.data.dev, test)]
    if words is not None and not set(words.config.heads) <= set(config.heads.used):
        words = None
    told = [known, sets, *([] if words is None else [words.told])]
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
    folder = out / f"{system.name}-seed{seed}"
    return Job(system, seed, config, folder, test, digest, tuple(sets), words)


def outcome(job: Job) -> tuple[dict[str, Any], Any] | None:
    """Train, or go on, and evaluate: what every line of results has, and the `Evaluation`.

    None where it was stopped.
    """
    from speechasym.recognition import decoder as word_decoding
    from speechasym.recognition import evaluation
    from speechasym.recognition.transcription import open_run
    from speechasym.training import loop

    done = loop.train(job.config, job.folder, resume=True)
    if not done["finished"]:
        return None
    trained, opened = open_run(job.folder), None
    if job.words is not None:
        opened = word_decoding.open_decoder(
            trained, job.words.lexicon, job.words.lm, job.words.config, spelling=job.words.spelling
        )
    found = evaluation.evaluate(trained, job.test, device=job.config.device, words=opened)
    text = (job.folder / run_folder.METRICS).read_text("utf-8")
    speeds = [json.loads(line).get("audio_hours_per_hour") for line in text.splitlines()]
    return {
        "overrides": list(job.system.words), "seed": job.seed,
        "parameters": found.trained.parameters, "epochs": done["epochs"], "steps": done["steps"],
        "seconds": done["seconds"],
        "audio_hours_per_hour": statistics.median(s for s in speeds if s is not None),
        "rates": {MEASURES[n]: score.counts.rate for n, score in found.scores.items()},
        "dev": done["dev"], "best_step": done["best_step"], "sentences": len(found.speakers),
        "left_out": {head: len(cuts) for head, cuts in done["left_out"].items()},
        "commit": commit(), "versions": environment.versions(), "machine": machine(found.device),
        "sha256": job.sha256,
    }, found  # fmt: skip


def work(do: Callable[[Job], dict[str, Any] | None], job: Job, core: int | None) -> None:
    """A job in a process of its own, what it says going into a file beside the run's folder."""
    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C goes to the first process alone, which tells the others once
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
    """Do the jobs, so many at a time; returns how many failed. Stops them all on Ctrl-C.

    Of several at a time each has a core of its own, while there are enough: left to themselves,
    two may share one for long beside another that is idle.

    Args:
        do: what gives a job's line, None where it was stopped; a function of a module.
        results: the file of lines.
    """
    waiting, failed = list(jobs), 0
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
                process = context.Process(target=work, args=(do, job, core))
                process.start()
                running[process.sentinel] = (process, job, place)
                print(f"{job.name}: started", flush=True)
            for sentinel in wait(list(running)):
                process, job, place = running.pop(sentinel)
                process.join()
                free.append(place)
                failed += not tell(job, results)
                left = len(waiting) + len(running)
                print(f"{len(jobs) - left} of {len(jobs)} over, {failed} failed", flush=True)
    except KeyboardInterrupt:
        for process, *_ in running.values():
            process.terminate()  # it writes its state
        for process, *_ in running.values():
            process.join()
        raise
    return failed


def tell(job: Job, results: Path) -> bool:
    """Keep what a job gave, and say it; False where it failed."""
    if not (job.folder / RESULT).exists():
        log = job.folder.with_suffix(".log")
        last = log.read_text("utf-8").strip().splitlines()[-1:] if log.exists() else []
        print(f"{job.name}: failed, see {log}: {' '.join(last)}")
        return False
    line = json.loads((job.folder / RESULT).read_text("utf-8"))
    lines = [*read_lines(results), line]
    with files.atomic(results) as file:
        file.write("".join(json.dumps(line) + "\n" for line in lines).encode())
    known = [m for m in MEASURES.values() if m in line["rates"]]
    rates = ", ".join(f"{m} {100 * line['rates'][m]:.1f} %" for m in known)
    print(f"{job.name}: {rates}; {line['seconds']:.0f} s")
    return True


def read_lines(results: Path) -> list[dict[str, Any]]:
    """The results so far. Raises `OutputError` where they cannot be read."""
    try:
        return [json.loads(line) for line in results.read_text("utf-8").splitlines()]
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise OutputError(results, f"cannot be read ({error})", "Mend it, or remove it") from error


def to_do(jobs: Sequence[Job], lines: Sequence[Mapping[str, Any]], key: str) -> list[Job]:
    """The jobs without a line, which has the system's name by `key`.

    Raises `OutputError` for one that was done with other settings or data.
    """
    done = {(line[key], line["seed"]): line["sha256"] for line in lines}
    for job in jobs:
        if done.get((job.system.name, job.seed), job.sha256) != job.sha256:
            raise OutputError(
                job.folder.parent, f"{job.name} was done with other settings or data",
                "Choose another --out, or remove its line",
            )  # fmt: skip
    return [job for job in jobs if (job.system.name, job.seed) not in done]


def chosen(
    systems: Sequence[Any], only: str | None, remedy: str, kind: str = "system"
) -> list[Any]:
    """Those of these names, with commas between, in their order. Raises `ConfigError`."""
    known = [system.name for system in systems]
    names = known if only is None else only.split(",")
    if missing := [name for name in names if name not in known]:
        raise ConfigError("--only", f"{missing[0]!r} is no {kind}", remedy)
    return [system for system in systems if system.name in names]


def guarded(act: Callable[[], int]) -> int:
    """What a command returns: 2 for an error that it tells, 130 where it was stopped."""
    try:
        return act()
    except SpeechAsymError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        return 130


def publish(text: str, path: Path) -> None:
    """Write a report, and print it."""
    with files.atomic(path) as file:
        file.write(text.encode())
    print(text)


def commit() -> str:
    """The checkout's short commit, with a plus if something is not in it."""
    words = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--exclude=*"]
    done = subprocess.run([*words, "--dirty=+"], capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def machine(device: str) -> str:
    """The processor's model, or the GPU's where it was used."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or "unknown"


def spread(values: Sequence[float]) -> str:
    """Median (least to greatest)."""
    if not values:
        return "-"
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """In markdown."""
    rows = [head, ["---"] * len(head), *body]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


# --- systems --------------------------------------------------------------------------------------


def read_systems(path: Path) -> list[System]:
    """The systems of a file, ours first. Raises `ConfigError`."""
    systems = []
    for name, entry in settings.read_yaml(path).items():
        entry, where = {} if entry is None else entry, f"{path}: {name}"
        if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*", name):
            raise ConfigError(where, "is no name of a folder", "Use letters, digits and -")
        if not isinstance(entry, dict):
            raise ConfigError(where, f"holds {entry!r}", "Write {shows: ..., set: [key=value]}")
        if unknown := [key for key in entry if key not in ("shows", "set")]:
            raise ConfigError(f"{where}.{unknown[0]}", "is unknown", "A system has shows and set")
        words = entry.get("set") or []
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ConfigError(
                f"{where}.set", f"{words!r} is no list of key=value",
                "Put quotes around each that holds braces or a colon",
            )  # fmt: skip
        systems.append(System(name, str(entry.get("shows") or name), tuple(words)))
    if not systems:
        raise ConfigError(path, "holds no system", "Write NAME: {shows: ..., set: [key=value]}")
    return systems


def words_of(lexicon: Path | None, lm: Path | None, given: Sequence[str]) -> Words | None:
    """How words are to be found, by the options; None for not at all. Raises `ConfigError`."""
    from speechasym.recognition.decoder import DecodingConfig, config_of

    if lm is None:
        if lexicon is not None or given:
            told = "--decode" if lexicon is None else "--lexicon"
            raise ConfigError(told, "says nothing without a language model", "Give --lm too")
        return None
    mapping: dict[str, Any] = {}
    for word in given:
        settings.override(mapping, word)
    spelling, source = bool(mapping.pop("spelling", False)), str(mapping.get("source", "phones"))
    config = settings.build(
        DecodingConfig, asdict(config_of(source)) | mapping, "--decode {}".format
    )
    if lexicon is None and source != "letters":
        raise ConfigError(
            "--lexicon", "is not given", "Give pronunciations, or --decode source=letters"
        )
    sums = [None if path is None else files.sha256(path) for path in (lexicon, lm)]
    return Words(lexicon, lm, config, spelling, [*sums, asdict(config), spelling])


def split_of(test: Path) -> str:
    """What `speechasym prepare` said of the split."""
    try:
        return str(json.loads(test.with_name("report.json").read_text("utf-8"))["split"])
    except (OSError, ValueError, LookupError, TypeError):
        return "unknown"


def one(job: Job) -> dict[str, Any] | None:
    """The line of a system and a seed; None where it was stopped."""
    if (got := outcome(job)) is None:
        return None
    line, found = got
    data = (job.config.data.train, job.config.data.dev, str(job.test))
    sets = zip(("train", "dev", "test"), data, job.data, strict=True)
    counts = {}  # {measure: {speaker: [N, S, D, I]}}
    for name in found.scores:
        rows = found.by_speaker(name).items()
        counts[MEASURES[name]] = {who: [c.length, *c[1:4]] for who, c in rows}
    return line | {
        "system": job.system.name, "shows": job.system.shows, "counts": counts,
        "data": {kind: {"cuts": Path(path).name, "sha256": sha} for kind, path, sha in sets},
        "split": split_of(job.test), "labels": asdict(job.config.data.labels),
        "decoding": found.decoding, "audio_seconds": found.seconds,
    }  # fmt: skip


# --- report ---------------------------------------------------------------------------------------


def counted(lines: Sequence[Mapping[str, Any]], measure: str) -> NDArray[np.float64]:
    """(K, S, 2) errors and tokens, speakers by name. Raises `OutputError` where they differ."""
    rows = [line["counts"][measure] for line in lines if measure in line["counts"]]
    if any(row.keys() != rows[0].keys() for row in rows):
        raise OutputError(RESULTS, "holds lines of other speakers", "Remove those lines")
    found = [[[sum(row[who][1:]), row[who][0]] for who in sorted(row)] for row in rows]
    return np.array(found, float) if found else np.zeros((0, 0, 2))


def drawn(size: int, *seed: int) -> NDArray[np.int64]:
    """(R, size) how often each is drawn with replacement; by seed 0 the speakers of `scoring`."""
    rng = np.random.default_rng(seed if len(seed) > 1 else seed[0])
    return rng.multinomial(size, np.full(size, 1 / size), ROUNDS)


def rates(
    counts: NDArray[np.float64], seeds: NDArray[Any], speakers: NDArray[Any]
) -> NDArray[np.float64]:
    """(R,) error rates of (K, S, 2) counts, seeds (R, K) and speakers (R, S) being drawn."""
    errors, tokens = np.einsum("rk,rs,kse->er", seeds, speakers, counts, optimize=True)
    return np.divide(errors, tokens, out=np.full(len(errors), math.nan), where=tokens > 0)


def interval(counts: NDArray[np.float64]) -> tuple[float, float]:
    """95 % of an error rate over speakers, errors summed over seeds; nan for one speaker."""
    speakers = drawn(counts.shape[1], 0)
    return _middle(rates(counts, np.ones((ROUNDS, len(counts))), speakers), counts.shape[1])


def difference(
    ours: NDArray[np.float64], other: NDArray[np.float64]
) -> tuple[float, float, float]:  # fmt: skip
    """Another's errors against ours, of (K, S, 2) each: relative difference, low, high.

    Both have the same speakers in each drawing; their seeds are drawn apart.
    """
    speakers = drawn(ours.shape[1], 0)
    # a seed gives each system a network of its own, so that seeds are no pairs
    drawings = [rates(counts, drawn(len(counts), 1, number), speakers)
                for number, counts in enumerate((ours, other))]  # fmt: skip
    whole = [counts[..., 0].sum() / counts[..., 1].sum() for counts in (ours, other)]
    if not whole[0]:
        return math.nan, math.nan, math.nan
    shares = np.full(ROUNDS, math.nan)
    np.divide(drawings[1], drawings[0], out=shares, where=drawings[0] > 0)
    return whole[1] / whole[0] - 1, *_middle(shares - 1, ours.shape[1])


def _middle(values: NDArray[np.float64], speakers: int) -> tuple[float, float]:
    if speakers < 2 or np.isnan(values).all():
        return math.nan, math.nan
    low, high = np.nanquantile(values, [0.025, 0.975])
    return float(low), float(high)


def verdict(ours: NDArray[np.float64], other: NDArray[np.float64]) -> str:
    """How much more another errs than we do, in %, and what that says."""
    if not len(ours) or not len(other):
        return "-"
    middle, low, high = (100 * value for value in difference(ours, other))
    if math.isnan(middle):
        return "-"
    if math.isnan(low):
        return f"{middle:+.1f}, no interval"
    if min(len(ours), len(other)) < 2:  # seed noise would not be in it
        return f"{middle:+.1f} [{low:+.1f}, {high:+.1f}] one seed"
    said = "worse" if low > 0 else "better" if high < 0 else "not distinguishable"
    return f"{middle:+.1f} [{low:+.1f}, {high:+.1f}] {said}"


def report(lines: Sequence[dict[str, Any]], systems: Sequence[System], command: str) -> str:
    """Markdown: how good each system is, and how far from ours.

    Raises `OutputError` for lines of several test sets.
    """
    tests = {line["data"]["test"]["sha256"] for line in lines}
    if len(tests) > 1:
        raise OutputError(RESULTS, f"holds {len(tests)} test sets", "Choose another --out")
    lines = sorted(lines, key=lambda line: line["seed"])
    by = {s.name: [line for line in lines if line["system"] == s.name] for s in systems}
    measures = [m for m in MEASURES.values() if any(m in line["rates"] for line in lines)]
    counts = {(name, m): counted(own, m) for name, own in by.items() for m in measures}
    body, differences, compared, ours = [], [], 0, systems[0].name
    for system in systems:
        own = by[system.name]
        if not own:
            continue
        cells = []
        for m in measures:
            cell = spread([100 * line["rates"][m] for line in own if m in line["rates"]])
            if len(found := counts[system.name, m]):
                low, high = (100 * value for value in interval(found))
                cell += "" if math.isnan(low) else f" [{low:.1f}, {high:.1f}]"
            cells.append(cell)
        seconds = statistics.median(line["seconds"] for line in own)
        sizes = " / ".join(f"{n:,}" for n in sorted({line["parameters"] for line in own}))
        body.append([system.name, system.shows, str(len(own)), sizes, f"{seconds:.0f}", *cells])
        if system.name != ours:
            said = [verdict(counts[ours, m], counts[system.name, m]) for m in measures]
            compared += sum(text.endswith(("worse", "better", "able")) for text in said)
            if any(text != "-" for text in said):
                differences.append([system.name, *said])
    return "\n".join([
        header(lines, command),
        "Rates in %: median (least to greatest) over seeds [95 % interval over speakers: they are "
        "drawn with replacement, errors summed over seeds]. Seconds of training with its "
        "validations: the median.\n",
        table(["system", "what it is", "seeds", "parameters", "s", *measures], body),
        *([
            f"Errors of each system against those of {ours}: relative difference in %, errors "
            "summed over all seeds [95 % interval: in each drawing the same speakers for both, and "
            "seeds too, drawn for each system by itself, since a seed gives each another network]. "
            f"Better: the system errs less than {ours}; not distinguishable: the interval covers "
            f"0. Of {compared} comparisons, {compared / 20:.1f} would lie outside by chance "
            f"alone.\n",
            table(["system", *measures], differences),
        ] if differences else []),
    ])  # fmt: skip


def header(lines: Sequence[dict[str, Any]], command: str) -> str:
    """What was done, on what, by what."""

    def kept(get: Callable[[dict[str, Any]], Any]) -> str:
        return "; ".join(sorted({str(get(line)) for line in lines}))

    def cuts(kind: str) -> str:
        return kept(lambda x: f"{x['data'][kind]['cuts']} ({x['data'][kind]['sha256'][:12]})")

    def decoded(line: dict[str, Any]) -> str:
        told = line["decoding"]
        names = [(told[k], told[f"{k}_sha256"]) for k in ("lexicon", "lm") if told[k]]
        options = {**told["settings"], "guessed": told["words"]["guessed"]}
        return (", ".join(f"{Path(path).name} ({sha[:12]})" for path, sha in names)
                + ", " + _flat(options))  # fmt: skip

    speakers = sorted({len(next(iter(line["counts"].values()))) for line in lines})
    found = sorted({decoded(line) for line in lines if line["decoding"]})
    versions = sorted({f"{k} {v}" for line in lines for k, v in line["versions"].items()})
    few = f"; fewer than {FEW}: intervals over them are too narrow" if speakers[0] < FEW else ""
    rows = {
        "Command": f"`{command}`",
        "Data": f"train {cuts('train')}, dev {cuts('dev')}, test {cuts('test')}",
        "Split": kept(lambda line: line["split"]),
        "Convention": kept(lambda line: _flat(line["labels"])),
        "Test": f"{kept(lambda line: line['sentences'])} sentences, "
        f"{kept(lambda line: round(line['audio_seconds']))} s of audio, "
        f"{', '.join(map(str, speakers))} speakers{few}",
        **({"Words by lexicon": "; ".join(found)} if found else {}),
        "Seeds": ", ".join(map(str, sorted({line["seed"] for line in lines}))),
        "Epochs": kept(lambda line: line["epochs"]),
        "Commit": kept(lambda line: line["commit"]),
        "Machine": kept(lambda line: line["machine"]),
        "Versions": ", ".join(versions),
    }
    return "".join(f"- {name}: {text}\n" for name, text in rows.items())


def _flat(mapping: Mapping[str, Any]) -> str:
    """Names and values; of a lexicon the file's name."""
    return ", ".join(
        f"{k} {Path(v).name if k == 'lexicon' and v else 'none' if v is None else v}"
        for k, v in mapping.items()
    )


# --- command --------------------------------------------------------------------------------------


def main(words: Sequence[str] | None = None) -> int:
    """The command."""
    words = sys.argv[1:] if words is None else list(words)
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("config", type=Path, help="YAML file of the configuration that all start from")
    add("systems", type=Path, help="YAML file, NAME: {shows: ..., set: [key=value]}; ours first")
    add("--test", type=Path, required=True, metavar="CUTS", help="manifest to evaluate on")
    add("--out", type=Path, required=True, help="folder of all runs")
    add("--seeds", type=int, default=5, help="how many, from 0")
    add("--workers", type=int, default=2, help="runs at a time, of one thread each")
    add("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="for all")
    add("--only", help="names, with commas between, to train")
    add("--lexicon", type=Path, metavar="FILE", help="pronunciations: find words by them, too")
    add("--lm", type=Path, metavar="ARPA", help="n-gram language model of words, for this")
    add(
        "--decode", nargs="+", action="extend", default=[], metavar="KEY=VALUE",
        help="for this: source=both, lm_weight=0.5, beam=50, spelling=true ...",
    )  # fmt: skip
    add("--report", action="store_true", help="make the report of what is done, and train nothing")
    options = parser.parse_args(words)
    kept = [word for word in words if word != "--report"]
    return guarded(lambda: run(options, shlex.join(["python", "recipes/compare.py", *kept])))


def run(options: argparse.Namespace, command: str) -> int:
    """Train what is to be trained, and report; 1 where something failed."""
    systems = read_systems(options.systems)
    wanted = chosen(systems, options.only, f"Use one of {', '.join(s.name for s in systems)}")
    if options.seeds < 1:
        raise ConfigError("--seeds", f"{options.seeds} is less than 1", "Use 5")
    with files.locked_folder(options.out):
        results, failed = options.out / RESULTS, 0
        if not options.report:
            decoder = words_of(options.lexicon, options.lm, options.decode)
            own = [*options.set, "threads=1", "data.workers=1"]
            jobs = [
                planned(system, seed, options.config, own, options.out, options.test, decoder)
                for seed in range(options.seeds) for system in wanted
            ]  # fmt: skip
            jobs = to_do(jobs, read_lines(results), "system")
            failed = run_all(jobs, one, results, options.workers)
        if lines := [x for x in read_lines(results) if x["system"] in {s.name for s in systems}]:
            publish(report(lines, systems, command), options.out / REPORT)
    return int(failed > 0)


if __name__ == "__main__":
    # not what SIGINT does: a shell lets what it starts in the background ignore that
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    raise SystemExit(main())
