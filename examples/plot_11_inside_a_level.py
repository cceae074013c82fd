"""
Looking into a level: units, events, ranks
==========================================

**What does a level do with a sentence?** Its units compete at each step. The winner holds until
another unit beats it clearly, which ends an *event*; only events are passed on to the level
above. We look at the small model of read English that comes with the package.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import speechasym

file = Path("../data") / "librivox-austen-0930.flac"
levels = speechasym.activations(file)
for number, level in enumerate(levels):
    steps, units = level.units.shape
    heads = ", ".join(level.log_posteriors) or "nothing"
    print(f"level {number}: {steps} steps, {units} units; read from it: {heads}")

# %%
# Level 2 has half as many steps as level 1: it gets one for each event of that. All units over
# time:

figure = speechasym.plot_run(None, None, "units", recording=file, size=(9, 11), font_size=9)
figure

# %%
# What to see:
#
# - Each row is a unit, named after the phone or word that it favoured in training, with its
#   number. Only a few are dark at a time.
# - At level 1 the ticks on top mark events. Where a vowel lasts, as before 1.5 s, an event is
#   long and one unit holds (orange); where phones change quickly, as between 0.8 and 1 s, events
#   follow each other fast.
# - Units of level 2 have names of words, but few are words: *father* wins for some 50 ms in
#   "might". Words are read from all units together.
#
# How sharply do units compete, and how long do events last?

figure, (left, right) = plt.subplots(1, 2, figsize=(7, 3.8), layout="constrained")
for number, (level, colour) in enumerate(
    zip(levels, ("black", "tab:blue", "tab:orange"), strict=True)
):
    ranked = level.units.sort(dim=1, descending=True).values.mean(0)
    left.plot(np.arange(1, len(ranked) + 1), ranked, color=colour, label=f"level {number}")
    first, ten = ranked[0], ranked[:10].sum()
    print(f"level {number}: the winner has {first:.0%} of the activation, ten units {ten:.0%}")
left.set(
    yscale="log", xlim=(0, 40), ylim=(1e-4, 1), xlabel="rank of the unit", ylabel="mean activation"
)
left.legend()
start, end = levels[2].times.T.numpy()
right.hist(1000 * (end - start), np.arange(0, 400, 30), color="tab:blue")
right.set(xlabel="length of an event of level 1 (ms)", ylabel="number")
plt.show()

# %%
# At every level the winner has about half of the activation, and ten units have nine tenths of
# it: a step is said by a few units, as their rank law intends. Most events last one to three
# steps of 30 ms; the long ones are lasting vowels, *s*, and the silence at the ends.
#
# **What to try next.** Your own recording, or a run of your own as the first argument;
# ``what="ranks"`` fits two laws to the ranks; `discover_units` returns the events as intervals.
