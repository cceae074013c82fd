"""The output of the toy run for some cuts, for the tests of plots."""

import pytest

from speechasym.plots.recognised import recognise


@pytest.fixture(scope="session")
def recordings(toy, trained):
    """The recording to draw, and the others."""
    return recognise(trained, toy / "test_cuts.jsonl.gz", "test-02", None, others=True)
