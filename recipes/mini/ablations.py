"""Train variants of one configuration with several seeds each, to see what each part contributes.

python -m recipes.mini.ablations CONFIG --out OUT [--seeds 3] [--epochs N] [--only NAME,...]

All variants get the same audio in the same order: epochs and batches are those of the
configuration, and a seed means the same to each. Run again, it skips what is in
OUT/ablations.jsonl, and resumes interrupted runs.
"""

import argparse
import statistics
from collections.abc import Sequence
from math import sqrt
from pathlib import Path
from typing import Any, NamedTuple

from recipes.compare import jobs
from recipes.compare.jobs import Job, spread
from recipes.provenance import table
from speechasym import files
from speechasym.config import check_count
from speechasym.training import config

MEASURES = ("PER", "LER", "WER", "WER of letters")
RESULTS, REPORT = "ablations.jsonl", "ablations.md"
# of Student's t at 0.975, by degrees of freedom from 1; beyond, the last: a little too wide
T975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


class Variant(NamedTuple):
    """A change of the configuration, and the variants that it is compared with."""

    name: str
    shows: str
    words: tuple[str, ...] = ()  # key=value, over the configuration's
    rivals: tuple[str, ...] = ("base",)


STRIDE = ("model.levels.0.events=stride", "model.levels.1.events=stride")
NO_EVENTS = (
    *("model.levels.0.events=none", "model.levels.1.events=none"), "model.heads.letters.slots=1",
)  # fmt: skip
ON_TOP = tuple(f"model.heads.{head}.level=2" for head in config.HEADS)


def _features(what: str) -> str:
    return f"data.features={{features: {what}, normalise: utterance}}"


def _law(name: str, shows: str) -> Variant:
    return Variant(f"law-{name}", shows, (f"model.every.law={name}",))


def _function(name: str, shows: str) -> Variant:
    words = (f"model.every.functions=[{name},feedforward]",)
    return Variant(f"function-{name}", f"{shows} in place of the convolution", words)


def _rival(preset: str, shows: str, *rivals: str) -> Variant:
    words = (_features("logmel"), f"model.preset={preset}")
    return Variant(preset, f"{shows}; log-mel", words, ("base", "features-logmel", *rivals))


VARIANTS = (
    Variant("base", "the configuration unchanged"),
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
    Variant("pass-units", "units are passed on without the error", ("model.every.passes=units",)),
    Variant("pass-error", "the error is passed on without units", ("model.every.passes=error",)),
    Variant("pass-none", "units only choose events", ("model.every.passes=none",)),
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
    # events on top are fewer than letters: without events, compared with the same at three depths
    Variant("heads-on-top", "all heads on the top level", (*NO_EVENTS, *ON_TOP), ("no-events",)),
    _rival("recurrent", "convolution and two GRUs"),
    _rival("recurrent-intermediate", "the same, heads at their depths", "recurrent"),
    _rival("transformer", "attention, heads on top"),
    _rival("transformer-intermediate", "the same, heads at their depths", "transformer"),
    _rival("state-space-intermediate", "selective state spaces, heads at their depths"),
)  # fmt: skip


def job_of(variant: Variant, seed: int, base: Path, common: Sequence[str], options: Any) -> Job:
    """Return the job of a variant with a seed. Raises `ConfigError` as `jobs.plan_job`."""
    fixed = ("steps=null", "minutes=null", "patience=null", "threads=1", "data.workers=0")
    return jobs.plan_job(variant, seed, base, [*common, *fixed], options.out, options.test)


def run_variant(job: Job) -> dict[str, Any] | None:
    """Train, or resume, and evaluate on unseen voices; return the line, None if stopped."""
    if (done := jobs.train_and_evaluate(job)) is None:
        return None
    line, result = done
    events = [round(level.events, 2) for level in result.levels]
    return line | {"variant": job.system.name, "events": events}


def report(lines: Sequence[dict[str, Any]]) -> str:
    """Return, in Markdown, each variant's figures, and its differences from its rivals by seed."""
    by = {v.name: {line["seed"]: line for line in lines if line["variant"] == v.name}
          for v in VARIANTS}  # fmt: skip
    body, differences, compared = [], [], 0
    for variant in VARIANTS:
        runs = list(by[variant.name].values())
        if not runs:
            continue
        events = zip(*(line["events"] for line in runs), strict=True)
        body.append([
            variant.name, variant.shows, str(len(runs)), f"{runs[0]['parameters']:,}",
            *(f"{statistics.median(line[key] for line in runs):.0f}"
              for key in ("seconds", "audio_hours_per_hour")),
            ", ".join(f"{statistics.median(level):.1f}" for level in events) or "-",
            *(spread([100 * line["rates"][m] for line in runs if m in line["rates"]])
              for m in MEASURES),
        ])  # fmt: skip
        for other in variant.rivals:
            seeds = [s for s in by[variant.name] if s in by[other] and other != variant.name]
            pairs = [(by[variant.name][s]["rates"], by[other][s]["rates"]) for s in seeds]
            gaps = [[100 * (a[m] - b[m]) for a, b in pairs if m in a and m in b] for m in MEASURES]
            compared += sum(len(values) > 1 for values in gaps)
            if any(gaps):
                differences.append([variant.name, other, *map(verdict, gaps)])
    values = {key: ", ".join(sorted({str(line[key]) for line in lines}))
            for key in ("machine", "commit", "epochs", "seed", "sentences")}  # fmt: skip
    head = ["variant", "what it is", "seeds", "parameters", "s", "hours/hour", "events/s"]
    versions = sorted({f"{k} {v}" for line in lines for k, v in line["versions"].items()})
    return "\n".join([
        f"Commit {values['commit']}; {values['machine']}; {', '.join(versions)}. Epochs "
        f"{values['epochs']}, seeds {values['seed']}; {values['sentences']} test sentences of "
        "unseen voices. Seconds of training with its validations, and hours of audio trained on in "
        "an hour, are medians; so are events a second of each level. Rates in %: median (least to "
        "greatest) over seeds.\n",
        table([*head, *MEASURES], body),
        "Differences from another variant in points, by seed: mean [95 % interval by Student's t "
        "over seeds]. If it includes 0, the difference is within seed noise; it does not cover "
        f"variation between test sets. Of {compared} comparisons, {compared / 20:.1f} would lie "
        "outside by chance alone.\n",
        table(["variant", "compared with", *MEASURES], differences),
    ])  # fmt: skip


def verdict(values: Sequence[float]) -> str:
    """Return the mean difference of an error rate, its interval, and what they mean."""
    if len(values) < 2:
        return f"{values[0]:+.1f}, one seed" if values else "-"
    mean = statistics.fmean(values)
    reach = T975[min(len(values) - 1, len(T975)) - 1] * statistics.stdev(values) / sqrt(len(values))
    word = "within seed noise" if abs(mean) <= reach else "better" if mean < 0 else "worse"
    return f"{mean:+.1f} [{mean - reach:+.1f}, {mean + reach:+.1f}] {word}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.mini.ablations", description=(__doc__ or "").split("\n")[0]
    )
    add = parser.add_argument
    add("config", type=Path, help="YAML file of the base configuration")
    add("--out", type=Path, default=Path("out/ablations"), help="folder of all runs")
    add("--test", type=Path, help="manifest; default: test_cuts.jsonl.gz beside that of training")
    add("--only", help="comma-separated names")
    add("--seeds", type=int, default=3, help="number of seeds, from 0")
    add("--epochs", type=int, help="instead of those of the configuration")
    add("--workers", type=int, default=2, help="runs at a time, of one thread each")
    add("--set", nargs="+", default=[], metavar="KEY=VALUE", help="for all variants")
    add("--list", action="store_true", help="list the variants and exit")
    add("--report", action="store_true", help="write the report of finished runs; train nothing")
    options = parser.parse_args(arguments)
    return jobs.guarded(lambda: run(options))


def run(options: argparse.Namespace) -> int:
    """Train the missing runs and write the report; return 1 if a run failed."""
    variants = jobs.select(VARIANTS, options.only, "See --list", "variant")
    if options.list:
        print("".join(f"{v.name}: {v.shows}. {' '.join(v.words)}\n" for v in variants), end="")
        return 0
    check_count("--seeds", options.seeds)
    with files.locked_folder(options.out):
        results, failed = options.out / RESULTS, 0
        if not options.report:
            epochs = [] if options.epochs is None else [f"epochs={options.epochs}"]
            todo = [
                job_of(variant, seed, options.config, [*options.set, *epochs], options)
                for seed in range(options.seeds) for variant in variants
            ]  # fmt: skip
            todo = jobs.pending(todo, jobs.read_lines(results), "variant")
            failed = jobs.run_all(todo, run_variant, results, options.workers)
        if lines := jobs.read_lines(results):
            jobs.publish(report(lines), options.out / REPORT)
    return int(failed > 0)


if __name__ == "__main__":
    jobs.interrupt_on_sigterm()
    raise SystemExit(main())
