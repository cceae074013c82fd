"""Pictures of feature files: every set that `extract` writes."""

import numpy as np
import pytest
from helpers import called, sine, tone
from matplotlib.image import imread
from torchaudio.functional import melscale_fbanks

import speechasym
from speechasym.annotations.intervals import Interval
from speechasym.feature_extraction.mel_scale import LOW_HZ, band_centres
from speechasym.feature_extraction.sets import feature_config
from speechasym.plots import features

RATE = 16000
SETS = {
    "asymmetry": {"features": "asymmetry"},
    "compact": {"features": "asymmetry", "compact": True},
    "mfcc": {"features": "mfcc"},
    "logmel": {"features": "logmel"},
    "normalised": {"features": "gammatone", "normalise": "utterance"},
}


@pytest.fixture(scope="module")
def extracted(tmp_path_factory):
    """{set: feature file} of 1 s: silence, then a tone of 1 kHz from 0.5 s."""
    folder = tmp_path_factory.mktemp("features")
    x = np.concatenate([np.zeros(RATE // 2), sine(0.5, RATE, 1000, 0.5)])
    tone(folder / "x.wav", x, RATE)
    (folder / "x.PHN").write_text(f"0 {RATE // 2} h#\n{RATE // 2} {RATE} beep\n")
    for name, options in SETS.items():
        speechasym.extract(folder / "x.wav", folder / name, **options)
    return {name: folder / name / "x.npy" for name in SETS}


@pytest.mark.parametrize("name", SETS)
def test_every_feature_set_is_drawn(extracted, tmp_path, capsys, name):
    picture = tmp_path / "x.png"
    tiers = ["--tiers", extracted[name].parents[1] / "x.PHN"]
    some = ["--what=amplitude,lead_stop,coherence"] if name == "asymmetry" else []  # of 37: faster
    assert called(capsys, "plot", extracted[name], "--out", picture, *tiers, *some)[0] == 0
    assert imread(picture).std() > 0.05
    code, _, err = called(capsys, "plot", extracted[name], "--out", picture, "--what=colour")
    first = features.column_groups(feature_config(**SETS[name]).columns())[0].name
    assert code == 2 and f"x.npy: has no columns colour; it has {first}" in err


@pytest.mark.parametrize("kind", ["csv", "parquet", "hdf5", "praat"])
def test_tables_are_drawn_as_npy(extracted, tmp_path, capsys, kind):
    for package in {"parquet": ["pyarrow"], "hdf5": ["h5py"]}.get(kind, []):
        pytest.importorskip(package)
    recording = extracted["mfcc"].parents[1] / "x.wav"
    speechasym.extract(recording, tmp_path / "out", format=kind, features="mfcc")
    (path,) = (tmp_path / "out").glob("x.*")
    want = features.read_features(extracted["mfcc"], 0.2, 0.5)
    data = features.read_features(path, 0.2, 0.5)
    assert data[2:] == want[2:] and data.title.startswith(path.name)
    np.testing.assert_allclose(data.values, want.values, rtol=1e-5, atol=1e-4)
    assert called(capsys, "plot", path, "--out", tmp_path / "x.png", "--what=mfcc")[0] == 0


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        ("compact", {"power": 9, "slope": 6, "curve": 5, "asymmetry1": 3, "deviation": 5,
                     "coherence": 5}),
        ("mfcc", {"mfcc": 13, "delta": 13, "delta2": 13}),
        ("logmel", {"logmel": 80}),
    ],
)  # fmt: skip
def test_columns_are_grouped_by_name(extracted, name, groups):
    data = features.read_features(extracted[name], 0.0, None)
    selected = features.select_groups(extracted[name], None, data.config)
    assert {group.name: len(group.columns) for group in selected} == groups
    figure = features.features_figure(data, selected, {})
    panels = [a for a in figure.axes if a.images]
    assert [a.get_title("left").split(":")[0] for a in panels] == list(groups)
    joined = np.concatenate([data.values[:, group.part] for group in selected], 1)
    np.testing.assert_array_equal(joined, np.load(extracted[name]))
    if name != "logmel":  # each coefficient as deviations from its own mean
        for axes, group in zip(panels, selected, strict=True):
            drawn = axes.images[0].get_array()
            np.testing.assert_allclose(drawn.mean(1), 0, atol=1e-4)
            assert axes.get_ylabel() == "coefficient" and len(drawn) == len(group.columns)


def test_all_columns_of_asymmetry_stand_by_track(extracted):
    data = features.read_features(extracted["asymmetry"], 0.0, None)
    assert len(features.select_groups(extracted["asymmetry"], None, data.config)) == 37
    names = ["amplitude", "lead_asymmetry", "coherence"]
    groups = features.select_groups(extracted["asymmetry"], names, data.config)
    scales = [f"lead_asymmetry{n}" for n in (1, 2, 3, 4)]
    assert [group.name for group in groups] == ["amplitude", *scales, "coherence"]
    assert groups[1].centre_hz.shape == (63,)


def test_the_tone_is_at_its_frequency_and_time(extracted):
    """On the axes of log-mel: 1 kHz, from 0.5 s; a stretch keeps its times."""
    data = features.read_features(extracted["logmel"], 0.25, 0.5)
    assert (data.start, data.duration) == (0.25, 0.5)
    groups = features.select_groups(extracted["logmel"], None, data.config)
    figure = features.features_figure(data, groups, {"x": [Interval(0.5, 1.0, "beep")]})
    axes = next(a for a in figure.axes if a.images)
    image = axes.images[0]
    row, column = np.unravel_index(image.get_array().argmax(), image.get_array().shape)
    ticks = dict(
        zip([t.get_text() for t in axes.get_yticklabels()], axes.get_yticks(), strict=True)
    )
    assert row == pytest.approx(ticks["1000"], abs=0.51)
    assert 0.25 + column / 100 >= 0.48
    assert image.get_extent()[:2] == pytest.approx([0.25, 0.75]) and axes.get_xlim() == (0.25, 0.75)
    assert image.norm.vmax - image.norm.vmin == 60
    assert [t.get_text() for a in figure.axes for t in a.texts] == ["beep"]


def test_levels_that_were_normalised_are_not_called_decibels(extracted):
    data = features.read_features(extracted["normalised"], 0.0, None)
    figure = features.features_figure(
        data, features.select_groups(extracted["normalised"], ["gammatone"], data.config), {}
    )
    assert "standard\ndeviations" in [a.get_ylabel() for a in figure.axes]


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_centres_of_mel_bands(rate):
    """Each is the peak of a triangle of torchaudio's filterbank."""
    hertz = np.linspace(0, rate / 2, 40001)
    bank = melscale_fbanks(len(hertz), LOW_HZ, rate / 2, 80, rate, "slaney", "slaney").numpy()
    np.testing.assert_allclose(band_centres(80, rate), hertz[bank.argmax(0)], atol=rate / 80000)
