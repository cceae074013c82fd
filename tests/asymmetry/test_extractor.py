"""The torch module and the lhotse extractor give what `features` gives."""

import numpy as np
import pytest
import torch
from helpers import tone

import speechasym
from speechasym.asymmetry.scales import Scale

RATE = 16000


def sound(samples=12000, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(samples) * np.linspace(0.01, 0.3, samples)).astype(np.float32)


@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("align", [False, True])
def test_module_is_features(compact, align):
    module = speechasym.Asymmetry(RATE, channels=12, compact=compact, align=align)
    x = torch.from_numpy(np.stack([sound(), sound(seed=1)]))
    y, state = module(x[:, :5000])
    rest, state = module(x[:, 5000:], state)
    whole = torch.cat([y, rest, module.flush(state)], -1).numpy()
    late = -(-module.design.latency // module.design.hop)
    assert whole.shape == (2, len(module.columns), 75)
    for row, own in zip(whole, x.numpy(), strict=True):
        want = speechasym.features(
            own, RATE, features="asymmetry", channels=12, compact=compact, align=align
        )
        if not align:
            np.testing.assert_array_equal(row.T, want)
        elif not compact:  # late by whole frames; the first is that of silence
            np.testing.assert_array_equal(row.T[late:], want[: 75 - late])


def test_shapes_levels_and_names():
    module = speechasym.Asymmetry(
        RATE, channels=4, kinds=("amplitude",), outputs=("rise", "fall"),
        scales=(Scale(10, 1, 0.1, 0.1), Scale(80, 4, 0.2, 0.2)),
    )  # fmt: skip
    y, _ = module(torch.zeros(3, 2, 1600))
    assert y.shape == (3, 2, 16, 10) and module.latency == 0
    assert module.columns[0] == "amplitude_rise1_00" and module.columns[-1] == "amplitude_fall2_03"
    y, state = module(sound(1600))
    assert y.shape == (16, 10)
    assert module.flush(state).shape == (1, 16, 0)
    empty, _ = module(torch.zeros(2, 0))
    assert empty.shape == (2, 16, 0)
    assert "columns=16" in repr(module)


def test_bad_signals():
    module = speechasym.Asymmetry(RATE, channels=4, compact=True)
    _, state = module(torch.zeros(2, 1600))
    for x, after, says in (
        (torch.zeros(1600, dtype=torch.int16), None, "floating-point"),
        (torch.tensor(1.0), None, "floating-point"),
        (torch.full((10,), torch.nan), None, "finite"),
        (torch.zeros(100, requires_grad=True), None, "gradient"),
        (torch.zeros(3, 1600), state, "of 2 recordings, x of 3"),
    ):
        with pytest.raises(speechasym.ConfigError, match=says):
            module(x, after)
    with pytest.raises(speechasym.ConfigError, match="strictly rising"):
        speechasym.Asymmetry(RATE, scales=(Scale(5, 2, 1, 1), Scale(10, 1, 2, 2)))


def test_lhotse_extractor_in_two_jobs(tmp_path):
    from lhotse import CutSet, NumpyFilesWriter, Recording, RecordingSet
    from lhotse.features.base import FeatureExtractor

    from speechasym.feature_extraction.lhotse import AsymmetryExtractor, AsymmetryExtractorConfig

    paths = [tone(tmp_path / f"{i}.wav", sound(9000 + 777 * i, i)) for i in range(4)]
    recordings = RecordingSet.from_recordings(Recording.from_file(path) for path in paths)
    cuts = CutSet.from_manifests(recordings=recordings)
    stored = cuts.compute_and_store_features(
        AsymmetryExtractor(), tmp_path / "feats", num_jobs=2, storage_type=NumpyFilesWriter
    )
    stored = stored.to_eager()
    assert len(stored) == 4
    for cut in stored:
        own = speechasym.features(
            cut.recording.sources[0].source, features="asymmetry", compact=True
        )
        np.testing.assert_array_equal(cut.load_features(), own)
        assert cut.num_frames == len(own) and cut.features.type == "speechasym-asymmetry"
        assert cut.num_features == own.shape[1]
    AsymmetryExtractor(AsymmetryExtractorConfig(channels=9)).to_yaml(tmp_path / "extractor.yml")
    again = FeatureExtractor.from_yaml(tmp_path / "extractor.yml")
    assert isinstance(again, AsymmetryExtractor) and again.config.channels == 9
    assert again.feature_dim(RATE) == 33 and again.frame_shift == 0.01
    with pytest.raises(speechasym.ConfigError, match=r"8000 Hz.*resample"):
        again.extract(sound(8000), 8000)
    with pytest.raises(speechasym.ConfigError, match="finite mono"):
        again.extract(np.full(100, np.nan), RATE)
