"""What each level of a run still holds of the features, over one recording.

Shapes: F frames, S steps of a level, D columns of the features, N steps of several recordings,
K values per step.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from speechasym.plots.axes import SIGNED, colour_bar, row_image
from speechasym.plots.recognised import RecognisedRecording, stacked_panels
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
    """
    y, levels = recording.features, range(len(recording.output.levels))
    predicts = recording.output.levels[0].activation is not None
    name = trained.folder.resolve().name
    heights = [1.0] * (1 + predicts + len(levels))
    figure, rest = stacked_panels(recording, heights, f"Levels of {name}: {recording.title}")
    panels = iter(rest)
    low, high = (float(v) for v in np.quantile(y, [0.01, 0.99]))

    def panel(
        values: NDArray, title: str, limits: tuple[float, float] = (low, high), cmap: str = "magma"
    ) -> None:
        axes = next(panels)
        image = row_image(axes, values, recording.frame_rate, limits, cmap)
        axes.set_title(title, fontsize="small", loc="left", pad=3)
        axes.set_ylabel("column", fontsize="small")
        colour_bar(axes, image)

    kind = trained.config.data.features.features
    panel(y, f"features: {kind}, {y.shape[1]} columns")
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
        panel(values, f"level {number}, {rates}, {how}: {share} % of the variance explained")
        if by_units:
            reach = float(np.nanquantile(np.abs(y - values), 0.99)) or 1.0
            title = "residual of level 0: features minus prediction"
            panel(y - values, title, (-reach, reach), SIGNED)
    return figure
