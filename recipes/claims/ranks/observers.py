"""774 against 1000, as the sensitivity of an observer grows: the figure of docs/observers.md."""

import argparse
from pathlib import Path

import numpy as np

from recipes.claims.asymmetry.common import COLOURS, axes, save
from speechasym.ranks.observers import digits, significance

NUMBERS = (774, 1000)
BETAS = np.geomspace(0.1, 20, 400)
PLACES = {4: "all places resolved", 3: "thousands not resolved"}


def turning_point(places: int) -> float:
    """Return the beta above which 774 is more significant than 1000, or 0 if it always is."""
    seen = digits(NUMBERS)
    higher = [np.subtract(*significance(seen, 10, b, places=places)) > 0 for b in BETAS]
    return 0.0 if higher[0] else float(BETAS[higher.index(True)])


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out/claims/ranks"))
    options = parser.parse_args(arguments)
    figure, row = axes(2, 9, 3.4, sharey=True)
    for axis, (places, title) in zip(row, PLACES.items(), strict=True):
        curves = np.array([significance(digits(NUMBERS), 10, b, places=places) for b in BETAS])
        for number, curve, colour in zip(NUMBERS, curves.T, COLOURS, strict=False):
            axis.plot(BETAS, curve, color=colour, label=str(number))
        if turn := turning_point(places):
            axis.axvline(turn, color="0.4", linestyle=":", label=f"equal at β = {turn:.2f}")
        axis.set(xscale="log", xlabel="sensitivity β (places)", title=title, ylim=(-0.03, 1))
        axis.set_xticks([0.1, 0.3, 1, 3, 10], ["0.1", "0.3", "1", "3", "10"])
        axis.legend(frameon=False)
    row[0].set_ylabel("significance")
    save(figure, options.out / "observers.png")


if __name__ == "__main__":
    main()
