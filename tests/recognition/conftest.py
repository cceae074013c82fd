"""The toy run and its test cuts, for the tests of alignment."""

import pytest
from toy import toy

from speechasym.corpora import manifests
from speechasym.recognition.trained_model import open_run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return toy(tmp_path_factory)


@pytest.fixture(scope="module")
def trained(made):
    return open_run(made / "run")


@pytest.fixture(scope="module")
def cuts(made):
    return list(manifests.read_cuts(made / "test_cuts.jsonl.gz"))
