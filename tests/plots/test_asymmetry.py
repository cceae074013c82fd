"""Pictures of the levels: what their artists hold, on sounds that rise or fall; and the command."""

import matplotlib
import numpy as np
import pytest
from helpers import called, sine, tone
from matplotlib.figure import Figure
from matplotlib.image import imread

import speechasym
from speechasym.annotations.intervals import Interval
from speechasym.asymmetry import loops
from speechasym.asymmetry.tracks import SCALES
from speechasym.errors import ConfigError
from speechasym.feature_extraction.sets import feature_config
from speechasym.plots import asymmetry
from speechasym.plots.asymmetry import hysteresis_figure, scales_figure, summary_figure
from speechasym.plots.axes import FALL, RISE
from speechasym.plots.signal import Excerpt, from_audio, read_excerpt

RATE = 16000
TIERS = {"words": [Interval(0, 0.3, "tone"), Interval(0.3, 0.6, "")]}


def excerpt(x, title="x.wav") -> Excerpt:
    """Samples as a recording of which all is drawn."""
    return Excerpt(title, np.asarray(x, np.float32), 0, len(x), RATE, 0.0)


def ramped(seconds=0.6) -> np.ndarray:
    """A tone at 1 kHz that rises by 40 dB, 0.1 s after the beginning."""
    decibel = np.clip(np.arange(round(seconds * RATE)) / RATE - 0.1, 0, None) * 40 / seconds - 60
    return sine(seconds, RATE, 1000, 1.0) * 10 ** (decibel / 20)


def chirp(up: bool) -> np.ndarray:
    """A sweep between 800 and 1200 Hz in 0.6 s, after 0.2 s of silence."""
    time = np.arange(round(0.6 * RATE)) / RATE
    low, slope = (800, 400 / 0.6) if up else (1200, -400 / 0.6)
    sweep = 0.3 * np.sin(2 * np.pi * (low * time + slope * time**2 / 2))
    return np.concatenate([np.zeros(RATE // 5), sweep])


def images(figure) -> list:
    """The arrays of a `levels` figure: four scales each of amplitude, frequency, lead."""
    arrays = [axes.images[0].get_array().data for axes in figure.axes if axes.images]
    beside = len({axes.get_subplotspec().colspan.start for axes in figure.axes if axes.images}) > 1
    return [array for kind in range(3) for array in arrays[kind::3]] if beside else arrays


def channel_at(hertz: float) -> int:
    return int(np.abs(asymmetry.design(RATE).inner.frequency - hertz).argmin())


# --- scales --------------------------------------------------------------------------------------


def test_scales_of_a_rising_and_a_falling_tone():
    """Amplitude of the tone's channel is red while it rises, and blue played backwards."""
    at = channel_at(1000)
    backwards = np.concatenate([np.zeros(RATE // 5), ramped()[::-1]])
    for sign, x, frames in ((1, ramped(), slice(40, 55)), (-1, backwards, slice(53, 65))):
        arrays = images(scales_figure(excerpt(x), {}))
        for array in arrays[1:3]:
            assert (sign * array[at, frames] > 0.15).all()


def test_scales_of_chirps():
    """Frequency rises in a chirp up and falls in a chirp down, at all scales."""
    at = channel_at(1000)
    for sign, up in ((1, True), (-1, False)):
        arrays = images(scales_figure(excerpt(chirp(up)), {}))
        for array in arrays[4:8]:
            assert (sign * array[at, 60:70] > 0.2).all()


def test_scales_figure():
    """Twelve panels on one time axis and one scale, below the waveform and the tiers."""
    figure = scales_figure(excerpt(ramped(), "$a_b$.wav"), TIERS)
    panels = [axes for axes in figure.axes if axes.images]
    assert [array.shape for array in images(figure)] == [(64, 60)] * 8 + [(63, 60)] * 4
    assert {axes.images[0].get_clim() for axes in panels} == {(-1, 1)}
    assert {axes.get_xlim() for axes in panels} == {(0, 0.6)}
    names = [axes.get_title("left") for axes in panels]
    assert names[0] == "scale 1:  5 ms,  ±1.5 dB"  # row by row
    assert names[11] == "scale 4:  500 ms,  ±0.16 cycles"
    labels = [label.get_text() for axes in figure.axes for label in axes.get_yticklabels()]
    assert labels.count("words") == 3 and "rise\n1" in labels
    assert "$a_b$" in figure.get_suptitle()


def test_scales_of_a_long_recording_lie_under_one_another():
    figure = scales_figure(excerpt(np.zeros(9 * RATE)), {})  # and silent: all white
    panels = [axes for axes in figure.axes if axes.images]
    assert len({axes.get_position().x0 for axes in panels}) == 1 and len(panels) == 12
    assert all(np.abs(array).max() == 0 for array in images(figure))


def test_a_stretch_is_as_in_the_whole(tmp_path):
    """Whatever comes before an excerpt counts, so that it equals that part of the whole."""
    x = np.random.default_rng(1).normal(0, 0.05, 13 * RATE)
    x *= np.abs(np.sin(np.arange(len(x)) / 9000)) ** 3
    path = tone(tmp_path / "x.wav", x)
    whole, part = (read_excerpt(path, *times, "mean") for times in ((0, None), (11.203, 0.5)))
    assert (part.start, part.size) == (11.2, round(0.503 * RATE))
    frames = slice(1120, 1171)
    for a, b in zip(images(scales_figure(whole, {})), images(scales_figure(part, {})), strict=True):
        assert np.array_equal(a[:, frames], b)
    a, b = from_audio(whole).tracks, from_audio(part).tracks
    for track in ("level", "frequency", "phase"):
        assert np.array_equal(a[track][:, frames], b[track])
    assert np.array_equal(a["waveform"][part.run_in :][: part.size], b["waveform"])


def test_pictures_show_the_values_of_extraction():
    """With its alignment, frames and scales."""
    x = chirp(True).astype(np.float32)
    data = from_audio(excerpt(x))
    for track in ("level", "frequency", "phase"):
        want = speechasym.features(x, RATE, tracks=(track,))
        assert np.array_equal(data.tracks[track], want.T)
    want = speechasym.features(x, RATE, features="asymmetry", outputs=("asymmetry",))
    columns = feature_config(features="asymmetry", outputs=("asymmetry",)).columns()
    drawn = [c["track"] in loops.DRAWN_TRACKS for c in columns]
    assert np.array_equal(np.concatenate(images(scales_figure(excerpt(x), {}))), want[:, drawn].T)


def test_pictures_of_stationary_noise_are_white_at_the_start():
    x = np.random.default_rng(0).normal(0, 0.1, RATE)
    for array in images(scales_figure(excerpt(x), {})):
        assert np.abs(array[:, :10]).mean() < 0.02


# --- hysteresis ----------------------------------------------------------------------------------


def test_loop_draws_rise_and_fall():
    y = np.array([0.0, 3, 0, 3])
    p = loops.play(y, np.array([1.0]))[0]
    lines = asymmetry.loop(Figure().subplots(), y, p)
    ends = {tuple(map(tuple, segment)): tuple(colour) for segment, colour in zip(
        lines.get_segments(), lines.get_colors(), strict=True)}  # fmt: skip
    red, blue = (matplotlib.colors.to_rgba(c) for c in (RISE, FALL))
    assert ends == {((0, 0), (3, 2)): red, ((3, 2), (0, 1)): blue, ((0, 1), (3, 2)): red}
    lines = asymmetry.loop(Figure().subplots(), y, p, np.array([0, 3.0, 3, 3]))
    assert (lines.get_segments()[0] == [[-3, -3], [0, -1]]).all()


def test_hysteresis_figure_names_channel_and_areas():
    figure = hysteresis_figure(excerpt(ramped()), 1010)
    assert f"channel {channel_at(1010)}, 999 Hz" in figure.get_suptitle()
    assert len(figure.axes) == 12
    titles = [axes.get_title() for axes in figure.axes]
    assert "±12 dB\narea" in titles[3] and titles[3].endswith("dB²/s")
    assert titles[4].endswith("ERB²/s") and titles[11].endswith("cycles²/s")
    for hertz in (10, 30000, float("nan")):
        with pytest.raises(ConfigError, match=r"at: .* Hz is outside the filterbank, 50 to 7600"):
            hysteresis_figure(excerpt(ramped()), hertz)


# --- summary -------------------------------------------------------------------------------------


def test_summary_draws_rise_up_and_fall_down():
    figure = summary_figure(excerpt(chirp(True)))
    d = asymmetry.design(RATE)
    frames = loops.all_frames(chirp(True).astype(np.float32), d)
    for axes, track in zip(figure.axes, loops.DRAWN_TRACKS, strict=True):
        ends = [band.get_paths()[0].vertices[:, 1] for band in axes.collections]
        rise, fall = loops.work_rates(frames, d, track)
        assert [end.max() for end in ends[::2]] == pytest.approx(rise.max(1))
        assert [end.min() for end in ends[1::2]] == pytest.approx(-fall.max(1))
        assert len(axes.get_legend().get_texts()) == 4


# --- the command ---------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["levels", "hysteresis", "summary"])
def test_whole_figures_by_the_command(tmp_path, capsys, what):
    path, picture = tone(tmp_path / "x.wav", ramped()), tmp_path / "x.png"
    (tmp_path / "x.wrd").write_text("0 8000 tone\n")
    arguments = ["plot", path, "--out", picture, "--what", what, "--start=0.1", "--duration=0.3"]
    assert called(capsys, *arguments) == (0, f"{picture}\n", "")
    shape = imread(picture).shape
    assert shape[0] > 600 and shape[1] > 1800


@pytest.mark.parametrize(
    ("what", "samples", "rate"),
    [
        ("levels", np.full(1, 0.2), 44100),
        ("hysteresis", np.full(1, 0.2), 44100),
        ("hysteresis", np.zeros(3000), 16000),
        ("summary", np.zeros(3000), 16000),
    ],
)
def test_silence_and_one_sample(what, samples, rate):
    """Are drawn, and without a warning: pytest makes errors of these."""
    silence = Excerpt("x", samples.astype(np.float32), 0, len(samples), rate, 0)
    if what == "levels":
        figure = scales_figure(silence, TIERS)
    else:
        figure = summary_figure(silence) if what == "summary" else hysteresis_figure(silence, 999)
    figure.draw_without_rendering()
    drawn = [axes for axes in figure.axes if axes.images or axes.collections or axes.lines]
    assert len(drawn) >= len(loops.DRAWN_TRACKS)


def test_waveform_with_tiers(tmp_path, capsys):
    """They are values by name, can be given and turned off; the picture grows by a row for them."""
    path, picture = tone(tmp_path / "x.wav"), tmp_path / "x.png"
    (tmp_path / "x.PHN").write_text("0 1600 a\n1600 4800 b\n")
    heights = []
    for more in ([], ["--tiers", tmp_path / "x.PHN"], ["--tiers=none"]):
        arguments = ["plot", path, "--out", picture, "--what=waveform", *more]
        assert called(capsys, *arguments)[0] == 0
        heights.append(imread(picture).shape[0])
    assert heights[0] == heights[1] > heights[2]
    (tmp_path / "x.PHN").write_text("0 1600\n")
    code, _, err = called(capsys, "plot", path, "--out", picture, "--what=waveform")
    assert code == 2 and "x.PHN:1: '0 1600' is not `start end label`" in err
    assert called(capsys, "plot", path, "--out", picture, "--what=gammatone")[0] == 0


def test_the_figures_use_the_scales_of_extraction():
    assert asymmetry.design(RATE).config.scales == SCALES
    assert asymmetry.design(RATE).per_frame == 5 and asymmetry.design(RATE).hop == 160
