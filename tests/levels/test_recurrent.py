"""The recurrent baseline."""

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from speechasym.levels.config import RecurrentConfig
from speechasym.levels.recurrent import Recurrent


def test_the_baseline_is_a_bidirectional_gru():
    torch.manual_seed(0)
    model = Recurrent(RecurrentConfig(width=8, hidden=5), 6, {"phones": 3}).eval()
    gru = nn.GRU(8, 5, 2, batch_first=True, bidirectional=True)
    with torch.no_grad():
        for n in range(2):
            for own, suffix in ((model.forwards[n], ""), (model.backwards[n], "_reverse")):
                for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                    getattr(gru, f"{part}_l{n}{suffix}").copy_(getattr(own, f"{part}_l0"))
    x, lengths = torch.randn(3, 50, 6), torch.tensor([50, 31, 8])
    steps = (lengths + 2) // 3
    mask = torch.arange(50) < lengths[:, None]
    h = nn.functional.pad((x * mask[..., None]).transpose(1, 2), (0, 1))
    h = nn.functional.gelu(model.enter(h)).transpose(1, 2)[:, : steps.max()]
    packed = pack_padded_sequence(h, steps, batch_first=True, enforce_sorted=False)
    want, _ = pad_packed_sequence(gru(packed)[0], batch_first=True)
    want = model.heads["phones"](want).log_softmax(-1)
    got, got_steps = model(x, lengths).heads["phones"]
    assert got_steps.tolist() == steps.tolist()
    for row, n in enumerate(steps.tolist()):
        torch.testing.assert_close(got[row, :n], want[row, :n], atol=1e-6, rtol=1e-5)


def test_intermediate_heads_read_lower_layers():
    config = RecurrentConfig(width=8, hidden=5, intermediate=True)
    model = Recurrent(config, 6, {"phones": 3, "letters": 3, "words": 3})
    assert [model.depth(head) for head in ("phones", "letters", "words")] == [0, 1, 1]
    out = model(torch.randn(1, 30, 6), torch.tensor([30]))
    out.heads["phones"][0].sum().backward()
    assert model.forwards[1].weight_ih_l0.grad is None
