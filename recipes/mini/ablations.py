"""What each part is good for: variants of one configuration, several seeds each, on one corpus.

python recipes/mini/ablations.py CONFIG --out OUT [--seeds 3] [--epochs N] [--only NAME,...]

All variants hear the same audio in the same order: epochs and batches are the configuration's, and
a seed means the same to each. Run again, it skips what OUT/ablations.jsonl has, and goes on with
runs that were cut.
"""

import argparse
import hashlib
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import traceback
from collections.abc import Sequence
from math import sqrt
from multiprocessing import get_context
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, NamedTuple

from speechasym import configs, dataset, files, index, runs
from speechasym.configs import TrainConfig
from speechasym.errors import ConfigError, OutputError, SpeechAsymError

MEASURES = ("PER", "LER", "WER", "WER of letters")
RESULTS, REPORT, RESULT = "ablations.jsonl", "ablations.md", "result.json"
# of Student's t at 0.975, by degrees of freedom from 1; beyond, the last: a little too wide
T975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


class Variant(NamedTuple):
    """One change, and the variants that it is compared with."""

    name: str
    shows: str
    words: tuple[str, ...] = ()  # key=value, over the configuration's
    beside: tuple[str, ...] = ("base",)


STRIDE = ("model.levels.0.events=stride", "model.levels.1.events=stride")
NO_EVENTS = (
    *("model.levels.0.events=none", "model.levels.1.events=none"), "model.heads.letters.slots=1",
)  # fmt: skip
ON_TOP = tuple(f"model.heads.{head}.level=2" for head in configs.HEADS)


def _features(what: str) -> str:
    return f"data.features={{features: {what}, normalise: utterance}}"


def _law(name: str, shows: str) -> Variant:
    return Variant(f"law-{name}", shows, (f"model.every.law={name}",))


def _function(name: str, shows: str) -> Variant:
    words = (f"model.every.functions=[{name},feedforward]",)
    return Variant(f"function-{name}", f"{shows} in place of the convolution", words)


def _rival(preset: str, shows: str, *beside: str) -> Variant:
    words = (_features("logmel"), f"model.preset={preset}")
    return Variant(preset, f"{shows}; log-mel", words, ("base", "features-logmel", *beside))


VARIANTS = (
    Variant("base", "the configuration as it is"),
    _law("pareto", "units share by a power of the distance"),
    _law("power", "units share by a power of the rank"),
    _law("softmax", "units share by exp(-distance), nothing learned"),
    _law("entmax", "units share sparsely"),
    _law("relu", "units by threshold, no competition"),
    _law("gelu", "units by soft threshold, no competition"),
    Variant("resolution", "geometric law with learned N", ("model.every.resolution=24",)),
    Variant("no-units", "no units at all", ("model.every.units=0", *STRIDE), ("base", "stride")),
    _function("statespace", "a state space"),
    _function("attention", "attention"),
    _function("gate", "a gate"),
    _function("linear", "a linear map, step by step"),
    _function("constant", "a constant"),
    Variant("norm-pre", "blocks with pre-norm only", ("model.every.block.norm=pre",)),
    Variant("norm-sandwich", "norms without compression", ("model.every.block.norm=sandwich",)),
    Variant("stride", "windows of fixed length in place of events", STRIDE),
    Variant("no-events", "nothing is pooled", NO_EVENTS),
    Variant("pass-units", "units without error go on", ("model.every.passes=units",)),
    Variant("pass-error", "the error without units goes on", ("model.every.passes=error",)),
    Variant("pass-none", "units choose events, nothing more", ("model.every.passes=none",)),
    Variant("no-local-loss", "units need not predict", ("model.every.predict=0",)),
    Variant("features-logmel", "log-mel, 80 columns", (_features("logmel"),)),
    Variant("features-mfcc", "MFCC with slopes, 39 columns", (_features("mfcc"),)),
    Variant("features-gammatone", "gammatone levels, 64 columns", (_features("gammatone"),)),
    Variant(
        "features-amplitude", "amplitude and its asymmetry alone",
        (_features("asymmetry, compact: true, kinds: [amplitude]"),),
    ),
    Variant(
        "features-frequency", "deviation of frequency alone, 5 columns",
        (_features("asymmetry, compact: true, kinds: [frequency]"),),
    ),
    Variant("words-only", "no phones, no letters", ("heads.phones=0", "heads.letters=0")),
    Variant(
        "phones-only", "no letters, no words",
        ("heads.letters=0", "heads.words=0", "target=phones"),
    ),
    Variant("phones-words", "no letters", ("heads.letters=0",)),
    # events on top are fewer than letters: without events, and beside the same at three depths
    Variant("heads-on-top", "all heads on the top level", (*NO_EVENTS, *ON_TOP), ("no-events",)),
    _rival("recurrent", "convolution and two GRUs"),
    _rival("recurrent-intermediate", "the same, heads at their depths", "recurrent"),
    _rival("transformer", "attention, heads on top"),
    _rival("transformer-intermediate", "the same, heads at their depths", "transformer"),
    _rival("state-space-intermediate", "selective state spaces, heads at their depths"),
)  # fmt: skip


class Job(NamedTuple):
    """A run to do, or done."""

    variant: Variant
    seed: int
    config: TrainConfig
    folder: Path
    test: Path
    sha256: str  # of all that decides the result but the code

    @property
    def name(self) -> str:
        return self.folder.name


def job_of(variant: Variant, seed: int, base: Path, own: Sequence[str], options: Any) -> Job:
    """A variant with a seed. Raises `ConfigError` where the configuration does not allow it."""
    fixed = ("steps=null", "minutes=null", "patience=null", "threads=1", "data.workers=1")
    config = configs.read(base, [*own, *fixed, f"seed={seed}", *variant.words])
    test = options.test or Path(config.data.train).with_name("test_cuts.jsonl.gz")
    known = {k: v for k, v in configs.to_dict(config).items() if k not in runs.FREE}
    known["data"] = {k: v for k, v in known["data"].items() if f"data.{k}" not in runs.FREE}
    sets = [dataset.sha256(Path(path)) for path in (config.data.train, config.data.dev, test)]
    text = json.dumps([known, sets], sort_keys=True)
    folder = options.out / f"{variant.name}-seed{seed}"
    return Job(variant, seed, config, folder, test, hashlib.sha256(text.encode()).hexdigest())


def one(job: Job) -> dict[str, Any] | None:
    """Train, or go on, and evaluate on voices never heard; None where it was stopped."""
    from speechasym import evaluation, training

    done = training.train(job.config, job.folder, resume=True)
    if not done["finished"]:
        return None
    found = evaluation.evaluate(job.folder, job.test, device=job.config.device)
    text = (job.folder / runs.METRICS).read_text("utf-8")
    speeds = [json.loads(line).get("audio_hours_per_hour") for line in text.splitlines()]
    heads = ("phones", "letters", "words", evaluation.FROM_LETTERS)
    names = dict(zip(heads, MEASURES, strict=True))
    return {
        "variant": job.variant.name, "overrides": list(job.variant.words), "seed": job.seed,
        "parameters": found.trained.parameters, "epochs": done["epochs"], "steps": done["steps"],
        "seconds": done["seconds"],
        "audio_hours_per_hour": statistics.median(s for s in speeds if s is not None),
        "events": [round(flow.events, 2) for flow in found.flows],
        "rates": {names[n]: score.counts.rate for n, score in found.scores.items()},
        "dev": done["dev"], "best_step": done["best_step"], "sentences": len(found.speakers),
        "left_out": {head: len(cuts) for head, cuts in done["left_out"].items()},
        "commit": commit(), "versions": runs.versions(), "machine": machine(found.device),
        "sha256": job.sha256,
    }  # fmt: skip


def work(job: Job) -> None:
    """`one` in a process of its own, what it says going into a file beside the run's folder."""
    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C goes to the first process alone, which tells the others once
    with job.folder.with_suffix(".log").open("a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    import torch

    torch.set_num_threads(1)
    try:
        if result := one(job):
            files.write_json(job.folder / RESULT, result)
    except Exception:
        traceback.print_exc()
        raise SystemExit(1) from None


def run_all(jobs: Sequence[Job], out: Path, workers: int) -> int:
    """Do the jobs, so many at a time; returns how many failed. Stops them all on Ctrl-C."""
    waiting, failed = list(jobs), 0
    running: dict[Any, tuple[Any, Job]] = {}
    context = get_context("spawn")
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                job = waiting.pop(0)
                (job.folder / RESULT).unlink(missing_ok=True)
                process = context.Process(target=work, args=(job,))
                process.start()
                running[process.sentinel] = (process, job)
                print(f"{job.name}: started", flush=True)
            for sentinel in wait(list(running)):
                process, job = running.pop(sentinel)
                process.join()
                failed += not tell(job, out)
                left = len(waiting) + len(running)
                print(f"{len(jobs) - left} of {len(jobs)} over, {failed} failed", flush=True)
    except KeyboardInterrupt:
        for process, _ in running.values():
            process.terminate()  # it writes its state
        for process, _ in running.values():
            process.join()
        raise
    return failed


def tell(job: Job, out: Path) -> bool:
    """Keep what a job gave, and say it; False where it failed."""
    if not (job.folder / RESULT).exists():
        log = job.folder.with_suffix(".log")
        last = log.read_text("utf-8").strip().splitlines()[-1:] if log.exists() else []
        print(f"{job.name}: failed, see {log}: {' '.join(last)}")
        return False
    line = json.loads((job.folder / RESULT).read_text("utf-8"))
    lines = [*read_lines(out), line]
    with files.atomic(out / RESULTS) as file:
        file.write("".join(json.dumps(line) + "\n" for line in lines).encode())
    rates = ", ".join(f"{m} {100 * line['rates'][m]:.1f} %" for m in MEASURES if m in line["rates"])
    print(f"{job.name}: {rates}; {line['seconds']:.0f} s")
    return True


def read_lines(out: Path) -> list[dict[str, Any]]:
    """The results so far. Raises `OutputError` where they cannot be read."""
    path = out / RESULTS
    try:
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise OutputError(path, f"cannot be read ({error})", "Mend it, or remove it") from error


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


def report(lines: Sequence[dict[str, Any]]) -> str:
    """Markdown: each variant's figures, and its differences by seed from what it stands beside."""
    by = {v.name: {line["seed"]: line for line in lines if line["variant"] == v.name}
          for v in VARIANTS}  # fmt: skip
    body, differences, compared = [], [], 0
    for variant in VARIANTS:
        own = list(by[variant.name].values())
        if not own:
            continue
        flow = zip(*(line["events"] for line in own), strict=True)
        body.append([
            variant.name, variant.shows, str(len(own)), f"{own[0]['parameters']:,}",
            *(f"{statistics.median(line[key] for line in own):.0f}"
              for key in ("seconds", "audio_hours_per_hour")),
            ", ".join(f"{statistics.median(level):.1f}" for level in flow) or "-",
            *(spread([100 * line["rates"][m] for line in own if m in line["rates"]])
              for m in MEASURES),
        ])  # fmt: skip
        for other in variant.beside:
            seeds = [s for s in by[variant.name] if s in by[other] and other != variant.name]
            pairs = [(by[variant.name][s]["rates"], by[other][s]["rates"]) for s in seeds]
            found = [[100 * (a[m] - b[m]) for a, b in pairs if m in a and m in b] for m in MEASURES]
            compared += sum(len(values) > 1 for values in found)
            if any(found):
                differences.append([variant.name, other, *map(verdict, found)])
    kept = {key: ", ".join(sorted({str(line[key]) for line in lines}))
            for key in ("machine", "commit", "epochs", "seed", "sentences")}  # fmt: skip
    head = ["variant", "what it is", "seeds", "parameters", "s", "hours/hour", "events/s"]
    versions = sorted({f"{k} {v}" for line in lines for k, v in line["versions"].items()})
    return "\n".join([
        f"Commit {kept['commit']}; {kept['machine']}; {', '.join(versions)}. Epochs "
        f"{kept['epochs']}, seeds {kept['seed']}; {kept['sentences']} test sentences of voices "
        "never heard. Seconds of training with its validations, and hours of audio trained on in "
        "an hour, are medians; so are events a second of each level. Rates in %: median (least to "
        "greatest) over seeds.\n",
        table([*head, *MEASURES], body),
        "Differences from another variant in points, by seed: mean [95 % interval by Student's t "
        "over seeds]. Where it covers 0, they are within seed noise; what another test set would "
        f"give is not in it. Of {compared} comparisons, {compared / 20:.1f} would lie outside by "
        "chance alone.\n",
        table(["variant", "beside", *MEASURES], differences),
    ])  # fmt: skip


def spread(values: Sequence[float]) -> str:
    """Median (least to greatest)."""
    if not values:
        return "-"
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def verdict(values: Sequence[float]) -> str:
    """Mean difference of an error rate, its interval, and what they say."""
    if len(values) < 2:
        return f"{values[0]:+.1f}, one seed" if values else "-"
    mean = statistics.fmean(values)
    reach = T975[min(len(values) - 1, len(T975)) - 1] * statistics.stdev(values) / sqrt(len(values))
    said = "within seed noise" if abs(mean) <= reach else "better" if mean < 0 else "worse"
    return f"{mean:+.1f} [{mean - reach:+.1f}, {mean + reach:+.1f}] {said}"


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """In markdown."""
    rows = [head, ["---"] * len(head), *body]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def chosen(only: str | None) -> list[Variant]:
    """The variants of these names, in their order. Raises `ConfigError`."""
    known = [v.name for v in VARIANTS]
    names = known if only is None else only.split(",")
    if missing := [name for name in names if name not in known]:
        raise ConfigError("--only", f"{missing[0]!r} is no variant", "See --list")
    return [v for v in VARIANTS if v.name in names]


def main(words: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("config", type=Path, help="YAML file of the base configuration")
    add("--out", type=Path, default=Path("out/ablations"), help="folder of all runs")
    add("--test", type=Path, help="manifest; default: test_cuts.jsonl.gz beside that of training")
    add("--only", help="names, with commas between")
    add("--seeds", type=int, default=3, help="how many, from 0")
    add("--epochs", type=int, help="in place of the configuration's")
    add("--workers", type=int, default=2, help="runs at a time, of one thread each")
    add("--set", nargs="+", default=[], metavar="KEY=VALUE", help="for all variants")
    add("--list", action="store_true", help="say what there is, and do nothing")
    add("--report", action="store_true", help="make the report of what is done, and train nothing")
    options = parser.parse_args(words)
    try:
        variants = chosen(options.only)
        if options.list:
            print("".join(f"{v.name}: {v.shows}. {' '.join(v.words)}\n" for v in variants), end="")
            return 0
        with index.only_user(options.out):
            return run(options, variants)
    except SpeechAsymError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        return 130


def run(options: argparse.Namespace, variants: Sequence[Variant]) -> int:
    """Train what is to be trained, and report; 1 where something failed."""
    failed = 0
    if not options.report:
        own = [*options.set, *([] if options.epochs is None else [f"epochs={options.epochs}"])]
        seeds = range(options.seeds)
        jobs = [job_of(v, s, options.config, own, options) for s in seeds for v in variants]
        done = {(line["variant"], line["seed"]): line["sha256"] for line in read_lines(options.out)}
        for job in jobs:
            if done.get((job.variant.name, job.seed), job.sha256) != job.sha256:
                raise OutputError(
                    options.out, f"{job.name} was done with other settings or data",
                    "Choose another --out, or remove its line",
                )  # fmt: skip
        jobs = [job for job in jobs if (job.variant.name, job.seed) not in done]
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        failed = run_all(jobs, options.out, max(1, options.workers))
    lines = read_lines(options.out)
    if lines:
        text = report(lines)
        with files.atomic(options.out / REPORT) as file:
            file.write(text.encode())
        print(text)
    return int(failed > 0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
    raise SystemExit(main())
