"""The functions F of a block (C11): each looks for structure in frames; any may stand in any block.

All map x (B, F, D) to y (B, F, D). `mask` (B, F) is True at real frames: the others neither
influence real ones nor come out non-zero, whatever they hold. Where a function is causal,
`stream(x, state)` goes on where the last call stopped, and any chunking equals the whole.

Shapes: B batch, F frames, D width, E inner width, K kernel, H heads, P channels a head, S states,
M frames remembered.

[1] T. Dao, A. Gu, "Transformers are SSMs: generalized models and efficient algorithms through
    structured state space duality", ICML, 2024.
[2] O. Press, N. A. Smith, M. Lewis, "Train short, test long: attention with linear biases enables
    input length extrapolation", ICLR, 2022.
[3] A. Gulati et al., "Conformer: convolution-augmented transformer for speech recognition",
    Interspeech, 2020.
[4] N. Shazeer, "GLU variants improve transformer", arXiv:2002.05202, 2020.
"""

import difflib
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from speechasym.errors import ConfigError
from speechasym.ops.selective import selective_scan
from speechasym.ranks import activation as zipf

State = tuple[Tensor, ...]
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "silu": functional.silu,
    "gelu": functional.gelu,
    "glu": functional.glu,  # halves the width, so what feeds it has twice the width [4]
}
GATES: dict[str, Callable[[Tensor], Tensor]] = {"sigmoid": torch.sigmoid, "linear": lambda x: x}
WEIGHTS = ("softmax", "rank")
LAWS = ("geometric", "pareto", "power")


def check_choice(name: str, value: str, known: Iterable[str]) -> None:
    """Raise `ConfigError` for a value that is not known, with the nearest that is."""
    known = list(known)
    if value not in known:
        near = difflib.get_close_matches(str(value), known, 1, 0.4)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise ConfigError(name, f"{value!r} is unknown", f"{hint}Use one of {', '.join(known)}")


def check_count(name: str, value: int, least: int = 1) -> None:
    """Raise `ConfigError` unless value is an integer of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(
            name, f"{value!r} is not an integer of {least} or more", f"Use {least} or more"
        )


def check_kernel(kernel: int, causal: bool) -> None:
    """Raise `ConfigError` for a kernel that has no centre and needs one."""
    check_count("kernel", kernel)
    if not causal and kernel % 2 == 0:
        raise ConfigError(
            "kernel",
            f"{kernel} is even, so it has no centre",
            f"Use {kernel + 1}, or causal=True",
        )


def check_heads(width: int, heads: int, whole: str = "width") -> None:
    """Raise `ConfigError` unless the heads divide the width."""
    check_count("heads", heads)
    if width % heads:
        near = max(h for h in range(1, heads) if width % h == 0)
        raise ConfigError("heads", f"{heads} does not divide the {whole} {width}", f"Use {near}")


def hide(x: Tensor, mask: Tensor | None) -> Tensor:
    """x (B, F, ...) with zeros where mask (B, F) is False, even where x is NaN there."""
    if mask is None:
        return x
    return x.masked_fill(~mask.view(*mask.shape, *(1,) * (x.ndim - 2)), 0)


class Function(nn.Module):
    """What the functions share: checks, masking, and when they stream.

    Args:
        width: D.
        causal: y at a frame depends on no later frame.
    """

    def __init__(self, width: int, causal: bool) -> None:
        super().__init__()
        check_count("width", width)
        self.width, self.causal = width, causal

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x (B, F, D), mask (B, F) True at real frames -> y (B, F, D), 0 at the others.

        Raises `ConfigError` for other shapes.
        """
        self._check(x, mask)
        y, _ = self._run(hide(x, mask), mask, None)
        return hide(y, mask)

    def stream(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """The next frames x (B, F, D) -> y (B, F, D) and the state to go on with.

        Raises `ConfigError` if the function is not causal.
        """
        if not self.causal:
            raise ConfigError(
                type(self).__name__, "needs later frames, so it cannot stream", "Use causal=True"
            )
        self._check(x, None)
        return self._run(x, None, state)

    def _check(self, x: Tensor, mask: Tensor | None) -> None:
        if x.ndim != 3 or x.shape[2] != self.width:
            raise ConfigError(
                "x",
                f"the shape is {tuple(x.shape)}, expected (batch, frames, {self.width})",
                "Bring the features to this width",
            )
        if mask is not None and (mask.shape != x.shape[:2] or mask.dtype != torch.bool):
            raise ConfigError(
                "mask",
                f"{mask.dtype} of shape {tuple(mask.shape)}, expected bool of {tuple(x.shape[:2])}",
                "Give True at real frames",
            )

    def _run(self, x: Tensor, mask: Tensor | None, state: State | None) -> tuple[Tensor, State]:
        """The function itself; x is 0 where mask is False, y there may be anything finite."""
        raise NotImplementedError


class Linear(Function):
    """y = W x + w, frame by frame."""

    def __init__(self, width: int) -> None:
        super().__init__(width, causal=True)
        self.out = nn.Linear(width, width)

    def _run(self, x: Tensor, mask: Tensor | None, state: State | None) -> tuple[Tensor, State]:
        return self.out(x), ()


class FeedForward(Function):
    """Two linear maps with an activation between them, frame by frame.

    Args:
        width: D.
        expansion: E / D.
        activation: one of ACTIVATIONS.
    """

    def __init__(self, width: int, expansion: int = 1, activation: str = "silu") -> None:
        super().__init__(width, causal=True)
        inner, feed = _inner(width, expansion, activation)
        self.inside = nn.Linear(width, feed)
        self.out = nn.Linear(inner, width)
        self.activation = activation

    def _run(self, x: Tensor, mask: Tensor | None, state: State | None) -> tuple[Tensor, State]:
        return self.out(ACTIVATIONS[self.activation](self.inside(x))), ()


def _inner(width: int, expansion: int, activation: str) -> tuple[int, int]:
    """Inner width, and what has to feed the activation for it."""
    check_count("expansion", expansion)
    check_choice("activation", activation, ACTIVATIONS)
    return width * expansion, width * expansion * (2 if activation == "glu" else 1)


class Depthwise(nn.Module):
    """Each channel with a kernel of its own over frames; frames outside count as 0.

    Args:
        width: channels E.
        kernel: K taps, odd unless causal.
        dilation: frames from tap to tap.
        causal: all taps lie at this frame and before; else they are centred.
    """

    def __init__(self, width: int, kernel: int, dilation: int = 1, causal: bool = False) -> None:
        super().__init__()
        check_kernel(kernel, causal)
        check_count("dilation", dilation)
        self.dilation, self.causal = dilation, causal
        self.reach = (kernel - 1) * dilation
        # in place: a division on the meta device would import torch's compiler, 2 s of any start
        self.weight = nn.Parameter(
            torch.empty(kernel, width).uniform_(-1, 1).div_(math.sqrt(kernel))
        )
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, before: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x (B, F, E), frames before (B, reach, E) or None -> y (B, F, E), the last `reach`."""
        if self.causal:
            if before is None:
                before = x.new_zeros(len(x), self.reach, x.shape[2])
            x = torch.cat([before, x], 1)
        else:
            x = functional.pad(x, (0, 0, self.reach // 2, self.reach // 2))
        y = _Taps.apply(x, self.weight, self.bias, self.dilation)
        return y, x[:, x.shape[1] - self.reach :]


class _Taps(torch.autograd.Function):
    """x (B, F + reach, E), weight (K, E), bias (E,) -> y (B, F, E): K shifted products.

    On one CPU core, forward and backward, a quarter to a half of the time of
    `conv1d(groups=E)`.
    """

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor, dilation: int) -> Tensor:
        frames = x.shape[1] - (len(weight) - 1) * dilation
        y = torch.addcmul(bias, x[:, :frames], weight[0])
        for k in range(1, len(weight)):
            y.addcmul_(x[:, k * dilation : k * dilation + frames], weight[k])
        return y

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, _, ctx.dilation = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        frames = grad.shape[1]
        to_x, to_weight = torch.zeros_like(x), torch.empty_like(weight)
        product = torch.empty_like(grad)
        for k in range(len(weight)):
            here = slice(k * ctx.dilation, k * ctx.dilation + frames)
            to_x[:, here].addcmul_(grad, weight[k])
            torch.mul(grad, x[:, here], out=product)
            torch.sum(product, (0, 1), out=to_weight[k])
        return to_x, to_weight, grad.sum((0, 1)), None

    @staticmethod
    def vmap(
        info: Any, dims: tuple[Any, ...], x: Tensor, weight: Tensor, bias: Tensor, dilation: int
    ) -> tuple[Tensor, int]:
        """Many nets at once, as by `torch.func.vmap`: their channels side by side."""
        nets = info.batch_size

        def beside(t: Tensor, dim: int | None) -> Tensor:
            t = t.expand(nets, *t.shape) if dim is None else t.movedim(dim, 0)
            return t.movedim(0, -2).flatten(-2)

        parts = (beside(t, dim) for t, dim in zip((x, weight, bias), dims[:3], strict=True))
        return _Taps.apply(*parts, dilation).unflatten(-1, (nets, -1)), 2


class Convolution(Function):
    """Depthwise separable: pointwise, activation, depthwise, pointwise [3].

    Args:
        width: D.
        kernel, dilation: of the depthwise part, in frames; the kernel is odd unless causal.
        expansion: E / D.
        activation: one of ACTIVATIONS.
        causal: look at this frame and before only.
    """

    def __init__(
        self,
        width: int,
        kernel: int = 5,
        dilation: int = 1,
        expansion: int = 1,
        activation: str = "glu",
        causal: bool = False,
    ) -> None:
        super().__init__(width, causal)
        inner, feed = _inner(width, expansion, activation)
        self.inside = nn.Linear(width, feed)
        self.taps = Depthwise(inner, kernel, dilation, causal)
        self.out = nn.Linear(inner, width)
        self.activation = activation

    def _run(self, x: Tensor, mask: Tensor | None, state: State | None) -> tuple[Tensor, State]:
        x = hide(ACTIVATIONS[self.activation](self.inside(x)), mask)  # as beyond the ends
        y, before = self.taps(x, state[0] if state else None)
        return self.out(y), (before,)


class StateSpace(Function):
    """Selective state space: each frame decides what is kept, written and read [1].

    h(t) = exp(A dt(t)) h(t-1) + dt(t) outer(b(t), x(t)), y(t) = c(t) h(t) + skip x(t), with one
    decay a head; x, b, c pass a short convolution first, and y is multiplied by a gate. Where it
    is not causal the convolution is centred and half of the heads run backwards: past and future
    have heads of their own, at no cost.

    Args:
        width: D.
        heads: H, a divisor of E; even unless causal.
        states: S.
        kernel: of the short convolution, in frames; odd unless causal.
        expansion: E / D.
        causal: run forwards only.
    """

    def __init__(
        self,
        width: int,
        heads: int = 4,
        states: int = 16,
        kernel: int = 5,
        expansion: int = 1,
        causal: bool = False,
    ) -> None:
        super().__init__(width, causal)
        inner, _ = _inner(width, expansion, "silu")
        check_heads(inner, heads, "inner width")
        check_count("states", states)
        if not causal and heads % 2:
            raise ConfigError(
                "heads", f"{heads} is odd, and half run backwards", f"Use {heads + 1}"
            )
        self.heads = heads
        self.sizes = (inner, inner + 2 * states, heads)
        self.inside = nn.Linear(width, sum(self.sizes), bias=False)
        self.taps = Depthwise(inner + 2 * states, kernel, 1, causal)
        self.split = (inner, states, states)
        # time constants at the start: 1 to 100 frames, evenly in the logarithm
        step = torch.logspace(-1, -2, heads)
        rate = torch.logspace(1, 0, heads)
        if not causal:  # each direction gets the whole range
            step, rate = step.view(-1, 2).T.flatten(), rate.view(-1, 2).T.flatten()
        self.step_bias = nn.Parameter(step.expm1().log())  # the inverse of softplus
        self.log_rate = nn.Parameter(rate.log())
        self.skip = nn.Parameter(torch.ones(heads))
        self.out = nn.Linear(inner, width)

    def _run(self, x: Tensor, mask: Tensor | None, state: State | None) -> tuple[Tensor, State]:
        gate, mixed, step = self.inside(x).split(self.sizes, 2)
        taken, before = self.taps(mixed, state[0] if state else None)
        x, b, c = functional.silu(taken).split(self.split, 2)
        step = hide(functional.softplus(step + self.step_bias), mask)  # 0: nothing in or out
        log_decay = -step * self.log_rate.exp()
        x = x.unflatten(2, (self.heads, -1))
        driven = x * step[..., None]
        if self.causal:
            y, now = selective_scan(driven, log_decay, b, c, state[1] if state else None)
            state = (before, now)
        else:
            y, state = _both_ways(driven, log_decay, b, c), ()
        y = torch.addcmul(y, x, self.skip[:, None]).flatten(2)
        return self.out(y * functional.silu(gate)), state


def _both_ways(x: Tensor, log_decay: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """`selective_scan` with the second half of the heads running backwards, as one batch."""
    half = x.shape[2] // 2

    def turned(t: Tensor) -> Tensor:
        return torch.cat([t[:, :, :half], t[:, :, half:].flip(1)])

    y, _ = selective_scan(
        turned(x), turned(log_decay), torch.cat([b, b.flip(1)]), torch.cat([c, c.flip(1)])
    )
    ahead, back = y.chunk(2)
    return torch.cat([ahead, back.flip(1)], 2)


class Attention(Function):
    """Weighted means of all frames, or of those within a window.

    Positions enter as linear biases: a score falls by a learned slope for each frame of distance,
    with slopes of their own for past and future; this extrapolates to longer input [2].

    Args:
        width: D.
        heads: H, a divisor of D.
        window: frames seen to either side (causal: before); None for all. With None a stream
            remembers every frame.
        weights: softmax; or rank: a law over distances, the greatest score of the row less the
            score, with a learned beta a head (`zipf`).
        law: of rank. geometric with beta = 1 is the softmax; pareto has heavier tails; power
            takes ranks instead of distances.
        causal: see this frame and before only.
    """

    def __init__(
        self,
        width: int,
        heads: int = 4,
        window: int | None = None,
        weights: str = "softmax",
        law: str = "geometric",
        causal: bool = False,
    ) -> None:
        super().__init__(width, causal)
        check_heads(width, heads)
        check_choice("weights", weights, WEIGHTS)
        check_choice("law", law, LAWS)
        if window is not None:
            check_count("window", window)
        self.heads, self.window, self.law = heads, window, law
        self.inside = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        slope = torch.logspace(0, -8, heads + 1, base=2)[1:]  # 1/256 the flattest, as in [2]
        self.log_slope = nn.Parameter(slope.log().repeat(1 if causal else 2, 1))
        # the law is applied to rows of any length, so only its bounded beta is taken from here
        self.rank = zipf.RankActivation(1, groups=heads) if weights == "rank" else None

    def _run(self, x: Tensor, mask: Tensor | None, state: State | None) -> tuple[Tensor, State]:
        q, k, v = self.inside(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if state:
            k, v = torch.cat([state[0], k], 2), torch.cat([state[1], v], 2)
        bias, seen = self._positions(q.shape[2], k.shape[2], x)
        if mask is not None:
            # a frame always sees itself, so that no row is empty
            own = torch.eye(x.shape[1], dtype=torch.bool, device=x.device)
            seen = (seen & mask[:, None, None]) | own
        if self.rank is None:
            y = functional.scaled_dot_product_attention(
                q, k, v, bias.masked_fill(~seen, -torch.inf)
            )
        else:
            y = self._ranked(q @ k.mT / math.sqrt(q.shape[3]) + bias, seen) @ v
        start = 0 if self.window is None else max(0, k.shape[2] - self.window)
        state = (k[:, :, start:], v[:, :, start:])
        return self.out(y.transpose(1, 2).flatten(2)), state

    def _positions(self, queries: int, keys: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """Bias (1, H, queries, keys), and what is seen (1, 1, queries, keys)."""
        key = torch.arange(keys, device=x.device)
        past = key[keys - queries :, None] - key  # frames from key to query
        seen = torch.ones_like(past, dtype=torch.bool)
        if self.causal:
            seen = past >= 0
        if self.window is not None:
            seen = seen & (past.abs() <= self.window)
        slope = self.log_slope.exp()[..., None, None]
        bias = slope[0] * -past.clamp(min=0)
        if not self.causal:
            bias = bias + slope[1] * past.clamp(max=0)
        return bias[None], seen[None, None]

    def _ranked(self, scores: Tensor, seen: Tensor) -> Tensor:
        """Scores (B, H, F, M) -> weights that sum to 1 over M."""
        assert self.rank is not None
        top = scores.masked_fill(~seen, -torch.inf).amax(-1, keepdim=True)
        distance = (top - scores).clamp(min=0)
        beta = self.rank.beta[:, None, None]
        if self.law == "power":
            return zipf.power(distance, beta, mask=seen, soft=0.3)
        if self.law == "pareto":
            distance = distance.log1p()
        return zipf.geometric(distance, beta, mask=seen)


class Gate(Function):
    """y = u(x) g(v(x)): one linear map times another, which saw neighbouring frames.

    What attention gains over a linear map is mostly a product of two functions of the input (C21);
    this has the product alone.

    Args:
        width: D.
        kernel: depthwise taps of the gate, in frames, odd unless causal; 1 for none.
        gate: sigmoid or linear.
        causal: look at this frame and before only.
    """

    def __init__(
        self, width: int, kernel: int = 5, gate: str = "sigmoid", causal: bool = False
    ) -> None:
        super().__init__(width, causal)
        check_kernel(kernel, causal)
        check_choice("gate", gate, GATES)
        self.inside = nn.Linear(width, 2 * width)
        self.taps = Depthwise(width, kernel, 1, causal) if kernel > 1 else None
        self.gate = gate

    def _run(self, x: Tensor, mask: Tensor | None, state: State | None) -> tuple[Tensor, State]:
        u, v = self.inside(x).chunk(2, 2)
        if self.taps is not None:
            v, before = self.taps(hide(v, mask), state[0] if state else None)
            state = (before,)
        return u * GATES[self.gate](v), state or ()


class Constant(Function):
    """y = c at every real frame, whatever x is: a learned vector as bias or mask (C21)."""

    def __init__(self, width: int) -> None:
        super().__init__(width, causal=True)
        # not 0: a gain of 0 after it could then never begin to learn
        self.value = nn.Parameter(0.1 * torch.randn(width))

    def _run(self, x: Tensor, mask: Tensor | None, state: State | None) -> tuple[Tensor, State]:
        return self.value.expand_as(x), ()
