"""
Discovering units without labels
================================

**Which sounds does a level find if it is not told what to find?** It hears each recording at two
speeds, as if two people had said it, and learns to name the same moment of both by the same unit.
We train one level for a few seconds without any text, and compare its units with the phones
afterwards.

The speech is synthetic (espeak-ng, ``pip install 'speechasym[synth]'``), so that the times of the
phones are known. People vary more: :doc:`/docs/units` has figures for them.
"""

import json
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import speechasym
from speechasym.annotations.intervals import Interval
from speechasym.scoring.units import framewise, score_units

folder = Path(tempfile.mkdtemp())
corpus = folder / "mini"
speechasym.prepare("mini", corpus, corpus, minutes=2)
for steps in (1, 40):
    config = speechasym.read_config(
        "../recipes/discovery/units/change.yaml",
        [
            f"data.train={corpus / 'train_cuts.jsonl.gz'}",
            f"data.dev={corpus / 'dev_cuts.jsonl.gz'}",
            f"data.cache={folder / 'features'}",
            "data.workers=0",
            "model.levels=[{units: 64, events: change, keep: 0.13}]",  # 13 events a second
            f"steps={steps}",
            f"validate_every={steps}",
            "batch_seconds=30",
        ],
    )
    result = speechasym.train(config, folder / f"run{steps}", show_progress=False)
    print(f"{result['steps']} steps: {result['parameters']:,} parameters, labels read by: no head")

# %%
# Then the level names the segments of three voices that it has not heard. How much of the
# information about which phone is said is in the number of the unit, frame by frame? Chance is
# the same with phones moved in time.

rows = [json.loads(line) for line in (corpus / "utterances.jsonl").read_text().splitlines()]
rows = [row for row in rows if row["set"] == "test"]
phones, units = {}, {}
speakers = {row["name"]: row["speaker"] for row in rows}
for steps in (1, 40):
    for row in rows:
        (level,) = speechasym.discover_units(corpus / row["path"], folder / f"run{steps}")
        units[row["name"]] = level.intervals
        phones[row["name"]] = [Interval(a / 16000, b / 16000, p) for a, b, p in row["phones"]]
    scores = score_units(phones, units, speakers)
    print(
        f"after {steps:2} steps: {scores.pnmi.value:.0%} of the information (chance "
        f"{scores.chance.value:.0%}), {scores.used} of {level.size} units, "
        f"{scores.segments.value:.1f} segments a second"
    )

# %%

name = rows[0]["name"]
s = speechasym.spectrogram(corpus / rows[0]["path"])
figure, (above, below) = plt.subplots(
    2, 1, figsize=(7, 8.5), layout="constrained", height_ratios=(1, 1.7)
)
extent = (0, len(s.times) / s.frame_rate, 0, 64)
above.imshow(s.level_db, origin="lower", aspect="auto", extent=extent, cmap="Greys", vmin=-90)
for height, tier, colour in ((76, phones[name], "tab:blue"), (67, units[name], "tab:red")):
    for start, end, label in tier:
        above.plot([start, start], [height - 3, height + 5], color=colour, linewidth=1)
        above.text((start + end) / 2, height, label, color=colour, ha="center", fontsize=8)
above.set(xlabel="time (s)", ylabel="channel", ylim=(0, 82), title="phones (blue), units (red)")

# frames of each phone (row) in each unit (column), in the order of the units' phones
counts = {}
for name in phones:
    length = round(100 * phones[name][-1].end)
    pairs = zip(framewise(phones[name], length), framewise(units[name], length), strict=True)
    for phone, unit in pairs:
        counts[phone, unit] = counts.get((phone, unit), 0) + 1
symbols = sorted({phone for phone, _ in counts if phone})
numbers = sorted({unit for _, unit in counts if unit}, key=int)
table = np.array([[counts.get((p, u), 0) for u in numbers] for p in symbols], float)
shares = table / table.sum(0)
order = np.lexsort((-shares.max(0), shares.argmax(0)))
image = below.imshow(shares[:, order], aspect="auto", cmap="Blues", vmin=0, vmax=1)
below.set_yticks(range(len(symbols)), symbols, fontsize=8)
below.set(xlabel="units, in the order of their phones", ylabel="phone")
figure.colorbar(image, ax=below, label="share of the unit's frames")
plt.show()

# %%
# Above, the red boundaries are mostly near the blue ones, and the same unit returns for the same
# sound, such as the silence at both ends. Below, most units are dark in one row: *ih*, *l*, *w*
# and silence have units almost of their own, those of *d* and *n* serve other sounds as well.
#
# After a single step it is not much worse: with 64 prototypes drawn from the features, any two
# sounds that differ get different units, and on synthetic speech the same sound hardly varies.
# Training has to be judged by what it adds to that.
#
# **What to try next.** ``minutes=10``, 200 steps; more levels, as in the recipe's configuration
# :doc:`/recipes/discovery/units/README`; `discover_files` writes TextGrids of a folder.
