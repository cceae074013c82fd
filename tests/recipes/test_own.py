"""`recipes/own/run.sh` on a folder of noise, and what it says where it cannot run.

Evaluation, transcription and alignment have tests of their own; here they are asked for only.
"""

import numpy as np
import pytest
from helpers import ROOT, tone
from recipe_commands import Commands, config_of

from speechasym.language.lexicon import read_lexicon
from speechasym.recognition import pretrained
from speechasym.training import checkpoints

RUN = ROOT / "recipes" / "own" / "run.sh"
QUICK = ("epochs=1", "threads=1", "data.workers=0", "data.augment.speeds=[1.0]", "device=cpu",
         "precision=float32")  # fmt: skip


@pytest.fixture
def commands(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(6):
        path = tmp_path / "speech" / f"s{number % 2}" / f"take {number}.wav"
        tone(path, 0.1 * rng.standard_normal(16000), 16000)
        path.with_suffix(".txt").write_text(
            ("He had it.", "A xylograph")[number % 2] + " " * number
        )
    commands = Commands(tmp_path)
    commands.told = ("evaluate", "transcribe", "align")
    return commands


def test_starts_from_the_package(commands, tmp_path):
    found = commands.run(
        RUN, "speech", "out", *QUICK, PREPARE="--split-by recordings --shares 0.6,0.2,0.2"
    )
    assert found.returncode == 0, found.stderr
    assert [words[0] for words in commands.asked] == [
        "prepare", "lexicon", "evaluate", "train", "evaluate", "first_utterance", "transcribe",
        "align",
    ]  # fmt: skip
    run = tmp_path / "out" / "run"
    assert config_of(run)["start"] == "speechasym/recognition/pretrained"
    meta = checkpoints.load_model(run)[1]
    package = checkpoints.load_model(pretrained.FOLDER)[1]
    # all of it fits: also phones that nobody says here
    assert meta["inventories"]["phones"] == package["inventories"]["phones"]
    assert config_of(run)["model"]["levels"] == package["config"]["model"]["levels"]
    lexicon = read_lexicon(tmp_path / "out" / "lexicon.txt")
    assert lexicon.pronounce("XYLOGRAPH") and lexicon.pronounce("MOUNTAIN")
    assert (run / "lm.npz").is_file()


def test_what_it_needs(commands):
    found = commands.run(RUN, "nothing")
    assert found.returncode == 2 and "nothing does not exist" in found.stderr
    found = commands.run(RUN, "speech", "out", PREPARE="--shares 1,0,0")
    assert found.returncode == 2 and "no dev set" in found.stderr
