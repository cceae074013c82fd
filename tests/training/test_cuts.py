"""Cuts: recordings that cannot be read are named."""

import numpy as np
import pytest
import soundfile as sf
import tiny
from helpers import tone

from speechasym.errors import AudioError
from speechasym.training import dataset, streaming


def load(words, *more, heads=("phones",), **options):
    config = tiny.config(words, *more).data
    return dataset.load(config, config.train, heads, show_progress=False, **options)


def read_all(words):
    data = load(words)
    return list(streaming.in_order(data, 3, data.workers))


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_recording_that_cannot_be_read_names_its_cut(tmp_path, workers, stored):
    texts = {f"s-{n}": "a bee sea as" for n in range(5)}
    path = tiny.manifest(tmp_path / "m.jsonl", texts)
    sf.write(tmp_path / "audio" / "s-3.wav", np.zeros(0), 16000)
    words = [f"data.train={path}", "data.dev=x", f"data.workers={workers}"]
    words += [f"data.cache={tmp_path / 'store'}"] * stored
    with pytest.raises(AudioError, match="cut s-3"):
        read_all(words)
    (tmp_path / "audio" / "s-3.wav").unlink()
    with pytest.raises(AudioError, match=r"cut s-3: .*s-3\.wav does not exist"):
        read_all(words)
    (tmp_path / "audio" / "s-3.wav").write_text("no audio")
    with pytest.raises(AudioError, match=r"s-3\.wav is not an audio file"):
        read_all(words)
    tone(tmp_path / "audio" / "s-3.wav", np.zeros(80))
    with pytest.raises(AudioError, match=r"s-3\.wav has 80 samples at 16000 Hz, but its manifest"):
        read_all(words)
