"""The test cuts of the toy run, for the tests of alignment."""

import pytest

from speechasym.corpora import manifests


@pytest.fixture(scope="module")
def cuts(toy):
    return list(manifests.read_cuts(toy / "test_cuts.jsonl.gz"))
