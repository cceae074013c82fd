"""Kernels run wherever the package can be imported, with or without a folder to keep them in."""

import os

import numpy as np
import pytest
from helpers import environment, run_python

from speechasym.ops import compiling

# No folder at all, as in a read-only installation whose user has no home; also for root
NO_FOLDER = """
import numba.core.caching as caching
for kind in vars(caching).values():
    if isinstance(kind, type) and issubclass(kind, caching.CacheImpl):
        kind._locator_classes = []
"""
KERNELS = """
import numpy as np, speechasym
from speechasym.language import letter_to_sound
from speechasym.ops import cpu_abx, cpu_asymmetry, cpu_hysteresis, cpu_ngrams, cpu_search
from speechasym.cli.doctor import _cache
x = np.random.default_rng(0).normal(0, 0.1, 4000).astype(np.float32)
print(speechasym.features(x, 16000).sum())
print("remedy:", _cache().remedy)
"""


def test_kernels_without_a_folder_give_the_same():
    with_folder = run_python("-c", KERNELS, timeout=300).out
    without = run_python("-c", NO_FOLDER + KERNELS, timeout=300).out
    assert without.splitlines()[0] == with_folder.splitlines()[0]
    assert "remedy: Set NUMBA_CACHE_DIR" in without
    assert with_folder.endswith("remedy: \n")


def test_the_folder_that_is_asked_for_is_used(tmp_path):
    code = "from speechasym.cli.doctor import _cache; print(*_cache(), sep='|')"
    env = environment() | {"NUMBA_CACHE_DIR": str(tmp_path / "kernels")}
    assert str(tmp_path / "kernels") in run_python("-c", code, env=env).out.split("|")[1]
    (tmp_path / "file").touch()
    env["NUMBA_CACHE_DIR"] = str(tmp_path / "file" / "kernels")
    _, result, remedy = run_python("-c", code, env=env).out.split("|")
    assert "is not writable" in result and "NUMBA_CACHE_DIR" in remedy


def double(x):
    return 2 * x


@pytest.mark.parametrize("fault", [PermissionError(13, "denied"), OSError(28, "disk full")])
def test_a_folder_that_fails_later_costs_only_time(monkeypatch, fault):
    def fail(*args):
        raise fault

    for name in ("load", "save"):
        monkeypatch.setattr(compiling.numba.core.caching.IndexDataCacheFile, name, fail)
    np.testing.assert_array_equal(compiling.njit()(double)(np.arange(3)), [0, 2, 4])


def test_damaged_files_are_compiled_again():
    kernel = compiling.njit()(double)
    assert kernel(3) == 6
    folder = compiling._cache(double).cache_path
    files = [name for name in os.listdir(folder) if name.startswith("test_compiling.double")]
    assert files
    for name in files:
        with open(os.path.join(folder, name), "r+b") as file:
            file.truncate(3)
    assert compiling.njit()(double)(3) == 6


def test_a_change_of_shared_sources_compiles_kernels_again(monkeypatch):
    compiling.njit()(double)(3)
    same = compiling.njit()(double)
    assert same(3) == 6 and same.stats.cache_hits
    monkeypatch.setattr(compiling, "_shared", lambda: "another")
    changed = compiling.njit()(double)
    assert changed(3) == 6 and not changed.stats.cache_hits
