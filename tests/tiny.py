"""A corpus of tones and a model small enough to train in a second, for the tests of training."""

import itertools
import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import sine, tone
from torch import nn

from speechasym.annotations.intervals import SampleInterval
from speechasym.corpora.manifests import Utterance, manifests_of
from speechasym.errors import TrainingError
from speechasym.training import checkpoints, distributed, loop, losses
from speechasym.training.config import read_config

WORDS = {"a": ("aa",), "bee": ("b", "iy"), "sea": ("s", "iy"), "as": ("aa", "s")}
HERTZ = {"sil": 0.0, "aa": 500.0, "b": 1200.0, "iy": 2600.0, "s": 5000.0}
PHONE = 1600  # samples of each


def utterance(folder: Path, name: str, words: list[str]) -> Utterance:
    """A tone for each phone, a pause before and after."""
    phones = ["sil", *(p for word in words for p in WORDS[word]), "sil"]
    samples = np.concatenate([sine(PHONE / 16000, hertz=HERTZ[p]) for p in phones])
    rng = np.random.default_rng(len(name) + sum(map(ord, name)))
    path = tone(folder / f"{name}.wav", samples + 0.01 * rng.standard_normal(len(samples)))
    return Utterance(
        id=name,
        path=path,
        place=name,
        sample_rate=16000,
        frames=len(samples),
        text=" ".join(words),
        speaker=name.split("-")[0],
        phones=tuple(SampleInterval(i * PHONE, (i + 1) * PHONE, p) for i, p in enumerate(phones)),
    )


def manifest(path: Path, texts: dict[str, str]) -> Path:
    """Write a manifest of cuts with the words of {id: words}."""
    utterances = [
        utterance(path.parent / "audio", name, text.split()) for name, text in texts.items()
    ]
    manifests_of(utterances).cuts.to_file(path)
    return path


def corpus(folder: Path, count: int = 24) -> list[str]:
    """Write train.jsonl and dev.jsonl; returns the overrides that name them."""
    rng = np.random.default_rng(1)
    texts = {
        f"s{n % 3}-{n:02d}": " ".join(rng.choice(list(WORDS), 2 + n % 3)) for n in range(count)
    }
    manifest(folder / "train.jsonl", texts)
    manifest(folder / "dev.jsonl", {f"s9-{name}": text for name, text in list(texts.items())[:6]})
    return [f"data.train={folder / 'train.jsonl'}", f"data.dev={folder / 'dev.jsonl'}"]


class Output:
    def __init__(self, heads, losses):
        self.heads, self.losses = heads, losses


class Tiny(nn.Module):
    """A convolution, dropout, and a linear head each; a step takes `pause` s, for tests of kills.

    `trap`: "output" or "gradient" is not finite from step `at` on.
    """

    def __init__(self, inputs, sizes, width=16, skip=2, drop=0.1, pause=0.0, trap="", at=0):
        super().__init__()
        self.skip, self.pause, self.trap, self.at = skip, pause, trap, at
        self.conv = nn.Conv1d(inputs, width, 5, padding=2)
        self.drop = nn.Dropout(drop)
        self.middle = nn.Identity()
        self.heads = nn.ModuleDict({head: nn.Linear(width, n + 1) for head, n in sizes.items()})
        self.register_buffer("fits", torch.zeros(()))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @property
    def symbol_axes(self):
        return {f"heads.{h}.{kind}": (h, 0) for h in self.heads for kind in ("weight", "bias")}

    def initialise(self, batches):
        for features, lengths in batches:
            assert features.ndim == 3 and len(features) == len(lengths)
            self.fits += 1

    def forward(self, features, lengths):
        if self.pause:
            time.sleep(self.pause)
        y = self.drop(torch.relu(self.conv(features.transpose(1, 2)))).transpose(1, 2)
        if self.training:
            self.steps += 1
        if self.trap and self.steps > self.at:
            y = y / 0 if self.trap == "output" else y + (y * 0).sqrt()
        y = self.middle(y)
        y, lengths = y[:, :: self.skip], (lengths + self.skip - 1) // self.skip
        heads = {name: (head(y).log_softmax(-1), lengths) for name, head in self.heads.items()}
        return Output(heads, {"small": 1e-3 * y.square().mean()})


def build(model, inputs, sizes):
    return Tiny(inputs, sizes, **(model.options if model.kind == "custom" else {}))


FEATURES = ("data.features.features=logmel", "data.features.rate=50")  # fast ones


def config(words, *more):
    basic = ("threads=1", "batch_seconds=3", "epochs=3", "device=cpu", *FEATURES)
    custom = ["model.kind=custom"] if any("model.options" in word for word in more) else []
    return read_config(None, [*words, *basic, *custom, *more])


def run(words, out, *more, **options):
    return loop.train(config(words, *more), out, build=build, show_progress=False, **options)


def run_to_be_killed(words, out, more):
    run(words, out, *more, resume=True)


def join_group(rank, size, port):
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


def train_levels_in_group(rank, size, port, words, out):
    """Train the real levels with batches of one cut: one process has no share of them."""
    join_group(rank, size, port)
    more = ("epochs=1", "batch_seconds=1", "model.every.width=16")
    loop.train(config(words, *more), out, show_progress=False)


def end_in_group(rank, size, port, said):
    """End the second process without a word; the first one writes what it says of that."""
    join_group(rank, size, port)
    with distributed.process_group(torch.device("cpu")) as group:
        if rank == 1:
            os._exit(0)
        with pytest.raises(TrainingError) as error:
            distributed.barrier(group)
        said.write_text(str(error.value))


def threads_of_groups():
    """Return the names of the threads of torch's groups in this process (on Linux).

    There must be none when Python ends: one that is not done with its tensors makes it abort.
    """
    names = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
    return [name for name in names if "gloo" in name]


def train_in_group(rank, size, port, words, out, more):
    join_group(rank, size, port)
    kept = []

    def keep(*args):
        kept.append(build(*args))
        return kept[0]

    found = loop.train(config(words, *more), out, build=keep, show_progress=False)
    torch.save([found["steps"], found["best"], kept[0].state_dict()], f"{out}-{rank}.pt")


def lines(out):
    """Return metrics.jsonl without what depends on the clock."""
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    clock = ("seconds", "audio_hours_per_hour", "waited")
    return [{k: v for k, v in row.items() if k not in clock} for row in rows]


def same(a, b):
    """Check that two runs ended with the same parameters, moments, averages and metrics."""
    one, two = checkpoints.load(a)[0], checkpoints.load(b)[0]
    assert sorted(one) == sorted(two)
    assert [name for name in one if not torch.equal(one[name], two[name])] == []
    assert lines(a) == lines(b)
    assert (a / "model.safetensors").read_bytes() == (b / "model.safetensors").read_bytes()


def same_results(a, b):
    """Whether two runs of different configurations ended with the same model and losses."""
    one, two = checkpoints.load(a)[0], checkpoints.load(b)[0]
    model = [name for name in one if name.startswith("model.")]
    losses = [[row.get("loss") for row in lines(run)] for run in (a, b)]
    equal = all(torch.equal(one[name], two[name]) for name in model)
    return bool(model) and equal and losses[0] == losses[1]


def same_parameters(a, b):
    """Check that two runs ended with the same parameters, but for the order of sums."""
    one, two = checkpoints.load(a)[0], checkpoints.load(b)[0]
    assert sorted(one) == sorted(two)
    for name, value in one.items():
        torch.testing.assert_close(value, two[name], rtol=1e-3, atol=1e-5, msg=name)


def interrupt():
    """Ask this process to stop."""
    os.kill(os.getpid(), signal.SIGTERM)


def stop_at(monkeypatch, step, number=signal.SIGTERM):
    """Send a signal to this process while it computes a step."""
    loss, steps = losses.batch_loss, itertools.count(1)

    def stopped(*args):
        if next(steps) == step:
            os.kill(os.getpid(), number)
        return loss(*args)

    monkeypatch.setattr(losses, "batch_loss", stopped)


def random_cuts(folder):
    """Twelve cuts of 0.5 to 1.6 s, four speakers, a word each in the middle."""
    from lhotse import CutSet, MonoCut, Recording, SupervisionSegment
    from lhotse.supervision import AlignmentItem

    rng = np.random.default_rng(0)
    cuts = []
    for number in range(12):
        seconds = 0.5 + 0.1 * number
        path = folder / f"u{number:02d}.wav"
        tone(path, 0.1 * rng.standard_normal(round(seconds * 16000)))
        recording = Recording.from_file(path)
        supervision = SupervisionSegment(
            id=path.stem,
            recording_id=path.stem,
            start=0,
            duration=recording.duration,
            speaker=f"s{number % 4}",
            alignment={"word": [AlignmentItem("word", 0.1, 0.25)]},
        )
        cuts.append(
            MonoCut(path.stem, 0, recording.duration, 0, [supervision], recording=recording)
        )
    return CutSet.from_cuts(cuts)
