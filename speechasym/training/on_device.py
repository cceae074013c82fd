"""Batches, and how they come to the device that trains.

Workers either compute the features of a batch, or only load its samples, whose features the device
computes. Both give the same batch but for rounding.

Shapes: B utterances, T samples, F frames, D columns, L labels.
"""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from speechasym.errors import ConfigError
from speechasym.feature_extraction.sets import AsymmetryFeatures
from speechasym.training.augment import Perturbation, perturb
from speechasym.training.config import DataConfig


class Samples(NamedTuple):
    """Recordings whose features are still to be computed."""

    values: Tensor  # (B, T) float32
    lengths: Tensor  # (B,) int64 samples
    perturbation: Perturbation | None  # of their features

    @classmethod
    def together(cls, rows: Sequence[Tensor], perturbations: Sequence[Perturbation]) -> "Samples":
        """Return recordings (T,) of a batch, and how each of them is perturbed, if at all."""
        parts = [
            pad_sequence(list(part), batch_first=True) for part in zip(*perturbations, strict=True)
        ]
        lengths = torch.tensor([len(x) for x in rows])
        values = pad_sequence(list(rows), batch_first=True)
        return cls(values, lengths, Perturbation(*parts) if parts else None)


class Batch(NamedTuple):
    """Utterances side by side, the shorter ones padded with 0."""

    ids: list[str]
    features: Tensor  # (B, F, D) float32; (B, 0, D) until they are computed
    lengths: Tensor  # (B,) int64 frames
    # {head: (labels (B, L) int64, how many (B,))}, on the CPU
    targets: dict[str, tuple[Tensor, Tensor]]
    frame_labels: Tensor | None = None  # (B, F) int64 phones, 0 where unknown
    samples: Samples | None = None  # to compute the features from
    clean: Tensor | None = None  # (B, F, D) features that a teacher hears, if not the same


class DeviceBatches:
    """Brings batches to a device, and computes the features of those that carry samples.

    On CUDA this runs on a stream of its own, beside the steps that the device is still computing.

    Args:
        device: where batches go.
        config: of the data; default: batches carry features.
    """

    def __init__(self, device: torch.device | str, config: DataConfig | None = None) -> None:
        self.device = torch.device(device)
        self.stream: torch.cuda.Stream | None = None
        self._features: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None
        if config is not None:
            from speechasym.feature_extraction.batched import BatchedFeatures  # torchaudio

            self._features = BatchedFeatures(config.features).to(self.device)
        if self.device.type == "cuda":
            self.stream = torch.cuda.Stream(self.device)
            self.stream.wait_stream(torch.cuda.current_stream(self.device))

    @property
    def defers(self) -> bool:
        """Whether to read the numbers of a step only when the next one has been started."""
        return self.device.type == "cuda"

    def bring(self, batch: Batch) -> Batch:
        """Return a batch on the device, with its features."""
        if self.stream is None:
            return self._brought(batch)
        with torch.cuda.stream(self.stream):
            batch = self._brought(batch)
        current = torch.cuda.current_stream(self.device)
        current.wait_stream(self.stream)
        for tensor in (batch.features, batch.lengths, batch.frame_labels, batch.clean):
            if tensor is not None:
                tensor.record_stream(current)  # else its memory might be used again too early
        return batch

    def _brought(self, batch: Batch) -> Batch:
        features, lengths = self._moved(batch.features), self._moved(batch.lengths)
        labels = None if batch.frame_labels is None else self._moved(batch.frame_labels)
        if batch.samples is not None:
            assert self._features is not None  # `computes_features` decides for both sides
            values, counts, perturbation = batch.samples
            features, _ = self._features(self._moved(values), self._moved(counts))
            features = features.half().float()  # as workers round them
            if perturbation is not None:
                features = perturb(features, Perturbation(*map(self._moved, perturbation)))
        clean = None if batch.clean is None else self._moved(batch.clean)
        return Batch(batch.ids, features, lengths, batch.targets, labels, clean=clean)

    def _moved(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, non_blocking=True)


class DeviceNumbers:
    """Numbers of the device, which can be read while it computes what comes after them.

    `since` is the time of `now` at which their computation began.
    """

    def __init__(self, numbers: Tensor, since: "float | torch.cuda.Event") -> None:
        self._numbers, self._since = numbers.to("cpu", non_blocking=True), since
        self._ready = now(numbers.device)

    def read(self) -> list[float]:
        """Wait until the numbers are known, and return them."""
        if isinstance(self._ready, torch.cuda.Event):
            self._ready.synchronize()
        return self._numbers.tolist()

    def seconds(self) -> float:
        """Return how long the device took; on the CPU, up to now."""
        if isinstance(self._since, float):
            return time.monotonic() - self._since
        assert isinstance(self._ready, torch.cuda.Event)
        return self._since.elapsed_time(self._ready) / 1000


def now(device: torch.device) -> "float | torch.cuda.Event":
    """Return the time in s; on CUDA, a mark among the computations of the current stream."""
    if device.type != "cuda":
        return time.monotonic()
    mark = torch.cuda.Event(enable_timing=True)
    mark.record()
    return mark


ON_CPU = DeviceBatches("cpu")


def computes_features(config: DataConfig, device: torch.device) -> bool:
    """Return whether the device computes features: if it is CUDA, or if asked to.

    Raises `ConfigError` if it is asked to, but cannot.
    """
    if config.features_on == "workers":
        return False
    features, problem = config.features, ""
    if config.cache is not None:
        problem = "data.cache stores features"
    elif config.augment.splice:
        problem = "data.augment.splice joins features"
    elif isinstance(features, AsymmetryFeatures) and not features.compact:
        problem = "asymmetry features that are not compact are computed on the CPU only"
    if problem and config.features_on == "device":
        remedy = "Use features_on=auto or workers"
        raise ConfigError("data.features_on", f"cannot be device: {problem}", remedy)
    return not problem and (config.features_on == "device" or device.type == "cuda")
