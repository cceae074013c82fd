"""The torch module gives what `features` gives."""

import numpy as np
import pytest
import torch
from asymmetry_signals import RATE, swell

import speechasym
from speechasym.asymmetry.tracks import Scale


@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("align", [False, True])
def test_module_is_features(compact, align):
    module = speechasym.Asymmetry(RATE, channels=12, compact=compact, align=align)
    x = torch.from_numpy(np.stack([swell(), swell(seed=1)]))
    y, state = module(x[:, :5000])
    rest, state = module(x[:, 5000:], state)
    whole = torch.cat([y, rest, module.flush(state)], -1).numpy()
    late = module.design.late
    assert late == 2 * align and whole.shape == (2, len(module.columns), 75 - late)
    for row, own in zip(whole, x.numpy(), strict=True):
        want = speechasym.features(
            own, RATE, features="asymmetry", channels=12, compact=compact, align=align
        )
        if not align:
            np.testing.assert_array_equal(row.T, want)
        else:  # late by whole frames; the compact set's last slopes await them
            known = 75 - late - module.latency
            np.testing.assert_array_equal(row.T[:known], want[:known])


def test_shapes_levels_and_names():
    module = speechasym.Asymmetry(
        RATE, channels=4, kinds=("amplitude",), outputs=("rise", "fall"),
        scales=(Scale(10, 1, 0.1, 0.1), Scale(80, 4, 0.2, 0.2)),
    )  # fmt: skip
    y, _ = module(torch.zeros(3, 2, 1600))
    assert y.shape == (3, 2, 16, 10) and module.latency == 0
    assert module.columns[0] == "amplitude_rise1_00" and module.columns[-1] == "amplitude_fall2_03"
    y, state = module(swell(1600))
    assert y.shape == (16, 10)
    assert module.flush(state).shape == (1, 16, 0)
    empty, _ = module(torch.zeros(2, 0))
    assert empty.shape == (2, 16, 0)
    assert "columns=16" in repr(module)


def test_bad_signals():
    module = speechasym.Asymmetry(RATE, channels=4, compact=True)
    _, state = module(torch.zeros(2, 1600))
    for x, after, says in (
        (torch.zeros(1600, dtype=torch.int16), None, "floating-point"),
        (torch.tensor(1.0), None, "floating-point"),
        (torch.full((10,), torch.nan), None, "finite"),
        (torch.zeros(100, requires_grad=True), None, "gradient"),
        (torch.zeros(3, 1600), state, "of 2 recordings, x of 3"),
    ):
        with pytest.raises(speechasym.ConfigError, match=says):
            module(x, after)
    with pytest.raises(speechasym.ConfigError, match="strictly rising"):
        speechasym.Asymmetry(RATE, scales=(Scale(5, 2, 1, 1), Scale(10, 1, 2, 2)))


@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("shape", [(0, 1600), (2, 0), (0, 0)])
def test_empty_batches_and_chunks(compact, shape):
    asymmetry = speechasym.Asymmetry(16000, channels=8, compact=compact)
    y, state = asymmetry(torch.zeros(shape, dtype=torch.float16))
    assert y.dtype == torch.float32 and y.shape == (shape[0], len(asymmetry.columns), 0)
    end = asymmetry.flush(state)
    assert end.shape[:2] == y.shape[:2]
