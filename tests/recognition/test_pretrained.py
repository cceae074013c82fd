"""The model that comes with the package: it opens, is small, and hears the recordings of data/."""

from pathlib import Path

import pytest
from helpers import called, run_python, tone

from speechasym.annotations.tiers import read_tiers
from speechasym.language import lexicon
from speechasym.recognition import pretrained
from speechasym.recognition.trained_model import open_run
from speechasym.training import checkpoints

ROOT = Path(__file__).parents[2]
DATA = ROOT / "data"


def test_it_is_small_and_tells_no_places():
    folder = pretrained.folder()
    assert (folder / checkpoints.MODEL).stat().st_size <= 2_000_000
    assert sum(path.stat().st_size for path in folder.iterdir()) < 8_000_000
    text = (folder / checkpoints.MODEL_META).read_text("utf-8")
    assert "/tmp" not in text and "/home" not in text
    assert list(open_run(folder).inventories) == ["phones", "letters", "words"]


def test_the_card_has_its_size():
    count = open_run(pretrained.folder()).parameters
    assert f"{count:,}".replace(",", " ") in (ROOT / "docs" / "model-card.md").read_text("utf-8")


def test_tiers_are_what_is_printed(tmp_path, capsys):
    path = DATA / "librivox-austen-0880.flac"
    code, out, _ = called(capsys, "transcribe", path, "--textgrid", tmp_path)
    assert code == 0
    tiers = read_tiers(tmp_path / f"{path.stem}.TextGrid")
    assert list(tiers) == ["phones", "letters", "words", "words by lexicon", "confidence"]
    labels = [interval.label for interval in tiers["words by lexicon"] if interval.label]
    assert f"words by lexicon: {' '.join(labels)}\n" in out
    assert labels and set(labels) <= set(lexicon.read_lexicon(pretrained.lexicon()))


def test_silence_has_no_words(tmp_path, capsys):
    import numpy as np

    path = tone(tmp_path / "silence.wav", np.zeros(16000), 16000)
    code, out, _ = called(capsys, "transcribe", path, "--textgrid", tmp_path)
    assert code == 0 and out.count("(no speech)") == 4


@pytest.mark.parametrize("level", ["phones", "letters", "words"])
def test_one_level_needs_no_language_model(tmp_path, capsys, level):
    path = DATA / "cards-001.wav"
    code, out, _ = called(capsys, "transcribe", path, "--level", level, "--textgrid", "none")
    assert code == 0 and len(out.splitlines()) == 2 and f"{level}:" in out


IMPORTED = """
import sys
from speechasym import Recogniser
from speechasym.levels.config import BlockConfig
from speechasym.levels.functions import FUNCTIONS
for function in FUNCTIONS:
    BlockConfig(function=function, width=8)
BlockConfig(function="attention", width=8, weights="rank")
Recogniser().transcribe("data/goforward.wav", heads=["phones"])
print([name for name in ("torch._dynamo", "sympy", "lhotse", "matplotlib") if name in sys.modules])
"""


def test_nothing_heavy_is_imported():
    # the meta device imports torch's compiler (1 s, 120 MB) for most arithmetic
    assert run_python("-c", IMPORTED, timeout=300).out == "[]\n"


def test_units_of_the_shipped_model_have_names():
    """Silence is one of them; they are from the cuts that it was trained on."""
    trained = open_run(pretrained.folder())
    units = [level.config.units for level in trained.model.levels]
    names = trained.unit_names
    assert [len(names[number].names) for number in range(len(units))] == units
    assert all("sil" in level.names for level in names.values())
