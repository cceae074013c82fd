"""Attention, by softmax, a rank law or entmax.

Shapes: B batch, F frames, D width, H heads, M keys.

[1] O. Press, N. A. Smith, M. Lewis, "Train short, test long: attention with linear biases enables
    input length extrapolation", ICLR, 2022.
"""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from speechasym.config import check_choice, check_count
from speechasym.levels.base import Function, State, check_heads, hide
from speechasym.ranks import weights as competing

if TYPE_CHECKING:
    from speechasym.levels.config import BlockConfig

WEIGHTS = ("softmax", *competing.WEIGHTS)
MOST_PLACES = 4096  # whose numbers, times a slope, are exact enough beside a score in float32


class Attention(Function):
    """Weighted means over all frames, or over those within a window.

    Positions enter as linear biases: a score falls by a learned slope per frame of distance, with
    separate slopes for past and future; this extrapolates to longer input [1].

    Without a window a stream remembers every frame. Weights are the softmax of the scores, or one
    of `ranks.weights.CompetitorWeights` with a learned beta per head, which may depend on the
    number of visible frames.
    """

    undecayed = ("log_slope",)

    def __init__(self, config: "BlockConfig") -> None:
        super().__init__(config.width, config.causal)
        width, heads = config.width, config.heads
        if config.head_width is None:
            check_heads(width, heads)
        else:
            check_count("heads", heads)
            check_count("head_width", config.head_width)
        inner = heads * (config.head_width or width // heads)
        check_choice("weights", config.weights, WEIGHTS)
        check_choice("law", config.law, competing.LAWS)
        if config.window is not None:
            check_count("window", config.window)
        self.heads, self.window = heads, config.window
        self.inside = nn.Linear(width, 3 * inner)
        self.out = nn.Linear(inner, width)
        # flattest: 1/256, as in [1]; on the CPU as in `StateSpace`
        slope = torch.logspace(0, -8, heads + 1, base=2, device="cpu")[1:]
        slope = slope.log().repeat(1 if self.causal else 2, 1)
        self.log_slope = nn.Parameter(slope.to(torch.get_default_device()))
        self.kind, self.rank = config.weights, None
        if config.weights != "softmax":
            self.rank = competing.CompetitorWeights(heads, config.weights, config.law)

    def _run(self, x: Tensor, mask: Tensor | None, state: State | None) -> tuple[Tensor, State]:
        q, k, v = self._heads(x)
        if state:
            k, v = torch.cat([state[0], k], 2), torch.cat([state[1], v], 2)
        if self._all_before(q, state):
            y = self._softmax_of_all_before(q, k, v)
        elif self.rank is None and not state and torch.is_grad_enabled():
            y = self._softmax_of_all(q, k, v, mask)
        else:
            bias, visible = self._visible(q.shape[2], k.shape[2], x, mask)
            if self.rank is None:
                bias = bias.masked_fill(~visible, -torch.inf)
                y = functional.scaled_dot_product_attention(q, k, v, bias)
            else:
                y = self.rank(q @ k.mT / math.sqrt(q.shape[3]) + bias, visible) @ v
        start = 0 if self.window is None else max(0, k.shape[2] - self.window)
        return self.out(y.transpose(1, 2).flatten(2)), (k[:, :, start:], v[:, :, start:])

    def _all_before(self, q: Tensor, state: State | None) -> bool:
        exact = q.dtype == torch.float32 and q.shape[2] <= MOST_PLACES
        return exact and self.causal and not state and self.rank is None and self.window is None

    def _softmax_of_all_before(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return the weighted means (B, H, F, D / H) without scores in memory, in a third the time.

        A bias of slope (j - i) is slope j but for what is the same for all keys j of a query, which
        the softmax ignores. So it is a channel more: the slope in queries, j in keys.
        """
        slope = self.log_slope[0].exp() * math.sqrt(q.shape[3])
        place = torch.arange(q.shape[2], device=q.device, dtype=q.dtype) - q.shape[2] / 2
        q = torch.cat([q, slope.view(-1, 1, 1).expand(*q.shape[:3], 1)], -1)
        k = torch.cat([k, place.view(-1, 1).expand(*k.shape[:3], 1)], -1)
        scale = 1 / math.sqrt(v.shape[3])
        padded = functional.pad(v, (0, 1))  # all of one width, or torch keeps the scores
        y = functional.scaled_dot_product_attention(q, k, padded, is_causal=True, scale=scale)
        return y[..., :-1]

    def _softmax_of_all(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Return the weighted means (B, H, F, D / H), with gradients in 0.4 of the time.

        Biases are the same for each row of the batch, and padding for each head and query. Where
        gradients are asked for, torch's attention would have both as large as the scores.
        """
        bias, visible = self._positions(q.shape[2], q.shape[2], q)
        bias = bias.masked_fill(~visible, -torch.inf).to(q.dtype)
        bias = bias.expand(len(q), -1, -1, -1).flatten(0, 1)
        q, k, scale = q.flatten(0, 1), k.flatten(0, 1), 1 / math.sqrt(q.shape[3])
        scores = torch.baddbmm(bias, q, k.mT, alpha=scale).unflatten(0, v.shape[:2])
        if mask is not None:  # finite, so that rows without frames have gradients
            hidden = (~mask).to(scores.dtype) * (torch.finfo(scores.dtype).min / 2)
            scores = scores + hidden[:, None, None]
        return scores.softmax(-1) @ v

    def weights(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the weights (B, H, F, F) of a pass over x (B, F, D), and which keys are visible.

        The latter is bool and broadcasts with the weights. A query at padding sees itself, and if
        the function is causal all keys before it.
        """
        x = hide(x, mask)
        q, k, _ = self._heads(x)
        bias, visible = self._visible(q.shape[2], k.shape[2], x, mask)
        scores = q @ k.mT / math.sqrt(q.shape[3]) + bias
        if self.rank is None:
            return scores.masked_fill(~visible, -torch.inf).softmax(-1), visible
        return self.rank(scores, visible), visible

    def _heads(self, x: Tensor) -> Tensor:
        """Return queries, keys and values (3, B, H, F, D / H)."""
        return self.inside(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)

    def _visible(
        self, queries: int, keys: int, x: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return `_positions`, without keys at padding."""
        bias, visible = self._positions(queries, keys, x)
        if mask is not None and not self.causal:  # else padding, which comes last, is never seen
            # a frame always sees itself, so that no row is empty
            itself = torch.eye(x.shape[1], dtype=torch.bool, device=x.device)
            visible = (visible & mask[:, None, None]) | itself
        return bias, visible

    def _positions(self, queries: int, keys: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return biases (1, H, queries, keys), and what is visible (1, 1, queries, keys)."""
        key = torch.arange(keys, device=x.device)
        past = key[keys - queries :, None] - key  # frames from key to query
        visible = torch.ones_like(past, dtype=torch.bool)
        if self.causal:
            visible = past >= 0
        if self.window is not None:
            visible = visible & (past.abs() <= self.window)
        slope = self.log_slope.exp()[..., None, None]
        bias = slope[0] * -past.clamp(min=0)
        if not self.causal:
            bias = bias + slope[1] * past.clamp(max=0)
        return bias[None], visible[None, None]
