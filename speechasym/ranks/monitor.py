"""What units and attention heads do, and what a level's error leaves to be found (C6-C9, C25).

States of levels are computed from rows: the real steps of some utterances, one after another.

- A unit *wins* a step where its activation is the greatest. `dead` is the share of the units that
  win none.
- `selectivity` is the mean of 1 - H(a) / log U over steps, for activations a that sum to 1: 1 less
  their evenness [1]. `entropy` is that evenness of the wins: H(share of each unit) / log U. A level
  whose units are chosen clearly and alike often has 1 in both.
- `explained` is the share of the input's mean square that the units predict; the rest is the error.
- *Residual structure* is the share R^2 of a target's variance that a linear map of the error
  explains, on utterances that the map was not fitted to: 0 for white noise, 1 for an error that
  still holds the target. `added` is how much more activations and error together explain than the
  activations alone: what the units do not tell already. Targets are the input at the next step, and
  the label of each step, as one column for each class.

The map is fitted by ridge regression [2] to one half of the utterances and tried on the other, and
the other way round. Of the penalties, the one that does best counts; without bound it
explains nothing, so that no R^2 is negative.

Of an attention head, `selectivity` is the mean over queries of 1 - H(w) / log M for the weights w
of the M keys that a query sees, `keys` is exp(mean H(w)), and `span` the mean distance in time
between a query and what it attends to, weighted by w.

Shapes: T steps, U units, I channels of the level's input, P and Q columns, H heads, F steps of an
utterance, which are queries and keys.

[1] E. C. Pielou, "The measurement of diversity in different types of biological collections",
    J. Theor. Biol. 13, 1966.
[2] A. E. Hoerl, R. W. Kennard, "Ridge regression: biased estimation for nonorthogonal problems",
    Technometrics 12, 1970.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from speechasym.errors import ConfigError
from speechasym.ranks import fits, laws

PENALTIES = [10.0**k for k in range(-5, 4)]  # relative to the mean variance of the columns
LEAST = 20  # steps of each half below which nothing is fitted


@dataclass(frozen=True, kw_only=True)
class Structure:
    """What can still be explained of a target, as shares of its variance."""

    error: float  # by the error
    added: float  # by activations and error, beyond the activations


@dataclass(frozen=True, kw_only=True)
class LevelState:
    """The state of a level's units over some steps, as the module describes it."""

    steps: int
    units: int
    wins: list[float]  # share of the steps that each unit wins, descending
    activation: list[float]  # mean activation of each unit, descending, as shares
    selectivity: float
    entropy: float
    dead: float
    explained: float
    labels: Structure | None  # None: no labels, one class only, or too few steps
    following: Structure | None  # of the next input; None: too few steps
    laws: fits.Fit | None  # fitted to the wins; None: fewer than two units win


@dataclass(frozen=True, kw_only=True)
class HeadState:
    """The state of an attention head over some utterances, as the module describes it."""

    queries: int
    weights: list[float]  # mean of the queries' weights, each query's in descending order
    selectivity: float
    keys: float
    span: float  # s
    laws: fits.Fit | None  # fitted to the weights; None: each query gives all to one key


@torch.no_grad()
def level_state(
    activation: Tensor,
    error: Tensor,
    inputs: Tensor,
    utterance: Tensor,
    labels: Tensor | None = None,
) -> LevelState:
    """Describe what units do, and what their error still predicts.

    Args:
        activation: (T, U), at least 0.
        error: (T, I) input less the units' prediction.
        inputs: (T, I), as predicted by the units.
        utterance: (T,) which utterance each step is of; its steps are in order.
        labels: (T,) class of each step, below 0 where there is none.

    Raises:
        ConfigError: no steps, fewer than two units, values that are not finite, or shapes that do
            not fit.

    Example:
        >>> a, x = torch.eye(2).repeat(50, 1), torch.randn(100, 3)
        >>> state = level_state(a, x, x, torch.arange(100) // 25)
        >>> state.dead, state.selectivity, state.explained
        (0.0, 1.0, 0.0)
    """
    _check(activation, error, inputs, utterance, labels)
    a = activation.double().clamp(min=0)
    a = a / a.sum(1, keepdim=True).clamp(min=1e-12)
    error, inputs = error.double(), inputs.double()
    wins = torch.bincount(activation.argmax(1), minlength=a.shape[1])
    won = wins / len(a)
    known = structure = None
    if labels is not None and (kept := labels >= 0).any():
        classes, index = labels[kept].unique(return_inverse=True)
        if len(classes) > 1:
            target = F.one_hot(index).double()
            known = _structure(a[kept], error[kept], target, utterance[kept])
    same = utterance[1:] == utterance[:-1]
    structure = _structure(a[:-1][same], error[:-1][same], inputs[1:][same], utterance[1:][same])
    return LevelState(
        steps=len(a),
        units=a.shape[1],
        wins=won.sort(descending=True).values.tolist(),
        activation=a.mean(0).sort(descending=True).values.tolist(),
        selectivity=float(laws.selectivity(a).mean()),
        entropy=1 - float(laws.selectivity(won.double())),
        dead=float((wins == 0).double().mean()),
        explained=1 - float(error.square().sum() / inputs.square().sum().clamp(min=1e-12)),
        labels=known,
        following=structure,
        laws=fits.fit(wins.numpy(force=True)) if int((wins > 0).sum()) > 1 else None,
    )


@torch.no_grad()
def head_states(
    weights: Sequence[Tensor], visible: Sequence[Tensor], seconds: Sequence[Tensor]
) -> list[HeadState]:
    """Describe the heads of an attention, in order.

    Args:
        weights: (H, F, F) of each utterance, from queries to keys; sum to 1 over the keys.
        visible: bool, (F, F) or (H, F, F) of each utterance: what a query sees.
        seconds: (F,) of each utterance: when its steps are, s.

    Raises:
        ConfigError: no utterance with a step.

    Example:
        >>> w = torch.eye(3).expand(2, 3, 3)
        >>> head_states([w], [w > -1], [torch.arange(3) / 10])[0].span
        0.0
    """
    longest = max((w.shape[-1] for w in weights), default=0)
    if not longest:
        raise ConfigError("weights", "have no step", "Give some speech")
    heads = len(weights[0])
    by_rank = torch.zeros(heads, longest, dtype=torch.float64)
    entropy, span, selectivity = torch.zeros(3, heads, dtype=torch.float64)
    queries = choosing = 0
    for w, seen, time in zip(weights, visible, seconds, strict=True):
        w, time = w.float().cpu(), time.float().cpu()
        by_rank[:, : w.shape[-1]] += w.sort(-1, descending=True).values.sum(1)
        h = torch.special.entr(w).sum(-1)
        count = seen.expand(w.shape).sum(-1).cpu()
        entropy += h.sum(1)
        span += (w * (time[:, None] - time).abs()).sum((1, 2))
        selectivity += torch.where(count > 1, 1 - h / count.clamp(min=2).log(), 0).sum(1)
        queries, choosing = queries + w.shape[1], choosing + int((count[0] > 1).sum())
    return [
        HeadState(
            queries=queries,
            weights=(ranked / queries).tolist(),
            selectivity=float(selectivity[n]) / max(1, choosing),
            keys=math.exp(float(entropy[n]) / queries),
            span=float(span[n]) / queries,
            laws=_fit_ranked(ranked),
        )
        for n, ranked in enumerate(by_rank)
    ]


def _fit_ranked(total: Tensor) -> fits.Fit | None:
    """Fit the laws to sums of ranked weights; those below half a query are left out."""
    total = total[total >= 0.5]
    return fits.fit(total.numpy(), ranked=True) if len(total) > 1 else None


def _check(
    activation: Tensor, error: Tensor, inputs: Tensor, utterance: Tensor, labels: Tensor | None
) -> None:
    if activation.ndim != 2 or not len(activation) or activation.shape[1] < 2:
        problem = f"must be steps of two or more units, got {tuple(activation.shape)}"
        raise ConfigError("activation", problem, "Give a level with units, and some speech")
    count = len(activation)
    for name, value, rank in (
        ("error", error, 2), ("inputs", inputs, 2), ("utterance", utterance, 1),
        ("labels", labels, 1),
    ):  # fmt: skip
        if value is not None and (value.ndim != rank or len(value) != count):
            problem = f"must have a row for each of {count} steps, got {tuple(value.shape)}"
            raise ConfigError(name, problem, "Take the same steps from all")
    if error.shape != inputs.shape:
        problem = f"{tuple(error.shape)} is not the shape of the inputs, {tuple(inputs.shape)}"
        raise ConfigError("error", problem, "Subtract the prediction from the input")
    for name, value in (("activation", activation), ("error", error), ("inputs", inputs)):
        if not bool(value.isfinite().all()):
            raise ConfigError(name, "is not finite", "Lower learning_rate")


def _structure(
    activation: Tensor, error: Tensor, target: Tensor, utterance: Tensor
) -> Structure | None:
    """Return what error and activations explain of a target (T, Q); None for too few steps."""
    first = utterance.unique(return_inverse=True)[1] % 2 == 0
    if min(int(first.sum()), int((~first).sum())) < LEAST:
        return None
    if not bool(target.var(0).sum() > 0):
        return None
    alone = explained([activation], target, first)
    both = explained([activation, error], target, first)
    return Structure(error=explained([error], target, first), added=max(0.0, both - alone))


def explained(blocks: Sequence[Tensor], target: Tensor, first: Tensor) -> float:
    """Return the share of a target's variance that a linear map of some columns explains.

    Args:
        blocks: columns (T, P) of one kind each; they are scaled to the same mean variance.
        target: (T, Q).
        first: (T,) the steps of one half, to which the map is fitted that is tried on the other;
            and the other way round.
    """
    missed = torch.zeros(len(PENALTIES), dtype=torch.float64)
    total = 0.0
    for fitted in (first, ~first):
        columns = []
        for block in blocks:
            centred = block.double() - block[fitted].double().mean(0)
            columns.append(centred / centred[fitted].square().mean().sqrt().clamp(min=1e-12))
        x, y = torch.cat(columns, 1), target.double() - target[fitted].double().mean(0)
        x_fit, y_fit, x_test, y_test = x[fitted], y[fitted], x[~fitted], y[~fitted]
        values, axes = torch.linalg.eigh(x_fit.T @ x_fit)
        weights, held_out = axes.T @ (x_fit.T @ y_fit), x_test @ axes
        for n, penalty in enumerate(PENALTIES):
            map_ = weights / (values.clamp(min=0) + penalty * len(x_fit))[:, None]
            missed[n] += float((y_test - held_out @ map_).square().sum())
        total += float(y_test.square().sum())
    share = 1 - float(missed.min()) / total if total else 0.0
    return max(0.0, share) if math.isfinite(share) else 0.0
