"""What the page records is read while it is heard: as a stream, or its last seconds again."""

import time

import numpy as np
import pytest
import toy
from helpers import ROOT

import speechasym
from speechasym.explorer.microphone import Live
from speechasym.explorer.models import models_for
from speechasym.recognition.recogniser import Recogniser
from speechasym.recognition.trained_model import open_run

RUN = ROOT / "tests" / "fixtures" / "run-0.1" / "run"


def heard(live, x):
    """Send samples, 200 ms at a time; return the last units and text that come back."""
    units, text = [], ""
    for i in range(0, len(x), 3200):
        answer = live.add(x[i : i + 3200].astype("<f4").tobytes())
        units, text = answer["units"] or units, answer["text"] or text
    end = time.monotonic() + 30
    while not (units and text) and time.monotonic() < end:
        time.sleep(0.02)
        answer = live.add(b"")
        assert answer["error"] == ""
        units, text = answer["units"] or units, answer["text"] or text
    return units, text


@pytest.mark.parametrize("streams", [True, False])
def test_levels_and_text_come_back(tmp_path, streams):
    x, *_ = toy.utterance(["mass", "am", "mass"])
    x = np.concatenate([x, np.zeros(24000)]) if streams else x
    (model, *_) = models_for(RUN)
    run = open_run(RUN)
    model._recogniser = Recogniser(toy.causal(run) if streams else run)
    live = Live(16000, tmp_path / "a.wav", model)
    units, text = heard(live, x)
    assert [unit["level"] for unit in units] == [0, 1]
    assert all(unit["rows"] == 8 and unit["columns"] > 0 for unit in units)
    assert text.replace(" ", "").isalpha()
    live.close()
    kept, rate = speechasym.load(tmp_path / "a.wav")
    assert rate == 16000 and np.abs(kept - x).max() < 1e-4
