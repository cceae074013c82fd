"""
Growing a network
=================

**What happens to a model when blocks are added in the middle of training?** Nothing, at that
moment: a new block begins by adding zero, so that the model computes what it did before. We let a
stack grow every fourth epoch, and watch its loss and its size.

The language is a toy, four tones that make five words, so that something is learned in a few
seconds. Whether growing pays it cannot tell: :doc:`/docs/growth` has measured that on speech.
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
    "model.every={width: 24, functions: [convolution, feedforward], repeat: 3, units: 8}",
    "model.every.block.norm=layerscale",
    "model.heads={phones: {level: 0}, letters: {level: 1, slots: 2}}",
    "heads={phones: 1, letters: 1}",
    "grow={rule: 'periodic:4', what: blocks}",  # up to `repeat` pairs of blocks in each level
    "epochs=24",
    "batch_seconds=8",
    "learning_rate=0.01",
    "averaging=0.8",
    "threads=1",
]
config = speechasym.read_config(None, settings)
result = speechasym.train(config, folder / "run", show_progress=False)
print(f"{result['steps']} steps, {result['parameters']:,} parameters in the end")

# %%
# Every validation and every growth is a line of metrics.jsonl.

lines = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
dev = [line for line in lines if "dev_loss_letters" in line]
grown = [line for line in lines if "grown" in line]
for line in grown:
    print(
        f"after epoch {line['epoch']}: level {line['grown_level']} grows, "
        f"pairs of blocks {line['sizes']}, {line['parameters']:,} parameters"
    )

figure, (above, below) = plt.subplots(2, 1, figsize=(7, 5), sharex=True, layout="constrained")
above.plot([line["epoch"] for line in dev], [line["dev_loss_letters"] for line in dev], "ko-")
above.set(yscale="log", ylabel="loss on dev\n(nats a letter)")
epochs = [0, *(line["epoch"] for line in grown), dev[-1]["epoch"]]
first = grown[0]["parameters"] - (grown[1]["parameters"] - grown[0]["parameters"])
sizes = [first, *(line["parameters"] for line in grown)]
below.stairs(np.array(sizes) / 1000, epochs, color="tab:blue", linewidth=2, baseline=None)
below.set(xlabel="epoch", ylabel="parameters (thousands)", ylim=(0, None))
for line in grown:
    for axes in (above, below):
        axes.axvline(line["epoch"], color="tab:blue", linestyle=":")
plt.show()

# %%
# The loss does not jump where a level grows. Nearly everything is learned before the first
# growth: four tones need no deep stack, and growing by the calendar does not ask. The rule
# ``asymmetry`` waits until the loss no longer falls as it did, and looks for the level whose
# error still has structure.
#
# **What to try next.** ``grow.rule=asymmetry``; ``grow.what`` can be levels, attention heads or
# units; ``speechasym.plot_run(run, None, "curves")`` marks each growth.
