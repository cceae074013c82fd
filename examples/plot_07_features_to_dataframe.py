"""
Features to a DataFrame
=======================

**How do features of many recordings get into pandas, R or a spreadsheet?** `extract` writes a
table for each recording; `read_features` joins them into one DataFrame with names and units, and
`functionals` sums up each recording in a row. Needs ``pip install 'speechasym[tables]'``.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

import speechasym

out = Path(tempfile.mkdtemp()) / "features"
result = speechasym.extract("../data", out, features="gammatone", channels=32, format="csv")
print(len(result.written), "recordings,", len(result.failed), "failed")
print((out / "goforward.csv").read_text()[:150], "...")

# %%
# CSV is for other programs; ``format="parquet"`` is smaller and faster. The folder as a whole is
# a table with a row for each frame, indexed by file and time.

table = speechasym.read_features(out)
print(table.iloc[:3, :5].round(1))
print(table.shape, table.attrs["units"]["level_00"], f"{table.attrs['rate']:g} frames a second")

# %%
# From here on it is pandas. For example: are the microphones of these recordings alike? The level
# that each channel stays below for a tenth of the time is mostly background.

centres = list(table.attrs["centre_hz"].values())
background = table.groupby("file").quantile(0.1)
figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
kinds = {"cards": "tab:orange", "digits": "black", "goforward": "tab:green", "librivox": "tab:blue"}
for kind, colour in kinds.items():
    rows = background[background.index.str.startswith(kind)]
    axes.plot(centres, rows.T, color=colour, linewidth=1)
    axes.plot([], [], color=colour, label=f"{kind} ({len(rows)})")
axes.set(xscale="log", xlabel="centre frequency (Hz)", ylabel="level (dB re full-scale sine)")
axes.set_xticks([100, 200, 500, 1000, 2000, 5000], ["100", "200", "500", "1000", "2000", "5000"])
axes.set_title("Background: 10th percentile of the level over time")
axes.minorticks_off()
axes.legend()
plt.show()

# %%
# Recordings of one kind have one background. All five of *librivox* share a hum at 550 and 3500
# Hz and have little above 6 kHz: they come from one MP3 file. A classifier trained on such a
# collection could tell its speakers apart by their microphones alone.
#
# Functionals, as openSMILE calls them, give one row for each recording: mean, standard deviation,
# slope and percentiles of each column.

summary = speechasym.functionals(out)
print(summary.shape)
print(summary[["level_10_mean", "level_10_sd", "level_10_p95"]].round(1))

# %%
# **What to try next.** ``features="asymmetry", compact=True`` for columns that know about rises
# and falls; ``form="xarray"`` for coordinates in s and Hz; ``columns=["level"]`` to read only
# some. In the shell it is ``speechasym extract data --out features --format csv``.
