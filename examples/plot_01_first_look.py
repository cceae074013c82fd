"""
First look at a recording
=========================

**What can be seen in three seconds of speech?** We load a recording, draw it as an auditory
filterbank passes it on, find where there is speech, and read what is said.
"""

from pathlib import Path

import speechasym

data = Path("../data")  # the examples run in examples/; your own recordings will do as well
file = data / "librivox-austen-0880.flac"
x, rate = speechasym.load(file)
print(
    f"{len(x)} samples at {rate} Hz: {len(x) / rate:.2f} s, peak {abs(x).max():.2f} of full scale"
)

# %%
# :func:`speechasym.plot` draws the panels that `what` names and returns a matplotlib figure. A
# notebook shows it; in a script, write it with ``figure.savefig("first.png")``.

figure = speechasym.plot(file, what=["waveform", "gammatone", "spectrogram"], size=(7, 6))
figure

# %%
# What to see:
#
# - The **waveform** shows when something is loud, and little else.
# - The **gammatone** panel shows 64 auditory filters, evenly spaced in ERB. The octaves below 1
#   kHz have nearly half of its height. The horizontal lines at the bottom are harmonics of the
#   voice, which only the narrow filters there separate.
# - The **spectrogram** gives every Hz the same height, so the harmonics are squeezed into its
#   lowest edge. The wide bright bands between 500 and 4000 Hz are formants.
# - The bright patch at 1.6 s, above 4 kHz in both pictures, is the *s* of "disposed".
#
# The picture as numbers: level in dB re a full-scale sine, with the times and the centre
# frequencies of the channels.

s = speechasym.spectrogram(file)
loudest = s.level_db.mean(axis=1).argmax()
print(f"{s.level_db.shape[0]} channels, {s.level_db.shape[1]} frames, {s.frame_rate:.0f} a second")
print(f"The channel at {s.frequencies[loudest]:.0f} Hz is the loudest on average")

# %%
# That is this reader's fundamental frequency (median 81 Hz, ``data/README.md``).
#
# Where is there speech, and what is said? The second question goes to the small model of read
# English that comes with the package. Phones, letters and words are read from different levels of
# it; the last line is a search with a lexicon and a language model.

for start, end, label in speechasym.segments(file):
    print(f"{start:.2f} to {end:.2f} s: {label}")
print(speechasym.transcribe(file))

# %%
# The sentence is "he was not an ill disposed young man": *an ill* was misheard.
#
# **What to try next.** ``end=1`` draws the first second only; ``window_ms=40`` makes the
# harmonics appear in the spectrogram; ``what=["frequency", "phase"]`` draws what else the filters
# know. The next example compares the two kinds of picture in detail.
