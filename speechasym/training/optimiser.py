"""The optimiser: AdamW, its schedule, averaged parameters; and the search for values not finite.

[1] I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR 2019.
[2] B. Polyak, A. Juditsky, "Acceleration of stochastic approximation by averaging", SIAM J. Control
    Optim. 30, 1992: averaged parameters are better than the last ones.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from speechasym.errors import TrainingError
from speechasym.training.checkpoints import with_prefix


def adamw(
    model: nn.Module, learning_rate: float, weight_decay: float, fused: bool = False
) -> torch.optim.AdamW:
    """Return AdamW [1] for a model, without weight decay of its `undecayed` parameters.

    `fused`: in one kernel, which leaves out the step if its `found_inf` is set on the device.
    """
    exempt = undecayed(model)
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    groups = [
        {"params": [p for name, p in trained if name not in exempt], "weight_decay": weight_decay},
        {"params": [p for name, p in trained if name in exempt], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [g for g in groups if g["params"]], lr=learning_rate, fused=fused or None
    )


def undecayed(model: nn.Module) -> set[str]:
    """Return the names of parameters without weight decay.

    These are all of one axis or none (norms, biases, ranks), and those that a module lists in its
    attribute `undecayed`: logarithms, for which 0 is not special, and directions.
    """
    names = {name for name, parameter in model.named_parameters() if parameter.ndim < 2}
    for path, module in model.named_modules():
        names |= {f"{path}.{name}".lstrip(".") for name in getattr(module, "undecayed", ())}
    return names


def rate_factor(share: float, warm_up: float, schedule: str) -> float:
    """Return the learning rate, as a factor of the highest, at a share (0 to 1) of the run.

    It rises linearly during `warm_up`, then falls to 0 by half a cosine or a line, or stays.
    """
    if share < warm_up:
        return share / warm_up
    if schedule == "constant":
        return 1.0
    left = max(0.0, 1 - (share - warm_up) / (1 - warm_up))
    return left if schedule == "linear" else (1 - math.cos(math.pi * left)) / 2


def moments(model: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimiser's state by parameter, as tensors: NAME.exp_avg and so on."""
    return {
        f"{name}.{key}": value
        for name, parameter in model.named_parameters()
        for key, value in optimiser.state.get(parameter, {}).items()
    }


def set_moments(
    model: nn.Module, optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]
) -> None:
    """Set the optimiser's state to the result of `moments`."""
    for name, parameter in model.named_parameters():
        if state := with_prefix(tensors, f"{name}."):
            at = parameter.device if optimiser.defaults["fused"] else "cpu"
            optimiser.state[parameter] = {
                key: value.to(at, copy=True) if key == "step" else value.to(parameter)
                for key, value in state.items()
            }


class Average:
    """Exponential average of parameters over steps [2]; early steps weigh less.

    `decay`: per step, below 1; 0 keeps the parameters themselves.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.values = {n: p.detach().clone() for n, p in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Update the average after a step, counted from 1."""
        weight = 1 - min(self.decay, step / (step + 10))
        current = [parameter.detach() for parameter in model.parameters()]
        torch._foreach_lerp_(list(self.values.values()), current, weight)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Give the model the averaged parameters within the block."""
        kept = {name: p.detach().clone() for name, p in model.named_parameters()}
        model.load_state_dict(self.values, strict=False)
        try:
            yield
        finally:
            model.load_state_dict(kept, strict=False)


def clip_gradients(parameters: Iterable[Tensor], most: float) -> Tensor:
    """Scale gradients to a norm of at most `most`, if it is finite; return their norm."""
    parameters = list(parameters)
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        raise TrainingError("model", "no parameter has a gradient", "Check that its heads train")
    norm = torch.nn.utils.get_total_norm(gradients)
    if norm.is_cuda or bool(norm.isfinite()):  # CUDA leaves out the step
        torch.nn.utils.clip_grads_with_norm_(parameters, most, norm)
    return norm


def find_non_finite(model: nn.Module, compute_loss: Callable[[], Any]) -> str:
    """Compute the loss again, and say what is first not finite: a parameter, output or gradient."""
    for name, parameter in model.named_parameters():
        if not bool(parameter.isfinite().all()):
            return f"parameter {name} is not finite"
    faults: list[str] = []

    def check(name: str, module: nn.Module, _: Any, output: Any) -> None:
        if not faults and not all(bool(t.isfinite().all()) for t in _tensors(output)):
            what = f"{name} ({type(module).__name__})" if name else type(module).__name__
            faults.append(f"the output of module {what} is not finite")

    modules = model.named_modules()
    handles = [module.register_forward_hook(partial(check, name)) for name, module in modules]
    model.zero_grad(set_to_none=True)
    try:
        loss = compute_loss()
    finally:
        for handle in handles:
            handle.remove()
    if faults:
        return faults[0]
    if not bool(loss.isfinite()):
        return f"the loss is {float(loss)}, from finite outputs"
    loss.backward()
    for name, parameter in reversed(list(model.named_parameters())):  # backward starts at the end
        if parameter.grad is not None and not bool(parameter.grad.isfinite().all()):
            return f"the gradient of {name} is not finite"
    return "everything is finite when the step is repeated"


def _tensors(output: Any) -> Iterator[Tensor]:
    """Yield the float tensors in an output; -inf, which is a valid log-probability, becomes 0."""
    if isinstance(output, Tensor):
        if output.is_floating_point():
            yield output.detach().nan_to_num(torch.nan, torch.inf, 0.0)
    elif isinstance(output, tuple | list | Mapping):
        for part in output.values() if isinstance(output, Mapping) else output:
            yield from _tensors(part)
    elif hasattr(output, "__dict__"):
        yield from _tensors(vars(output))
