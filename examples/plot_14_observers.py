"""
774 against 1000: observers
===========================

**Is 1000 more than 774?** To someone who counts it is. To a listener it depends on how many
things a level of perception can tell apart, and on how the levels share attention. The places of
a number are a small hierarchy: thousands above hundreds above tens above ones.
"""

import matplotlib.pyplot as plt
import numpy as np

from speechasym.ranks.observers import digits, significance

numbers = digits([774, 1000])
print(numbers)

# %%
# Within a place, digits are compressed by a logarithm. Over the places, weights fall by a rank
# law: by a factor of e every ``beta`` places. Three observers:

observers = {
    "cannot resolve thousands": {"beta": 1, "places": 3},
    "resolves all, attends to all alike": {"beta": 1000},
    "resolves all, attends to the highest": {"beta": 0.3},
}
for name, observer in observers.items():
    a, b = significance(numbers, resolution=10, **observer)
    print(f"{name}: 774 has {a:.3f}, 1000 has {b:.3f}")

# %%
# For which sensitivities does which number win?

betas = np.geomspace(0.1, 20, 200)
figure, panels = plt.subplots(1, 2, figsize=(7, 3.6), sharey=True, layout="constrained")
for axes, places, title in ((panels[0], 4, "all places resolved"), (panels[1], 3, "no thousands")):
    curves = np.array([significance(numbers, 10, beta, places=places) for beta in betas])
    axes.plot(betas, curves[:, 0], label="774", color="tab:blue")
    axes.plot(betas, curves[:, 1], label="1000", color="tab:orange")
    axes.set(xscale="log", xlabel="sensitivity β (places)", title=title)
    axes.set_xticks([0.1, 1, 10], ["0.1", "1", "10"])
turn = next(b for b in np.arange(0.1, 2, 0.001) if np.subtract(*significance(numbers, 10, b)) > 0)
panels[0].axvline(turn, color="0.5", linestyle=":", label=f"β = {turn:.2f}")
panels[0].set_ylabel("significance")
panels[0].legend()
plt.show()

# %%
# With all places resolved the observer agrees with arithmetic as long as attention stays with the
# highest place. From beta = 0.73 on, three middling digits outweigh one small one in front.
# Without thousands, 1000 is 000.
#
# Do other numbers change places too? For each sensitivity, of 5000 random pairs below 10 000, how
# many are ordered as in counting?

rng = np.random.default_rng(0)
pairs = rng.integers(0, 10_000, (2, 5000))
pairs = pairs[:, pairs[0] != pairs[1]]
figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
for resolution, colour in ((10, "black"), (5, "tab:blue"), (2, "tab:orange")):
    shares = []
    for beta in betas:
        first, second = significance(digits(pairs, places=4), resolution, beta)
        agrees = np.sign(first - second) == np.sign(pairs[0] - pairs[1])
        shares.append(100 * agrees.mean())
    axes.plot(betas, shares, color=colour, label=f"{resolution} digits told apart")
axes.set(xscale="log", xlabel="sensitivity β (places)", ylabel="pairs ordered as in counting (%)")
axes.set_xticks([0.1, 1, 10], ["0.1", "1", "10"])
axes.legend()
plt.show()

# %%
# With ten digits told apart, all pairs are ordered as in counting up to a sensitivity of 0.3; the
# more evenly attention is spread, the fewer. An observer with five distinctions takes 4 and 9 for
# the same, and with two sees only which places are not empty: most pairs are then equal, or
# ordered otherwise.
#
# This is a definition, not a measurement: no listener was asked. :doc:`/docs/observers` derives
# it.
#
# **What to try next.** ``law="power"`` over the places; a resolution for each place, such as
# ``[2, 3, 5, 10]``; ``digits(numbers, base=2)``.
