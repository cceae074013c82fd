"""Fixtures of the tests of training: a corpus of tones, and cuts of noise."""

import pytest
import tiny


@pytest.fixture(scope="session")
def words(tmp_path_factory):
    """The overrides that name the manifests of a corpus of 24 cuts."""
    return tiny.corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def few_words(tmp_path_factory):
    """The same of 12 cuts."""
    return tiny.corpus(tmp_path_factory.mktemp("few"), 12)


@pytest.fixture(scope="session")
def cuts(tmp_path_factory):
    return tiny.random_cuts(tmp_path_factory.mktemp("cuts"))
