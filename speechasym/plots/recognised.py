"""A recording with a model's output for it, as the plots of units and levels show it.

Shapes: T samples, F frames, D columns of the features, S steps of a level, K values per step.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from speechasym.annotations.intervals import Interval
from speechasym.annotations.tiers import tiers_beside
from speechasym.audio import sources
from speechasym.corpora import manifests
from speechasym.errors import ConfigError
from speechasym.levels.level import ModelOutput
from speechasym.plots.axes import set_title
from speechasym.plots.signal import waveform
from speechasym.plots.tiers import arrange, mark_boundaries, tiers
from speechasym.recognition import transcription
from speechasym.recognition.trained_model import TrainedModel
from speechasym.training import cut_features, labels

if TYPE_CHECKING:
    from lhotse.cut import Cut

LONGEST_S = 20.0  # used of a recording
MOST_OTHERS_S = 300.0  # used of the cuts beside the one that is drawn


class RecognisedRecording(NamedTuple):
    """A recording, its features, the model's output, and its tiers."""

    title: str
    samples: NDArray[np.float32]  # (T,)
    sample_rate: int
    features: NDArray[np.float32]  # (F, D)
    frame_rate: float
    output: ModelOutput  # of a batch of one
    reference: dict[str, list[Interval]]  # annotated tiers, words first
    recognised: dict[str, list[Interval]]  # by head

    @property
    def seconds(self) -> float:
        """Duration of the recording in s."""
        return len(self.samples) / self.sample_rate

    def step_frames(self, number: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the first frame under each step (S,) of a level, and the one after its last."""
        level = self.output.levels[number]
        mask = level.mask[0]
        return level.start[0][mask].numpy(), level.end[0][mask].numpy()

    def step_values(self, number: int) -> NDArray[np.float64]:
        """Return a level's unit activations (S, K); of a level without units, what it passes on."""
        level = self.output.levels[number]
        values = level.y if level.activation is None else level.activation
        return values[0][level.mask[0]].numpy().astype(np.float64)

    def rates(self, number: int) -> str:
        """Return a level's steps and events per second in words."""
        level = self.output.levels[number]
        steps = f"{int(level.mask.sum()) / self.seconds:.0f} steps/s"
        if level.events is None:
            return steps
        return f"{steps}, {int(level.passed.mask.sum()) / self.seconds:.0f} events/s"


def recognise(
    trained: TrainedModel, cuts: str | Path | None, cut: str | None,
    recording: str | Path | None, *, others: bool,
) -> tuple[RecognisedRecording, list[RecognisedRecording]]:  # fmt: skip
    """Run a model on the recording, or the cut, to draw, and on other cuts if `others` is set.

    Raises `ConfigError` for an unknown cut, `AudioError` for audio that cannot be read.
    """
    if cuts is None and recording is None:
        raise ConfigError("cuts", "there is nothing to recognise", "Give --cuts or --recording")
    if recording is not None and cut is not None:
        raise ConfigError("cut", "cannot be combined with a recording", "Give one of the two")
    drawn = None if recording is None else _from_file(trained, Path(recording))
    available = [] if cuts is None else list(manifests.read_cuts(Path(cuts)))
    if drawn is None:
        index = next((n for n, c in enumerate(available) if cut in (None, c.id)), None)
        if index is None:
            problem = f"{cut!r} is not one of the {len(available)} cuts in {cuts}"
            raise ConfigError("cut", problem, f"Use one of them, such as {available[0].id}")
        drawn = _from_cut(trained, available.pop(index))
    rest, seconds = [], 0.0
    for other in available if others else ():
        seconds += other.duration
        if seconds > MOST_OTHERS_S:
            break
        rest.append(_from_cut(trained, other))
    return drawn, rest


def _from_file(trained: TrainedModel, path: Path) -> RecognisedRecording:
    config = trained.config.data.features
    x, rate = sources.load(path, config.sample_rate, config.channel)
    part = x[: round(LONGEST_S * rate)]
    title = path.name + (f", its first {LONGEST_S:g} s" if len(part) < len(x) else "")
    return _recognised(trained, title, part, rate, trained.features(part), tiers_beside(path))


def _from_cut(trained: TrainedModel, cut: "Cut") -> RecognisedRecording:
    task = cut_features.FeatureTask(cut, trained.config.data.features)
    audio: Any = cut.load_audio()
    timed = {f"{kind}s": labels.aligned(cut, kind) for kind in ("word", "phone")}
    reference = {tier: intervals for tier, intervals in timed.items() if intervals}
    rate, features = int(cut.sampling_rate), cut_features.features_of(task)
    return _recognised(trained, cut.id, audio.mean(0), rate, features, reference)


def _recognised(
    trained: TrainedModel, title: str, x: NDArray[np.float32], rate: int,
    features: NDArray[np.float32], reference: dict[str, list[Interval]],
) -> RecognisedRecording:  # fmt: skip
    output = trained.output(features)
    heads = [head for head in ("words", "letters", "phones") if head in trained.inventories]
    symbols = transcription.recognised(trained, output, len(x) / rate, heads)
    frame_rate = trained.config.data.features.rate
    return RecognisedRecording(title, x, rate, features, frame_rate, output, reference, symbols)


def stacked_panels(
    recording: RecognisedRecording, heights: Sequence[float], title: str
) -> tuple[Figure, list[Axes]]:
    """Return a figure with waveform and tiers, and the axes of more panels of these heights."""
    annotation = {"said": recording.reference, "recognised": recording.recognised}
    width = min(22.0, max(9.0, 3.2 * recording.seconds))
    inches = width - 2.0  # of the axes, at least
    arranged = {
        name: arrange(rows, 0.0, recording.seconds, inches)
        for name, rows in annotation.items()
        if rows
    }
    sizes = [0.55, *(sum(row.height for row in rows) for rows in arranged.values())]
    sizes += [1.25 * height for height in heights]
    figure = Figure(figsize=(width, 0.9 + sum(sizes)), layout="constrained")
    grid: Any = figure.subplots(len(sizes), 1, sharex=True, height_ratios=sizes, squeeze=False)
    panels = list(grid[:, 0])
    waveform(panels[0], recording.samples, recording.sample_rate)
    panels[0].set_ylabel("")
    panels[0].set_yticks([])
    rest = panels[1 + len(arranged) :]
    mark_boundaries([panels[0], *rest], next(iter(arranged.values()), []), inches)
    for axes, (name, rows) in zip(panels[1:], arranged.items(), strict=False):
        tiers(axes, rows, 0.0, recording.seconds)
        # upright: beside a single tier a turned label would cover its neighbour
        axes.set_ylabel(name, fontsize="small", rotation=0, ha="right", va="center")
    panels[-1].set_xlabel("time (s)")
    panels[-1].set_xlim(0, recording.seconds)
    set_title(figure, title)
    return figure, rest
