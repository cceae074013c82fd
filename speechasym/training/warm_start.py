"""Training that starts from another run: what fits is taken over, the rest begins anew."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from speechasym.errors import CheckpointError, ConfigError
from speechasym.training import checkpoints
from speechasym.training.labels import Inventory

log = logging.getLogger(__name__)


@torch.no_grad()
def start_from(
    model: nn.Module, columns: int, inventories: Inventory, folder: str | Path
) -> tuple[int, int]:
    """Set a new model's tensors from a finished run's of the same names and shapes.

    Of a head, what belongs to a symbol goes to the symbol of that name, case aside (AA and aa);
    symbols that the run did not know begin anew. Both models need the same features.

    Args:
        model: a new one; columns: of its features; inventories: {head: symbols}.
        folder: of the finished run.

    Returns:
        How many numbers were taken over, and of how many.

    Raises:
        CheckpointError: the run is not there, or not whole; ConfigError: nothing of it fits, or its
            features have other columns.
    """
    tensors, meta = checkpoints.load_model(folder)
    try:
        known = {head: tuple(symbols) for head, symbols in meta["inventories"].items()}
        had = int(meta["columns"])
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(folder, "is of another version", "Train it anew") from error
    if had != columns:
        raise ConfigError(
            "start", f"{folder} hears {had} columns, and this run {columns}",
            "Use the features that it was trained on",
        )  # fmt: skip
    taken = total = 0
    axes: Mapping[str, tuple[str, int]] = getattr(model, "symbol_axes", {})
    for name, own in model.state_dict().items():
        total += own.numel()
        if name not in tensors:
            continue
        given = tensors[name]
        head, axis = axes.get(name, (None, 0))
        if head is not None and known.get(head) != inventories.get(head):
            taken += _by_symbol(own, given, axis, known.get(head, ()), inventories[head])
        elif given.shape == own.shape:
            own.copy_(given)
            taken += own.numel()
    if not taken:
        raise ConfigError("start", f"nothing of {folder} fits this model", "Give it its shape")
    log.info("%s of %s numbers from %s", f"{taken:,}", f"{total:,}", folder)
    return taken, total


def _by_symbol(
    own: Tensor, given: Tensor, axis: int, old: Sequence[str], new: Sequence[str]
) -> int:
    """Copy what belongs to the blank and to symbols of the same name; how many numbers."""
    if not old:
        return 0
    sizes = (len(new) + 1, len(old) + 1)
    if own.shape[axis] != sizes[0] or given.shape[axis] != sizes[1]:
        return 0  # several slots a step: begun anew
    other = [n for n in range(own.ndim) if n != axis]
    if any(own.shape[n] != given.shape[n] for n in other):
        return 0
    place: Mapping[str, int] = {symbol.lower(): n for n, symbol in enumerate(old, 1)}
    pairs = [(0, 0)]
    pairs += [(n, place[s.lower()]) for n, s in enumerate(new, 1) if s.lower() in place]
    for here, there in pairs:
        own.select(axis, here).copy_(given.select(axis, there))
    return len(pairs) * (own.numel() // own.shape[axis])
