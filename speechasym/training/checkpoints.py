"""Checkpoints of a run, complete or absent, and the model exported from them.

In the folder: step-000123/ with tensors.safetensors [1] and meta.json; last.json and best.json name
the folders of the newest and the best state, and are replaced atomically once these are complete.
model.safetensors and model.json are the result. Pickle is neither read nor written.

[1] A header in JSON, and the tensors' bytes: https://github.com/huggingface/safetensors
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from speechasym import files
from speechasym.config import to_dict
from speechasym.errors import CheckpointError, OutputError

FORMAT = 1
LAST, BEST = "last.json", "best.json"
TENSORS, META = "tensors.safetensors", "meta.json"
MODEL, MODEL_META = "model.safetensors", "model.json"


def save(
    folder: Path, step: int, tensors: Mapping[str, Tensor], meta: Mapping[str, Any], best: bool
) -> Path:
    """Write the state of a step, and return its own folder; remove all but the last and the best.

    If the process is killed at any moment, the previous state or this one is intact; likewise if
    the state cannot be written, which raises `OutputError`.
    """
    in_use = {_read_pointer(folder, LAST), _read_pointer(folder, BEST)}  # never replaced in place
    name = next(n for mark in ("", "b", "c") if (n := f"step-{step:06d}{mark}") not in in_use)
    target, part = folder / name, folder / f".{name}{files.SUFFIX}"
    try:
        _remove(part)
        part.mkdir(parents=True)
        digest = _write(part / TENSORS, tensors)
        description = {**meta, "format": FORMAT, "step": step, "sha256": digest}
        files.write_json(part / META, to_dict(description))
        _sync(part)
        _remove(target)
        part.rename(target)
        _sync(folder)
    except (OSError, OutputError) as error:
        why = error.args[1]
        problem = f"cannot be written ({why})" if isinstance(error, OSError) else why
        remedy = "Free space there, and use train --resume: the last save is intact"
        raise OutputError(target, problem, remedy) from error
    finally:
        _remove(part)
    pointer = {"folder": name, "step": step}
    if best:
        files.write_json(folder / BEST, pointer)
    files.write_json(folder / LAST, pointer)
    _sync(folder)
    kept = {_read_pointer(folder, LAST), _read_pointer(folder, BEST)}
    for path in [*folder.glob("step-*"), *folder.glob(f".step-*{files.SUFFIX}")]:
        if path.name not in kept:
            _remove(path)
    return target


def exists(folder: Path, which: str = LAST) -> bool:
    """Return whether the run has such a checkpoint."""
    return (folder / which).exists()


def load(folder: Path, which: str = LAST) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return tensors and metadata of the last or best checkpoint. Raises `CheckpointError`."""
    name = _read_pointer(folder, which)
    if name is None:
        remedy = "Give the folder of a run, or train again"
        raise CheckpointError(folder / which, "no such checkpoint", remedy)
    other, state = (BEST, "best") if which == LAST else (LAST, "last")
    remedy = "Restore it, or train again in another folder"
    with suppress(CheckpointError):
        if _read_pointer(folder, other) not in (None, name):
            remedy = f"To resume from the {state} state, copy {other} over {which}"
    return _read(folder / name / TENSORS, folder / name / META, remedy)


def save_model(folder: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write model.safetensors, and its model.json. Raises `OutputError`."""
    digest = _write(folder / MODEL, tensors)
    files.write_json(folder / MODEL_META, to_dict({**meta, "format": FORMAT, "sha256": digest}))


def load_model(folder: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return tensors and metadata of a trained model. Raises `CheckpointError` as `load`."""
    folder = Path(folder)
    remedy = "Train again, or give the folder of another run"
    if exists(folder):
        remedy = "Write it again from the run's checkpoint: train --resume"
    return _read(folder / MODEL, folder / MODEL_META, remedy)


def with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names start with `prefix`, without it."""
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def restore(
    module: nn.Module, tensors: Mapping[str, Tensor], source: object, prefix: str = ""
) -> None:
    """Set all parameters and buffers of a module, from tensors whose names start with `prefix`.

    Raises `CheckpointError` about `source` if one is missing, left over or of another shape.
    """
    try:
        module.load_state_dict(with_prefix(tensors, prefix))
    except RuntimeError as error:  # torch names what is missing, left over, or of another shape
        reasons = " ".join(str(error).partition("\n")[2].split())
        problem = f"does not fit the model: {reasons[:300]}"
        remedy = "Build the model with the configuration that it was trained with"
        raise CheckpointError(source, problem, remedy) from error


def _read_pointer(folder: Path, which: str) -> str | None:
    try:
        return str(json.loads((folder / which).read_text("utf-8"))["folder"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError) as error:
        remedy = f"Copy {BEST if which == LAST else LAST} over it, or train again"
        raise CheckpointError(folder / which, "does not name a checkpoint", remedy) from error


def _write(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Write tensors, and return the file's sha256."""
    from safetensors.torch import save as serialise

    # copies: tensors that share memory are refused
    raw = serialise({name: t.detach().cpu().clone().contiguous() for name, t in tensors.items()})
    with files.atomic(path) as file:
        file.write(raw)
    return hashlib.sha256(raw).hexdigest()


def _read(path: Path, meta_path: Path, remedy: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    from safetensors import SafetensorError
    from safetensors.torch import load as parse

    try:
        meta = json.loads(meta_path.read_text("utf-8"))
        raw = path.read_bytes()
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
        raise CheckpointError(error.filename, problem, remedy) from error
    except ValueError as error:
        raise CheckpointError(meta_path, "is truncated, or not JSON", remedy) from error
    version = meta.get("format") if isinstance(meta, dict) else None
    if version != FORMAT:
        problem = f"must have format {FORMAT}, got {version}"
        raise CheckpointError(meta_path, problem, "Use the version of this package that wrote it")
    if hashlib.sha256(raw).hexdigest() != meta.get("sha256"):
        problem = f"is truncated or changed: its sha256 is not that in {meta_path.name}"
        raise CheckpointError(path, problem, remedy)
    try:
        return parse(raw), meta
    except SafetensorError as error:
        raise CheckpointError(path, f"is not a safetensors file ({error})", remedy) from error


def _sync(folder: Path) -> None:
    """Flush the names in a folder to disk."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _remove(folder: Path) -> None:
    with suppress(FileNotFoundError):
        shutil.rmtree(folder)
