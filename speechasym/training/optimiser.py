"""What turns gradients into better parameters: AdamW, its schedule, averaging; and a guard.

[1] I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR 2019.
[2] B. Polyak, A. Juditsky, "Acceleration of stochastic approximation by averaging", SIAM J. Control
    Optim. 30, 1992: averaged parameters are better than the last ones.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from speechasym.errors import TrainingError


def adamw(model: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW [1]; parameters of one axis or none (norms, biases, ranks) do not decay.

    Nor do logarithms, for 0 is nothing special to them, and prototypes, of which only the direction
    counts.
    """
    decays: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            free = parameter.ndim < 2 or "log_" in name or name.endswith("prototypes")
            (others if free else decays).append(parameter)
    groups = [
        {"params": decays, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=learning_rate)


def rate_factor(share: float, warm_up: float, schedule: str) -> float:
    """The learning rate, as a factor of the highest, at a share (0 to 1) of the run.

    It rises linearly during `warm_up`, then falls to 0 by half a cosine or a line, or stays.
    """
    if share < warm_up:
        return share / warm_up
    if schedule == "constant":
        return 1.0
    left = max(0.0, 1 - (share - warm_up) / (1 - warm_up))
    return left if schedule == "linear" else (1 - math.cos(math.pi * left)) / 2


def moments(model: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state by parameter, as tensors: NAME.exp_avg and so on."""
    return {
        f"{name}.{key}": value
        for name, parameter in model.named_parameters()
        for key, value in optimiser.state.get(parameter, {}).items()
    }


def set_moments(
    model: nn.Module, optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]
) -> None:
    """Take back what `moments` gave."""
    for name, parameter in model.named_parameters():
        state = {}
        for key in ("step", "exp_avg", "exp_avg_sq"):
            if (value := tensors.get(f"{name}.{key}")) is not None:
                state[key] = value.clone() if key == "step" else value.to(parameter)
        if state:
            optimiser.state[parameter] = state


class Average:
    """Exponential average of parameters over steps [2]; early steps weigh less.

    Args:
        decay: of each step, below 1; 0 keeps the parameters themselves.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.values = {n: p.detach().clone() for n, p in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """After a step, counted from 1."""
        weight = 1 - min(self.decay, step / (step + 10))
        own = dict(model.named_parameters())
        torch._foreach_lerp_(
            list(self.values.values()), [own[name].detach() for name in self.values], weight
        )

    @contextmanager
    def inside(self, model: nn.Module) -> Iterator[None]:
        """The model has the averaged parameters in here."""
        own = dict(model.named_parameters())
        kept = {name: p.detach().clone() for name, p in own.items()}
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(self.values[name])
        try:
            yield
        finally:
            with torch.no_grad():
                for name, parameter in own.items():
                    parameter.copy_(kept[name])


def clipped(model: nn.Module, most: float) -> Tensor:
    """Scale gradients to a norm of at most `most`, where they are finite; returns their norm."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    if not gradients:
        raise TrainingError("model", "no parameter has a gradient", "Check that its heads train")
    norm = torch.nn.utils.get_total_norm(gradients)
    if bool(norm.isfinite()):
        torch.nn.utils.clip_grads_with_norm_(list(model.parameters()), most, norm)
    return norm


def culprit(model: nn.Module, again: Callable[[], Any]) -> str:
    """What first is not finite when the step is done again: a parameter, an output, a gradient.

    Args:
        again: computes the loss of the same batch, and returns it.
    """
    for name, parameter in model.named_parameters():
        if not bool(parameter.isfinite().all()):
            return f"parameter {name} is not finite"
    found: list[str] = []

    def hook(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def check(module: nn.Module, _: Any, output: Any) -> None:
            if not found and not all(bool(t.isfinite().all()) for t in _tensors(output)):
                what = f"{name} ({type(module).__name__})" if name else type(module).__name__
                found.append(f"the output of module {what} is not finite")

        return check

    handles = [m.register_forward_hook(hook(name)) for name, m in model.named_modules()]
    model.zero_grad(set_to_none=True)
    try:
        loss = again()
    finally:
        for handle in handles:
            handle.remove()
    if found:
        return found[0]
    if not bool(loss.isfinite()):
        return f"the loss is {float(loss)}, from finite outputs"
    loss.backward()
    for name, parameter in reversed(list(model.named_parameters())):  # backward goes from the end
        if parameter.grad is not None and not bool(parameter.grad.isfinite().all()):
            return f"the gradient of {name} is not finite"
    return "once more it is finite: a step that does not repeat"


def _tensors(output: Any) -> Iterator[Tensor]:
    """Floating-point tensors in an output; log-probabilities may be -inf, which is no fault."""
    if isinstance(output, Tensor):
        if output.is_floating_point():
            yield output.detach().nan_to_num(torch.nan, torch.inf, 0.0)
    elif isinstance(output, Mapping):
        for part in output.values():
            yield from _tensors(part)
    elif isinstance(output, tuple | list):
        for part in output:
            yield from _tensors(part)
    elif hasattr(output, "__dict__"):
        yield from _tensors(vars(output))
