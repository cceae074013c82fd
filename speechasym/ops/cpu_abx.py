"""Count ABX errors in a matrix of distances, compiled with numba."""

from typing import Any

import numba


@numba.njit(nogil=True, cache=True)
def cell_errors(distance: Any, a: Any, b: Any, x: Any) -> tuple[float, int]:
    """Return the errors and the number of triples of one cell; a token is never its own A."""
    wrong, count = 0.0, 0
    for t in x:
        for i in a:
            if i == t:
                continue
            near = distance[t, i]
            for j in b:
                far = distance[t, j]
                wrong += 1.0 if near > far else (0.5 if near == far else 0.0)
            count += len(b)
    return wrong, count
