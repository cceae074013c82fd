"""Losses against dumb loops."""

import torch

from speechasym.training import losses


def test_framewise_loss_against_a_dumb_loop():
    torch.manual_seed(0)
    scores = torch.randn(2, 5, 4, requires_grad=True)
    starts = torch.tensor([[0, 3, 6, 9, 12], [0, 3, 6, 6, 6]])
    ends = torch.tensor([[3, 6, 9, 12, 14], [3, 6, 8, 8, 8]])
    lengths = torch.tensor([5, 3])
    frames = torch.randint(0, 4, (2, 14))
    frames[0, 4] = 0
    result = losses.framewise(scores.log_softmax(-1), (starts, ends), lengths, frames)
    values = []
    for row in range(2):
        for step in range(int(lengths[row])):
            label = int(frames[row, (starts[row, step] + ends[row, step]) // 2])
            if label:
                shares = scores[row, step, 1:].double().softmax(-1)  # the blank left aside
                spread = -shares.log().mean()  # over all symbols
                values.append(0.9 * -shares[label - 1].log() + 0.1 * spread)
    assert 3 < len(values) < 8
    want = torch.stack(values).mean().detach()
    torch.testing.assert_close(result.detach().double(), want, atol=1e-6, rtol=1e-6)
    none = losses.framewise(scores.log_softmax(-1), (starts, ends), lengths, frames * 0)
    assert float(none.detach()) == 0
