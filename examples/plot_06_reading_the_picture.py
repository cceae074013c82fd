"""
Reading the level picture
=========================

**What does a known sound look like in the picture of asymmetries?** We make four sounds whose
every property we know, and look for each of them. After that, the picture of a sentence can be
read.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import speechasym

RATE = 16000
TICKS = [200, 500, 1000, 2000, 5000]  # Hz
centres = speechasym.Gammatone(RATE).frequency
asymmetry = speechasym.Asymmetry(RATE, outputs=["asymmetry"])
columns = np.array([name.rpartition("_")[0] for name in asymmetry.columns])


def draw(panels, x):
    """Draw level, asymmetry of the level and of the frequency at scale 2 of samples x (T,)."""
    y, _ = asymmetry(x)
    titles = {
        "level": "level",
        "amplitude_asymmetry2": "asymmetry of the level, scale 2 (25 ms, ±3 dB)",
        "frequency_asymmetry2": "asymmetry of the frequency, scale 2 (25 ms, ±0.1 ERB)",
    }
    for axes, (name, title) in zip(panels, titles.items(), strict=True):
        options = {"cmap": "RdBu_r", "vmin": -1, "vmax": 1}
        picture = y[columns == name]
        if name == "level":
            picture = speechasym.spectrogram(x, RATE).level_db
            options = {"cmap": "magma", "vmin": picture.max() - 60}
        extent = (0, len(x) / RATE, 0, len(picture))
        image = axes.imshow(picture, origin="lower", aspect="auto", extent=extent, **options)
        axes.set_yticks(np.interp(TICKS, centres, np.arange(64) + 0.5), TICKS)
        axes.set_title(title, loc="left")
    panels[-1].set_xlabel("time (s)")
    panels[1].set_ylabel("centre frequency (Hz)")
    bar = axes.figure.colorbar(image, ax=panels[1:], label="asymmetry", aspect=30)
    bar.set_ticks([-1, 0, 1], labels=["falls", "0", "rises"])


# %%
# A steady tone, a tone that fades by 40 dB, a glide and a burst of noise, 0.4 s each:

time = np.arange(int(0.4 * RATE)) / RATE
rng = np.random.default_rng(0)
sounds = {
    "tone": np.sin(2 * np.pi * 1000 * time),
    "fading tone": np.sin(2 * np.pi * 1000 * time) * 10 ** (-2 * time / 0.4),
    "glide": np.sin(2 * np.pi * 500 * 0.4 / np.log(4) * (4 ** (time / 0.4) - 1)),  # 500 to 2000 Hz
    "noise": rng.normal(0, 0.3, len(time)),
}
edge = np.minimum(1, np.arange(len(time)) / (0.01 * RATE))  # 10 ms
faded = [np.pad(0.1 * y * edge * edge[::-1], (int(0.2 * RATE), 0)) for y in sounds.values()]
x = np.concatenate([np.zeros(int(0.2 * RATE)), *faded, np.zeros(int(0.2 * RATE))])
x = np.float32(x + rng.normal(0, 1e-5, len(x)))  # a recording is never quite silent

figure, panels = plt.subplots(3, 1, figsize=(7, 7), sharex=True, layout="constrained")
draw(panels, x)
for number, name in enumerate(sounds):
    panels[0].text(0.6 + 0.6 * number, 2, name, color="white", ha="center")
plt.show()

# %%
# What to see, from left to right:
#
# - The **tone** rises once and falls once in all channels that hear it: a red and a blue edge in
#   the level. In between nothing moves, so nothing is seen. At its beginning the frequency moves
#   as well: down in the filters above 1 kHz, up in those below, towards the tone; at its end,
#   back.
# - The **fading tone** has the same red edge, then falls all the time: a long blue area. What is
#   symmetric in the level picture, loud and soft, has a direction here.
# - The **glide** rises in the channels that it moves towards, falls in those that it leaves; its
#   own track is the white diagonal. The frequency rises everywhere: red throughout.
# - **Noise** has edges too. Within, rises and falls balance.
#
# Now a reader says "he was not". When each phone is said, forced alignment tells.

file = Path("../data") / "librivox-austen-0880.flac"
x, _ = speechasym.load(file, RATE)
tiers = speechasym.Recogniser().align(file, "he was not an ill disposed young man").tiers
figure, panels = plt.subplots(3, 1, figsize=(7, 7), sharex=True, layout="constrained")
draw(panels, x)
for start, end, phone in tiers["phones"]:
    if end < 1.0:
        panels[0].text((start + end) / 2, 58, phone, color="white", ha="center", fontsize=9)
        for axes in panels:
            axes.axvline(start, color="0.6", linewidth=0.8)
panels[0].set_xlim(0.2, 1.0)
plt.show()

# %%
# - *z*: below 500 Hz the level falls (blue) where the voice gets weaker, while above 4 kHz it has
#   just risen (red).
# - *n*: the low channels rise first, at 0.58 s; all others follow at 0.62 s, where the vowel
#   begins.
# - *t*: everything falls into the closure from 0.88 s on, and rises in the burst, a red line at
#   0.93 s.
# - The frequency is nearly white, except at such edges: nothing in these words glides as far and
#   as purely as the glide did.
#
# **What to try next.** Scale 3 or 4 instead of 2 in both names; "fading tone" backwards; or a
# recording of a diphthong.
