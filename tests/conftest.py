"""Settings of all tests, and which of them to skip."""

import multiprocessing
import os
from multiprocessing.context import BaseContext

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read by torch: threads only wait on small tensors
# One server forks the processes of all tests. What it has not imported when the first of them
# starts, each imports by itself, for seconds. torch._inductor: for deterministic algorithms.
PRELOAD = [
    "distributed", "lhotse", "pytest", "soxr", "torch._inductor", "torchaudio",
    "speechasym.ops.preloaded", "speechasym.training.loop", "recipes.claims.learning.costs",
    "recipes.compare.jobs",
]  # fmt: skip
multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOAD)
BaseContext.set_forkserver_preload = lambda *_: None
# It forks dask's workers, too; those of commands are spawned as usual, see helpers.environment
os.environ.setdefault("DASK_DISTRIBUTED__WORKER__MULTIPROCESSING_METHOD", "forkserver")
CORPORA = ("TIMIT_ROOT", "LIBRISPEECH_ROOT", "NOISE_ROOT")


def pytest_runtest_setup(item):
    if mark := item.get_closest_marker("corpus"):
        # mark.corpus("TIMIT_ROOT") needs that one, mark.corpus any of them
        if missing := [name for name in mark.args if not os.environ.get(name)]:
            pytest.skip(f"set {', '.join(missing)} to the corpus to run this")
        if not mark.args and not any(map(os.environ.get, CORPORA)):
            pytest.skip(f"set one of {', '.join(CORPORA)} to a corpus to run this")
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")


@pytest.fixture(scope="session")
def toy(tmp_path_factory):
    """A corpus of tones, and a run that has learned most of it."""
    from toy import make

    return make(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="session")
def trained(toy):
    """The model of that run."""
    from speechasym.recognition.trained_model import open_run

    return open_run(toy / "run")
