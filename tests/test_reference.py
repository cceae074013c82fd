"""Every public name has an example in its docstring, and the examples give what they show."""

import doctest
import inspect
import json
import os
import shutil
import sys
import zipfile
from hashlib import sha256

import example_files
import librosa
import numpy as np
import pytest
import torch

import speechasym
from speechasym.corpora import espeak
from speechasym.recognition import pretrained

# half a minute of processor time: only `make docs` runs them
SLOW = ("align", "export_onnx", "write_recording_report")
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
ITEMS = """\
#file onset offset #phone prev-phone next-phone speaker
speech 0.41 0.47 aa w z reader
speech 0.62 0.87 aa n t reader
speech 0.47 0.55 z aa n reader
speech 2.01 2.06 z ow d reader
speech 0.55 0.62 n z aa reader
speech 1.20 1.29 n ah ih reader
speech 2.65 2.78 n ae sil reader
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, toy):
    """The files that the examples use."""
    root = example_files.make(tmp_path_factory.mktemp("reference"))
    for name in ("broken.TextGrid", "broken.arpa", "broken.item", "broken.txt"):
        (root / name).write_text("HELLO\n")
    words = {"he": "HH IY1", "was": "W AH0 Z", "not": "N AA1 T", "man": "M AE1 N", "an": "AE1 N",
             "young": "Y AH1 NG", "ill": "IH1 L"}  # fmt: skip
    (root / "cmudict.txt").write_text("".join(f"{w.upper()}  {p}\n" for w, p in words.items()))
    (root / "books.txt").write_text("he was not a young man.\nhe was not ill, an ill man he was.\n")
    speechasym.estimate_lm(root / "books.txt", root / "lm.arpa", order=2)
    speechasym.prepare("folder", root / "recordings", root / "prepared")
    (root / "phones.item").write_text(ITEMS)
    shutil.copytree(toy / "run", root / "run")
    shutil.copy(toy / "run.yaml", root / "run.yaml")
    (root / "corpus").symlink_to(toy)
    causal = ["steps=2", "model.every.block.causal=true", "data.features.normalise=running"]
    speechasym.train(root / "run.yaml", root / "runs/live", overrides=causal, show_progress=False)
    with zipfile.ZipFile(root / "speechasym-small.zip", "w") as archive:
        files = {path.name: path for path in sorted((root / "run").glob("*.*"))}
        sums = {name: sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
        archive.writestr(f"small/{pretrained.SUMS}", json.dumps(sums))
        for name, path in files.items():
            archive.write(path, f"small/{name}")
    return root


@pytest.fixture
def names(folder, monkeypatch, tmp_path):
    """What the examples know; a session in the folder, in which no model is installed."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SPEECHASYM_MODELS", str(tmp_path))
    x, rate = speechasym.load("speech.wav", 16000)
    return {
        "speechasym": speechasym, "np": np, "torch": torch, "nn": torch.nn, "librosa": librosa,
        "x": x, "rate": rate,
    }  # fmt: skip


def run(docstring: str, names: dict[str, object]) -> str:
    """Run the examples of a docstring; return what doctest says of those that fail."""
    test = doctest.DocTestParser().get_doctest(docstring, names, "example", None, 0)
    assert test.examples, "no example"
    said = []
    doctest.DocTestRunner(optionflags=FLAGS).run(test, out=said.append)
    return "".join(said)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("name", speechasym.__all__)
def test_example(name, names, monkeypatch):
    if name in SLOW and not os.environ.get("SLOW_EXAMPLES"):
        pytest.skip("set SLOW_EXAMPLES to run this")
    if name == "SynthesisError":  # as if its library was missing
        monkeypatch.setitem(sys.modules, "espeakng_loader", None)
        monkeypatch.setattr(espeak, "engine", espeak.engine.__wrapped__)
    if name == "export_onnx":
        names["onnxruntime"] = pytest.importorskip("onnxruntime")
    said = run(inspect.getdoc(getattr(speechasym, name)), names)
    assert not said, said


def test_an_example_that_is_wrong_is_found(names):
    assert "Expected:\n    3\nGot:\n    2" in run(">>> 1 + 1\n3\n", names)
    with pytest.raises(AssertionError, match="no example"):
        run("Words.", names)
