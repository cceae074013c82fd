"""Rules that make one answer of several: ours, its variants, and the rivals.

Shapes: M nets, G steps of the grid of all nets' boundaries, S steps, V classes, C cues of a gate.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recipes.claims.arbitration.readings import Utterance
from speechasym.levels import arbitration, ctc
from speechasym.levels.arbitration import Evidence, Labels, Reading, Verdict
from speechasym.ops import ref
from speechasym.training.labels import encode

HOLD = 0.1  # by which the selectivity of a net must exceed that of the one that is heard
EPOCHS = 8  # of the gate


class Scene:
    """One utterance, as several nets read it with one head."""

    def __init__(
        self, utterance: Utterance, head: str, nets: Sequence[str], usual: Mapping[str, float]
    ) -> None:
        self.name, self.said = utterance.name, utterance.said[head]
        self.readings = [utterance.readings[head][net] for net in nets]
        errors = [utterance.errors[head].get(net, 1.0) for net in nets]
        # errors of prediction over those usual for the net
        self.surprise = np.array(errors) / [usual.get(net, 1.0) for net in nets]
        self.evidence = Evidence(self.readings)  # shared by the rules

    @cached_property
    def held(self) -> Tensor:
        """(M, G, V) log-probabilities of the nets on one grid."""
        return arbitration.on_grid(self.readings)[0]

    @cached_property
    def entropy(self) -> Tensor:
        """(M, G) in nats."""
        return -(self.held.exp() * self.held).nansum(-1)


def read_path(log_probs: Tensor) -> Labels:
    """Return the labels of the best path."""
    return tuple(label for _, _, label in ctc.runs(log_probs.argmax(-1)))


def mean_log(scene: Scene) -> Labels:
    """Average log-probabilities moment by moment."""
    return read_path(scene.held.clamp(min=-20).mean(0))


def mean(scene: Scene) -> Labels:
    """Average probabilities moment by moment."""
    return read_path(scene.held.exp().mean(0))


def mean_log_searched(scene: Scene) -> Labels:
    """Search as ours does, by the CTC of the averaged log-probabilities alone."""
    mixed = scene.held.clamp(min=-20).mean(0).log_softmax(-1)
    edges = np.arange(len(mixed) + 1.0)
    one = Reading(mixed, np.stack([edges[:-1], edges[1:]], 1))
    own = [reading.labels for reading in scene.readings]
    return arbitration.arbitrate([one], answers=[one.labels, *own]).labels


def inverse_entropy(scene: Scene) -> Labels:
    """Weight log-probabilities by 1 / entropy, moment by moment."""
    weight = 1 / scene.entropy.clamp(min=1e-3)
    return read_path((weight[..., None] * scene.held.clamp(min=-20)).sum(0))


def held_floor(scene: Scene) -> Labels:
    """Hear the most selective net at each moment, until another is more so by a width."""
    selective = (1 - scene.entropy / np.log(scene.held.shape[-1])).T.contiguous()  # (G, M)
    winner, _ = ref.hold(selective.numpy(), HOLD)
    return read_path(scene.held[torch.from_numpy(winner), torch.arange(len(selective))])


def majority(scene: Scene) -> Labels:
    """Take the majority in each slot of the aligned answers (ROVER); the first net decides ties."""
    slots: list[list[int]] = [[label] for label in scene.readings[0].labels]
    for number, reading in enumerate(scene.readings[1:], 1):
        slots = _aligned(slots, reading.labels, number)
    winners = [max(dict.fromkeys(slot), key=slot.count) for slot in slots]
    return tuple(label for label in winners if label)


def _aligned(slots: list[list[int]], labels: Labels, before: int) -> list[list[int]]:
    """Add an answer to slots of `before` answers with the fewest mismatches; 0 stands for none."""
    cost = np.zeros((len(slots) + 1, len(labels) + 1), int)
    cost[:, 0], cost[0] = np.cumsum([0] + [0 not in s for s in slots]), np.arange(len(labels) + 1)
    for i, slot in enumerate(slots, 1):
        for j, label in enumerate(labels, 1):
            cost[i, j] = min(
                cost[i - 1, j - 1] + (label not in slot),
                cost[i - 1, j] + (0 not in slot), cost[i, j - 1] + 1,
            )  # fmt: skip
    i, j, rows = len(slots), len(labels), []
    while i or j:
        if i and j and cost[i, j] == cost[i - 1, j - 1] + (labels[j - 1] not in slots[i - 1]):
            i, j = i - 1, j - 1
            rows.append([*slots[i], labels[j]])
        elif i and cost[i, j] == cost[i - 1, j] + (0 not in slots[i - 1]):
            i -= 1
            rows.append([*slots[i], 0])
        else:
            j -= 1
            rows.append([0] * before + [labels[j]])
    return rows[::-1]


def decided(scene: Scene, loud: NDArray[np.float64] | None = None) -> Verdict:
    """Arbitrate with these voices; default: ours."""
    return arbitration.arbitrate(scene.readings, loud, evidence=scene.evidence)


def ours(scene: Scene) -> Labels:
    """Arbitrate: voices by selectivity."""
    return decided(scene).labels


def equal_voices(scene: Scene) -> Labels:
    """Arbitrate with equal voices: the mean of the log-probabilities of whole answers."""
    return decided(scene, np.ones(len(scene.readings))).labels


def by_surprise(scene: Scene) -> Labels:
    """Arbitrate: voices by how well the units predict, compared with what is usual for a net."""
    loud = scene.surprise**-2
    return decided(scene, loud / loud.mean()).labels


def loudest(scene: Scene) -> Labels:
    """Arbitrate: only the most selective net of the utterance has a voice."""
    loud = arbitration.voices(scene.readings)
    return decided(scene, len(loud) * (loud == loud.max())).labels


RULES: dict[str, Callable[[Scene], Labels]] = {
    "mean of log-probabilities": mean_log,
    "the same, searched as ours": mean_log_searched,
    "mean of probabilities": mean,
    "majority (ROVER)": majority,
    "arbitration by moment: 1 / entropy": inverse_entropy,
    "arbitration by moment: who holds the floor": held_floor,
    "arbitration by answers: equal voices": equal_voices,
    "arbitration by answers: voices by surprise": by_surprise,
    "arbitration by answers: the most selective net": loudest,
    "arbitration by answers: voices by selectivity (ours)": ours,
}


class Gate(nn.Module):
    """A softmax gate learned on dev: which net is heard at each moment, by cues of each."""

    def __init__(self, nets: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([-1.0, 0.0, 0.0]))  # of entropy, top, blank
        self.bias = nn.Parameter(torch.zeros(nets, 1))

    def forward(self, scene: Scene) -> Tensor:
        """Return log-probabilities (G, V)."""
        p = scene.held.exp()
        cues = torch.stack([scene.entropy, p.max(-1).values, p[..., 0]], -1)  # (M, G, C)
        share = (cues @ self.weight + self.bias).log_softmax(0)
        return (share[..., None] + scene.held.clamp(min=-30)).logsumexp(0)

    def learn(self, scenes: Sequence[Scene], classes: Mapping[str, int], seed: int = 0) -> None:
        """Minimise CTC over scenes."""
        optimiser = torch.optim.Adam(self.parameters(), 0.05)
        order = np.random.default_rng(seed)
        for _ in range(EPOCHS):
            for n in order.permutation(len(scenes)):
                labels = encode(scenes[n].said, classes)
                target, count = torch.tensor([labels]), torch.tensor([len(labels)])
                log_probs = self(scenes[n])[None]
                loss, fits = ctc.loss(log_probs, torch.tensor([log_probs.shape[1]]), target, count)
                if bool(fits.all()) and len(labels):
                    optimiser.zero_grad()
                    (loss / len(labels)).backward()
                    optimiser.step()

    @torch.no_grad()
    def answer(self, scene: Scene) -> Labels:
        """Return the labels of the best path."""
        return read_path(self(scene))
