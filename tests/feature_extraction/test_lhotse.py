"""The lhotse extractor gives what `features` gives."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from asymmetry_signals import RATE, swell
from helpers import tone
from lhotse import CutSet, NumpyFilesWriter, Recording, RecordingSet
from lhotse.features.base import FeatureExtractor

import speechasym
from speechasym.feature_extraction.lhotse import AsymmetryExtractor, AsymmetryExtractorConfig


def test_lhotse_extractor_in_two_jobs(tmp_path):
    paths = [tone(tmp_path / f"{i}.wav", swell(9000 + 777 * i, i)) for i in range(4)]
    recordings = RecordingSet.from_recordings(Recording.from_file(path) for path in paths)
    cuts = CutSet.from_manifests(recordings=recordings)
    with ProcessPoolExecutor(2, multiprocessing.get_context("forkserver")) as executor:
        stored = cuts.compute_and_store_features(
            AsymmetryExtractor(), tmp_path / "feats", num_jobs=2, storage_type=NumpyFilesWriter,
            executor=executor,
        ).to_eager()  # fmt: skip
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
        again.extract(swell(8000), 8000)
    with pytest.raises(speechasym.ConfigError, match=r"^samples: sample 0 is nan"):
        again.extract(np.full(100, np.nan), RATE)
