"""
Hysteresis by hand
==================

**What does a hysteresis operator keep of a track, and what does it forget?** A *play* follows its
input only when that has moved away by more than a half-width *r*. So it ignores what is smaller,
and remembers which way the last large move went. All asymmetry features rest on it.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import speechasym

RISE, FALL = "#b2182b", "#2166ac"  # red and blue, as in all pictures of the package

time = np.linspace(0, 4, 801)
track = 10 * np.sin(2 * np.pi * time / 4) + 2 * np.sin(2 * np.pi * 3 * time)  # dB, say
widths = [1, 4]
play = speechasym.hysteresis.Play(widths)
p, state = play(torch.as_tensor(track))
p = p.numpy()  # (2, 801): one output for each half-width

figure, panels = plt.subplots(2, 1, figsize=(7, 5), sharex=True, layout="constrained")
for axes, r, output in zip(panels, widths, p, strict=True):
    axes.fill_between(time, track - r, track + r, color="0.88", label="track ± r")
    axes.plot(time, track, color="0.5", linewidth=1, label="track")
    axes.plot(time, output, color="black", linewidth=2, label="play")
    axes.set(ylabel="level (dB)", title=f"r = {r} dB")
panels[0].legend(ncols=3, loc="lower left")
panels[1].set_xlabel("time (s)")
plt.show()

# %%
# The output stays where it is as long as it lies within the grey band, and is pushed by its edge
# otherwise. With r = 1 dB it still has most of the ripple, which is 4 dB high. With r = 4 dB a
# staircase is left, which rises until 1.1 s and falls from 1.8 s on.
#
# Output against input: a loop. The same level gives a higher output on the way down than on the
# way up, and this is all the memory that there is.

figure, panels = plt.subplots(1, 2, figsize=(7, 3.8), sharey=True, layout="constrained")
for axes, r, output in zip(panels, widths, p, strict=True):
    move = np.sign(np.diff(output))
    for sign, colour, name in ((1, RISE, "rises"), (-1, FALL, "falls"), (0, "0.7", "stays")):
        steps = np.flatnonzero(move == sign)
        # each step as a line from one sample to the next
        axes.plot(
            np.stack([track[steps], track[steps + 1]]),
            np.stack([output[steps], output[steps + 1]]),
            color=colour,
        )
        axes.plot([], [], color=colour, label=f"output {name}")
    axes.set(xlabel="track (dB)", title=f"r = {r} dB")
panels[0].set_ylabel("play (dB)")
panels[0].legend()
plt.show()

# %%
# What the play leaves out, the *stop* has: s = track - play. Divided by r it is +1 on a rising
# branch and -1 on a falling one. Here is the level of one auditory channel in speech, 100 times a
# second, with the stops of the four default widths.

x, rate = speechasym.load(Path("../data") / "librivox-austen-0880.flac")
bank = speechasym.Gammatone(rate, frame_rate=100)
channel = int((bank.frequency - 1000).abs().argmin())
level = bank.level_db(bank(torch.as_tensor(x))[0])[channel].clamp(min=-70)
widths = [1.5, 3, 6, 12]
stop = speechasym.hysteresis.Stop(widths, signed=True)
s, state = stop(level)

figure, (above, below) = plt.subplots(2, 1, figsize=(7, 5), sharex=True, layout="constrained")
seconds = len(x) / rate
above.plot(np.arange(len(level)) / 100, level, color="black", linewidth=1)
above.set(ylabel="level (dB)", title=f"channel at {bank.frequency[channel]:.0f} Hz")
image = below.imshow(
    s, origin="lower", aspect="auto", extent=(0, seconds, -0.5, 3.5),
    cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest",
)  # fmt: skip
below.set_yticks(range(4), [f"{r:g} dB" for r in widths])
below.set(
    xlabel="time (s)", ylabel="half-width r", title="red: rising branch, blue: falling branch"
)
figure.colorbar(image, ax=below, label="stop / r")
plt.show()

# %%
# With r = 1.5 dB the branch changes with every wiggle of the level. With r = 12 dB it is red once
# in each syllable and blue between syllables: what is left is the rhythm of the sentence.
#
# A stage can be cut anywhere, as its state continues it:

first, state = stop(level[:140])
rest, state = stop(level[140:], state)
print("in two pieces the same:", torch.equal(torch.cat([first, rest], -1), s))

# %%
# **What to try next.** `speechasym.hysteresis` also has `Relay`, `PrandtlIshlinskii` and
# `Preisach`; with ``learnable=True`` their widths are trained like any parameter.
# ``speechasym.plot(file, what="hysteresis", at=1000)`` draws such loops for a recording.
