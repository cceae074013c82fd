"""A training run's folder: checkpoints that are whole or not there, and the model made from them.

In the folder: step-000123/ with tensors.safetensors and meta.json; last.json and best.json say
which folder holds the newest and the best state, and are replaced in one move once it is whole.
model.safetensors and model.json are the result. No pickle is ever read or written.

[1] Safetensors: a header in JSON, and the tensors' bytes.
"""

import hashlib
import json
import math
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from speechasym import files
from speechasym.errors import CheckpointError, OutputError

FORMAT = 1
LAST, BEST = "last.json", "best.json"
TENSORS, META = "tensors.safetensors", "meta.json"
MODEL, MODEL_META = "model.safetensors", "model.json"


def save(
    folder: Path, step: int, tensors: Mapping[str, Tensor], meta: Mapping[str, Any], best: bool
) -> Path:
    """Write the state of a step; killed at any moment, the earlier state or this one is whole.

    Args:
        folder: of the run; best: this is the best state so far, too.

    Returns:
        The checkpoint's own folder. Folders that are neither last nor best are removed.

    Raises:
        OutputError: it cannot be written; what was there before stays.
    """
    taken = {_named(folder, LAST), _named(folder, BEST)}  # never replaced in place
    name = next(n for mark in ("", "b", "c") if (n := f"step-{step:06d}{mark}") not in taken)
    target, part = folder / name, folder / f".{name}{files.SUFFIX}"
    try:
        _forget(part)
        part.mkdir(parents=True)
        digest = _write(part / TENSORS, tensors)
        files.write_json(part / META, {**meta, "format": FORMAT, "step": step, "sha256": digest})
        _sync(part)
        _forget(target)
        part.rename(target)
        _sync(folder)
    except (OSError, OutputError) as error:
        _forget(part)
        own = isinstance(error, OutputError)
        raise OutputError(
            target,
            error.args[1] if own else f"cannot be written ({error.strerror})",  # type: ignore[union-attr]
            "Free space there, and go on (train --resume): what was saved before is whole",
        ) from error
    except BaseException:
        _forget(part)
        raise
    pointer = {"folder": name, "step": step}
    if best:
        files.write_json(folder / BEST, pointer)
    files.write_json(folder / LAST, pointer)
    _sync(folder)
    clean(folder)
    return target


def clean(folder: Path) -> None:
    """Remove checkpoints that are neither last nor best, and what a kill left half-written."""
    kept = {_named(folder, LAST), _named(folder, BEST)}
    for path in [*folder.glob("step-*"), *folder.glob(f".step-*{files.SUFFIX}")]:
        if path.name not in kept:
            _forget(path)


def exists(folder: Path, which: str = LAST) -> bool:
    """Whether the run has such a checkpoint."""
    return (folder / which).exists()


def load(folder: Path, which: str = LAST) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and meta of the last or best checkpoint, checked to be whole.

    Raises:
        CheckpointError: there is none, it is cut or changed, or of another format.
    """
    name = _named(folder, which)
    if name is None:
        raise CheckpointError(
            folder / which, "there is no checkpoint", "Give the folder of a run, or train it anew"
        )
    other, state = (BEST, "best") if which == LAST else (LAST, "last")
    remedy = "Restore it, or train anew in another folder"
    with suppress(CheckpointError):
        if _named(folder, other) not in (None, name):
            remedy = f"To go on from the {state} state, copy {other} over {which}"
    return _read(folder / name / TENSORS, folder / name / META, remedy)


def save_model(folder: Path, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write model.safetensors, and model.json that belongs to it. Raises `OutputError`."""
    digest = _write(folder / MODEL, tensors)
    files.write_json(folder / MODEL_META, {**meta, "format": FORMAT, "sha256": digest})


def load_model(folder: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and meta of a trained model. Raises `CheckpointError` as `load`."""
    folder = Path(folder)
    remedy = "Train anew, or give the folder of another run"
    if exists(folder):
        remedy = "Make it again from the run's checkpoint: train --resume"
    return _read(folder / MODEL, folder / MODEL_META, remedy)


def module_state(module: nn.Module, prefix: str = "") -> dict[str, Tensor]:
    """A module's parameters and buffers by name, on the CPU."""
    return {prefix + name: value.detach().cpu() for name, value in module.state_dict().items()}


def restore(
    module: nn.Module, tensors: Mapping[str, Tensor], place: object, prefix: str = ""
) -> None:
    """Set a module's parameters and buffers, all of them.

    Raises `CheckpointError` naming the first that is missing, left over or of another shape.
    """
    own = module.state_dict()
    given = {name[len(prefix) :]: t for name, t in tensors.items() if name.startswith(prefix)}
    remedy = "Build the model with the configuration that it was trained with"
    for name, value in own.items():
        if name not in given:
            raise CheckpointError(place, f"it has no {name}: it is of another model", remedy)
        if given[name].shape != value.shape:
            shapes = f"{list(given[name].shape)}, where the model has {list(value.shape)}"
            raise CheckpointError(place, f"{name} is {shapes}", remedy)
    if more := [name for name in given if name not in own]:
        raise CheckpointError(place, f"the model has no {more[0]}, which it holds", remedy)
    module.load_state_dict(given)


def _named(folder: Path, which: str) -> str | None:
    try:
        found = json.loads((folder / which).read_text("utf-8"))
        return str(found["folder"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise CheckpointError(
            folder / which,
            "does not say which checkpoint it is",
            f"Copy {BEST if which == LAST else LAST} over it, or train anew",
        ) from error


def _write(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Write tensors; returns the file's sha256."""
    from safetensors.torch import save as serialised

    # copies: tensors that share memory are refused
    raw = serialised({name: t.detach().cpu().clone().contiguous() for name, t in tensors.items()})
    with files.atomic(path) as file:
        file.write(raw)
    return hashlib.sha256(raw).hexdigest()


def _read(path: Path, meta_path: Path, remedy: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    from safetensors import SafetensorError
    from safetensors.torch import load as parsed

    try:
        meta = json.loads(meta_path.read_text("utf-8"))
        raw = path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            error.filename, f"cannot be read ({error.strerror})", remedy
        ) from error
    except ValueError as error:
        raise CheckpointError(meta_path, "is cut, or no JSON", remedy) from error
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        found = meta.get("format") if isinstance(meta, dict) else None
        raise CheckpointError(
            meta_path, f"is of format {found}, where {FORMAT} is expected",
            "Use the version of this package that wrote it",
        )  # fmt: skip
    if hashlib.sha256(raw).hexdigest() != meta.get("sha256"):
        raise CheckpointError(
            path, f"is cut or changed: its sha256 is not that in {meta_path.name}", remedy
        )
    try:
        return parsed(raw), meta
    except SafetensorError as error:
        raise CheckpointError(path, f"is no safetensors file ({error})", remedy) from error


def _sync(folder: Path) -> None:
    """Names in a folder reach the disk too."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _forget(folder: Path) -> None:
    with suppress(FileNotFoundError):
        shutil.rmtree(folder)


def plain(value: Any) -> Any:
    """JSON has no infinity: numbers that are not finite become None."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return value.item() if isinstance(value, torch.Tensor) else value
