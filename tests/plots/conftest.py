"""A trained toy run, and its output for some cuts, for the tests of plots."""

import pytest
from toy import toy

from speechasym.plots.recognised import recognise
from speechasym.recognition.trained_model import open_run


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory):
    return toy(tmp_path_factory)


@pytest.fixture(scope="session")
def trained(toy_folder):
    return open_run(toy_folder / "run")


@pytest.fixture(scope="session")
def recordings(toy_folder, trained):
    """The recording to draw, and the others."""
    return recognise(trained, toy_folder / "test_cuts.jsonl.gz", "test-02", None, others=True)
