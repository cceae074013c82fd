"""The compact asymmetry set of whole recordings, a batch at a time, in torch on any device.

`tracks` and `cepstra` have the definitions, and compute them chunk by chunk in numba. Here, too,
amplitude, frequency and coherence come from the filterbank at the inner rate.

Shapes: B recordings, T samples, C channels, F frames, H inner samples a frame, K static cepstra,
D columns.
"""

import math

import numpy as np
import torch
from torch import Tensor, nn

from speechasym.asymmetry import cepstra, tracks
from speechasym.asymmetry.tracks import AsymmetryConfig
from speechasym.errors import ConfigError
from speechasym.ops import scan, scan_asymmetry


class CompactSet(nn.Module):
    """The compact asymmetry set of a batch. Raises `ConfigError` for a config that is not compact.

    All constants move with the module to its device, so that a batch copies none of them there.
    """

    pole: Tensor

    def __init__(self, config: AsymmetryConfig) -> None:
        super().__init__()
        if not config.compact:
            problem = "all columns of all channels are computed on the CPU only"
            raise ConfigError("compact", problem, "Use compact=true")
        self.design = d = tracks.design(config)
        amplitude = d.width["amplitude"][:1], d.decay[:1]
        constants = {
            "pole": d.inner.pole, "centre": d.centre_cycles, "erb_per_cycle": d.erb_per_cycle,
            "mid_lead": d.mid_lead, "width": np.float32(amplitude[0]),
            "decay": np.float32(amplitude[1]), "basis": cepstra.basis(config.bank.channels, _MOST),
            "pair_basis": cepstra.basis(config.bank.channels - 1, _MOST),
        }  # fmt: skip
        if d.inner.turn is not None:
            constants["turn"] = np.complex64(d.inner.turn)
        for name, value in constants.items():
            self.register_buffer(name, torch.tensor(value), persistent=False)

    def forward(self, x: Tensor, frames: Tensor, count: int) -> Tensor:
        """Return the columns (B, F, D) of samples x (B, T), 0 beyond each recording's samples.

        Args:
            frames: (B,) frames of each recording; the last one stands for those beyond it.
            count: F, their greatest.
        """
        d = self.design
        late = d.late * d.hop
        x = nn.functional.pad(x, (late, count * d.hop + d.latency - x.shape[1]))
        delay = None if d.inner.delay is None else torch.from_numpy(d.inner.delay)
        power, lag1, sample = scan.pooled_from_silence(
            x, self.pole, d.inner.order, d.inner.hop, delay
        )
        lost = d.late * d.per_frame
        power, lag1, sample = power[..., lost:], lag1[..., lost:], sample[..., lost:]
        if d.inner.turn is not None:
            sample = sample * self.get_buffer("turn")[:, None]
        static = self._static(power, lag1, sample)  # (B, F, K)
        context = clamped_frames(static, frames, count, cepstra.LOOKAHEAD)
        parts = cepstra.with_slopes(context.transpose(0, 1), d.config.kinds)
        return torch.cat(list(parts), -1).transpose(0, 1)

    def _static(self, power: Tensor, lag1: Tensor, sample: Tensor) -> Tensor:
        """Filterbank at the inner rate (B, C, F H) -> the cepstra of each frame, (B, F, K)."""
        d, kinds = self.design, self.design.config.kinds
        h, rate = d.per_frame, d.sample_rate / d.hop
        mean = power.unflatten(-1, (-1, h)).mean(-1)  # (B, C, F)
        smooth, rise = (
            1 - math.exp(-1 / (seconds * rate)) for seconds in (tracks.SMOOTH_S, tracks.RISE_S)
        )
        noise = scan_asymmetry.noise_floor(
            mean.clamp(min=10 ** (tracks.QUIET_DB / 10 - 1)), smooth, rise,
            math.ceil(tracks.SETTLE_S * rate),
        )  # fmt: skip
        floor = (noise + tracks.MARGIN_DB).clamp(min=tracks.QUIET_DB)
        least = torch.exp2(floor * (math.log2(10) / 10)).repeat_interleave(h, -1)
        above = torch.maximum(power, least)
        weight = 1 - least / above
        root, parts = mean.pow(cepstra.ROOT), []

        def project(values: Tensor, count: int) -> None:
            basis = self.get_buffer("basis" if values.shape[1] == power.shape[1] else "pair_basis")
            parts.append(values.transpose(1, 2) @ basis[:, :count])

        with scan.full_precision(power):
            if "amplitude" in kinds:
                climb = (10 * torch.log10(above)).diff() * torch.maximum(
                    weight[..., 1:], weight[..., :-1]
                )
                width = self.get_buffer("width")
                up, down = scan_asymmetry.plays_pooled(
                    nn.functional.pad(climb, (1, 0)), width, self.get_buffer("decay"), h
                )
                project(root, cepstra.STATIC)
                project(((up - down) / (up + down + width))[..., 0, :], cepstra.ASYMMETRY)
            mean_weight = weight.unflatten(-1, (-1, h)).mean(-1)
            if "frequency" in kinds:
                turn = lag1.unflatten(-1, (-1, h)).mean(-1).angle() / (2 * math.pi)
                off = turn - self.get_buffer("centre")[:, None]
                off = (off - off.round()) * self.get_buffer("erb_per_cycle")[:, None]
                project(off * mean_weight * root, cepstra.DEVIATION)
            if "phase" in kinds:
                least_weight = torch.minimum(mean_weight[:, 1:], mean_weight[:, :-1])
                project(self._coherence(sample) * least_weight, cepstra.COHERENCE)
        return torch.cat(parts, -1)

    def _coherence(self, sample: Tensor) -> Tensor:
        """Return how far neighbours keep step, 1 to -1: (B, C, F H) -> (B, C - 1, F)."""
        z = sample.unflatten(-1, (-1, self.design.per_frame))
        lead = (z[:, 1:] * z[:, :-1].conj()).sum(-1) * self.get_buffer("mid_lead").conj()[:, None]
        size = torch.view_as_real(z).square().sum((-1, -2))
        return lead.real / (size[:, 1:] * size[:, :-1]).clamp(min=1e-30).sqrt()


_MOST = max(cepstra.STATIC, cepstra.ASYMMETRY, cepstra.DEVIATION, cepstra.COHERENCE)


def clamped_frames(x: Tensor, frames: Tensor, count: int, around: int) -> Tensor:
    """Return frames -around to count + around of x (B, F, K): (B, count + 2 around, K).

    The first frame of each row stands for those before it, its last of `frames` (B,) for those
    after it.
    """
    number = torch.arange(-around, count + around, device=x.device).clamp(min=0)
    number = torch.minimum(number, (frames - 1).clamp(min=0)[:, None])
    return x.gather(1, number[..., None].expand(-1, -1, x.shape[2]))
