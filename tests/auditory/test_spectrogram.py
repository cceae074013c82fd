"""The spectrogram module is `features`, with gradients, in half precision, and exported."""

import numpy as np
import pytest
import torch
from helpers import sine
from torch import nn

import speechasym
from speechasym.auditory.filterbank import FilterbankConfig, design
from speechasym.ops.frame_powers import frame_powers

RATE = 16000
X = torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, (2, 3, 1700)).astype(np.float32))


@pytest.mark.parametrize("options", [{}, {"align": True, "channels": 9, "frame_rate": 200}])
def test_values_are_those_of_features(options):
    front = speechasym.GammatoneSpectrogram(RATE, **options)
    for size in (1700, 1600, 1679, 1680, 30):
        own = front(X[..., :size])
        rate = {"rate": options["frame_rate"]} if options else {}
        rest = {name: value for name, value in options.items() if name != "frame_rate"}
        expected = speechasym.features(X[1, 2, :size], RATE, **rate, **rest)
        assert own.shape[:2] == (2, 3)
        np.testing.assert_allclose(own[1, 2].T, expected, atol=1e-3)


def test_top_db_is_of_each_signal():
    front = speechasym.GammatoneSpectrogram(RATE, channels=8, top_db=30)
    loud, quiet = X[0, :1], X[0, :1] / 1000
    level = front(torch.cat([loud, quiet]))
    for row, alone in zip(level, (loud, quiet), strict=True):
        assert row.max() - row.min() <= 30 + 1e-4
        torch.testing.assert_close(row, front(alone)[0])


def test_gradients_half_precision_and_autocast():
    front = speechasym.GammatoneSpectrogram(RATE, channels=6, learnable=True)
    model = nn.Sequential(front, nn.Conv1d(6, 2, 3))
    model(X[0]).sum().backward()
    assert front.filterbank.log_frequency.grad.abs().min() > 0
    whole = front(X[0]).detach()
    with torch.autocast("cpu", torch.bfloat16):
        inside = front(X[0])
        assert inside.dtype == torch.float32 and model(X[0]).dtype == torch.bfloat16
    torch.testing.assert_close(inside.detach(), whole)
    for kind in (torch.bfloat16, torch.float16, torch.float64):
        x = X[0].to(kind)
        assert front(x).dtype == kind
        exact = front(x.float()) if kind != torch.float64 else whole.double()
        torch.testing.assert_close(front(x), exact.to(kind), atol=1e-3, rtol=1e-5)
    assert nn.Sequential(front, nn.Conv1d(6, 2, 3)).bfloat16()(X[0].bfloat16()).ndim == 3


@pytest.mark.parametrize("align", [False, True])
def test_the_graph_computes_the_powers_of_the_filterbank(align):
    bank = speechasym.Gammatone(RATE, channels=5, align=align)
    c = design(FilterbankConfig(sample_rate=RATE, channels=5, align=align))
    log = np.log(c.pole)
    x = X[0].double()
    offset = None if c.delay is None else (c.latency - c.delay).tolist()
    power = frame_powers(
        x, torch.from_numpy(log.real), torch.from_numpy(np.angle(c.pole)), 4, c.hop, 4000, offset
    )
    expected = bank(x, speechasym_start(x))[0].power
    torch.testing.assert_close(power, expected, rtol=1e-9, atol=1e-15)


def speechasym_start(x):
    from speechasym.auditory.gammatone import GammatoneState

    return GammatoneState(None, x.new_zeros(len(x), 0))


def test_bad_input():
    with pytest.raises(speechasym.ConfigError, match=r"^top_db: must be > 0"):
        speechasym.GammatoneSpectrogram(RATE, top_db=-1)
    front = speechasym.GammatoneSpectrogram(RATE)
    for x, says in ((torch.zeros(2, 0), "no samples"), (torch.zeros(9).int(), "floating-point")):
        with pytest.raises(speechasym.ConfigError, match=says):
            front(x)


def test_onnx(tmp_path, caplog):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    import onnxruntime

    path = tmp_path / "front.onnx"
    front = speechasym.GammatoneSpectrogram(RATE, channels=6, low_hz=300)
    path.write_text("mine")
    with pytest.raises(speechasym.OutputError, match="exists"):
        speechasym.export_onnx(front, path)
    speechasym.export_onnx(front, path, overwrite=True)
    assert front.training and "torchvision" not in caplog.text
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    speech = torch.from_numpy(sine(0.3).astype(np.float32))[None] + X[0, :1, :1].mean()
    for x in (X[0], X[0, :1, :1600], speech):
        (level,) = session.run(None, {"x": x.numpy()})
        np.testing.assert_allclose(level, front(x.double()), rtol=1e-6, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dynamic", ["fixed", "time", "batch and time"])
def test_torch_export(dynamic):
    """The program of one signal, or of any batch, takes any time from 1024 samples on."""
    front = speechasym.GammatoneSpectrogram(RATE, channels=2, low_hz=1000)
    time = torch.export.Dim("time", min=1024)
    shapes = {
        "fixed": None, "time": ({1: time},),
        "batch and time": ({0: torch.export.Dim("batch"), 1: time},),
    }  # fmt: skip
    batch = 2 if dynamic == "batch and time" else 1
    args = (torch.zeros(batch, 1612),)
    program = torch.export.export(front.eval(), args, dynamic_shapes=shapes[dynamic])
    rng = np.random.default_rng(0)
    for size in (1612,) if dynamic == "fixed" else (1024, 1679, 1680, 9001):
        rows = 3 if dynamic == "batch and time" else 1
        x = torch.from_numpy(rng.normal(0, 0.1, (rows, size)).astype(np.float32))
        level = program.module()(x)
        # the module in float32 is itself less exact
        np.testing.assert_allclose(level, front(x.double()), rtol=0, atol=1e-5)
