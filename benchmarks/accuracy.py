"""Accuracy of the fast implementations, against scipy in float64, pyfar and `gammatone`."""

from importlib import import_module

import numpy as np
import torch
from measure import RATE, table
from numpy.typing import NDArray
from rows import cascade, design, nearest_bands, pool

from speechasym.auditory import erb, filterbank
from speechasym.ops import cpu_gammatone, scan

Outputs = dict[str, NDArray]


def error_table(x: NDArray[np.float32]) -> str:
    """Return a table of relative L2 errors of each output over time: worst and median channel."""
    c = design()
    outputs = {"cpu (float32)": _cpu(x, c), "scan (float32)": _scan(x, c)}
    errors: dict[tuple[str, str], list[float]] = {}
    for i, pole in enumerate(c.pole):
        z = cascade(x.astype(np.float64), pole, c.order)
        reference = dict(zip(("power", "lag 1", "sample"), pool(z, c.hop), strict=True))
        reference["full rate"] = z
        for name, by_output in outputs.items():
            for output, value in reference.items():
                error = np.linalg.norm(by_output[output][i] - value) / np.linalg.norm(value)
                errors.setdefault((name, output), []).append(float(error))
    body = []
    for (name, output), row in errors.items():
        worst = int(np.argmax(row))
        values = f"{row[worst]:.1e}", f"{c.frequency[worst]:.0f}", f"{np.median(row):.1e}"
        body.append([name, output, *values])
    return table(["implementation", "output", "max", "at, Hz", "median"], body)


def _cpu(x: NDArray[np.float32], c: filterbank.Coefficients) -> Outputs:
    tracks, _ = filterbank.pool(x[None], c)
    z, _ = cpu_gammatone.gammatone(x[None], c.pole, c.order)
    return {"power": tracks.power[0], "lag 1": tracks.lag1[0], "sample": tracks.sample[0],
            "full rate": z[0]}  # fmt: skip


def _scan(x: NDArray[np.float32], c: filterbank.Coefficients) -> Outputs:
    with torch.no_grad():
        signal, pole = torch.from_numpy(x[None]), torch.from_numpy(c.pole)
        *tracks, _ = scan.gammatone_pooled(signal, pole, c.order, c.hop)
        z, _ = scan.gammatone(signal, pole, c.order)
    named = dict(zip(("power", "lag 1", "sample"), tracks, strict=True)) | {"full rate": z}
    return {name: value[0].numpy() for name, value in named.items()}


def against_pyfar(x: NDArray[np.float32]) -> str:
    """Return a sentence on the full-rate cpu channels against pyfar's, with pyfar's poles."""
    try:
        pyfar = import_module("pyfar")
    except Exception as error:
        return f"pyfar cannot be used here ({type(error).__name__})."
    bands = nearest_bands(pyfar)
    part = x[: 5 * RATE]
    real, imag = bands.process(pyfar.Signal(part.astype(np.float64), RATE))
    reference = real.time.squeeze() + 1j * imag.time.squeeze()
    z, _ = cpu_gammatone.gammatone(part[None], np.asarray(bands.coefficients), 4)
    off = np.linalg.norm(z[0] - reference, axis=1) / np.linalg.norm(reference, axis=1)
    return (
        f"Against pyfar, which implements the same filter (Hohmann 2002) with scipy's `sosfilt` in "
        f"float64, with its {len(reference)} poles: largest relative L2 error of `cpu`'s full-rate "
        f"channels {off.max():.1e}, median {np.median(off):.1e}."
    )


def responses(x: NDArray[np.float32]) -> str:
    """Return tables of magnitude responses against the `gammatone` package, near each centre."""
    try:
        filters = import_module("gammatone.filters")
    except Exception as error:
        return f"The `gammatone` package cannot be used here ({type(error).__name__}).\n"
    c = design()
    equal = filters.make_erb_filters(
        RATE, c.frequency, c.bandwidth / (1.019 * erb.erb(c.frequency))
    )
    hz = c.frequency[:, None] + np.linspace(-0.25, 0.25, 51) * erb.erb(c.frequency)[:, None]
    turn = np.exp(2j * np.pi * hz / RATE)
    real = (_response(c, turn) + _response(c, turn.conj()).conj()) / 2
    gain = np.abs(real[:, 25])
    rows = {
        "envelope, each with its own bandwidth": (
            _response(c, turn) / 2, filters.make_erb_filters(RATE, c.frequency)
        ),  # a real sine is half of a complex one
        "envelope, equal bandwidths": (_response(c, turn) / 2, equal),
        "real part, equal bandwidths": (real, equal),
        "real part, equal bandwidths and gain": (real / gain[:, None], equal),
    }  # fmt: skip
    body = []
    for name, (response, theirs) in rows.items():
        off = 20 * np.abs(np.log10(np.abs(response) / _slaney(theirs, turn))).max(1)
        bands = [off[(c.frequency >= a) & (c.frequency < b)] for a, b in zip(*EDGES, strict=True)]
        body.append([name, *(f"{band.max():.4f}" for band in bands), f"{np.median(off):.4f}"])
    names = [f"{a}-{b} Hz" for a, b in zip(*EDGES, strict=True)]
    z, _ = cpu_gammatone.gammatone(x[None], c.pole, c.order)
    reference = filters.erb_filterbank(x.astype(np.float64), equal)
    off = np.linalg.norm(z[0].real / gain[:, None] - reference, axis=1) / np.linalg.norm(
        reference, axis=1
    )
    return (
        table(["largest difference, dB", *names, "median channel"], body)
        + "\nThe real part of `cpu`'s full-rate channels of the sound against the package's output,"
        f" with equal bandwidths and gain: relative L2 error at most {off.max():.1e}.\n"
    )


EDGES = ((50, 200, 4000, 6500), (200, 4000, 6500, 7601))  # Hz


def _response(c: filterbank.Coefficients, at: NDArray) -> NDArray:
    """Return the complex gain of z at (C, K) points of the unit circle."""
    pole = c.pole[:, None]
    return 2 * (1 - np.abs(pole)) ** c.order / (1 - pole / at) ** c.order


def _slaney(coefficients: NDArray, at: NDArray) -> NDArray:
    """Return the package's gain (C, K), of A0, A11 ... A14, A2, B0, B1, B2, gain: (C, 10)."""
    a0, *a1, a2, b0, b1, b2, gain = (column[:, None] for column in coefficients.T)
    response = 1 / gain
    for middle in a1:
        response = response * (a0 + middle / at + a2 / at**2) / (b0 + b1 / at + b2 / at**2)
    return np.abs(response)
