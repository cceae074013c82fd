"""Watches ranks in training: units and attention heads, at each validation (C6-C9, C25).

What is watched is the model on about a minute of the dev cuts, every n-th of them, with the
averaged parameters, while they are validated anyway. Nothing is drawn and nothing changed: the run
is the same to the bit. A line of metrics.jsonl holds `step`, `epoch`, and

    levels: for each level with units
        level, law, beta, resolution   its number, its law, and beta and N as learned (N None: all)
        head                  whose symbols are the labels: that of the level, or the nearest above;
                              None in a run without heads, whose steps have no labels
        and the values of `ranks.monitor.LevelState`; instead of it `problem`, if there is none
    attention: for each attention head
        level, block, head    its number, its block there, and its number there
        weights_by, beta, growth   its kind of weights, and their parameters as learned (or None)
        and the values of `ranks.monitor.HeadState`

The error of a level is its input at its own steps, normalised to mean square 1, less what the units
predict of it. The label of a step is the symbol sounding in its middle: the reference is aligned
to the head's own posteriors, and neighbours meet half-way between the steps that they are read
from. A silence belongs to the nearest symbol.

Lists are cut after `RANKS` values, which are rounded.
"""

import math
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from speechasym.config import to_dict
from speechasym.errors import ConfigError
from speechasym.levels import ctc
from speechasym.levels.attention import Attention
from speechasym.levels.base import frame_mask
from speechasym.levels.block import Block
from speechasym.levels.events import Steps
from speechasym.levels.hierarchy import Hierarchy
from speechasym.levels.level import Level, ModelOutput
from speechasym.ranks.monitor import head_states, level_state
from speechasym.training.dataset import Dataset
from speechasym.training.on_device import Batch
from speechasym.training.rules import nets

SECONDS = 60.0  # of dev cuts that are watched
RANKS = 128  # values of a list that are kept
Place = tuple[int, int]  # level and block


class Monitor:
    """Collects what a model does with some of the dev cuts.

    Args:
        model: in eval mode while it is watched.
        data: of which every n-th cut is watched.

    Example:
        >>> watched = Monitor(model, dev)
        >>> losses, errors = validation.evaluate(model, dev, monitor=watched)
        >>> watched.line()["levels"][0]["dead"]
    """

    def __init__(self, model: Hierarchy, data: Dataset) -> None:
        self.model, self.rate = model, data.config.features.rate
        self.ids = set(data.ids[:: max(1, math.ceil(float(data.seconds.sum()) / SECONDS))])
        self._rows: dict[int, dict[str, list[Tensor]]] = defaultdict(lambda: defaultdict(list))
        self._heads: dict[Place, tuple[list[Tensor], ...]] = defaultdict(lambda: ([], [], []))
        self._seen: dict[Place, Tensor] = {}  # what attentions received of the current batch
        self._attentions = {
            (n, b): block.function
            for n, level in enumerate(model.levels)
            if isinstance(level, Level)
            for b, block in enumerate(level.blocks.blocks)
            if isinstance(block, Block) and isinstance(block.function, Attention)
        }
        self._utterances = 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Keep what attentions receive within the block."""

        def keep(place: Place, function: Any, args: Any) -> None:
            self._seen[place] = args[0]

        handles = [
            function.register_forward_pre_hook(partial(keep, place))
            for place, function in self._attentions.items()
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            self._seen.clear()

    @torch.no_grad()
    def add(self, batch: Batch, output: ModelOutput) -> None:
        """Add the watched cuts of a batch and the model's output for it."""
        rows = [n for n, name in enumerate(batch.ids) if name in self.ids]
        if not rows:
            return
        mask = frame_mask(batch.features, batch.lengths, self.model.inputs)
        below = Steps.of_frames(batch.features, mask)
        for number, level in enumerate(output.levels):
            middle = (level.start + level.end) / 2
            if level.activation is not None:
                self._add_units(number, _of(below, rows), batch, output, rows, middle)
            for place in self._attentions:
                if place[0] == number:
                    self._add_heads(place, rows, level.mask, middle)
            below = level.passed
        self._utterances += len(rows)

    def _add_units(
        self, number: int, below: Steps, batch: Batch, output: ModelOutput, rows: list[int],
        middle: Tensor,
    ) -> None:  # fmt: skip
        level, out, table = self.model.levels[number], output.levels[number], self._rows[number]
        assert isinstance(level, Level) and out.activation is not None
        activation, mask = out.activation[rows], out.mask[rows]
        inputs, error = level.prediction_error(below, activation)
        for name, value in (("activation", activation), ("error", error), ("inputs", inputs)):
            table[name].append(value[mask].float().cpu())
        head = self._head(number)
        for place, row in enumerate(rows):
            steps = int(mask[place].sum())
            table["utterance"].append(torch.full((steps,), self._utterances + place))
            if head is None:
                table["labels"].append(torch.full((steps,), -1))
                continue
            labels, counts = batch.targets[head]
            (log_probs, lengths), spans = output.heads[head], output.spans[head]
            length = int(lengths[row])
            start, end = (span[row, :length].cpu() for span in spans)
            known = labels[row, : counts[row]].tolist()
            posteriors = log_probs[row, :length].float().cpu()
            at = middle[row, :steps].cpu()
            table["labels"].append(step_labels(posteriors, start, end, known, at))

    def _add_heads(self, place: Place, rows: list[int], mask: Tensor, middle: Tensor) -> None:
        x, kept = self._seen[place], self._heads[place]
        for row in rows:
            steps = int(mask[row].sum())
            weights, visible = self._attentions[place].weights(x[row : row + 1, :steps].float())
            for values, value in zip(
                kept, (weights[0], visible[0], middle[row, :steps] / self.rate), strict=True
            ):
                values.append(value.cpu())

    def _head(self, level: int) -> str | None:
        return next(iter(nets.nearest_heads(self.model, level)), None)

    @torch.no_grad()
    def line(self) -> dict[str, Any]:
        """Return what was collected, as described above. Call it with the same parameters."""
        levels, attention = [], []
        for number, table in self._rows.items():
            level = self.model.levels[number]
            assert isinstance(level, Level)
            law, learned = level.units.law, level.units.law.resolution
            row: dict[str, Any] = {
                "level": number, "law": law.law, "beta": float(law.beta[0]),
                "resolution": None if learned is None else float(learned[0]),
                "head": self._head(number),
            }  # fmt: skip
            try:
                state = level_state(**{name: torch.cat(parts) for name, parts in table.items()})
                row |= _short(to_dict(state))
            except ConfigError as error:  # a model that is not finite is the training's concern
                row["problem"] = str(error)
            levels.append(row)
        for (number, block), collected in self._heads.items():
            function = self._attentions[number, block]
            for head, state_of_head in enumerate(head_states(*collected)):
                rank = function.rank
                attention.append({
                    "level": number, "block": block, "head": head,
                    "weights_by": function.kind,
                    "beta": None if rank is None else float(rank.beta[head]),
                    "growth": None if rank is None else float(rank.growth[head]),
                    **_short(to_dict(state_of_head)),
                })  # fmt: skip
        return {"levels": levels, "attention": attention}


def step_labels(
    log_probs: Tensor, start: Tensor, end: Tensor, labels: list[int], middle: Tensor
) -> Tensor:
    """Return the label (F,) at the middle of each step of a level; -1 if labels do not fit.

    Args:
        log_probs: (S, V) of the head, whose steps span frames `start` (S,) to `end` (S,).
        labels: of the utterance, from 1.
        middle: (F,) frames.
    """
    if not labels or ctc.steps_needed(labels) > len(log_probs):
        return torch.full((len(middle),), -1)
    path = ctc.align(log_probs, labels)
    first, last = (torch.tensor(places) for places in zip(*path, strict=True))
    edges = (end[last - 1][:-1] + start[first][1:]) / 2
    return torch.tensor(labels)[torch.bucketize(middle.contiguous(), edges)]


def _of(steps: Steps, rows: list[int]) -> Steps:
    kept = {name: getattr(steps, name)[rows] for name in ("y", "mask", "start", "end")}
    return Steps(**kept)


def _short(state: dict[str, Any]) -> dict[str, Any]:
    """Shorten lists of shares, and leave out the zeros at their ends."""
    for name, value in state.items():
        if isinstance(value, list):
            state[name] = [round(share, 6) for share in value[:RANKS] if share > 5e-7]
    return state
