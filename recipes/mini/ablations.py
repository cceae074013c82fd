"""What each part is good for: variants of one configuration, several seeds each, on one corpus.

python recipes/mini/ablations.py CONFIG --out OUT [--seeds 3] [--epochs N] [--only NAME,...]

All variants hear the same audio in the same order: epochs and batches are the configuration's, and
a seed means the same to each. Run again, it skips what OUT/ablations.jsonl has, and goes on with
runs that were cut.
"""

import argparse
import signal
import statistics
import sys
from collections.abc import Sequence
from math import sqrt
from pathlib import Path
from typing import Any, NamedTuple

from speechasym import files
from speechasym.training import config

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for `compare`
import compare
from compare import Job, spread, table

MEASURES = ("PER", "LER", "WER", "WER of letters")
RESULTS, REPORT = "ablations.jsonl", "ablations.md"
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
ON_TOP = tuple(f"model.heads.{head}.level=2" for head in config.HEADS)


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


def job_of(variant: Variant, seed: int, base: Path, own: Sequence[str], options: Any) -> Job:
    """A variant with a seed. Raises `ConfigError` where the configuration does not allow it."""
    fixed = ("steps=null", "minutes=null", "patience=null", "threads=1", "data.workers=1")
    return compare.planned(variant, seed, base, [*own, *fixed], options.out, options.test)


def one(job: Job) -> dict[str, Any] | None:
    """Train, or go on, and evaluate on voices never heard; None where it was stopped."""
    if (got := compare.outcome(job)) is None:
        return None
    line, found = got
    events = [round(flow.events, 2) for flow in found.flows]
    return line | {"variant": job.system.name, "events": events}


def tell(job: Job, out: Path) -> bool:
    """Keep what a job gave, and say it; False where it failed."""
    return compare.tell(job, out / RESULTS)


def read_lines(out: Path) -> list[dict[str, Any]]:
    """The results so far. Raises `OutputError` where they cannot be read."""
    return compare.read_lines(out / RESULTS)


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


def verdict(values: Sequence[float]) -> str:
    """Mean difference of an error rate, its interval, and what they say."""
    if len(values) < 2:
        return f"{values[0]:+.1f}, one seed" if values else "-"
    mean = statistics.fmean(values)
    reach = T975[min(len(values) - 1, len(T975)) - 1] * statistics.stdev(values) / sqrt(len(values))
    said = "within seed noise" if abs(mean) <= reach else "better" if mean < 0 else "worse"
    return f"{mean:+.1f} [{mean - reach:+.1f}, {mean + reach:+.1f}] {said}"


def chosen(only: str | None) -> list[Variant]:
    """The variants of these names, in their order. Raises `ConfigError`."""
    return compare.chosen(VARIANTS, only, "See --list", "variant")


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
    return compare.guarded(lambda: run(options))


def run(options: argparse.Namespace) -> int:
    """Train what is to be trained, and report; 1 where something failed."""
    variants = chosen(options.only)
    if options.list:
        print("".join(f"{v.name}: {v.shows}. {' '.join(v.words)}\n" for v in variants), end="")
        return 0
    with files.locked_folder(options.out):
        failed = 0
        if not options.report:
            own = [*options.set, *([] if options.epochs is None else [f"epochs={options.epochs}"])]
            seeds = range(options.seeds)
            jobs = [job_of(v, s, options.config, own, options) for s in seeds for v in variants]
            jobs = compare.to_do(jobs, read_lines(options.out), "variant")
            failed = compare.run_all(jobs, one, options.out / RESULTS, options.workers)
        if lines := read_lines(options.out):
            compare.publish(report(lines), options.out / REPORT)
    return int(failed > 0)


if __name__ == "__main__":
    # not what SIGINT does: a shell lets what it starts in the background ignore that
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    raise SystemExit(main())
