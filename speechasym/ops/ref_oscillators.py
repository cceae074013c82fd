"""The plain definition of forced oscillators, beside those of `ops/ref`.

Shapes: F frames, J oscillators.
"""

import numpy as np
from numpy.typing import NDArray


def oscillate(
    force: NDArray, stiffness: NDArray, keep: NDArray, state: NDArray | None = None
) -> tuple[NDArray, NDArray]:
    """Move forced harmonic oscillators by symplectic Euler steps [1].

    Each frame changes the velocity, v(t) = keep (v(t-1) - stiffness x(t-1) + force(t)), then the
    position, x(t) = x(t-1) + v(t). With keep = 1 a step keeps areas of the plane of x and v, so
    that without force v^2 - stiffness x v + stiffness x^2 stays what it is, whatever the number of
    steps.

    Args:
        force: (F, J).
        stiffness, keep: (J,), the latter above 0, at most 1.
        state: (J, 2) position and velocity before the first frame; None: at rest.

    Returns:
        (F, J, 2) positions and velocities, and the state after the last frame.

    [1] E. Hairer, C. Lubich, G. Wanner, "Geometric numerical integration illustrated by the
        Stoermer-Verlet method", Acta Numerica 12, 2003.
    """
    x, v = np.zeros((2, force.shape[1])) if state is None else state.astype(float).T
    path = np.empty((*force.shape, 2))
    for t in range(len(force)):
        v = keep * (v - stiffness * x + force[t])
        x = x + v
        path[t] = np.stack([x, v], 1)
    return path, np.stack([x, v], 1)
