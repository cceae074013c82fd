"""What levels hold of the features: read-out, prediction, spectra, and the figure."""

import numpy as np
import pytest
from helpers import sine

import speechasym
from speechasym.feature_extraction.sets import feature_config
from speechasym.plots import levels
from speechasym.plots.spectra import spectrum_of, units_of_columns


def test_read_out_of_a_linear_map():
    rng = np.random.default_rng(4)
    x, weight = rng.normal(size=(60, 5)), rng.uniform(0.5, 2, 60)
    y = x @ rng.normal(size=(5, 7)) + rng.normal(size=7)
    read = levels.fit_read_out(x, y, weight, ridge=1e-9)
    np.testing.assert_allclose(read(x), y, atol=1e-5)
    assert levels.explained(y, read(x)) == pytest.approx(1)
    # weighted least squares: a row of weight 2 counts as two rows
    noisy = y + rng.normal(size=y.shape)
    twice = np.ones(60)
    twice[:20] = 2
    one = levels.fit_read_out(x, noisy, twice, 0.0)
    two = levels.fit_read_out(
        np.concatenate([x, x[:20]]), np.concatenate([noisy, noisy[:20]]), np.ones(80), 0.0
    )
    np.testing.assert_allclose(one(x), two(x), atol=1e-8)
    mean = np.repeat(y.mean(0, keepdims=True), 60, 0)
    assert levels.explained(y, mean) == pytest.approx(0)
    nan = np.where(np.arange(60)[:, None] < 5, np.nan, y)
    assert levels.explained(y, nan) == pytest.approx(1)


def test_pooled():
    rows = np.arange(12.0).reshape(6, 2)
    result = levels.pooled(rows, np.array([0, 3]), np.array([3, 4]))
    np.testing.assert_allclose(result, [rows[:3].mean(0), rows[3]])


def test_predicted_is_what_the_level_misses(trained, recordings):
    """The level's steps error is that of this prediction, before the scale is taken back."""
    drawn, _ = recordings
    steps = levels.pooled(drawn.features, *drawn.step_frames(0))
    scale = np.sqrt(np.mean(steps**2, axis=1, keepdims=True))
    error = np.mean(((steps - levels.predicted(trained, drawn)) / scale) ** 2, axis=1)
    result = drawn.output.levels[0].error[0][drawn.output.levels[0].mask[0]]
    np.testing.assert_allclose(error, result.detach().numpy(), rtol=2e-3, atol=1e-4)


def test_levels_figure(trained, recordings):
    drawn, others = recordings
    figure = levels.levels_figure(trained, drawn, others)
    panels = [a for a in figure.axes if a.images]
    titles = [a.get_title("left") for a in panels]
    assert titles[0] == "features: gammatone, 16 columns" and len(panels) == 4
    assert "predicted by its units" in titles[1] and "residual" in titles[2]
    assert "fitted to 6 other cuts" in titles[3]
    assert {a.get_ylabel() for a in panels} == {"Hz"}
    assert "1000" in [t.get_text() for t in panels[1].get_yticklabels()]
    parts = [a.images[0].get_array() for a in panels]
    level = speechasym.features(drawn.samples, drawn.sample_rate, features="gammatone", channels=16)
    low, high = panels[0].images[0].get_clim()
    np.testing.assert_allclose(parts[0], np.clip(level, low, high).T, atol=1e-3)  # dB again
    np.testing.assert_allclose(parts[0] - parts[1], parts[2], atol=1e-5)
    alone = levels.levels_figure(trained, drawn, [])
    assert "this recording itself" in [a for a in alone.axes if a.images][3].get_title("left")


@pytest.mark.parametrize(
    "options",
    [
        {"features": "asymmetry", "compact": True},
        {"features": "asymmetry"},
        {"features": "gammatone"},
        {"features": "logmel"},
        {"features": "mfcc"},
    ],
)
@pytest.mark.parametrize("normalise", ["none", "utterance"])
def test_spectra_of_features(recordings, options, normalise):
    """A tone of 1 kHz, silent at first, is at its frequency, and as loud as it is."""
    config = feature_config(**options, normalise=normalise)
    x = np.concatenate([np.zeros(8000), sine(0.5, 16000, 1000, 1.0)]).astype(np.float32)
    rows = np.concatenate(list(config.frames([x])))
    drawn = recordings[0]._replace(samples=x, sample_rate=16000, features=rows)
    factor, offset = units_of_columns(config, drawn)
    spectrum = spectrum_of(config)
    decibel = spectrum.decibel((rows * factor + offset)[:, spectrum.columns])
    assert decibel.shape == (len(rows), len(spectrum.centre_hz))
    smooth = options["features"] == "mfcc" or "compact" in options  # few cepstra
    peak = spectrum.centre_hz[decibel[75].argmax()]
    assert peak == pytest.approx(1000, rel=0.25 if smooth else 0.06)
    if options["features"] in ("gammatone", "asymmetry"):
        assert decibel[75].max() == pytest.approx(-6 if smooth else 0, abs=6 if smooth else 1)
    assert decibel[20].max() < decibel[75].max() - 30


def test_features_without_a_spectrum():
    assert spectrum_of(feature_config(features="gammatone", tracks=("frequency",))) is None
    kinds = {"features": "asymmetry", "compact": True, "kinds": ("phase",)}
    assert spectrum_of(feature_config(**kinds)) is None
