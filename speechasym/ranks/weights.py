"""Weights of competitors whose number changes: the keys of attention, by their scores (C6).

One strong competitor leads N - 1 others by at least d. Its share is at least p if
d / beta >= log(N - 1) + log(p / (1 - p)): to keep its share, beta must fall as 1 / log N, which
[1] and [2] found for the softmax. docs/theory.md has the derivation, and where it does not hold.

Shapes: B batch, H heads, F queries, M keys.

[1] D. Chiang, P. Cholak, "Overcoming a theoretical limitation of self-attention", ACL, 2022.
[2] K. M. Nakanishi, "Scalable-softmax is superior for attention", arXiv:2501.19399, 2025.
[3] B. Peters, V. Niculae, A. F. T. Martins, "Sparse sequence-to-sequence models", ACL, 2019.
[4] P. Vasylenko, H. Pitorro, A. F. T. Martins, M. Treviso, "Long-context generalization with
    sparse attention", arXiv:2506.16640, 2025.
"""

import math

import torch
from torch import Tensor, nn

from speechasym.config import check_choice, check_count
from speechasym.ranks import laws
from speechasym.ranks.activation import BETA, bounded, unbounded

WEIGHTS = ("rank", "scaled", "entmax", "scaled-entmax")
LAWS = ("geometric", "pareto", "power")
SOFT = 0.3  # width of the ranks of the power law, in the unit of scores
TYPICAL = 20  # keys for which beta is 1 before training, as in the softmax
GROWTH = (0.01, 100.0)  # bounds of growth


class CompetitorWeights(nn.Module):
    """Weights from scores, with a learned beta per head.

    | weights | from distances x, the row's greatest score less the score |
    | --- | --- |
    | rank | `law`: geometric exp(-x / beta); pareto (1 + x)^(-1 / beta); power rank^(-1 / beta) |
    | scaled | the same with beta / (1 + growth log N) for N visible keys, as 1 / log N |
    | entmax | 1.5-entmax of -x / beta [3]: keys 2 beta behind have no weight |
    | scaled-entmax | both, close to [4], whose scale depends on the query too |

    beta starts at 1; if it depends on N, it starts at 1 for 20 keys, and growth, also learned per
    head, at 1.

    Args:
        heads: H.
        weights: one of `WEIGHTS`.
        law: one of `LAWS`, of rank and scaled.

    Raises:
        ConfigError: an unknown choice, or fewer than one head.

    Example:
        >>> weights = CompetitorWeights(2, "scaled")
        >>> weights(torch.zeros(1, 2, 1, 4), torch.tensor([True, True, False, True])).sum().item()
        2.0
    """

    def __init__(self, heads: int, weights: str, law: str = "geometric") -> None:
        super().__init__()
        check_count("heads", heads)
        check_choice("weights", weights, WEIGHTS)
        check_choice("law", law, LAWS)
        self.law = "entmax" if weights.endswith("entmax") else law
        scaled = weights.startswith("scaled")
        start = 1 + math.log(TYPICAL) if scaled else 1.0
        self.raw_beta = unbounded("beta", start, *BETA, heads)
        self.raw_growth = unbounded("growth", 1.0, *GROWTH, heads) if scaled else None

    @property
    def beta(self) -> Tensor:
        """(H,) beta; if it depends on the number of keys, that of one key."""
        return bounded(self.raw_beta, *BETA)

    @property
    def growth(self) -> Tensor:
        """(H,) growth of 1 / beta with log N, relative to 1 / beta of one key."""
        if self.raw_growth is None:
            return torch.zeros_like(self.raw_beta)
        return bounded(self.raw_growth, *GROWTH)

    def beta_of(self, count: Tensor) -> Tensor:
        """Return beta (..., H, F, 1) of rows with `count` (..., 1 or H, F, 1) competitors."""
        beta = self.beta[:, None, None]
        if self.raw_growth is None:
            return beta
        # float32 also where scores are half precision, which would count in steps
        return beta / (1 + self.growth[:, None, None] * count.clamp(min=1).to(beta).log())

    def forward(self, scores: Tensor, visible: Tensor) -> Tensor:
        """Return weights (B, H, F, M) that sum to 1 over M, and are 0 where nothing is visible.

        Args:
            scores: (B, H, F, M), larger is stronger.
            visible: bool, broadcasts with scores; the others are not competitors. A row has at
                least one.
        """
        top = scores.masked_fill(~visible, -torch.inf).amax(-1, keepdim=True)
        distance = (top - scores).clamp(min=0)
        beta = self.beta_of(visible.sum(-1, keepdim=True))
        if self.law == "power":
            return laws.power(distance, beta, mask=visible, soft=SOFT)
        if self.law == "entmax":
            scaled = laws.masked(laws.logits(distance, beta, visible), visible)
            return laws.entmax15(scaled)
        if self.law == "pareto":
            distance = distance.log1p()
        return laws.geometric(distance, beta, mask=visible)
