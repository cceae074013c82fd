"""The gammatone filterbank as a spectrogram: one module from samples to decibels."""

import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from speechasym import files
from speechasym.auditory.filterbank import Frames
from speechasym.auditory.gammatone import Gammatone, GammatoneState, flat_rows
from speechasym.config import check_range
from speechasym.errors import ConfigError
from speechasym.ops.frame_powers import frame_powers

NEGLIGIBLE = 45.0  # e^-45: smaller than float64 can tell from 1
OPSET = 18  # of ONNX


class GammatoneSpectrogram(nn.Module):
    """Levels of the gammatone filterbank, for `nn.Sequential`: samples -> dB.

    It replaces torchaudio's `MelSpectrogram` and `AmplitudeToDB`. Without `top_db` the values are
    those of `speechasym.features`: frame m covers samples [m, m + 1) hop, and there are as many
    frames as the signal is long, rounded half up, at least one.

    Filters are computed in float32, or float64 where the samples are; the output has the type of
    the samples. Half precision and autocast thus change the output by its rounding only: in
    bfloat16 by up to 0.25 dB at -60 dB.

    Args:
        sample_rate: Hz.
        top_db: levels further below the highest of a signal are raised to this distance; None:
            none are. Unlike in torchaudio, each signal of a batch has a highest level of its own.
        learnable: make centre frequencies and bandwidths parameters.
        options: of the filterbank, as for `Gammatone`: channels=64, frame_rate=100, ... With
            `align`, frames look ahead by `Gammatone.latency` samples.

    Raises:
        ConfigError: an option out of range.

    Example:
        >>> front = speechasym.GammatoneSpectrogram(16000, channels=64, top_db=80)
        >>> model = nn.Sequential(front, nn.BatchNorm1d(64), nn.Conv1d(64, 128, 5))
        >>> model(torch.randn(2, 16000)).shape  # (B, T) -> (B, 64, F) dB -> (B, 128, F - 4)
        torch.Size([2, 128, 96])
    """

    def __init__(
        self, sample_rate: int, *, top_db: float | None = None, learnable: bool = False,
        **options: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        check_range("top_db", top_db, "80, or None", above=True)
        self.filterbank = Gammatone(sample_rate, learnable=learnable, **options)
        self.top_db = top_db
        c = self.filterbank.coefficients()
        self._hop, self._order, self._latency = c.hop, c.order, c.latency
        self._offset = None if c.delay is None else (c.latency - c.delay).tolist()
        narrowest = float(c.bandwidth.min())
        self._ring = round(NEGLIGIBLE / (2 * math.pi * narrowest) * sample_rate)

    def forward(self, x: Tensor) -> Tensor:
        """Samples (..., T), full scale 1 -> levels (..., C, F) in dB re a full-scale sine.

        Raises `ConfigError` where x is not a floating-point signal, or has no samples.
        """
        exporting = torch.compiler.is_exporting()
        flat = flat_rows(x)
        if not exporting and not x.shape[-1]:
            raise ConfigError("x", "has no samples", "Give at least one")
        end = self._latency + self._hop // 2
        if not exporting:  # a graph has no choice: it takes signals of half a frame or more
            end = max(end, self._latency + self._hop - x.shape[-1])
        # aligned channels have heard what precedes their first frame, in frames that are dropped
        late = -(-self._latency // self._hop)
        flat = pad(flat, (late * self._hop, end))
        bank = self.filterbank
        if exporting:
            rate = 2 * math.pi / bank.config.sample_rate
            decay, angle = -bank.bandwidth * rate, bank.frequency * rate
            wide = flat.double()  # float32 is exact to 0.01 dB only, 110 dB below a tone
            sizes = self._order, self._hop, self._ring, self._offset
            power = frame_powers(wide, decay, angle, *sizes).to(flat.dtype)
            frames = Frames(power, power, power)  # of which levels read the first
        else:
            start = GammatoneState(None, flat.new_zeros(len(flat), 0))
            frames, _ = bank(flat, start)
        level = bank.level_db(frames)
        level = level[..., late:] if late else level
        if self.top_db is not None:
            level = level.maximum(level.amax((-2, -1), keepdim=True) - self.top_db)
        return level.reshape(*x.shape[:-1], *level.shape[1:]).to(x.dtype)


def export_onnx(module: nn.Module, path: str | Path, *, overwrite: bool = False) -> None:
    """Write a `GammatoneSpectrogram`, or a model that begins with one, as an ONNX file.

    Input `x` is float32 (batch, time) of any size from half a frame on. Filters are computed in
    float64; their values are constants of the graph. The graph has no loop over time, and holds all
    channels at the full rate: 16 bytes a channel and sample.

    Args:
        module: takes samples (B, T), with parameters on the CPU; it is exported in evaluation mode.
        path: the file to write.
        overwrite: replace a file that was not written here, or was changed since.

    Raises:
        ConfigError: onnx, onnxscript or onnxruntime is not installed, or the module cannot be
            exported.
        OutputError: the file cannot be written, or must not be replaced.

    Example:
        >>> speechasym.export_onnx(speechasym.GammatoneSpectrogram(16000), "front.onnx")
        >>> session = onnxruntime.InferenceSession("front.onnx")
        >>> (level,) = session.run(None, {"x": x[None]})
        >>> level.shape
        (1, 64, 299)
    """
    path = Path(path)
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        remedy = "pip install 'speechasym[onnx]'"
        raise ConfigError("onnx", "must be installed to export", remedy) from error
    training = module.training
    shapes = ({0: torch.export.Dim("batch"), 1: torch.export.Dim("time", min=1024)},)
    with files.replacing(path, overwrite=overwrite):
        try:
            with _without_harmless_warnings():
                program = torch.onnx.export(
                    module.eval(), (torch.zeros(2, 16123),), dynamo=True, opset_version=OPSET,
                    dynamic_shapes=shapes, input_names=["x"], output_names=["y"], verbose=False,
                )  # fmt: skip
        except (RuntimeError, TypeError, ValueError) as error:
            cause = error.__cause__ or error  # that of torch.onnx tells only which step failed
            reason = (str(cause).strip() or type(cause).__name__).splitlines()[0].rstrip(".")
            remedy = "Give a module that torch.export accepts, which takes samples (B, T)"
            raise ConfigError("module", f"cannot be exported ({reason})", remedy) from error
        finally:
            module.train(training)
        if program is None:
            raise ConfigError("module", "gave no program", "Use torch >= 2.6")
        with files.atomic(path) as file:
            file.write(program.model_proto.SerializeToString())


@contextmanager
def _without_harmless_warnings() -> Iterator[None]:
    """Silence what torch says of itself at each export, and not of the module or its graph."""

    def other(record: logging.LogRecord) -> bool:  # its operators of images: not in models of sound
        return not record.getMessage().startswith("torchvision is not installed")

    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    registration.addFilter(other)
    try:
        with warnings.catch_warnings():  # torch copies its own description of the arguments
            message = r"`isinstance\(treespec, LeafSpec\)` is deprecated"
            warnings.filterwarnings("ignore", message, FutureWarning)
            yield
    finally:
        registration.removeFilter(other)
