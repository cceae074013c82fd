"""
Instantaneous frequency and formants
====================================

**Where within a channel is the energy?** The level of a filter says how loud its band is. Its
phase says more: the speed at which it turns is the frequency that drives the filter. We draw each
channel at that frequency instead of at its centre.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import speechasym

RATE, FRAMES = 16000, 100  # a second


def filter_by_gammatones(x):
    """Return level (C, F) in dB, instantaneous frequency (C, F) and centre (C, 1) in Hz."""
    bank = speechasym.Gammatone(RATE, frame_rate=FRAMES)
    frames, _ = bank(torch.as_tensor(x))
    centre = bank.frequency.numpy()[:, None]
    erb = 24.7 + centre / 9.265  # Hz
    return bank.level_db(frames).numpy(), centre + bank.deviation(frames).numpy() * erb, centre


def draw(axes, level_db, hertz, title):
    """Draw a dot for each channel and frame that is at most 35 dB below the loudest."""
    times = np.broadcast_to((np.arange(level_db.shape[1]) + 0.5) / FRAMES, level_db.shape)
    places = np.broadcast_to(hertz, level_db.shape)
    loud = level_db > level_db.max() - 35
    dots = axes.scatter(times[loud], places[loud], c=level_db[loud], s=5, cmap="magma_r")
    axes.set(yscale="log", ylim=(90, 4500), xlabel="time (s)", title=title)
    axes.set_yticks(
        [120, 240, 500, 1000, 2000, 4000], ["120", "240", "500", "1000", "2000", "4000"]
    )
    axes.minorticks_off()
    return dots


# %%
# First a vowel whose formants we choose: 120 pulses a second through four resonators. The second
# formant moves from 1000 to 2000 Hz, as in *eye*.


def resonator(x, hertz, bandwidth):
    """Filter x (T,) by a formant whose frequency (T,) may change."""
    y, radius = np.zeros(len(x) + 2), np.exp(-np.pi * bandwidth / RATE)
    turn = 2 * radius * np.cos(2 * np.pi * hertz / RATE)
    for t, value in enumerate(x):
        y[t + 2] = (1 - turn[t] + radius**2) * value + turn[t] * y[t + 1] - radius**2 * y[t]
    return y[2:]


time = np.arange(int(0.6 * RATE)) / RATE
second = np.interp(time, [0.15, 0.45], [1000, 2000])
vowel = np.diff(np.floor(120 * time), prepend=0)
for formant, bandwidth in ((650, 80), (second, 90), (2600, 120), (3500, 150)):
    vowel = resonator(vowel, np.broadcast_to(formant, time.shape), bandwidth)
vowel = np.float32(0.3 * vowel / np.abs(vowel).max())

level_db, hertz, centre = filter_by_gammatones(vowel)
figure, panels = plt.subplots(1, 2, figsize=(7, 4), sharey=True, layout="constrained")
draw(panels[0], level_db, centre, "at the centre frequency")
dots = draw(panels[1], level_db, hertz, "at the instantaneous frequency")
for axes in panels:
    axes.plot(time, second, "--", color="tab:cyan", linewidth=2, label="second formant as made")
panels[0].set_ylabel("frequency (Hz)")
figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center")
figure.colorbar(dots, ax=panels, label="level (dB re full-scale sine)", pad=0.02)
plt.show()

# %%
# On the left the dots lie on the 64 centre frequencies, whatever the sound. On the right they
# gather where the sound is: on 120, 240, 360, 480 Hz, the harmonics that the narrow low filters
# separate, and higher up on the formants, around which several channels agree.
#
# By how much is the second formant missed, if in each frame the loudest channel between 900 and
# 2200 Hz is taken for it?

inside = (centre[:, 0] > 900) & (centre[:, 0] < 2200)
truth = second[int(0.5 * RATE / FRAMES) :: RATE // FRAMES]  # in the middle of each frame
frames = np.arange(5, len(truth))  # without the onset
loudest = level_db[inside][:, frames].argmax(axis=0)
for name, value in (("centre", np.broadcast_to(centre, hertz.shape)), ("instantaneous", hertz)):
    missed = np.abs(value[inside][loudest, frames] - truth[frames])
    print(f"{name:>13} frequency: by {np.median(missed):.0f} Hz (median)")

# %%
# Less, but not by nothing: a voice has energy at its harmonics only, here 120 Hz apart, and no
# single channel knows what lies between them.
#
# The same picture of a reader who says "he was not":

x, _ = speechasym.load(Path("../data") / "librivox-austen-0880.flac", RATE)
level_db, hertz, centre = filter_by_gammatones(x[:RATE])
figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
dots = draw(axes, level_db, hertz, "“he was not”: harmonics below, formants above")
axes.set(ylabel="frequency (Hz)", xlim=(0.2, 1.0))
figure.colorbar(dots, ax=axes, label="level (dB re full-scale sine)", pad=0.02)
plt.show()

# %%
# The dark line that wanders around 150 Hz is a harmonic of the voice, so it moves with the pitch.
# The second formant falls and rises in *was* between 0.33 and 0.5 s, from the *w* to the vowel
# and the *s*-like end; the vowel of *not* has two formants close together, at 700 and 1100 Hz.
#
# **What to try next.** ``speechasym.features(x, RATE, tracks=("frequency",))`` gives the same
# deviations as columns, in ERB. With ``overlay=["formants"]`` and Praat's package installed,
# :func:`speechasym.plot` draws Praat's formants over a spectrogram.
