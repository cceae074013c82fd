"""The units of a level: prototypes that compete by rank, and what follows from their activity.

Shapes: B batch, F steps, I input channels, D width, U units, K channels of a prototype.

[1] D. DeSieno, "Adding a conscience to competitive learning", ICNN, 1988.
[2] L. Wang et al., "Auxiliary-loss-free load balancing strategy for mixture-of-experts",
    arXiv:2408.15664, 2024.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechasym.levels.config import LevelConfig
from speechasym.ranks.activation import RankActivation

KEY = 32  # K
# Times this, distances of normalised keys (0 to 4) give each step a few strong units at beta = 1
SHARPNESS = 10.0
THRESHOLD = 16.0  # initial beta where it is a threshold (relu, gelu): most distances are larger
MOMENTUM = 0.1  # weight of a batch in the running mean of the keys, and in that of the wins
SELDOM = 0.1  # share of the mean number of wins below which a unit is helped
STEPS = 16  # noise is drawn for a multiple of so many steps
MOST_LEAD = 20.0  # in the unit of distances, which are 0 to 40


class Units(nn.Module):
    """Prototypes that compete by rank for each step, and the maps of their activations.

    Distances are between the directions of a step's key, less the running mean of all keys, and of
    the prototypes. Without the mean all keys turn the same way as training begins: one unit wins
    everything, and the level above gets one long event.

    Keys move faster than prototypes, so that units which no longer win hardly get a gradient. With
    a conscience [1] each batch brings those that win seldom nearer by a constant, their lead, and
    takes it back from the others [2].
    """

    centre: Tensor
    wins: Tensor
    lead: Tensor
    undecayed = ("prototypes",)  # only their direction counts

    def __init__(self, config: LevelConfig, inputs: int) -> None:
        super().__init__()
        self.key = nn.Linear(config.width, KEY, bias=False)
        self.register_buffer("centre", torch.zeros(KEY))
        self.prototypes = nn.Parameter(torch.randn(config.units, KEY))
        self.conscience = config.conscience
        self.fluctuation, self.draws = config.fluctuation, config.draws
        if config.conscience:
            self.register_buffer("wins", torch.full((config.units,), 1 / config.units))
            self.register_buffer("lead", torch.zeros(config.units))
        if config.handicaps:
            self.handicap = nn.Parameter(torch.zeros(config.units))
        if config.steers in ("both", "units"):
            # logarithms of factors of the units' shares, after each unit that may hold
            self.following = nn.Parameter(torch.zeros(config.units, config.units))
        beta = THRESHOLD if config.law in ("relu", "gelu") else 1.0
        self.law = RankActivation(
            config.units, config.law, beta=beta, resolution=config.resolution, soft=1.0
        )
        self.predict = nn.Linear(config.units, inputs)
        if config.passes in ("both", "units"):
            self.value = nn.Linear(config.units, config.width, bias=False)
        if config.passes in ("both", "error"):
            self.value_of_error = nn.Linear(inputs, config.width, bias=False)

    def forward(self, h: Tensor, mask: Tensor, state: Tensor | None = None) -> Tensor:
        """Return activations (B, F, U) for h (B, F, D) and its mask (B, F).

        In float32 under mixed precision too: bfloat16 cannot resolve close rivals.

        state: (B, F) unit that held at the step before, -1 for none, where it steers the units.
        """
        with torch.autocast(h.device.type, enabled=False):
            key = self.key(h.float())
            if self.training and mask.any():
                self.centre.lerp_(key.detach()[mask].mean(0), MOMENTUM)
            activation = self._compete(self.distances(key, state))
            if self.conscience and self.training and mask.any():
                self._help(activation.detach()[mask])
            return activation

    def _compete(self, distance: Tensor) -> Tensor:
        """Return the activations for distances (B, F, U), which fluctuate if configured so.

        Outside training, the noise is the same at each call, and in each row of a batch.
        """
        if not self.fluctuation or not (self.training or self.draws):
            activation: Tensor = self.law(distance)
            return activation
        if self.training:
            noises = [torch.randn_like(distance)]
        else:
            # of steps beyond the last, so that a step's noise does not depend on how many there are
            size = (-(-distance.shape[1] // STEPS) * STEPS, distance.shape[2])
            seeds = (torch.Generator().manual_seed(draw) for draw in range(self.draws))
            noises = [
                torch.randn(size, generator=seed)[: distance.shape[1]].to(distance)
                for seed in seeds
            ]
        drawn = [self.law((distance + self.fluctuation * n).clamp(min=0)) for n in noises]
        return torch.stack(drawn).mean(0)

    def _help(self, activation: Tensor) -> None:
        """Move the leads after a batch of steps (N, U)."""
        units = activation.shape[1]
        won = torch.bincount(activation.argmax(1), minlength=units) / len(activation)
        self.wins.lerp_(won, MOMENTUM)
        step = torch.where(self.wins < SELDOM / units, self.conscience, -self.conscience)
        self.lead.add_(step).clamp_(0, MOST_LEAD)

    def distances(self, key: Tensor, state: Tensor | None = None) -> Tensor:
        """Return the distances (B, F, U) of keys (B, F, K) from the prototypes.

        They are 0 to 40, more with handicaps or a state, as of `forward`.
        """
        key = F.normalize(key - self.centre, dim=-1)
        similarity = key @ F.normalize(self.prototypes, dim=-1).T
        distance = (2 * SHARPNESS) * (1 - similarity)
        if self.conscience:
            distance = distance - self.lead
        distance = distance.clamp(min=0)
        handicap: Tensor | None = getattr(self, "handicap", None)
        if handicap is not None:
            distance = distance + self.law.beta * handicap
        if state is not None:
            # only ever farther, because some laws need distances >= 0
            behind = self.following.amax(1, keepdim=True) - self.following
            distance = distance + self.law.beta * of_state(behind, state)
        return distance

    @torch.no_grad()
    def initialise(self, keys: Tensor) -> None:
        """Set the prototypes to keys (N, K) of steps drawn at random by torch's generator.

        Untrained keys of different sounds hardly differ, so that with random prototypes one unit
        would win everything.
        """
        units = len(self.prototypes)
        self.centre.copy_(keys.mean(0))
        drawn = torch.randperm(max(len(keys), units))[:units]
        self.prototypes.copy_((keys - keys.mean(0))[drawn % len(keys)])


def of_state(table: Tensor, state: Tensor) -> Tensor:
    """Return the rows (B, F, C) of a table (U, C) for states (B, F); zeros for -1, none."""
    return F.embedding(state.clamp(min=0), table).masked_fill(state[..., None] < 0, 0)


def shares(activation: Tensor) -> Tensor:
    """Return activations (..., U) that sum to 1, as those of most laws already do."""
    positive = activation.detach().clamp(min=0)
    return positive / positive.sum(-1, keepdim=True).clamp(min=1e-12)
