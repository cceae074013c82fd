"""The largest Lyapunov exponent of a map, by the method of Benettin [1].

Two trajectories start close to each other. After each step the second is brought back to the first
distance from the first, in the direction in which it has moved; the mean logarithm of how far it
went each time is the exponent: above 0 for chaos, below 0 for a loop that forgets where it began.

Where a map jumps, as one with events does, no limit of small distances exists: then the exponent
belongs to the distance, and has to be measured for several.

Shapes: B trajectories, N numbers of a state.

[1] G. Benettin, L. Galgani, J.-M. Strelcyn, "Kolmogorov entropy and numerical experiments",
    Physical Review A 14, 1976.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def growths(
    step: Callable[[Tensor], Tensor], state: Tensor, *, passes: int, distance: float = 1e-3,
    transient: int = 0, seed: int = 0,
) -> Tensor:  # fmt: skip
    """Return (passes, B) by how much, in nats, a small difference grows in each pass.

    Their mean is the exponent. It is -inf where both trajectories become the same number for
    number.

    Args:
        step: maps states (2 B, N) to the next ones, row by row.
        state: (B, N) to start from.
        passes: that are measured, after `transient` ones, in which the difference turns into the
            direction that grows fastest.
        distance: kept between the two, as a share of the norm of the first state.

    Example:
        >>> growths(lambda x: 0.5 * x, torch.ones(1, 3), passes=2).exp()
        tensor([[0.5000],
                [0.5000]])
    """
    generator = torch.Generator().manual_seed(seed)
    norm = state.norm(dim=1, keepdim=True)
    apart = distance * torch.where(norm > 0, norm, 1.0)
    first, second = state, state + apart * _directions(state, generator)
    found = []
    for _ in range(transient + passes):
        first, second = step(torch.cat([first, second])).chunk(2)
        moved = second - first
        size = moved.norm(dim=1, keepdim=True)
        found.append((size / apart).log()[:, 0])
        direction = torch.where(size > 0, moved / size, _directions(state, generator))
        second = first + apart * direction
    return torch.stack(found[transient:])


def _directions(state: Tensor, generator: torch.Generator) -> Tensor:
    drawn = torch.randn(state.shape, generator=generator, dtype=torch.float64).to(state)
    return drawn / drawn.norm(dim=1, keepdim=True)
