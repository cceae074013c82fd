"""Several nets read together: against sums over all paths, at other times, rates and steps."""

import numpy as np
import pytest
import torch
from levels.test_ctc import log_likelihood
from torch import nn

from speechasym.levels import ctc
from speechasym.levels.arbitration import (
    USUAL_ENTROPY,
    Arbitration,
    Reading,
    arbitrate,
    entropies,
    voices,
)
from speechasym.levels.level import ModelOutput


def reading(rows, seconds=None):
    """Probabilities (S, V), not normalised; steps are equal parts of `seconds`."""
    p = torch.tensor(rows, dtype=torch.float32)
    edges = np.linspace(0, seconds or len(p), len(p) + 1)
    return Reading((p / p.sum(1, keepdim=True)).log(), np.stack([edges[:-1], edges[1:]], 1))


def spikes(steps, at, sure=0.9, classes=4):
    """A net that is `sure` of a label at each step of {step: label}, and of blank elsewhere."""
    rows = np.full((steps, classes), (1 - sure) / (classes - 1))
    for step in range(steps):
        rows[step, at.get(step, 0)] = sure
    return reading(rows.tolist())


def drawn(seed, nets=3, steps=5, classes=3):
    """Nets with random probabilities."""
    torch.manual_seed(seed)
    return [reading((3 * torch.randn(steps, classes)).softmax(-1).tolist()) for _ in range(nets)]


def test_nets_that_write_at_other_times_agree():
    nets = [spikes(9, {n: 1, n + 4: 2}) for n in (0, 2, 4)]
    mean = torch.stack([net.log_probs for net in nets]).mean(0)
    assert [k for _, _, k in ctc.runs(mean.argmax(-1))] != [1, 2]
    verdict = arbitrate(nets)
    assert verdict.labels == (1, 2) and verdict.said.all()


def test_one_that_is_sure_is_heard_among_those_that_are_not():
    unsure = [spikes(5, {1: 1, 3: 3}, sure=0.4) for _ in range(2)]
    verdict = arbitrate([*unsure, spikes(5, {1: 2, 3: 3}, sure=0.999)])
    assert verdict.labels == (2, 3)
    assert verdict.said.tolist() == [[False, False, True], [True, True, True]]
    assert arbitrate([*unsure, spikes(5, {1: 2, 3: 3}, sure=0.45)]).labels == (1, 3)


def test_the_voice_of_a_net_is_one_over_its_squared_entropy():
    flat, half = reading([[1, 1, 1, 1]] * 2), reading([[1, 1, 0, 0]] * 3)
    np.testing.assert_allclose(voices([flat, half]), [2 / 5, 8 / 5], rtol=1e-6)
    np.testing.assert_allclose(voices([flat, reading([[1, 0]])]).sum(), 2)


@pytest.mark.parametrize("seed", range(4))
def test_no_answer_of_a_net_and_no_small_change_is_better(seed):
    nets = drawn(seed)

    def error(labels):
        pairs = zip(voices(nets), nets, strict=True)
        return -sum(voice * log_likelihood(net.log_probs, labels) for voice, net in pairs)

    verdict = arbitrate(nets)
    least = error(verdict.labels)
    assert all(error(net.labels) >= least - 1e-4 for net in nets)
    for n in range(len(verdict.labels)):
        assert error(verdict.labels[:n] + verdict.labels[n + 1 :]) >= least - 1e-4


def test_the_probability_of_an_event_is_the_mean_of_what_each_net_says():
    nets = [reading([[1, 8, 1], [8, 1, 1]]), reading([[2, 5, 3], [6, 1, 3]])]
    verdict = arbitrate(nets)
    assert verdict.labels == (1,)
    each = np.exp([[log_likelihood(n.log_probs, row) for row in ([1], [], [2])] for n in nets])
    each = (each / each[:, :1]) ** ((USUAL_ENTROPY / entropies(nets)) ** 2)[:, None]
    expected = voices(nets) @ (each / each.sum(1, keepdims=True)) / 2
    row = verdict.log_probs[verdict.steps[0]].exp()
    np.testing.assert_allclose(row[[1, 0, 2]], expected, atol=2e-3)


def test_nets_that_contradict_each_other_make_an_event_unsure():
    agree = arbitrate([spikes(5, {1: 1, 3: 3}, 0.99) for _ in range(3)])
    differ = arbitrate([spikes(5, {1: label, 3: 3}, 0.99) for label in (1, 1, 2)])
    sure, unsure = (v.log_probs[v.steps[0], 1].exp() for v in (agree, differ))
    assert agree.labels == differ.labels == (1, 3) and sure > 0.95 > 0.7 > unsure


@pytest.mark.parametrize("seed", range(4))
def test_the_best_path_is_the_answer_and_the_steps_tile_the_utterance(seed):
    nets = [*drawn(seed, 2), reading(drawn(seed + 9)[0].log_probs.exp().tolist()[:3], 5.0)]
    verdict = arbitrate(nets)
    log_probs, frames = verdict.log_probs, verdict.frames
    assert tuple(k for _, _, k in ctc.runs(log_probs.argmax(-1))) == verdict.labels
    torch.testing.assert_close(log_probs.exp().sum(1), torch.ones(len(log_probs)))
    assert frames[0, 0] == 0 and frames[-1, 1] == 5
    np.testing.assert_array_equal(frames[1:, 0], frames[:-1, 1])
    assert [int(log_probs[n].argmax()) for n in verdict.steps] == list(verdict.labels)


def test_a_net_with_too_few_steps_for_the_answer_is_overruled():
    short = reading([[1, 8, 1, 1]], 9.0)
    verdict = arbitrate([short, *(spikes(9, {n: 1, n + 2: 1, n + 4: 2}, 0.999) for n in (0, 1))])
    assert verdict.labels == (1, 1, 2)


def test_nets_that_hear_nothing():
    verdict = arbitrate([spikes(3, {}), spikes(4, {})])
    assert verdict.labels == () and verdict.said.shape == (0, 2) and verdict.steps == []
    assert (verdict.log_probs.argmax(-1) == 0).all()


class Net(nn.Module):
    """Reads the classes that the features themselves are; a step lasts `stride` frames."""

    def __init__(self, heads, stride):
        super().__init__()
        self.heads, self.stride = heads, stride
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, features, lengths):
        x = (4 * features[:, :: self.stride]).log_softmax(-1)
        steps = (lengths + self.stride - 1) // self.stride
        start = (torch.arange(x.shape[1]) * self.stride).expand(len(x), -1)
        heads = {head: (x * self.weight, steps) for head in self.heads}
        spans = {head: (start, torch.minimum(start + self.stride, lengths[:, None]))
                 for head in self.heads}  # fmt: skip
        return ModelOutput(heads, {}, spans, [])


def test_the_model_reads_each_utterance_as_if_alone():
    torch.manual_seed(1)
    model = Arbitration([Net(["phones", "words"], 1), Net(["phones"], 2)], [slice(3), slice(3, 6)])
    features, lengths = torch.randn(2, 9, 6), torch.tensor([9, 5])
    output = model(features, lengths)
    assert list(output.heads) == ["phones"] and output.levels == []
    for row, length in enumerate(lengths.tolist()):
        alone = model(features[row : row + 1, :length], lengths[row : row + 1])
        steps = int(output.heads["phones"][1][row])
        assert steps == int(alone.heads["phones"][1][0])
        torch.testing.assert_close(
            output.heads["phones"][0][row, :steps], alone.heads["phones"][0][0]
        )
        assert float(output.spans["phones"][1][row, steps - 1]) == length
