"""Where the processes of a run meet, and how they make sure that they belong together.

Each process publishes facts: its configuration, its code, its data. The first one compares them,
and all end with the same error if they differ, before anything is computed.
"""

import json
import os
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch.distributed.constants import default_pg_timeout
from torch.distributed.distributed_c10d import PrefixStore, Store

from speechasym import files
from speechasym.cluster import versions
from speechasym.config import leaves, to_dict
from speechasym.errors import ConfigError, SpeechAsymError, TrainingError
from speechasym.training import checkpoints
from speechasym.training.config import TrainConfig

Facts = Mapping[str, Any]  # JSON values; "configuration learning.parts", "version of torch"
OWN = ("threads", "device", "data.cache", "data.workers")  # settings that may differ
SAME = "Start all processes with the same configuration, version and data"
READ_SECONDS = 5.0  # for which the first process leaves the verdict to be read


def facts_of(config: TrainConfig) -> dict[str, Any]:
    """Return what must be the same in all processes of a run.

    Raises `ConfigError` for a manifest that cannot be read.
    """
    settings = {k: v for k, v in leaves(to_dict(config)) if k not in OWN}
    data = {"data.train": config.data.train, "data.dev": config.data.dev}
    if config.teacher.run is not None:
        data["teacher.run"] = str(Path(config.teacher.run) / checkpoints.MODEL)
    return {
        **{f"configuration {key}": value for key, value in settings.items()},
        **{f"version of {name}": value for name, value in versions().items()},
        **{f"sha256 of {key}": files.sha256(Path(path)) for key, path in data.items()},
    }


def open_store(rank: int, size: int, timeout_s: float) -> Store:
    """Open the store at MASTER_ADDR and MASTER_PORT, which torchrun sets; the first hosts it.

    torchrun may keep its store when it starts all processes again: each attempt has keys of its
    own. Several machines count attempts differently; see recipes/cluster.

    Raises:
        ConfigError: the port is not valid, or in use.
        TrainingError: the first process does not come.
    """
    host, port = os.environ.get("MASTER_ADDR", "localhost"), os.environ.get("MASTER_PORT", "")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 2**16):
        problem = f"must be a port, 1 to 65535, got {port!r}"
        raise ConfigError("MASTER_PORT", problem, "Start the processes with torchrun")
    hosts = rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    try:
        store: Store = dist.TCPStore(  # type: ignore[attr-defined]
            host, int(port), size, hosts, timedelta(seconds=timeout_s), wait_for_workers=False,
            multi_tenant=True,
        )  # fmt: skip
    except dist.DistError as error:
        if "EADDRINUSE" in str(error):
            problem = "is in use by another program, so the processes cannot meet there"
            remedy = "Choose another one: torchrun --master-port, or MASTER_PORT"
            raise ConfigError(f"port {port}", problem, remedy) from error
        where = f"{host}:{port}"
        problem = f"process 0 has not come: nothing answers at {where} within {timeout_s:g} s"
        remedy = "Start all processes, with the same MASTER_ADDR and MASTER_PORT"
        raise TrainingError(f"process {rank}", problem, remedy) from error
    if os.environ.get("GROUP_WORLD_SIZE") == "1":
        store = PrefixStore(f"attempt {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    return store


def agree(store: Store, rank: int, size: int, facts: Facts, timeout_s: float) -> None:
    """Wait for all processes, and make sure that their facts are those of the first one.

    Raises:
        ConfigError: facts differ; names process, fact and both values.
        TrainingError: a process does not come within `timeout_s`; names it.
    """
    store.set(f"facts {rank}", json.dumps(facts, sort_keys=True, default=str))
    if rank == 0:
        present, error = _verdict(store, size, timeout_s)
        store.set("verdict", json.dumps(error and [type(error).__name__, *error.args]))
        deadline = time.monotonic() + READ_SECONDS
        keys = [f"read {k}" for k in present if k]
        while keys and not store.check(keys) and time.monotonic() < deadline:
            time.sleep(0.01)
        if error is not None:
            raise error
        store.set_timeout(default_pg_timeout)
        return
    try:
        store.wait(["verdict"], timedelta(seconds=2 * timeout_s))
        name, *arguments = json.loads(store.get("verdict")) or [""]
        store.set(f"read {rank}", "")
    except dist.DistError as error:
        problem = "process 0 has ended, or cannot be reached"
        raise TrainingError(f"process {rank}", problem, "Look for its error") from error
    if name:
        raise (ConfigError if name == "ConfigError" else TrainingError)(*arguments)
    store.set_timeout(default_pg_timeout)


def _verdict(
    store: Store, size: int, timeout_s: float
) -> tuple[Sequence[int], SpeechAsymError | None]:
    """Return the processes that are present, and what is wrong, if anything."""
    deadline, missing = time.monotonic() + timeout_s, [*range(size)]
    while missing and time.monotonic() < deadline:
        missing = [k for k in missing if not store.check([f"facts {k}"])]
        if missing:
            time.sleep(0.02)
    present = [k for k in range(size) if k not in missing]
    if missing:
        word = "process" if len(missing) == 1 else "processes"
        names = ", ".join(map(str, missing[:10])) + (" ..." if len(missing) > 10 else "")
        problem = f"{word} {names} of {size} did not come within {timeout_s:g} s"
        return present, TrainingError("start of the processes", problem, "Start all of them")
    expected = json.loads(store.get("facts 0"))
    for k in present[1:]:
        facts = json.loads(store.get(f"facts {k}"))
        keys = [key for key in expected | facts if expected.get(key) != facts.get(key)]
        if keys:
            key = keys[0]
            more = f", and {len(keys) - 1} more differ" if keys[1:] else ""
            problem = f"{key} is {facts.get(key)}, but {expected.get(key)} in process 0{more}"
            return present, ConfigError(f"process {k}", problem, SAME)
    return present, None
