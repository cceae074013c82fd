"""
Gammatone against mel and FFT
=============================

**What does an auditory filterbank show that an FFT or a mel spectrogram does not?** All three
divide a sound by frequency. They differ in how wide a channel is, and so in how fast it can
follow.
"""

from pathlib import Path

import librosa
import matplotlib.pyplot as plt
import numpy as np

import speechasym


def draw(axes, level_db, frequencies, until, title):
    """Draw levels (channels, frames): the loudest ones, and 60 dB below them."""
    top = np.percentile(level_db, 99.5)
    extent = (0, until, 0, len(level_db))
    axes.imshow(
        level_db, origin="lower", aspect="auto", extent=extent, vmin=top - 60, vmax=top,
        cmap="magma", interpolation="nearest",
    )  # fmt: skip
    even = np.ptp(np.diff(frequencies)) < 1
    hertz = [1000, 2000, 5000] if even else [200, 500, 1000, 2000, 5000]
    axes.set_yticks(np.interp(hertz, frequencies, np.arange(len(frequencies)) + 0.5), hertz)
    axes.set_title(title, loc="left")
    axes.set_ylabel("frequency (Hz)")


# %%
# First speech: "he was not", once with each front end. The log-mel spectrogram is made of the FFT
# above it, so its lowest bands are no narrower than that one's window allows.

data = Path("../data")
x, rate = speechasym.load(data / "librivox-austen-0880.flac")
x = x[: int(1.2 * rate)]
fft = speechasym.spectrogram(x, rate, kind="fft", window_ms=25)
mel = speechasym.features(x, rate, features="logmel").T  # (80, frames)
mel_hertz = librosa.mel_frequencies(82, fmin=20, fmax=rate / 2)[1:-1]
gammatone = speechasym.spectrogram(x, rate)

figure, panels = plt.subplots(3, 1, figsize=(7, 7.5), sharex=True, layout="constrained")
seconds = len(x) / rate
draw(panels[0], fft.level_db, fft.frequencies, seconds, "FFT of 25 ms: evenly spaced in Hz")
draw(panels[1], mel, mel_hertz, seconds, "log-mel: 80 bands of that FFT")
draw(panels[2], gammatone.level_db, gammatone.frequencies, seconds, "gammatone: 64 filters, by ERB")
panels[2].set_xlabel("time (s)")
plt.show()

# %%
# The FFT spends three quarters of its height on what is above 2 kHz. Mel and gammatone have
# almost the same scale and look alike, except below 300 Hz: there the gammatone has a line for
# each of the lowest harmonics, where the mel bands have a blur.
#
# A sound of which everything is known makes the difference plain: pulses, 200 a second, as of a
# voice without a mouth. It has a harmonic at each multiple of 200 Hz, and a click every 5 ms. An
# FFT shows the one or the other; its window decides which.

pulses = np.zeros(int(0.06 * rate), np.float32)
pulses[:: rate // 200] = 1
long = speechasym.spectrogram(pulses, rate, kind="fft", window_ms=20, frame_rate=2000)
short = speechasym.spectrogram(pulses, rate, kind="fft", window_ms=2, frame_rate=2000)
gammatone = speechasym.spectrogram(pulses, rate, frame_rate=2000)

figure, panels = plt.subplots(3, 1, figsize=(7, 7.5), sharex=True, layout="constrained")
draw(panels[0], long.level_db, long.frequencies, 60, "FFT of 20 ms: harmonics, no clicks")
draw(panels[1], short.level_db, short.frequencies, 60, "FFT of 2 ms: clicks, no harmonics")
title = "gammatone: harmonics below, clicks above"
draw(panels[2], gammatone.level_db, gammatone.frequencies, 60, title)
panels[2].set_xlabel("time (ms)")
plt.show()

# %%
# Once the first pulses have passed, the gammatone has horizontal lines at the bottom, one for
# each harmonic, and above 2 kHz a column for each click. In between, one passes into the other,
# because the bandwidth of the filters grows with their frequency. The ear does the same, which is
# why a low voice is heard as a pitch and its creak as single pulses.
#
# **What to try next.** A pulse rate of 50 or 400 Hz moves the border between lines and columns.
# `speechasym.Gammatone` is the filterbank itself, a torch module with gradients, and
# ``kind="constant-q"`` a third kind of spectrogram.
