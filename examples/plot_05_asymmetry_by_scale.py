"""
Asymmetry by scale
==================

**Where does a sentence rise more than it falls, and on which scale?** Hysteresis with four widths
and time constants runs on the level, the frequency and the phase of each auditory channel. The
fast, narrow scale notices everything; the slow, wide one only what is large.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import speechasym

file = Path("../data") / "librivox-austen-0880.flac"
x, rate = speechasym.load(file)
asymmetry = speechasym.Asymmetry(rate, outputs=["asymmetry"])
y, state = asymmetry(x)
print(y.shape, "columns, frames;", asymmetry.columns[0], "...", asymmetry.columns[-1])

# %%
# A value is (rise - fall) / (rise + fall + width): +1 where only rises are remembered, -1 where
# only falls are. Each column has the number of its scale, from 1, and of its channel in its name.

centres = speechasym.Gammatone(rate).frequency
columns = np.array([name.rpartition("_")[0] for name in asymmetry.columns])
figure, panels = plt.subplots(4, 1, figsize=(7, 8), sharex=True, layout="constrained")
for number, (axes, scale) in enumerate(zip(panels, asymmetry.config.scales, strict=True), 1):
    picture = y[columns == f"amplitude_asymmetry{number}"]
    image = axes.imshow(
        picture, origin="lower", aspect="auto", extent=(0, len(x) / rate, 0, 64), cmap="RdBu_r",
        vmin=-1, vmax=1,
    )  # fmt: skip
    axes.set_title(f"scale {number}: {scale.time_ms:g} ms, ±{scale.decibel:g} dB", loc="left")
    axes.set_yticks(np.interp([200, 1000, 5000], centres, np.arange(64) + 0.5), [200, 1000, 5000])
panels[3].set_xlabel("time (s)")
figure.supylabel("centre frequency (Hz)", fontsize="medium")
figure.colorbar(image, ax=panels, label="asymmetry of the level: blue falls, red rises", aspect=40)
plt.show()

# %%
# What to see:
#
# - **Scale 1** has fine stripes wherever there is voice: the level flickers with single periods.
# - **Scale 2** has a red edge where a sound begins and a blue one where it ends.
# - **Scale 3** has syllables: red for as long as each of them lasts, then blue.
# - **Scale 4** has what stands out in the sentence: the low band of *he was* from 0.3 s on, the
#   vowel of *not* around 1 kHz, the *s* of *disposed* at 1.6 s. The rest is pale.
#
# Could noise do the same? :func:`speechasym.noise_test` compares the recording with noises of the
# same long-term spectrum.

print("scale  speech  noise     p")
for verdict in speechasym.noise_test(x, rate, noises=39):
    if verdict.track == "amplitude":
        print(f"{verdict.scale:5}  {verdict.observed:6.3f}  {verdict.noise:5.3f}  {verdict.p:.2f}")

# %%
# The numbers are root mean squares over channels and time. With 39 noises, p = 0.05 is the least
# that can come out: on each scale, speech is further from zero than all 39.
#
# The whole picture, with frequency and phase beside the level, is drawn by one call:

figure = speechasym.plot(file, what="levels")
figure

# %%
# **What to try next.** Recordings of your own, in noise too; ``scales=`` with other widths and
# time constants (:doc:`/docs/asymmetry` has the table); ``compact=True`` for 33 decorrelated
# columns instead of 1020.
