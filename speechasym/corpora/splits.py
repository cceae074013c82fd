"""Random splits of speakers into sets, reproducible by a seed."""

import math
from collections.abc import Iterable, Mapping

import numpy as np

from speechasym.config import check_count
from speechasym.errors import ConfigError


def split_names(
    names: Iterable[str], shares: Mapping[str, float], seed: int
) -> dict[str, list[str]]:
    """Distribute names over sets, at random by `seed`, independent of their order.

    Args:
        names: the names; repetitions count once.
        shares: {set: its share of the names}, positive, with sum 1. Sizes are rounded by largest
            remainder, and each set has at least one name.
        seed: seed of the random order.

    Raises:
        ConfigError: shares are not positive or do not sum to 1, or there are fewer names than sets.
    """
    pool = sorted(set(names))
    check_count("seed", seed, 0)
    if not all(0 < share < math.inf for share in shares.values()):
        problem = f"must all be positive, got {dict(shares)}"
        raise ConfigError("shares", problem, "Leave empty sets out")
    total = sum(shares.values())
    if abs(total - 1) > 1e-6:
        raise ConfigError("shares", f"must sum to 1, got a sum of {total:g}", "Change them")
    if len(pool) < len(shares):
        problem = f"{len(pool)} speakers are fewer than {len(shares)} sets"
        raise ConfigError("shares", problem, "Use fewer sets")
    exact = {key: share * len(pool) for key, share in shares.items()}
    sizes = {key: max(1, math.floor(value)) for key, value in exact.items()}
    while sum(sizes.values()) < len(pool):
        sizes[max(exact, key=lambda key: exact[key] - sizes[key])] += 1
    while sum(sizes.values()) > len(pool):  # sets raised to one name take it from the fullest
        sizes[max(exact, key=lambda key: (sizes[key] > 1, sizes[key] - exact[key]))] -= 1
    order = iter(np.random.default_rng(seed).permutation(len(pool)))
    return {key: sorted(pool[next(order)] for _ in range(size)) for key, size in sizes.items()}
