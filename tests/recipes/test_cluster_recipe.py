"""The batch files of recipes/cluster, on this machine alone: SLURM's commands are stand-ins."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from helpers import ROOT, contents, environment, sine, tone

import speechasym

FAKES = {
    "srun": 'exec "$@"',
    "scontrol": "echo 127.0.0.1",
    "hostname": "echo 127.0.0.1",
    "speechasym": f'exec {sys.executable} -m speechasym "$@"',
}


@pytest.fixture
def unused_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def sbatch(tmp_path):
    """Run a batch file with arguments; return what it printed."""
    for name, line in FAKES.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)

    def run(file, port, *arguments):
        path = os.pathsep.join([str(tmp_path / "bin"), str(Path(sys.executable).parent)])
        variables = {"SLURM_NNODES": "1", "SLURM_GPUS_ON_NODE": "2", "SLURM_JOB_ID": "7"}
        variables |= {"SLURM_JOB_NODELIST": "a", "PORT": str(port)}
        done = subprocess.run(
            ["bash", ROOT / "recipes" / "cluster" / file, *map(str, arguments)], timeout=240,
            env=environment() | variables | {"PATH": f"{path}:{os.environ['PATH']}"}, cwd=tmp_path,
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_extraction(sbatch, tmp_path, unused_port):
    pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
    for n in range(3):
        tone(tmp_path / "in" / f"{n}.wav", sine(0.3 + 0.1 * n))
    printed = sbatch("extract.sbatch", unused_port, "in", "out", "--features", "mfcc")
    assert "3 recordings -> out" in printed
    speechasym.extract(tmp_path / "in", tmp_path / "one", features="mfcc")
    one, many = (contents(tmp_path / name) for name in ("one", "out"))
    assert one.keys() == many.keys()
    assert all(one[name] == many[name] for name in one if name.endswith(".npy"))


def test_training(sbatch, tmp_path, unused_port):
    words = tiny.corpus(tmp_path, 12)
    config = tmp_path / "run.yaml"
    config.write_text("threads: 1\nepochs: 1\nbatch_seconds: 3\nmodel: {preset: tiny}\n")
    printed = sbatch("train.sbatch", unused_port, config, "run", "device=cpu", *words)
    assert "finished" in printed
    assert (tmp_path / "run" / "model.safetensors").exists()
