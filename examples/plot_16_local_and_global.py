"""
Learning from local and global errors
=====================================

**Does a level need the error of the levels above it?** Backpropagation brings the error of the
top down through everything. By the rule ``local`` each stage learns from an error of its own, and
by ``local+global`` also from a small net that imitates what comes above it. We train the same
stack by each rule, and measure how far its gradients differ from the true ones and what they
cost.

The language is a toy, four tones that make five words, so that something is learned in a few
seconds. It does not rank the rules: :doc:`/docs/learning` does, and
:doc:`/recipes/claims/learning/RESULTS`.
"""

import json
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import soundfile

import speechasym

HERTZ = {"M": 300, "AA": 700, "IY": 1800, "S": 3000}
WORDS = {"am": "AA M", "mass": "M AA S", "a": "AA", "me": "M IY", "see": "S IY"}
folder = Path(tempfile.mkdtemp())
(folder / "said").mkdir()
(folder / "lexicon.txt").write_text("".join(f"{w.upper()} {p}\n" for w, p in WORDS.items()))
rng = np.random.default_rng(0)
time = np.arange(int(0.12 * 16000)) / 16000
pause = np.zeros(int(0.15 * 16000))
for number in range(40):
    words = rng.choice(list(WORDS), rng.integers(2, 5))
    parts = [pause]
    for word in words:
        parts += [0.3 * np.sin(2 * np.pi * HERTZ[phone] * time) for phone in WORDS[word].split()]
        parts.append(pause)
    x = np.concatenate(parts)
    soundfile.write(folder / "said" / f"{number:02d}.wav", x + rng.normal(0, 0.01, len(x)), 16000)
    (folder / "said" / f"{number:02d}.txt").write_text(" ".join(words))
speechasym.prepare(
    "folder", folder / "said", folder / "corpus", split_by="recordings", shares=(0.75, 0.25, 0)
)

settings = [
    f"data.train={folder / 'corpus' / 'train_cuts.jsonl.gz'}",
    f"data.dev={folder / 'corpus' / 'dev_cuts.jsonl.gz'}",
    f"data.labels.lexicon={folder / 'lexicon.txt'}",
    "data.features={features: gammatone, channels: 16, normalise: utterance}",
    "data.workers=0",
    "model.levels=[{stride: 3}, {}]",
    "model.every={width: 24, functions: [convolution, feedforward], units: 8}",
    "model.heads={phones: {level: 0}, letters: {level: 1, slots: 2}}",
    "heads={phones: 1, letters: 1}",
    "learning.meter=true",
    "steps=120",
    "validate_every=20",
    "batch_seconds=8",
    "learning_rate=0.02",
    "averaging=0.8",
    "threads=1",
]
metrics = {}
for rule in ("backprop+inter", "local", "local+global"):
    config = speechasym.read_config(None, [*settings, f"learning.rule={rule}"])
    result = speechasym.train(config, folder / rule, show_progress=False)
    lines = (folder / rule / "metrics.jsonl").read_text().splitlines()
    metrics[rule] = [json.loads(line) for line in lines]
    errors = (f"{head} {result['dev'][f'dev_error_{head}']:.0%}" for head in ("phones", "letters"))
    print(f"{rule}: errors on dev after {result['steps']} steps:", ", ".join(errors))

# %%
# Once an epoch the meter computes a step a second time, by backpropagation, and compares both:
# the angle between the gradients, and the activations that are held at the same time.

colours = {"backprop+inter": "black", "local": "tab:orange", "local+global": "tab:blue"}
figure, (left, right) = plt.subplots(1, 2, figsize=(7, 4), layout="constrained")
for rule, lines in metrics.items():
    dev = [line for line in lines if "dev_error_letters" in line]
    errors = [100 * line["dev_error_letters"] for line in dev]
    left.plot([line["step"] for line in dev], errors, "o-", color=colours[rule], label=rule)
    measured = [line for line in lines if "stages" in line]
    cosines = [line["stages"][0]["cosine"] for line in measured]
    right.plot([line["step"] for line in measured], cosines, color=colours[rule])
    held = max(line["memory"] for line in measured) / 1000
    print(f"{rule:<14}  cosine {np.mean(cosines):5.2f} on average; {held:.0f} kB of activations")
left.set(xlabel="step", ylabel="letter error on dev (%)", ylim=(0, None))
left.legend()
right.set(
    xlabel="step",
    ylabel="cosine with the true one",
    ylim=(-0.5, 1.05),
    title="gradient of the lower level",
)
plt.show()

# %%
# All three learn, and end near each other: with so few letters on dev, a few points are nothing.
# In the lower level the rules without backpropagation follow the true gradient for the first
# steps only. Afterwards the phones, which are read from this level, are right, so that what is
# left of the true gradient comes from the letters above. In exchange both rules hold the
# activations of one stage at a time, and need less memory.
#
# **What to try next.** ``learning.mix=0.125`` takes the true gradient in every eighth step;
# ``learning.local=[contrastive]`` needs no labels below the top; ``speechasym.plot_run(run, None,
# "learning")`` draws what the meter measured.
