"""The filterbank's kernel for CUDA: equal to its definition, and compiled for a device not here."""

import numpy as np
import pytest
import torch
from helpers import run_python

from speechasym.auditory.filterbank import FilterbankConfig, design
from speechasym.ops import scan

triton = pytest.importorskip("triton", reason="torch for CPUs comes without triton")

INTERPRETED = """
import os
os.environ["TRITON_INTERPRET"] = "1"
import numpy as np, torch
from speechasym.auditory.filterbank import FilterbankConfig, design
from speechasym.ops import ref, triton_gammatone
pole = design(FilterbankConfig(sample_rate=16000, channels=35)).pole  # more than one block
x = 0.1 * np.random.default_rng(0).standard_normal((2, 38)).astype(np.float32)
got = triton_gammatone.gammatone_pooled(torch.from_numpy(x), torch.from_numpy(pole), 9)
for row, number in zip(x, range(2)):
    want = ref.gammatone_pooled(row.astype(float), pole, 4, 9)[:3]
    for a, b in zip(got, want):
        assert a.shape == (2, 35, 4)
        np.testing.assert_allclose(a[number], b, atol=2e-7)
empty = triton_gammatone.gammatone_pooled(torch.zeros(2, 8), torch.from_numpy(pole), 9)
assert empty[0].shape == (2, 35, 0)
print("equal")
"""


def test_the_kernel_equals_its_definition():
    assert "equal" in run_python("-c", INTERPRETED).out


def test_the_kernel_compiles_for_a_gpu_that_is_not_here():
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from speechasym.ops import triton_gammatone

    kernel = triton_gammatone._kernel
    types = {
        name: "*fp32" if name.endswith("_at") else "constexpr" if name.isupper() else "i32"
        for name in kernel.arg_names
    }
    source = ASTSource(fn=kernel, signature=types, constexprs={"HOP": 32, "BLOCK": 32})
    made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 1})
    assert len(made.asm["cubin"]) > 1000 and "fma.rn.f32" in made.asm["ptx"]


def test_without_cuda_the_scan_is_used(monkeypatch):
    c = design(FilterbankConfig(sample_rate=16000, channels=5))
    x, pole = torch.randn(2, 330), torch.from_numpy(c.pole)
    got = scan.pooled_from_silence(x, pole, 4, 32)
    for a, b in zip(got, scan.gammatone_pooled(x, pole, 4, 32), strict=False):
        assert torch.equal(a, b)


@pytest.mark.gpu
@pytest.mark.parametrize("channels", [1, 35, 64])
def test_the_kernel_on_cuda_equals_the_scan(channels):
    c = design(FilterbankConfig(sample_rate=16000, channels=channels))
    x = torch.from_numpy(np.float32(0.1) * np.random.default_rng(0).standard_normal((3, 16001)))
    x, pole = x.float().cuda(), torch.from_numpy(c.pole).cuda()
    assert scan._kernel_works(x.device)
    got = scan.pooled_from_silence(x, pole, 4, 32)
    for a, b in zip(got, scan.gammatone_pooled(x, pole, 4, 32), strict=False):
        torch.testing.assert_close(a, b, atol=2e-6, rtol=1e-4)


def test_a_kernel_that_cannot_run_is_not_used(caplog):
    assert not scan._kernel_works(torch.device("cpu"))  # triton has no driver here
    assert "kernel is not used on cpu" in caplog.text
