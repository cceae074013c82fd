"""Measure training and features on a device: CUDA if there is one, else the CPU.

python benchmarks/gpu.py [--device auto] [--cuts MANIFEST] [--models tiny,small,base] [--out FILE]

Training is that of `speechasym train`, with features from workers and from the device; without a
manifest, on recordings of noise with random texts. Features are computed of one batch at a time.
"""

import argparse
import datetime
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import soundfile
import torch
from measure import RATE, digits, load, speech, table

from recipes.provenance import commit, machine
from speechasym.corpora.manifests import Utterance, manifests_of, stream_cuts
from speechasym.feature_extraction.batched import BatchedFeatures
from speechasym.feature_extraction.sets import FeatureConfig, feature_config
from speechasym.training import batches, loop
from speechasym.training.config import read_config
from speechasym.training.environment import select_device

SETS: dict[str, FeatureConfig] = {
    "compact asymmetry": feature_config(features="asymmetry", compact=True),
    "gammatone level": feature_config(),
    "log-mel": feature_config(features="logmel"),
    "MFCC": feature_config(features="mfcc"),
}
HEADS = ("heads.phones=0", "heads.letters=1", "heads.words=0.5")


def noise_cuts(folder: Path, seconds: float) -> Path:
    """Write recordings of noise of 2 to 16 s, `seconds` in all, and a manifest of them."""
    rng = np.random.default_rng(0)
    utterances: list[Utterance] = []
    total = 0.0
    while total < seconds:
        length = float(rng.uniform(2, 16))
        total += length
        name = f"noise-{len(utterances):05d}"
        x = 0.1 * rng.standard_normal(round(length * RATE))
        path = folder / f"{name}.flac"
        soundfile.write(path, x, RATE)
        words = ("".join(rng.choice(list("abcdefghij"), 4)) for _ in range(round(2.7 * length)))
        utterances.append(
            Utterance(id=name, path=path, place=name, sample_rate=RATE, frames=len(x),
                      text=" ".join(words), speaker="noise")
        )  # fmt: skip
    manifest = folder / "cuts.jsonl"
    manifests_of(utterances).cuts.to_file(manifest)
    return manifest


def training(
    cuts: Path, device: torch.device, options: argparse.Namespace, folder: Path
) -> Iterator[list[str]]:
    """Yield a row of the table for each model and place of the features."""
    durations = [cut.duration for _, cut in stream_cuts(str(cuts))]
    few = folder / "dev.jsonl"  # validation is not timed
    few.write_text("\n".join(cuts.read_text().splitlines()[:2]) if cuts.suffix == ".jsonl" else "")
    dev = few if few.read_text() else cuts
    for model in options.models.split(","):
        for where in ("workers", "device"):
            words = [
                f"data.train={cuts}", f"data.dev={dev}", f"model.preset={model}",
                f"data.features_on={where}", f"data.workers={options.workers}", *HEADS,
                f"device={device}", f"batch_seconds={options.batch_seconds}",
                f"steps={options.steps}", f"validate_every={options.steps}",
                "threads=1", *options.set,
            ]  # fmt: skip
            config = read_config(None, words)
            out = folder / f"{model}-{where}"
            result = loop.train(config, out, show_progress=False)
            lines = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
            steps = [line for line in lines if "loss" in line]
            audio: list[float] = []
            while len(audio) < len(steps):
                epoch = steps[len(audio)]["epoch"]
                groups = batches.epoch_batches(durations, config.batch_seconds, 0, epoch)
                audio += [sum(durations[n] for n in group) for group in groups]
            first = min(options.warm_up, len(steps) - 2)
            took = [b["seconds"] - a["seconds"] for a, b in pairwise(steps)]
            yield [
                model, f"{result['parameters']:,}", where,
                digits(sum(audio[first + 1 : len(steps)]) / sum(took[first:])),
                digits(statistics.median(s["audio_hours_per_hour"] for s in steps[first:])),
                f"{100 * sum(s['waited'] for s in steps[first + 1 :]) / sum(took[first:]):.1f}",
            ]  # fmt: skip


def features(device: torch.device, options: argparse.Namespace) -> Iterator[list[str]]:
    """Yield a row of the table for each feature set."""
    x = torch.from_numpy(speech(options.batch * options.seconds)).reshape(options.batch, -1)
    samples, lengths = x.to(device), torch.full((options.batch,), x.shape[1], device=device)
    for name, config in SETS.items():
        module = BatchedFeatures(config).to(device)
        rates = []
        for turn in range(options.rounds + 1):  # the first one compiles
            start = time.perf_counter()
            module(samples, lengths)
            if device.type == "cuda":
                torch.cuda.synchronize()
            middle = time.perf_counter()
            for row in x[:1].numpy():
                np.concatenate(list(config.frames([row])))
            end = time.perf_counter()
            if turn:
                rates.append(
                    (x.numel() / RATE / (middle - start), options.seconds / (end - middle))
                )
        there, here = (statistics.median(column) for column in zip(*rates, strict=True))
        yield [name, digits(there), digits(here)]


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add = parser.add_argument
    add("--device", default="auto")
    add("--models", default="tiny,small,base", help="presets, comma-separated")
    add("--cuts", type=Path, help="manifest of cuts with texts")
    add("--workers", type=int, default=min(8, os.cpu_count() or 1))
    add("--steps", type=int, default=60)
    add("--warm-up", type=int, default=20, help="steps that do not count")
    add("--batch-seconds", type=float, default=600.0, help="including padding")
    add("--batch", type=int, default=64, help="recordings whose features are computed together")
    add("--seconds", type=float, default=15.0, help="of each")
    add("--rounds", type=int, default=5)
    add("--set", nargs="*", default=[], metavar="KEY=VALUE", help="keys of the training runs")
    add("--out", type=Path, help="write the page to this file too")
    options = parser.parse_args()
    device = select_device(options.device)
    torch.set_num_threads(1)  # on the CPU more would wait for each other; CUDA needs no more
    name = machine(str(device)) if device.type == "cuda" else "CPU"
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        cuts = options.cuts or noise_cuts(folder, 10 * options.batch_seconds)
        what = cuts.name if options.cuts else "noise"
        front = table(
            ["features", f"x real time, {name}", "x real time, one CPU core, numba"],
            list(features(device, options)),
        )
        trained = table(
            ["model", "parameters", "features on", "hours/hour", "of the step alone", "waits, %"],
            list(training(cuts, device, options, folder)),
        )
    text = (
        f"# Training and features on a device\n\n{datetime.date.today()}, commit {commit()}; "
        f"{name}; {machine()}, {os.cpu_count()} cores, load average {load()}; torch "
        f"{torch.__version__}, one thread, {options.workers} workers.\n\n"
        f"Features of {options.batch} recordings of {options.seconds:g} s; median of "
        f"{options.rounds} rounds:\n\n{front}\n"
        f"Training on {what}, batches of {options.batch_seconds:g} s, {options.steps} steps of "
        f"which the first {options.warm_up} do not count:\n\n{trained}\n"
        "Hours of audio per hour, without padding. `waits` is the share of the time in which the "
        "training process waited for a batch; on the CPU, that includes computing features.\n"
    )
    print(text)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
