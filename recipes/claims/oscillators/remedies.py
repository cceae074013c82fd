"""Oscillators with what a selective state space has beside its memory (C26).

    python -m recipes.claims.oscillators.remedies CONFIG SYSTEMS --test CUTS --out OUT ...

The words are those of `recipes.compare`, with more functions: `oscillator-quick`, whose frequencies
learn thirty times as fast; `oscillator-taps`, a short convolution in front; `oscillator-writes`,
each step decides what is written; `oscillator-forgets`, each step decides what is kept;
`oscillator-all`, the last three together. These four turn exactly, instead of by small pushes;
`oscillator-turns` does that alone.

Shapes: B batch, F frames, D width, J oscillators, H heads.
"""

import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from recipes.claims.topology.functions import more_functions
from recipes.compare import __main__ as compare
from speechasym.levels.base import Depthwise, State, check_heads, hide
from speechasym.levels.oscillator import CYCLES, FASTEST, Oscillator, _turned
from speechasym.ops.selective import selective_scan

if TYPE_CHECKING:
    from speechasym.levels.config import BlockConfig

QUICK = 30.0


class Quick(Oscillator):
    """Oscillators whose frequencies move thirty times as far in a step of Adam."""

    undecayed = (*Oscillator.undecayed, "more")  # type: ignore[assignment]

    def __init__(self, config: "BlockConfig") -> None:
        super().__init__(config)
        self.more = nn.Parameter(torch.zeros_like(self.turn))

    @property
    def angle(self) -> Tensor:
        return FASTEST * (self.turn + QUICK * self.more).sigmoid()


class Selective(Oscillator):
    """Oscillators with a convolution in front, or steps that decide what is written and kept.

    In a frame that turns with an oscillator it stands still, so forgetting at a rate of each step
    is the scan of the selective state space. Not causal.
    """

    taps, writes, forgets = False, False, False

    def __init__(self, config: "BlockConfig") -> None:
        super().__init__(config)
        inner = len(self.turn)
        self.before = Depthwise(inner, config.kernel) if self.taps else None
        self.write = nn.Linear(self.width, inner) if self.writes else None
        self.forget = None
        if self.forgets:
            check_heads(inner, config.heads, "inner width")
            self.forget = nn.Linear(self.width, config.heads)
            period = (2 * math.pi / self.angle.detach()).view(config.heads, -1).log().mean(1).exp()
            with torch.no_grad():  # as slow as damped oscillators before training
                self.forget.weight.mul_(0.1)
                self.forget.bias.copy_((1 / (CYCLES * period)).expm1().log())

    def _run(self, x: Tensor, mask: Tensor | None, state: State | None) -> tuple[Tensor, State]:
        force, gate = self.inside(x).chunk(2, 2)
        if self.before is not None:
            force = functional.silu(self.before(force)[0])
        if self.write is not None:
            force = force * 2 * self.write(x).sigmoid()
        force = hide(force, mask)
        phase = torch.arange(x.shape[1], device=x.device)[:, None] * self.angle  # (F, J)
        pushed = _turned(force * (self.angle / math.pi).sqrt())
        rate = x.new_zeros(*x.shape[:2], 1)
        if self.forget is not None:
            rate = _turned(-functional.softplus(self.forget(x)))
        heads = rate.shape[2]
        parts = [part.unflatten(2, (heads, -1)) for part in (pushed * phase.cos(),
                                                             -pushed * phase.sin())]  # fmt: skip
        one = x.new_ones(*x.shape[:2], 1)
        still = selective_scan(torch.cat(parts, 3), rate, one, one)[0]
        real, imaginary = (part.flatten(2) for part in still.chunk(2, 3))
        position = real * phase.sin() + imaginary * phase.cos()
        velocity = real * phase.cos() - imaginary * phase.sin()
        heard = _turned(position * self.read[0] + velocity * self.read[1])
        y = torch.addcmul(heard, force, self.skip)
        return self.out(y * functional.silu(gate)), ()


class Taps(Selective):
    """A short convolution in front."""

    taps = True


class Writes(Selective):
    """Each step decides what is written."""

    writes = True


class Forgets(Selective):
    """Each step decides what is kept."""

    forgets = True


class All(Selective):
    """A convolution in front, and steps that decide what is written and kept."""

    taps = writes = forgets = True


OWN = {
    "oscillator-quick": Quick, "oscillator-turns": Selective, "oscillator-taps": Taps,
    "oscillator-writes": Writes, "oscillator-forgets": Forgets, "oscillator-all": All,
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    with more_functions(OWN):  # in this process, which has them
        return compare.main([*words, "--workers", "0"])


if __name__ == "__main__":
    raise SystemExit(main())
