"""The rows: this filterbank in all variants, mel spectrograms, and other gammatone packages."""

from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from typing import Any

import numpy as np
import torch
import torchaudio
from measure import RATE, Row
from numpy.typing import NDArray
from scipy.signal import lfilter

from speechasym import features
from speechasym.auditory import erb, filterbank, gammatone
from speechasym.feature_extraction.sets import AsymmetryFeatures
from speechasym.ops import ref, scan

FEATURES = 6  # the first rows of `this_package`: features at their usual frame rates
CHANNELS, LOW, HIGH = 64, 50.0, 7600.0
MEL = "torchaudio MelSpectrogram 80"
MATMUL, COPY = "matmul, float32, 1024 x 1024", "copy, numpy, 256 MB"

# Counted in the inner loop of ops/cpu_gammatone.py, order 4, per sample and channel:
#   multiplications: input to re, im 2; undo the block's growth 2; power 2; lag 1 2       =  8
#   additions: four running sums of re, im 8; power 2; lag 1 4                            = 14
POOLED_FLOPS = 22.0
#   full rate: input 2 and sums 8 as above; the complex product 6
FULL_FLOPS = 16.0
# Bytes: 4 for the sample, read once for 16 channels; five float32 written per frame, then copied
# into the three outputs (read and written): 60 per frame. Full rate: one complex64 written.
POOLED_BYTES = 4 / 16 + 60 / 160
FULL_BYTES = 4 / 16 + 8
# Counted in ops/scan.py: a chunk of L = 32 samples is L x 8 and L x 64 times the signal and 8 x 64
# times the stages, 2 flops each; the scan over chunks 256 (1 + 1/16 + ...) per chunk; pooling 12.
SCAN_FLOPS = 2 * (8 + 64 + 8 * 64 / 32) + 256 * 16 / 15 / 32 + 12


def design(channels: int = CHANNELS, rate: float = 100.0) -> filterbank.Coefficients:
    """Return the design of the filterbank that all rows use."""
    return filterbank.design(
        filterbank.FilterbankConfig(
            sample_rate=RATE, channels=channels, low_hz=LOW, high_hz=HIGH, frame_rate=rate
        )
    )


def limits() -> list[Row]:
    """Return rows that measure one core: arithmetic and memory."""
    a = torch.from_numpy(np.random.default_rng(0).standard_normal((1024, 1024), np.float32))
    source, target = np.ones(1 << 25), np.zeros(1 << 25)
    return [
        Row(MATMUL, lambda: a @ a, 0, 9, work=2 * 1024**3),
        Row(COPY, lambda: np.copyto(target, source), 0, 9, work=2 * source.nbytes),
    ]


def by_blocks(x: NDArray[np.float32], **options: Any) -> None:
    """Compute asymmetry features of x (T,), and discard them."""
    for _ in AsymmetryFeatures(**options).frames([x]):
        pass


def this_package(x: NDArray[np.float32], brief: bool) -> list[Row]:
    """Return the rows of this package. x (T,)."""
    c, rows = design(), x[None]
    seconds = len(x) / RATE
    signal, pole = torch.from_numpy(rows), torch.from_numpy(c.pole)
    start = x[: RATE // 10 if brief else RATE]
    part = signal[:, : 5 * RATE]
    learnable = gammatone.Gammatone(
        RATE, channels=CHANNELS, low_hz=LOW, high_hz=HIGH, learnable=True
    )

    def no_grad() -> object:
        with torch.no_grad():
            return scan.gammatone_pooled(signal, pole, c.order, c.hop)

    def learn() -> None:
        learnable.zero_grad()
        frames, _ = learnable(part)
        learnable.level_db(frames).mean().backward()

    return [
        Row(
            "speechasym cpu, 1 thread", lambda: filterbank.pool(rows, c), seconds, 15,
            "power, lag 1 and sample at 100 Hz", flops=POOLED_FLOPS, moved=POOLED_BYTES,
        ),
        Row(
            "speechasym cpu, 2 threads", lambda: filterbank.pool(rows, c, None, 2), seconds, 15,
            "the same; percentages of two cores", flops=POOLED_FLOPS, moved=POOLED_BYTES, threads=2,
        ),
        Row(
            "speechasym.features, levels",
            lambda: features(x, RATE, channels=CHANNELS, low_hz=LOW, high_hz=HIGH), seconds, 15,
            "the public call: the same, then dB",
        ),
        Row(
            "asymmetry features, compact", lambda: by_blocks(x, compact=True), seconds, 15,
            "33 columns: the filterbank at 500 Hz, tracks, one hysteresis, cepstra; block by block,"
            " like the command",
        ),
        Row(
            "asymmetry features, tracks", lambda: by_blocks(x, outputs=("track",)), seconds, 9,
            "318 columns: the four tracks and coherence, no hysteresis",
        ),
        Row(
            "asymmetry features, full", lambda: by_blocks(x), seconds, 15,
            "2358 columns: tracks, and hysteresis of 4 scales on each",
        ),
        Row(
            "speechasym cpu, full rate", lambda: filterbank.channels(rows, c), seconds, 5,
            f"{CHANNELS} complex64 channels, {8 * CHANNELS * len(x) / 1e6:.0f} MB",
            flops=FULL_FLOPS, moved=FULL_BYTES,
        ),
        Row(
            "speechasym scan, no gradient", no_grad, seconds, 5,
            "torch, otherwise like the first row", flops=SCAN_FLOPS,
        ),
        Row(
            "speechasym scan, forward + backward", learn, part.shape[1] / RATE, 3,
            "learnable frequencies and bandwidths, mean level; measured on "
            f"{part.shape[1] / RATE:g} s",
        ),
        Row(
            "speechasym ref (plain Python)",
            lambda: ref.gammatone_pooled(start, c.pole, c.order, c.hop), len(start) / RATE, 1,
            f"float64, one loop; measured once on {len(start) / RATE:g} s",
        ),
    ]  # fmt: skip


def mel(x: NDArray[np.float32]) -> Iterator[Row]:
    """Yield the rows of the usual features: 25 ms windows every 10 ms, 80 bands."""
    seconds, signal = len(x) / RATE, torch.from_numpy(x)
    spectrogram = torchaudio.transforms.MelSpectrogram(
        RATE, n_fft=400, hop_length=160, n_mels=80, power=2.0
    )
    scaled = signal[None] * 32768
    yield Row(MEL, lambda: spectrogram(signal), seconds, 15, "n_fft 400, hop 160, power")
    yield Row(
        "torchaudio kaldi.fbank 80",
        lambda: torchaudio.compliance.kaldi.fbank(
            scaled, num_mel_bins=80, sample_frequency=RATE, dither=0.0
        ),
        seconds, 9, "FFT of 512, log",
    )  # fmt: skip

    def librosa_row() -> Row:
        melspectrogram = import_module("librosa.feature").melspectrogram
        return Row(
            "librosa melspectrogram 80",
            lambda: melspectrogram(y=x, sr=RATE, n_fft=400, hop_length=160, n_mels=80, power=2.0),
            seconds, 9, "n_fft 400, hop 160, power",
        )  # fmt: skip

    yield _try("librosa", librosa_row)


def others(x: NDArray[np.float32]) -> Iterable[Row]:
    """Return rows of 64 channels from 50 to 7600 Hz by other packages, at the full rate."""
    seconds, double = len(x) / RATE, x.astype(np.float64)
    c = design()

    def full() -> object:
        z = np.empty((CHANNELS, len(x)), complex)
        for i, pole in enumerate(c.pole):
            z[i] = cascade(double, pole, c.order)
        return z

    def pooled() -> object:
        return [pool(cascade(double, pole, c.order), c.hop) for pole in c.pole]

    def gammatone_row() -> Row:
        filters = import_module("gammatone.filters")
        coefficients = filters.make_erb_filters(RATE, c.frequency)
        return Row(
            "gammatone erb_filterbank",
            lambda: filters.erb_filterbank(double, coefficients), seconds, 5,
            "Slaney's real filters, float64: half of the complex output",
        )  # fmt: skip

    def pyfar_row() -> Row:
        pyfar = import_module("pyfar")
        bands = nearest_bands(pyfar)
        signal = pyfar.Signal(double, RATE)
        return Row(
            "pyfar GammatoneBands", lambda: bands.process(signal), seconds, 3,
            f"complex, float64; {bands.n_bands} bands {bands.resolution:.4g} ERB apart, the "
            f"number nearest to {CHANNELS}; cost scaled by {CHANNELS}/{bands.n_bands}",
            factor=CHANNELS / bands.n_bands,
        )  # fmt: skip

    def brian_row() -> Row:
        hears, brian = import_module("brian2hears"), import_module("brian2")
        brian.prefs.codegen.target = "numpy"
        filters = hears.Gammatone(hears.Sound(double, samplerate=RATE * brian.Hz), c.frequency)
        compiled = "compiled by Cython" if filters.use_cython else "numpy"
        return Row(
            "brian2hears Gammatone", filters.process, seconds, 3,
            f"Slaney's real filters, float64, {compiled}",
        )  # fmt: skip

    return [
        Row(
            "scipy lfilter cascade, full rate", full, seconds, 3,
            "4 complex one-pole filters per channel, float64",
        ),
        Row(
            "scipy lfilter cascade, pooled", pooled, seconds, 3,
            "the same, then power, lag 1 and sample, channel by channel",
        ),
        _try("gammatone", gammatone_row),
        _try("pyfar", pyfar_row),
        _try("brian2hears", brian_row),
    ]  # fmt: skip


def cascade(x: NDArray[np.float64], pole: complex, order: int) -> NDArray:
    """Filter x (T,) with one gammatone by scipy, independently of `speechasym.ops`: z (T,)."""
    z: NDArray = 2 * (1 - abs(pole)) ** order * x
    for _ in range(order):
        z = lfilter([1.0], [1.0, -pole], z)
    return z


def pool(z: NDArray, hop: int) -> tuple[NDArray, NDArray, NDArray]:
    """Return mean |z|^2, mean z(t) conj z(t-1) and last z of the whole frames of z (..., T)."""
    frames = z.shape[-1] // hop
    z = z[..., : frames * hop]
    before = np.concatenate([np.zeros_like(z[..., :1]), z[..., :-1]], -1)
    shape = (*z.shape[:-1], frames, hop)
    power = (z.real**2 + z.imag**2).reshape(shape).mean(-1)
    return power, (z * before.conj()).reshape(shape).mean(-1), z.reshape(shape)[..., -1]


def nearest_bands(pyfar: Any) -> Any:
    """Return pyfar's filterbank from 50 to 7600 Hz whose number of bands is nearest to 64."""
    cams = float(erb.hz_to_cam(HIGH) - erb.hz_to_cam(LOW))
    candidates = [  # it takes a resolution, not a number
        pyfar.dsp.filter.GammatoneBands([LOW, HIGH], resolution=cams / n, sampling_rate=RATE)
        for n in np.arange(CHANNELS - 2, CHANNELS + 1, 0.5)
    ]
    return min(candidates, key=lambda bands: abs(bands.n_bands - CHANNELS))


def _try(package: str, make: Callable[[], Row]) -> Row:
    """Return the row, or one with the reason why it cannot be measured."""
    try:
        return make()
    except ModuleNotFoundError as error:
        missing = error.name or package
        why = "" if missing.split(".")[0] == package else f": {package} needs {missing}"
        return Row(package, None, 0, 0, f"not installed (pip install {package}){why}")
    except Exception as error:  # of any kind, from a package too old for this Python
        return Row(package, None, 0, 0, f"does not work here: {type(error).__name__}: {error}")
