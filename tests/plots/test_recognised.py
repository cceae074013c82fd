"""Recordings with a model's output."""

import numpy as np
import torch
from helpers import tone
from toy import RATE, utterance

from speechasym.plots.recognised import recognise


def test_recognised_cuts(recordings):
    drawn, others = recordings
    assert drawn.title == "test-02" and len(others) == 6
    assert "test-02" not in [recording.title for recording in others]
    assert list(drawn.reference) == ["words", "phones"]
    phones = [i.label for i in drawn.reference["phones"]]
    assert phones == [i.label for i in drawn.recognised["phones"]]


def test_recordings(toy, trained, tmp_path):
    """A recording beside its TextGrid; only the beginning of a long one is drawn."""
    x, said, _ = utterance(["am", "mass"])
    path = tone(tmp_path / "x.wav", x, RATE)
    (tmp_path / "x.WRD").write_text(
        "".join(f"{round(a * RATE)} {round(b * RATE)} {w}\n" for a, b, w in said)
    )
    drawn, others = recognise(trained, None, None, path, others=True)
    assert [i.label for i in drawn.reference["words"]] == ["am", "mass"] and others == []
    with_cuts = recognise(trained, toy / "dev_cuts.jsonl.gz", None, path, others=True)
    assert with_cuts[0].title == "x.wav" and len(with_cuts[1]) == 6
    long = tone(tmp_path / "y.wav", np.tile(x, 20), RATE)
    drawn, _ = recognise(trained, None, None, long, others=False)
    assert drawn.seconds == 20 and "first 20 s" in drawn.title


def test_no_figure_needs_a_gradient(trained, recordings):
    assert not any(
        part.requires_grad
        for level in recordings[0].output.levels
        for part in (level.y, level.activation)
        if isinstance(part, torch.Tensor)
    )
    assert trained.model.training is False
