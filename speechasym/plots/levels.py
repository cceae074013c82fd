"""What each level of a run still holds of the features, over one recording.

Shapes: F frames, S steps of a level, D columns of the features, N steps of several recordings,
K values per step.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from speechasym.plots.axes import SIGNED, channel_image, colour_bar, row_image
from speechasym.plots.features import column_groups
from speechasym.plots.recognised import RecognisedRecording, stacked_panels
from speechasym.plots.signal import level_limits
from speechasym.plots.spectra import spectrum_of, units_of_columns
from speechasym.recognition.trained_model import TrainedModel
from speechasym.training.unit_names import held

RIDGE = 1e-2  # of the read-out, as a share of the mean variance of its inputs


def fit_read_out(
    x: NDArray, y: NDArray, weight: NDArray, ridge: float = RIDGE
) -> Callable[[NDArray], NDArray[np.float64]]:
    """Fit y (N, D) linearly from x (N, K), each row weighted by (N,), by ridge regression.

    Returns:
        the map from x (any number, K) to features.
    """
    share = (weight / weight.sum())[:, None]
    mean, offset = (share * x).sum(0), (share * y).sum(0)
    x, y = x - mean, y - offset
    moments = x.T @ (share * x)
    scale = float(np.trace(moments)) / len(moments) or 1.0
    moments[np.diag_indices_from(moments)] += ridge * scale
    matrix = np.linalg.solve(moments, x.T @ (share * y))
    return lambda values: (values - mean) @ matrix + offset


def pooled(features: NDArray, start: NDArray, end: NDArray) -> NDArray[np.float64]:
    """Average features (F, D) over the frames of each step -> (S, D)."""
    sums = np.concatenate([np.zeros((1, features.shape[1])), features.cumsum(0, dtype=np.float64)])
    return (sums[end] - sums[start]) / np.maximum(end - start, 1)[:, None]


def predicted(trained: TrainedModel, recording: RecognisedRecording) -> NDArray[np.float64]:
    """Return the features (S, D) that the units of level 0 predict, in the features' own scale.

    A level predicts its input scaled to a mean square of 1 at each step; that is undone here.
    """
    level: Any = trained.model.get_submodule("levels.0")
    steps = pooled(recording.features, *recording.step_frames(0))
    with torch.no_grad():
        x = level.units.predict(torch.from_numpy(recording.step_values(0)).float())
    return x.numpy() * np.sqrt(np.mean(steps**2, axis=1, keepdims=True))


def read_out(
    fitted_to: Sequence[RecognisedRecording], recording: RecognisedRecording, number: int
) -> NDArray[np.float64]:
    """Read the features (S, D) linearly from a level, by a map fitted to recordings."""
    parts = [(r.step_values(number), *r.step_frames(number), r.features) for r in fitted_to]
    read = fit_read_out(
        np.concatenate([x for x, _, _, _ in parts]),
        np.concatenate([pooled(features, a, b) for _, a, b, features in parts]),
        np.concatenate([np.maximum(b - a, 0.0) for _, a, b, _ in parts]),
    )
    return read(recording.step_values(number))


def explained(y: NDArray, estimate: NDArray) -> float:
    """Return the share of y's variance (F, D) about its column means; NaN frames are left out."""
    good = np.isfinite(estimate).all(1)
    rest = np.square(y[good] - estimate[good]).sum()
    return 1 - float(rest / max(1e-12, np.square(y[good] - y[good].mean(0)).sum()))


def levels_figure(
    trained: TrainedModel, recording: RecognisedRecording, others: Sequence[RecognisedRecording]
) -> Figure:
    """Return what each level still holds of the features, level by level, below the features.

    Of level 0 with units: what they predict, and the residual. Of other levels: a linear read-out
    of the features, fitted to other recordings (or, without any, to this one), held over steps.
    Features with a spectrum are drawn as that, in dB over Hz; others by their groups of columns.
    """
    y, levels = recording.features, range(len(recording.output.levels))
    predicts = recording.output.levels[0].activation is not None
    name, kind = trained.folder.resolve().name, trained.feature_config.features
    heights = [1.0] * (1 + predicts + len(levels))
    figure, rest = stacked_panels(recording, heights, f"Levels of {name}: {recording.title}")
    panels = iter(rest)
    picture, draw = _picture(trained, recording)
    drawn = picture(y)

    def panel(values: NDArray, title: str, residual: bool = False) -> None:
        axes = next(panels)
        draw(axes, values, residual)
        axes.set_title(title, fontsize="small", loc="left", pad=3)

    spectrum = spectrum_of(trained.feature_config)
    partly = spectrum is not None and len(range(y.shape[1])[spectrum.columns]) < y.shape[1]
    about = f"; drawn: {spectrum.about}" if spectrum and partly else ""
    panel(drawn, f"features: {kind}, {y.shape[1]} columns{about}")
    fit = f"fitted to {len(others)} other cuts" if others else "fitted to this recording itself"
    for number in levels:
        if by_units := predicts and number == 0:
            how, steps = "predicted by its units", predicted(trained, recording)
        else:
            how = f"read out linearly, {fit}"
            steps = read_out(others or [recording], recording, number)
        values = held(steps, *recording.step_frames(number), len(y))
        share = round(100 * explained(y, values))  # an integer has no -0
        rates = recording.rates(number)
        panel(
            picture(values),
            f"level {number}, {rates}, {how}: {share} % of the variance of all columns explained",
        )
        if by_units:
            title = "residual of level 0: features minus prediction"
            panel(drawn - picture(values), title, residual=True)
    return figure


def _picture(
    trained: TrainedModel, recording: RecognisedRecording
) -> tuple[Callable[[NDArray], NDArray], Callable[[Axes, NDArray, bool], None]]:
    """Return a function from features (F, D) to what is drawn, (F, K), and one that draws it."""
    y, rate = recording.features, recording.frame_rate
    spectrum = spectrum_of(trained.feature_config)
    unit, ticks, low, high = "", [], *(float(v) for v in np.quantile(y, [0.01, 0.99]))
    if spectrum is not None:
        factor, offset = units_of_columns(trained.feature_config, recording)

        def decibel(values: NDArray) -> NDArray:
            return spectrum.decibel((values * factor + offset)[:, spectrum.columns])

        (low, high), unit = level_limits(decibel(y)), "dB"
    else:
        ticks = column_groups(trained.feature_config.columns())

    def picture(values: NDArray) -> NDArray:
        return values if spectrum is None else np.clip(decibel(values), low, high)

    def draw(axes: Axes, values: NDArray, residual: bool) -> None:
        limits, cmap = (low, high), "magma"
        if residual:
            reach = float(np.nanquantile(np.abs(values), 0.99)) or 1.0
            limits, cmap = (-reach, reach), SIGNED
        axes.set_facecolor("0.85")  # where a level has no step
        if spectrum is not None:
            options: dict[str, Any] = {"cmap": cmap, "vmin": limits[0], "vmax": limits[1]}
            image = channel_image(axes, values.T, spectrum.centre_hz, rate, **options)
            axes.set_ylabel("Hz", fontsize="small")
        else:
            image = row_image(axes, values, rate, limits, cmap)
            middles = [group.first + len(group.columns) / 2 - 0.5 for group in ticks]
            axes.set_yticks(middles, [group.name for group in ticks])
            for group in ticks[1:]:
                axes.axhline(group.first - 0.5, color="white", linewidth=0.6)
        axes.tick_params(axis="y", labelsize="x-small" if len(ticks) < 12 else 4)
        colour_bar(axes, image, unit)

    return picture, draw
