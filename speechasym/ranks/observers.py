"""What an observer finds significant in numbers whose places are a hierarchy of ranks (C7, C8).

Shapes: L places (levels), the highest first; `...` any leading dimensions. docs/observers.md works
through an example.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from speechasym.config import check_choice, check_count
from speechasym.errors import ConfigError

LAWS = ("geometric", "power")


def significance(
    digits: ArrayLike,
    resolution: ArrayLike,
    beta: ArrayLike,
    *,
    places: int | None = None,
    law: str = "geometric",
) -> NDArray[np.float64]:
    """Return how significant numbers are to an observer: rank law over places, logarithm within.

    The observer resolves the lowest `places` places and orders them, i = 0 for the highest. Place
    i has the weight w_i of a rank law (C4), and tells apart N_i digits, compressed (C5):

        s = sum over i of w_i log(1 + min(x_i, N_i - 1)) / log N_i
        w_i proportional to exp(-i / beta_i), or (i + 1)^(-1 / beta_i) for the power law

    A digit beyond N - 1 cannot be told from N - 1, and a place above the resolved ones is not seen
    at all. For beta -> 0 only the highest resolved place counts, and the next one decides between
    equals: the ordinary order of numbers, as long as what all lower places add is less than the
    smallest step of a place (ten digits, geometric law: beta < 0.32; with four places and beta
    below 0.1, steps of the last place are lost in rounding). For beta -> infinity all places count
    alike.

    Args:
        digits: (..., L) integers >= 0, the highest place first, as from `digits`. For ranks, of
            which 0 is the strongest, give N - 1 - rank.
        resolution: N >= 2, for all places or (L,) for each.
        beta: sensitivity > 0, the ranks over which a weight falls by a factor of e; for all places
            or (L,) for each. That of the highest resolved place has no effect.
        places: how many of the lowest places the observer resolves, 1 to L; None for all.
        law: over the places: geometric or power.

    Returns:
        (...) from 0, nothing, to 1, the greatest digit that can be told apart in each place.

    Raises:
        ConfigError: digits that are not integers >= 0, N below 2, beta that is not positive, or
            values for another number of places.

    Example:
        >>> significance(digits([774, 1000]), 10, 0.3).round(3)  # attends to the highest place
        array([0.032, 0.29 ])
        >>> significance(digits([774, 1000]), 10, 0.3, places=3).round(3)  # no thousands
        array([0.901, 0.   ])
    """
    x = np.asarray(digits, np.float64)
    if not x.ndim or not x.size:
        problem = f"must hold the digits of at least one number, got shape {x.shape}"
        raise ConfigError("digits", problem, "Use for example [[0, 7, 7, 4], [1, 0, 0, 0]]")
    _refuse("digits", x, (x >= 0) & (x == np.floor(x)) & np.isfinite(x), "an integer >= 0")
    check_choice("law", law, LAWS)
    count = x.shape[-1]
    if places is None:
        places = count
    check_count("places", places)
    if places > count:
        problem = f"must be at most {count}, the number of digits, got {places}"
        raise ConfigError("places", problem, "Leave it out for all places")
    n = _by_place("resolution", resolution, count, 2)[-places:]
    b = _by_place("beta", beta, count, 0)[-places:]
    value = np.log1p(np.minimum(x[..., -places:], n - 1)) / np.log(n)
    i = np.arange(places, dtype=np.float64)
    weight = np.exp(-(i if law == "geometric" else np.log1p(i)) / b)
    return np.asarray(value @ (weight / weight.sum()))


def digits(numbers: ArrayLike, base: int = 10, places: int | None = None) -> NDArray[np.int64]:
    """Return the digits of integers (...), the highest place first: (..., L).

    Args:
        numbers: integers >= 0.
        base: how many digits a place has, 2 or more.
        places: L; None for as many as the greatest number needs.

    Raises:
        ConfigError: other numbers, a base below 2, or a number that needs more places.

    Example:
        >>> digits([774, 1000]).tolist()
        [[0, 7, 7, 4], [1, 0, 0, 0]]
    """
    check_count("base", base, 2)
    values = np.asarray(numbers)
    whole = values.dtype.kind in "iu"
    _refuse("numbers", values, (values >= 0) & whole, "an integer >= 0")
    greatest, needed = int(values.max(initial=0)), 1
    while base**needed <= greatest:
        needed += 1
    if places is None:
        places = needed
    check_count("places", places)
    if needed > places:
        problem = f"{greatest} needs {needed} places to base {base}, got {places}"
        raise ConfigError("places", problem, f"Use {needed} or more")
    rest, out = values.astype(np.int64), np.zeros((*values.shape, places), np.int64)
    for place in reversed(range(places)):
        rest, out[..., place] = np.divmod(rest, base)
    return out


def _by_place(name: str, value: ArrayLike, count: int, least: int) -> NDArray[np.float64]:
    """Return a value for each place: N (least 2), or beta (above 0)."""
    values = np.asarray(value, np.float64)
    if values.ndim > 1 or (values.ndim and len(values) != count):
        problem = f"must be one number, or one for each of {count} places, got shape {values.shape}"
        raise ConfigError(name, problem, f"Give 1 or {count} numbers")
    fits = (values >= least if least else values > 0) & (values < math.inf)
    _refuse(name, values, fits, f">= {least} and finite" if least else "> 0 and finite")
    return np.broadcast_to(values, (count,))


def _refuse(name: str, values: NDArray, fits: NDArray, expected: str) -> None:
    """Raise `ConfigError` for the first value that does not fit."""
    if not np.all(fits):
        problem = f"must be {expected}, got {values[~fits].flat[0] if values.ndim else values}"
        raise ConfigError(name, problem, "Fix the value")
