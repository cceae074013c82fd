"""A language of tones, and a run trained on it, for the tests of recognition."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from helpers import sine, tone

from speechasym import read_config, train
from speechasym.levels.config import FeedbackConfig
from speechasym.levels.hierarchy import build_model

RATE = 16000
HERTZ = {"m": 300, "aa": 700, "s": 3000}  # the tone of each phone
WORDS = {"am": ("aa", "m"), "mass": ("m", "aa", "s"), "a": ("aa",)}
LEXICON = {"AM": [("AA1", "S"), ("AA1", "M")], "MASS": [("M", "AA0", "S")], "A": [("AA1",)]}
TONE_S, GAP_S = 0.12, 0.15  # length of a phone, and of the silence between words


def utterance(words, level=0.3) -> tuple[np.ndarray, list, list]:
    """Samples of words as tones, and (start, end, label) of each word and phone."""
    parts, spoken, sounds, time = [np.zeros(round(GAP_S * RATE))], [], [], GAP_S
    for word in words:
        start = time
        for phone in WORDS[word]:
            parts.append(sine(TONE_S, RATE, HERTZ[phone], level))
            sounds.append((time, time + TONE_S, phone))
            time += TONE_S
        spoken.append((start, time, word))
        parts.append(np.zeros(round(GAP_S * RATE)))
        time += GAP_S
    x = np.concatenate(parts)
    return x + np.random.default_rng(len(x)).normal(0, 1e-3, len(x)), spoken, sounds


def manifest(folder: Path, name: str, count: int, seed: int, speakers: int = 3) -> Path:
    """A manifest of cuts of random words by several speakers."""
    from lhotse import CutSet, Recording, SupervisionSegment
    from lhotse.supervision import AlignmentItem

    rng = np.random.default_rng(seed)
    cuts = []
    for number in range(count):
        words = [list(WORDS)[k] for k in rng.integers(len(WORDS), size=rng.integers(2, 5))]
        x, spoken, sounds = utterance(words, rng.uniform(0.1, 0.5))
        identity = f"{name}-{number:02d}"
        path = tone(folder / name / f"{identity}.wav", x, RATE)
        recording = Recording.from_file(path, recording_id=identity)
        alignment = {
            kind: [AlignmentItem(label, a, b - a) for a, b, label in rows]
            for kind, rows in (("word", spoken), ("phone", sounds))
        }
        cut = recording.to_cut()
        cut.supervisions = [
            SupervisionSegment(
                identity, identity, 0.0, recording.duration, text=" ".join(words),
                speaker=f"s{number % speakers}", alignment=alignment,
            )
        ]  # fmt: skip
        cuts.append(cut)
    path = folder / f"{name}_cuts.jsonl.gz"
    CutSet.from_cuts(cuts).to_file(path)
    return path


def configuration(folder: Path, steps: int = 200) -> str:
    """YAML of a small run with two levels."""
    # the lower level sees only a few frames, so that it must write a phone where it sounds
    level, local = (
        f"width: 24, functions: [{f}], units: 8" for f in ("convolution", "feedforward")
    )
    return f"""
data:
  train: {folder}/train_cuts.jsonl.gz
  dev: {folder}/dev_cuts.jsonl.gz
  features: {{features: gammatone, channels: 16, normalise: utterance}}
  labels: {{word_least: 1}}
model:
  levels:
    - {{{local}, stride: 3, events: hysteresis, keep: 0.7}}
    - {{{level}}}
  heads: {{phones: {{level: 0}}, letters: {{level: 1, slots: 2}}, words: {{level: 1}}}}
heads: {{phones: 1.0, letters: 0.5, words: 0.5}}
steps: {steps}
batch_seconds: 20
learning_rate: 0.02
averaging: 0.8
validate_every: 30
seed: 1
threads: 1
device: cpu
"""


def make(folder: Path) -> Path:
    """Fill a folder with a corpus of tones, and a run that has learned most of it."""
    manifest(folder, "train", 24, 1)
    manifest(folder, "dev", 6, 2)
    manifest(folder, "test", 7, 3)
    (folder / "run.yaml").write_text(configuration(folder))
    train(read_config(folder / "run.yaml"), folder / "run", show_progress=False)
    return folder


def with_feedback(trained, **options):
    """The same trained model with feedback, which it hears through random weights."""
    config = replace(trained.config.model, feedback=FeedbackConfig(**options))
    torch.manual_seed(0)
    sizes = {head: len(symbols) for head, symbols in trained.written.items()}
    model = build_model(config, trained.model.inputs, sizes).eval()
    model.load_state_dict(trained.model.state_dict(), strict=False)
    for level in model.levels[:-1]:
        torch.nn.init.normal_(level.context.weight, std=0.3)
    return trained._replace(model=model, config=replace(trained.config, model=config))


def causal(run):
    """The run as if it had been trained to read live: causal levels, running normalisation."""
    config = run.config.model
    levels = tuple(replace(v, block=replace(v.block, causal=True)) for v in config.levels)
    config = replace(config, levels=levels)
    torch.manual_seed(0)
    sizes = {head: len(symbols) for head, symbols in run.written.items()}
    model = build_model(config, run.model.inputs, sizes).eval()
    model.load_state_dict(run.model.state_dict())
    data = replace(run.config.data, features=replace(run.feature_config, normalise="running"))
    return run._replace(model=model, config=replace(run.config, model=config, data=data))
