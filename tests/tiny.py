"""A corpus of tones and a model small enough to train in a second, for the tests of training."""

import os
import time
from pathlib import Path

import numpy as np
import torch
from helpers import sine, tone
from torch import nn

from speechasym.annotations.intervals import SampleInterval
from speechasym.corpora.manifests import Utterance, manifests_of
from speechasym.training import config as configs
from speechasym.training import loop

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
    """A manifest of cuts that say {id: words}."""
    made = [utterance(path.parent / "audio", name, text.split()) for name, text in texts.items()]
    manifests_of(made).cuts.to_file(path)
    return path


def corpus(folder: Path, count: int = 24) -> list[str]:
    """train.jsonl and dev.jsonl; returns the words that tell a config of them."""
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

    def fitted(self, batches):
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


def build(mapping, inputs, sizes):
    return Tiny(inputs, sizes, **mapping)


def config(words, *more):
    basic = ("threads=1", "batch_seconds=3", "epochs=3", "device=cpu", "data.features.rate=50")
    return configs.read_config(None, [*words, *basic, *more])


def run(words, out, *more, **options):
    return loop.train(config(words, *more), out, build=build, show_progress=False, **options)


def run_to_be_killed(words, out, more):
    run(words, out, *more, resume=True)


def join_team(rank, size, port):
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


def levels_in_team(rank, size, port, words, out):
    """The real levels, with batches of one cut: one process has nothing to do in them."""
    join_team(rank, size, port)
    more = ("epochs=1", "batch_seconds=1", "model.every.width=16")
    loop.train(config(words, *more), out, show_progress=False)


def run_in_team(rank, size, port, words, out, more):
    join_team(rank, size, port)
    kept = []

    def keep(*args):
        kept.append(build(*args))
        return kept[0]

    found = loop.train(config(words, *more), out, build=keep, show_progress=False)
    torch.save([found["steps"], found["best"], kept[0].state_dict()], f"{out}-{rank}.pt")
