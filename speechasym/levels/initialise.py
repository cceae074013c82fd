"""Setting a hierarchy before training from what its levels will see (C17), and the rivals.

Block by block from the lowest up, each from what those already set below it make of training
features (`chain`).

| name | what is set |
| --- | --- |
| drawn | weights by torch's defaults, prototypes to steps drawn at random |
| asymmetry | first maps to asymmetric directions, input scales, prototypes, law, ScaleOut |
| kaiming | weights to normal numbers of variance 1 / inputs, 2 / inputs before a SiLU [1] |
| lsuv | weights orthonormal, then scaled so that each map's output has variance 1 [2] |
| pca | first maps to whitened principal directions [3] |
| kmeans | first maps and prototypes to centres of clusters [4] |

The first map is what a level enters by, what a function reads its input with, and the key of the
units. Directions are scaled so that the map's output has mean 0 (if it has a bias) and variance 1,
or 0.16 for asymmetry: at 1 it learns more slowly (recipes/claims/initialisation).
The two factors of a gate, and queries, keys and values of attention, get the same directions; a
SiLU also gets the opposite ones if there is room. Of a state space and of oscillators, the input
and the gate are set; steps, writing, reading and frequencies stay drawn, as does `Constant`, which
has no map, and all rows that are left without a direction. Prototypes are drawn, except those of
asymmetry and kmeans.

Shapes: B batch, F steps, D width, U units, K channels of a key.

[1] K. He et al., "Delving deep into rectifiers", ICCV, 2015.
[2] D. Mishkin, J. Matas, "All you need is a good init", ICLR, 2016.
[3] P. Kraehenbuehl et al., "Data-dependent initializations of convolutional neural networks",
    ICLR, 2016.
[4] A. Coates, A. Ng, "Learning feature representations with k-means", 2012.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechasym.config import check_choice
from speechasym.errors import ConfigError
from speechasym.levels import chain, directions
from speechasym.levels.attention import Attention
from speechasym.levels.base import Depthwise, Function
from speechasym.levels.block import Block
from speechasym.levels.chain import Carry, Stage
from speechasym.levels.directions import Parts
from speechasym.levels.functions import Constant, Convolution, FeedForward, Gate, Linear
from speechasym.levels.hierarchy import Hierarchy
from speechasym.levels.level import Level
from speechasym.levels.oscillator import Oscillator
from speechasym.levels.state_space import StateSpace
from speechasym.levels.units import Units, shares
from speechasym.ranks import fits, laws

METHODS = ("drawn", "asymmetry", "kaiming", "lsuv", "pca", "kmeans")
DIRECTED = ("asymmetry", "pca", "kmeans")
STEPS = 1000  # steps from which the beta of a law is found
HALVINGS = 20  # of its range
DEVIATION = 0.4  # of what the first maps of asymmetry put out


@torch.no_grad()
def initialise_by(method: str, model: Hierarchy, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Set a hierarchy before training; it draws from torch's generator.

    Args:
        method: drawn, asymmetry, kaiming, lsuv, pca or kmeans.
        model: on the CPU.
        batches: features (B, F, D) and lengths (B,).

    Raises:
        ConfigError: another method, fewer than 8 steps at a level, or features that do not fit.

    Example:
        >>> initialise_by("asymmetry", model, [(features, lengths)])
    """
    check_choice("initialise", method, METHODS)
    if method == "drawn":
        return model.initialise(batches)
    if any(level.nested for level in cast("list[Level]", list(model.levels))):
        problem = f"{method} cannot set levels inside blocks"
        raise ConfigError("initialise", problem, "Use drawn")
    training = model.training
    model.eval()
    if method in ("kaiming", "lsuv"):
        _draw(model, orthonormal=method == "lsuv")
    carries = [chain.first_carry(model, *batch) for batch in batches]
    if not carries:
        raise ConfigError("initialise", f"{method} got no features", "Give training data")
    power = 0.0  # mean square of what enters the blocks of the level
    for stage in chain.stages(model.config, blocks=1):
        level, block = model.levels[stage.level], stage.first
        assert isinstance(level, Level)
        if stage.enters and method in DIRECTED:
            directions.rows([(carry.x.y, carry.x.mask) for carry in carries])  # are there enough?
            below = [_around(level, carry) for carry in carries]
            enter = level.enter
            _point(method, below, [(enter.weight.flatten(1), enter.bias, False)])
        if method == "lsuv":
            _unit_variance(model, stage, carries[0])
        parts = [_blocks_input(level, carry) for carry in carries]
        if stage.enters and method == "asymmetry":
            power = _mean_square(parts)
        if method in DIRECTED and stage.blocks:
            share = power / stage.blocks if level.config.block.gain is None else None
            _set_block(method, level.blocks.blocks[block], parts, share)
        if stage.exits and level.config.units:
            part = slice(block, stage.last)
            _set_units(method, level, [(level.blocks(h, mask, part), mask) for h, mask in parts])
            if method == "lsuv":  # the maps of activations, now that there are prototypes
                _unit_variance(model, stage, carries[0])
        carries = [chain.run(model, stage, carry).carry for carry in carries]
    model.train(training)


def _around(level: Level, carry: Carry) -> tuple[Tensor, Tensor]:
    """Return what a level enters by, (B, F, I K), and the mask of its steps."""
    x = carry.x.y.masked_fill(~carry.x.mask[..., None], 0)
    return level.around(x), level.start(carry.x)[1].mask


def _blocks_input(level: Level, carry: Carry) -> tuple[Tensor, Tensor]:
    """Return what enters a stage's block, (B, F, D), and its mask."""
    h, x = (carry.h, carry.x) if carry.h is not None else level.start(carry.x)
    return h, x.mask


def _mean_square(parts: Parts) -> float:
    return float(directions.rows(parts).square().mean())


# directions -------------------------------------------------------------------------------------


def _point(method: str, parts: Parts, maps: Sequence[tuple[Tensor, Tensor | None, bool]]) -> None:
    """Set maps of steps (B, F, D): views of weights (K, D) and biases (K,), with opposites or not.

    Of a map that needs more rows than there are directions, the others stay as they are.
    """
    if not maps:
        return
    x = directions.rows(parts)
    most = min(x.shape[1], max(len(weight) for weight, _, _ in maps))
    centre, deviation = x.mean(0), x.std(0)
    if method == "asymmetry":
        moved, _ = directions.moves(parts, directions.strongest_lag(parts))
        found, _ = directions.asymmetry(moved, most)
    elif method == "pca":
        found = directions.principal(x, most)
    else:
        deviation = deviation.clamp(min=max(1e-6, 1e-3 * float(deviation.max())))
        found = directions.centres((x - centre) / deviation, most) / deviation
    size = (x @ found.T).std(0)
    found = found[size > 1e-6] / size[size > 1e-6, None]
    if method == "asymmetry":
        found = DEVIATION * found
    for weight, bias, opposites in maps:
        signed = torch.cat([found, -found]) if opposites else found
        count = min(len(signed), len(weight))
        weight[:count] = signed[:count]
        if bias is not None:
            bias[:count] = -signed[:count] @ centre


def _first_maps(function: Function) -> list[tuple[Tensor, Tensor | None, bool]]:
    """Return the weights and biases with which a function reads its input, see `_point`."""
    if isinstance(function, Linear):
        return [(function.out.weight, function.out.bias, False)]
    if isinstance(function, StateSpace):
        gate, x = function.inside.weight.split(function.sizes)[:2]
        return [(gate, None, True), (x[: len(gate)], None, True)]
    if isinstance(function, Oscillator):
        return [(part, None, True) for part in function.inside.weight.chunk(2)]
    if isinstance(function, FeedForward | Convolution | Gate | Attention):
        parts = {FeedForward: 1, Attention: 3}.get(type(function), 2)
        inside, opposites = function.inside, not isinstance(function, Attention)
        weights, biases = inside.weight.chunk(parts), inside.bias.chunk(parts)
        return [(w, b, opposites) for w, b in zip(weights, biases, strict=True)]
    return []


# blocks and units -------------------------------------------------------------------------------


def _set_block(method: str, block: Any, parts: Parts, share: float | None) -> None:
    """Set a block by what enters it; share: mean square that asymmetry lets the branch add."""
    assert isinstance(block, Block)
    if method == "asymmetry":
        _set_scales(block, parts)
    scaled = [(block.scale_in(h), mask) for h, mask in parts]
    _point(method, scaled, _first_maps(block.function))
    if method != "asymmetry" or share is None:
        return
    branch = [(block.function(x, mask), mask) for x, mask in scaled]
    if block.norm_out is not None:
        branch = [(block.norm_out(y), mask) for y, mask in branch]
    if (square := _mean_square(branch)) < 1e-12:
        return
    factor = math.sqrt(share / square)
    if block.norm_out is not None:
        block.norm_out.weight.mul_(factor)
    elif block.gain is not None:
        block.gain.fill_(factor)
    else:
        for tensor in _last_map(block.function):
            tensor.mul_(factor)


def _set_scales(block: Block, parts: Parts) -> None:
    """Let asymmetric channels in by up to more, at the same mean square; set N of compression.

    The gain of a channel with the skewness a of its moves is sqrt((1 + |a| / mean |a|) / 2).
    N makes the mean square of what is compressed 1.
    """
    if block.norm_in is not None:
        normed = [(block.norm_in(h), mask) for h, mask in parts]
        moved, _ = directions.moves(normed, directions.strongest_lag(normed))
        skew = directions.skewness(moved).abs()
        gain = (1 + skew / skew.mean().clamp(min=1e-12)) / 2
        block.norm_in.weight.copy_(gain.sqrt() / gain.mean().sqrt())
    if block.compress is not None:
        plain = [(h if block.norm_in is None else block.norm_in(h), mask) for h, mask in parts]
        log_n = directions.rows(plain).abs().log1p().square().mean().sqrt()
        block.compress.log_excess.copy_((log_n.exp() - 1.01).clamp(min=0.01).log())


def _last_map(function: Function) -> list[Tensor]:
    """Return tensors to whose common factor a function's output is proportional."""
    if isinstance(function, Constant):
        return [function.value]
    if isinstance(function, Gate):
        return [t.chunk(2)[0] for t in (function.inside.weight, function.inside.bias)]
    known = Linear | FeedForward | Convolution | StateSpace | Oscillator | Attention
    assert isinstance(function, known)
    return [function.out.weight, function.out.bias]


def _set_units(method: str, level: Level, parts: Parts) -> None:
    """Set key, prototypes, law and scale of hysteresis by the blocks' output (B, F, D)."""
    units = level.units
    if method in DIRECTED:
        _point(method, parts, [(units.key.weight, None, False)])
    keys = [(units.key(h), mask) for h, mask in parts]
    x = directions.rows(keys)
    units.initialise(x)
    centred = [(key - units.centre, mask) for key, mask in keys]
    if method == "asymmetry":
        found = _events(centred, len(units.prototypes))
        units.prototypes[: len(found)] = found
        _set_law(units, keys)
    elif method == "kmeans":
        unit = F.normalize(directions.rows(centred), dim=1)
        found = directions.centres(unit, len(units.prototypes))
        units.prototypes[: len(found)] = found
    level.find_scale(parts)


def _events(keys: Parts, count: int) -> Tensor:
    """Return the keys (U, K) at which strong and different moves arrive.

    The strength of a move d, with its channels scaled to mean square 1, is |sum d^3|^(1/3): how
    much it adds to the asymmetry of the key's directions. Of more units than different moves, the
    others stay drawn.
    """
    moved, arrived = directions.moves(keys, directions.strongest_lag(keys))
    moved = moved / moved.square().mean(0).sqrt().clamp(min=1e-6)
    strength = moved.pow(3).sum(1).abs().pow(1 / 3)
    unit = F.normalize(arrived, dim=1)
    return arrived[directions.spread(unit, strength, count)]


def _set_law(units: Units, keys: Parts) -> None:
    """Set beta and N of the units' law by the rivals that matter: those that win next.

    The rank, at a step, of the unit that wins the next step has a distribution, to which the
    law is fitted with known ranks (`ranks.fits`). N is its support. For power, beta is its beta;
    for the other laws, which are over distances, beta gives activations the same
    mean selectivity. If no more than
    one rank occurs, nothing is set.
    """
    counts = torch.zeros(len(units.prototypes))
    for key, mask in keys:
        order = units.distances(key).argsort(-1)
        ranks = order.argsort(-1)[:, :-1].gather(2, order[:, 1:, :1]).squeeze(2)
        counts += torch.bincount(ranks[mask[:, 1:]], minlength=len(counts))
    if int((counts > 0).sum()) < 2:
        return
    fitted = fits.fit(counts.numpy(), ranked=True)
    law = fitted.power if units.law.law == "power" else fitted.geometric
    units.law.reset(resolution=law.resolution)
    if units.law.law == "power":
        units.law.reset(beta=law.beta)
        return
    rank = torch.arange(len(counts))
    share = F.softmax(-rank / max(law.beta, 1e-3), 0) * (rank < max(2, law.resolution))
    target = float(laws.selectivity(share / share.sum()))
    x = directions.rows(keys)
    distance = units.distances(x[:: max(1, len(x) // STEPS)])
    low, high = math.log(0.01), math.log(100.0)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        units.law.reset(beta=math.exp(middle))
        reached = float(laws.selectivity(shares(units.law(distance))).mean())
        low, high = (middle, high) if reached > target else (low, middle)


# rivals without directions ----------------------------------------------------------------------


def _draw(model: nn.Module, orthonormal: bool) -> None:
    """Draw the weights of all maps again, with biases 0; a context that has no effect stays so."""
    silu = {m.inside for m in model.modules() if isinstance(m, FeedForward)}
    for name, module in model.named_modules():
        if isinstance(module, Depthwise):
            module.weight.normal_(0, len(module.weight) ** -0.5)
        elif isinstance(module, nn.Linear | nn.Conv1d) and not name.endswith("context"):
            if orthonormal:
                nn.init.orthogonal_(module.weight)
            else:
                gain = math.sqrt(2) if module in silu else 1.0
                module.weight.normal_(0, gain / math.sqrt(module.weight[0].numel()))
        else:
            continue
        if module.bias is not None:
            module.bias.zero_()


def _unit_variance(model: Hierarchy, stage: Stage, carry: Carry) -> None:
    """Scale each map of a stage so that its output has variance 1, in the order they are used.

    As biases are 0 and maps linear, one pass over a batch is exact.
    """
    level = model.levels[stage.level]
    assert isinstance(level, Level)
    mask = _blocks_input(level, carry)[1]

    def scale(module: Any, args: Any, output: Any) -> Any:
        y = output[0] if isinstance(output, tuple) else output
        rows = y.mT if isinstance(module, nn.Conv1d) else y
        # what is expected of the next step has none after the last
        deviation = rows[mask[:, : rows.shape[1]]].std()
        if not float(deviation) > 1e-6:
            return output
        module.weight.div_(deviation)
        return (y / deviation, *output[1:]) if isinstance(output, tuple) else y / deviation

    kinds = (nn.Linear, nn.Conv1d, Depthwise)
    handles = [m.register_forward_hook(scale) for m in model.modules() if isinstance(m, kinds)]
    try:
        chain.run(model, stage, carry)
    finally:
        for handle in handles:
            handle.remove()
