"""Fixtures of the tests of recipes."""

import multiprocessing

import pytest

from recipes.compare import jobs


@pytest.fixture
def forked_jobs(monkeypatch):
    """Runs begin in processes that have imported everything, as those of the other tests."""
    context = multiprocessing.get_context("forkserver")
    monkeypatch.setattr(jobs, "get_context", lambda _: context)
