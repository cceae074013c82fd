"""What is learned in the study of depth, by which nets, and their optimiser.

Shapes: N nets, B batch, F frames, L blocks.
"""

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from speechasym.levels.block import Block, Stack
from speechasym.levels.config import BlockConfig

WIDTH, FRAMES, BATCH = 16, 16, 8
WINDOW, SYMBOLS, NOISE = 5, 4, 0.3
TARGET = 0.8  # nats; guessing gives 1.39, and two blocks reach 1.0
BETAS, EPSILON = (0.9, 0.999), 1e-8  # Adam's
CONFIGS: dict[str, dict[str, Any]] = {
    "theory": {"norm": "theory"},
    "pre": {"norm": "pre"},
    "post": {"norm": "post"},
    "sandwich": {"norm": "sandwich"},
    "rezero": {"norm": "rezero"},
    "layerscale": {"norm": "layerscale"},
    # which part of the theory's block has the effect: the gain by depth, or the compression?
    "theory, gain 1": {"norm": "theory", "gain": 1.0},
    "theory, no compression": {"norm": "theory", "activation": "none"},
}


def symbols(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw noisy symbols (B, F, 2), and how many of the last WINDOW were 1, modulo SYMBOLS (B, F).

    Each convolution sees two frames on either side, and no single block can count modulo: several
    have to work together.
    """
    ones = torch.randint(0, 2, (BATCH, FRAMES), generator=generator)
    padded = functional.pad(ones, (WINDOW - 1, 0))
    count = padded.unfold(1, WINDOW, 1).sum(2) % SYMBOLS
    x = functional.one_hot(ones, 2).float()
    return x + NOISE * torch.randn(x.shape, generator=generator), count


class Net(nn.Module):
    """Alternating convolution and feed-forward blocks between two linear maps."""

    def __init__(self, depth: int, options: dict[str, Any]) -> None:
        super().__init__()
        config = BlockConfig(width=WIDTH, depth=depth, kernel=5, expansion=1, **options)
        kinds = [replace(config, function=name) for name in ("convolution", "feedforward")]
        self.enter = nn.Linear(2, WIDTH)
        self.stack = Stack([Block(kinds[i % 2]) for i in range(depth)])
        self.norm = nn.LayerNorm(WIDTH)
        self.out = nn.Linear(WIDTH, SYMBOLS)

    def forward(self, x: Tensor, probe: bool = False) -> Tensor:
        """Map x (B, F, 2) to scores (B, F, SYMBOLS).

        With `probe`, return the variance of all values around 0 before and after blocks (L + 1,).
        """
        x = self.enter(x)
        if not probe:
            return self.out(self.norm(self.stack(x)))
        variances = [x.square().mean()]
        for block in self.stack.blocks:
            assert isinstance(block, Block)
            x = block(x)
            variances.append(x.square().mean())
        return torch.stack(variances)


class Adam:
    """Adam with a learning rate for each net."""

    def __init__(self, weights: list[Tensor], rate: Tensor) -> None:
        self.weights, self.count = weights, 0
        self.rates = [rate.view(-1, *(1,) * (w.ndim - 1)) for w in weights]
        self.mean = [torch.zeros_like(w) for w in weights]
        self.square = [torch.zeros_like(w) for w in weights]

    @torch.no_grad()
    def step(self) -> None:
        """Update the weights, and clear the gradients."""
        self.count += 1
        grads = [w.grad for w in self.weights if w.grad is not None]
        assert len(grads) == len(self.weights)
        torch._foreach_lerp_(self.mean, grads, 1 - BETAS[0])
        torch._foreach_mul_(self.square, BETAS[1])
        torch._foreach_addcmul_(self.square, grads, grads, 1 - BETAS[1])
        scale = torch._foreach_sqrt(self.square)
        torch._foreach_div_(scale, math.sqrt(1 - BETAS[1] ** self.count))
        torch._foreach_add_(scale, EPSILON)
        move = torch._foreach_div(self.mean, scale)
        torch._foreach_div_(move, -(1 - BETAS[0] ** self.count))
        torch._foreach_mul_(move, self.rates)
        torch._foreach_add_(self.weights, move)
        for w in self.weights:
            w.grad = None
