"""Models by name."""

import hashlib
import json
import zipfile

import pytest

from speechasym.cli.main import main
from speechasym.errors import CheckpointError, ConfigError
from speechasym.recognition import pretrained
from speechasym.recognition.installed import folder_of, install_model, installed, run_folder
from speechasym.recognition.recogniser import Recogniser


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SPEECHASYM_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def packed(path, name="some", content="x", top=None, **extra):
    sums = json.dumps({"a.txt": hashlib.sha256(b"x").hexdigest()})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}/{pretrained.SUMS}", sums)
        archive.writestr(f"{top or name}/a.txt", content)
        for key, value in extra.items():
            archive.writestr(key, value)
    return path


def test_install_and_find(tmp_path, folder, monkeypatch):
    assert list(installed()) == ["tiny"] and folder_of("tiny") == pretrained.FOLDER
    file = packed(tmp_path / "a.zip")
    assert install_model(file) == folder / "some" == folder_of("some") == run_folder("some")
    assert list(installed()) == ["tiny", "some"]
    assert sorted(path.name for path in folder.iterdir()) == ["some"]
    with pytest.raises(ConfigError, match=r"is installed already.*--overwrite"):
        install_model(file)
    assert install_model(file, overwrite=True) == folder / "some"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some").mkdir()
    assert run_folder("some").resolve() == tmp_path / "some"  # a path takes precedence
    (folder / "some" / "a.txt").write_text("y")
    with pytest.raises(CheckpointError, match=r"a\.txt.*has been changed"):
        folder_of("some")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"content": "y"}, "has been changed"),
        ({"name": "Some"}, "not the file of a model"),
        ({"name": ".."}, "not the file of a model"),
        ({"top": "other"}, "not the file of a model"),
        ({"b.txt": "z"}, "not the file of a model"),
        ({"name": "tiny"}, "comes with the package"),
    ],
)
def test_files_that_are_not_models(tmp_path, folder, arguments, says):
    with pytest.raises((CheckpointError, ConfigError), match=says):
        install_model(packed(tmp_path / "a.zip", **arguments))
    assert list(installed()) == ["tiny"]
    assert not folder.exists() or not list(folder.iterdir())  # nothing is left


def test_damaged_files(tmp_path, folder):
    (tmp_path / "a.zip").write_text("text")
    with pytest.raises(CheckpointError, match=r"a\.zip.*damaged, or not a zip file.*ship_model"):
        install_model(tmp_path / "a.zip")
    with pytest.raises(CheckpointError, match=r"none\.zip.*cannot be read"):
        install_model(tmp_path / "none.zip")


def test_command(folder, capsys):
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    assert (
        "tiny" in out and "phones, letters, words" in out and str(folder) in out.replace("\n", "")
    )
    assert main(["models", "nowhere"]) == 2
    assert "nowhere: is not a folder" in capsys.readouterr().err


def test_size_and_run(folder):
    with pytest.raises(ConfigError, match="a run is given too"):
        Recogniser("some", size="tiny")
    with pytest.raises(ConfigError, match="'large' is not installed; installed: tiny"):
        Recogniser(size="large")
    with pytest.raises(CheckpointError, match=r"large: .*; installed: tiny\. .* models --install"):
        Recogniser("large")
