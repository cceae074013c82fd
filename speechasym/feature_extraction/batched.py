"""Feature sets of a batch of whole recordings, in torch on any device.

`sets` computes the same on the CPU, recording by recording, in blocks of any length.

Shapes: B recordings, T samples, F frames, D columns.
"""

import math

import torch
from torch import Tensor, nn

from speechasym.asymmetry.batched import CompactSet, clamped_frames
from speechasym.asymmetry.cepstra import slope
from speechasym.auditory import erb, filterbank
from speechasym.feature_extraction import mel, normalise
from speechasym.feature_extraction.sets import (
    CEPSTRA,
    MEL_CHANNELS,
    AsymmetryFeatures,
    FeatureConfig,
    GammatoneFeatures,
    MfccFeatures,
)
from speechasym.ops import scan, scan_asymmetry


class BatchedFeatures(nn.Module):
    """The features of a batch: values equal those of `config.frames` but for rounding.

    No gradients are computed.

    Args:
        config: options of a feature set.

    Raises:
        ConfigError: asymmetry features that are not compact, which only the CPU computes.

    Example:
        >>> module = BatchedFeatures(feature_config(features="asymmetry", compact=True)).cuda()
        >>> features, frames = module(samples, lengths)  # (B, F, 33), (B,)
    """

    def __init__(self, config: FeatureConfig) -> None:
        super().__init__()
        self.config = config
        self.hop = filterbank.hop(config.sample_rate, config.rate)
        self.set: nn.Module
        if isinstance(config, AsymmetryFeatures):
            self.set = CompactSet(config.asymmetry())
        elif isinstance(config, GammatoneFeatures):
            self.set = _Gammatone(config)
        else:
            self.set = _Mel(config, self.hop)

    @torch.no_grad()
    def forward(self, samples: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (B, F, D) and the frames of each recording (B,), on the device.

        Args:
            samples: (B, T) float32 at the set's sample rate; what is beyond a length is ignored.
            lengths: (B,) samples of each recording.

        Features beyond the frames of a recording are 0. F is as many frames as T samples have, so
        that the device need not be asked for the longest recording.
        """
        count = filterbank.frame_count(samples.shape[1], self.hop)
        inside = torch.arange(samples.shape[1], device=samples.device) < lengths[:, None]
        frames = torch.where(lengths > 0, ((lengths + self.hop // 2) // self.hop).clamp(min=1), 0)
        if not count or not len(samples):
            return samples.new_zeros(len(samples), count, len(self.config.columns())), frames
        with scan.full_precision(samples):
            x = self.set(torch.where(inside, samples, 0), frames, count)
            valid = (torch.arange(count, device=x.device) < frames[:, None])[..., None]
            if self.config.normalise == "utterance":
                x = _normalised(x, valid, frames)
            elif self.config.normalise == "running":
                rate = 1 - math.exp(-1 / (normalise.RUNNING_S * self.config.rate))
                x = scan_asymmetry.running_norm(x.transpose(1, 2), rate).transpose(1, 2)
        return torch.where(valid, x, 0), frames


def _normalised(x: Tensor, valid: Tensor, frames: Tensor) -> Tensor:
    """Make mean 0 and deviation 1 over the valid frames of x (B, F, D)."""
    total = frames.clamp(min=1)[:, None, None]
    x = x - torch.where(valid, x, 0).sum(1, keepdim=True) / total
    x = x - torch.where(valid, x, 0).sum(1, keepdim=True) / total  # what the first sum rounded
    square = torch.where(valid, x.square(), 0).sum(1, keepdim=True) / total
    return x / square.sqrt().clamp(min=normalise.LEAST)


class _Gammatone(nn.Module):
    """Level, frequency and phase of the channels: (B, T) -> (B, F, D)."""

    def __init__(self, config: GammatoneFeatures) -> None:
        super().__init__()
        self.config = config
        self.design = c = filterbank.design(config.bank())
        turn = torch.ones(len(c.pole)) if c.turn is None else torch.from_numpy(c.turn)
        self.register_buffer("pole", torch.from_numpy(c.pole), persistent=False)
        self.register_buffer("turn", turn.to(torch.complex64)[:, None], persistent=False)
        centre = torch.from_numpy(c.pole / abs(c.pole)).conj().to(torch.complex64)
        self.register_buffer("centre", centre.resolve_conj()[:, None], persistent=False)
        scale = torch.from_numpy(config.sample_rate / (2 * math.pi) / erb.erb(c.frequency))
        self.register_buffer("scale", scale.float()[:, None], persistent=False)

    def forward(self, x: Tensor, frames: Tensor, count: int) -> Tensor:
        c = self.design
        late = -(-c.latency // c.hop)
        x = nn.functional.pad(x, (late * c.hop, count * c.hop + c.latency - x.shape[1]))
        delay = None if c.delay is None else torch.from_numpy(c.delay)
        pole = self.get_buffer("pole")
        power, lag1, sample = scan.pooled_from_silence(x, pole, c.order, c.hop, delay)
        parts = []
        if "level" in self.config.tracks:
            quiet = filterbank.FLOOR_DB
            decibel = 10 * torch.log10(power.clamp(min=10 ** (quiet / 10 - 1)))
            parts.append(decibel.clamp(min=quiet))
        if "frequency" in self.config.tracks:
            relative = lag1 * self.get_buffer("centre")
            parts.append(torch.where(relative == 0, 1, relative).angle() * self.get_buffer("scale"))
        if "phase" in self.config.tracks:
            sample = sample * self.get_buffer("turn")
            cycles = torch.where(sample == 0, 1, sample).angle() / (2 * math.pi)
            parts.append(torch.where(cycles >= 0.5, cycles - 1, cycles))
        return torch.cat(parts, 1)[..., late:].transpose(1, 2)


class _Mel(nn.Module):
    """Log-mel spectrogram or MFCC: (B, T) -> (B, F, D)."""

    def __init__(self, config: FeatureConfig, hop: int) -> None:
        super().__init__()
        log_mel = mel.LogMel(config.sample_rate, hop, MEL_CHANNELS)
        self.before, self.width, self.hop = len(log_mel.start()), log_mel.width, hop
        self.spectrogram = log_mel.spectrogram
        self.mfcc = isinstance(config, MfccFeatures)
        basis = mel.cosines(CEPSTRA, MEL_CHANNELS)
        self.register_buffer("basis", basis, persistent=False)

    def forward(self, x: Tensor, frames: Tensor, count: int) -> Tensor:
        after = (count - 1) * self.hop + self.width - self.before - x.shape[1]
        x = nn.functional.pad(x, (self.before, after))
        decibel = mel.decibel(self.spectrogram(x)).transpose(1, 2)  # (B, F, M)
        if not self.mfcc:
            return decibel
        tracks = [decibel @ self.get_buffer("basis")]
        for _ in range(2):  # the slope, and the slope's slope
            around = clamped_frames(tracks[-1], frames, count, 2)
            tracks.append(slope(around.transpose(0, 1)).transpose(0, 1))
        return torch.cat(tracks, 2)
