"""
Forced alignment against exact times
====================================

**How near do aligned words come to the true times?** What is said is known, when it is said is
not: `Recogniser.align` finds it, here with the model of read English that comes with the package.

The sentences are synthetic (espeak-ng, ``pip install 'speechasym[synth]'``), so that their times
are exact. The model has never heard such voices; :doc:`/docs/alignment` has figures for people,
with times by hand.
"""

import json
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import speechasym

corpus = Path(tempfile.mkdtemp()) / "mini"
speechasym.prepare("mini", corpus, corpus, minutes=2)
rows = [json.loads(line) for line in (corpus / "utterances.jsonl").read_text().splitlines()]
rows = [row for row in rows if row["set"] == "test"]  # three voices
recogniser = speechasym.Recogniser()
late = []  # found minus true start and end of each word, s
for row in rows:
    aligned = recogniser.align(corpus / row["path"], row["text"])
    for (start, end, _), found in zip(row["words"], aligned.tiers["words"], strict=True):
        late.append([found.start - start / 16000, found.end - end / 16000])
late = 1000 * np.array(late)
for limit in (10, 20, 50):
    print(f"within {limit} ms: {np.mean(np.abs(late) <= limit):.0%} of {late.size} word boundaries")

# %%
# All errors, and one sentence: found times cyan, with the words; true times white and dashed.

figure, (above, below) = plt.subplots(2, 1, figsize=(7, 6), layout="constrained")
above.hist(late, np.arange(-102.5, 105, 5), color=["tab:blue", "tab:orange"])
above.set(xlabel="found minus true time (ms)", ylabel="words")
above.legend(["starts", "ends"])

row = rows[0]
x, rate = speechasym.load(corpus / row["path"])
aligned = recogniser.align(corpus / row["path"], row["text"])
s = speechasym.spectrogram(x, rate)
extent = (0, len(x) / rate, 0, len(s.frequencies))
below.imshow(s.level_db, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=-90)
for start, end, word in aligned.tiers["words"]:
    below.axvline(start, color="tab:cyan")
    below.axvline(end, color="tab:cyan")
    below.text((start + end) / 2, 60, word.lower(), color="white", ha="center", va="top")
for start, end, _ in row["words"]:
    below.axvline(start / 16000, color="white", linestyle="--")
    below.axvline(end / 16000, color="white", linestyle="--")
hertz = [200, 500, 1000, 2000, 5000]
below.set_yticks(np.interp(hertz, s.frequencies, np.arange(64) + 0.5), hertz)
below.set(xlabel="time (s)", ylabel="centre frequency (Hz)")
plt.show()

# %%
# Most boundaries are within a few milliseconds. The one that is 97 ms early, twice in the
# histogram as the end of one word and the start of the next, is in this sentence: between *her*
# and *lady*. Boundaries are put where the levels change most, and there they change less than 0.1
# s earlier.
#
# **What to try next.** ``speechasym.align(None, "recordings", "aligned")`` aligns a folder with a
# text beside each recording, and writes TextGrids for Praat; ``aligned.tiers`` has phones and
# letters too; ``aligned.fit`` says how well the text fits, and warns of wrong ones.
