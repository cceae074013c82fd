"""A new run that starts from the parameters of another one, where they fit."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from speechasym.errors import CheckpointError, ConfigError
from speechasym.language import contexts
from speechasym.training import checkpoints
from speechasym.training.labels import Inventory

log = logging.getLogger(__name__)


class StartPhones(NamedTuple):
    """The phones that a run writes, and which follow which, if it was trained with `mmi`."""

    inventory: tuple[str, ...] = ()
    follow: NDArray[np.float64] | None = None  # (V, V), see `symbols.follow`


def phones_of(folder: str | Path) -> StartPhones:
    """Return the phones of a finished run. Raises `CheckpointError` as `start_from`."""
    follow = checkpoints.load_model(folder)[1].get("follow", {}).get("phones")
    table = None if follow is None else np.array(follow)
    return StartPhones(_opened(folder)[1].get("phones", ()), table)


def _opened(folder: str | Path) -> tuple[dict[str, Tensor], Inventory, int]:
    """Return the tensors of a run, its inventories, and the columns of its features."""
    tensors, meta = checkpoints.load_model(folder)
    try:
        known = {head: tuple(symbols) for head, symbols in meta["inventories"].items()}
        return tensors, known, int(meta["columns"])
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(folder, "was written by another version", "Train again") from error


@torch.no_grad()
def start_from(
    model: nn.Module, columns: int, inventories: Inventory, folder: str | Path
) -> tuple[int, int]:
    """Set a new model's tensors from those of a finished run that have the same name and shape.

    In a head, what belongs to a symbol goes to the symbol of that name, whatever its case (AA, aa),
    and to a phone in all contexts if the run had it without; symbols that the run did not know keep
    their initial values. Returns how many numbers were copied, and of how many. `columns`: of the
    model's features.

    Raises:
        CheckpointError: the run is missing or incomplete.
        ConfigError: nothing of it fits, or its features have other columns.
    """
    tensors, known, expected = _opened(folder)
    if expected != columns:
        problem = f"{folder} has features of {expected} columns, and this run of {columns}"
        raise ConfigError("start", problem, "Use the features that it was trained on")
    copied = total = 0
    axes: Mapping[str, tuple[str, int]] = getattr(model, "symbol_axes", {})
    for name, target in model.state_dict().items():
        total += target.numel()
        if (source := tensors.get(name)) is None:
            continue
        head, axis = axes.get(name, (None, 0))
        if head is not None and known.get(head) != inventories.get(head):
            copied += _copy_symbols(target, source, axis, known.get(head, ()), inventories[head])
        elif source.shape == target.shape:
            target.copy_(source)
            copied += target.numel()
    if not copied:
        raise ConfigError("start", f"nothing of {folder} fits this model", "Give it that shape")
    log.info("%s of %s numbers from %s", f"{copied:,}", f"{total:,}", folder)
    return copied, total


def _copy_symbols(
    target: Tensor, source: Tensor, axis: int, old: Sequence[str], new: Sequence[str]
) -> int:
    """Copy what belongs to the blank and to symbols of the same name; return how many numbers."""
    expected = list(target.shape)
    expected[axis] = len(old) + 1
    several_slots = target.shape[axis] != len(new) + 1  # in a step
    if several_slots or not old or list(source.shape) != expected:
        return 0
    numbers = {symbol.lower(): number for number, symbol in enumerate(old, 1)}
    sources = [numbers.get(s.lower(), numbers.get(contexts.plain(s).lower())) for s in new]
    pairs = [(number, known) for number, known in enumerate(sources, 1) if known is not None]
    for number, known in [(0, 0), *pairs]:
        target.select(axis, number).copy_(source.select(axis, known))
    return (1 + len(pairs)) * (target.numel() // target.shape[axis])
