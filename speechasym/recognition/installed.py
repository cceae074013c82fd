"""Models installed by name, from a file that `scripts/ship_model.py --zip` makes.

They live in the folder SPEECHASYM_MODELS, by default speechasym/models in the user's data folder.
"""

import json
import os
import re
import shutil
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path, PurePosixPath

from speechasym.errors import CheckpointError, ConfigError, OutputError
from speechasym.recognition import pretrained

SHIPPED = "tiny"  # the name of the model that comes with the package
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_LARGEST = 2 << 30  # bytes of an unpacked file


def models_folder() -> Path:
    """Return the folder of the installed models, which may not exist."""
    if chosen := os.environ.get("SPEECHASYM_MODELS"):
        return Path(chosen)
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "speechasym" / "models"


def installed() -> dict[str, Path]:
    """Return {name: folder} of the models that come with the package or were installed."""
    found = {SHIPPED: pretrained.FOLDER}
    with suppress(OSError):
        for folder in sorted(models_folder().iterdir()):
            if (folder / pretrained.SUMS).is_file():
                found.setdefault(folder.name, folder)
    return found


def run_folder(run: str | Path) -> Path:
    """Return the folder of a run: a path, or where nothing is there, an installed model by name.

    Raises `CheckpointError` for an installed model that has been changed.
    """
    if isinstance(run, str) and _NAME.fullmatch(run) and not os.path.exists(run):
        found = installed()
        if run in found:
            return pretrained.checked(found[run])
    return Path(run)


def folder_of(name: str) -> Path:
    """Return the folder of a model by its name, after checking its files.

    Raises:
        ConfigError: a model that is not installed.
        CheckpointError: one that has been changed.
    """
    found = installed()
    if name not in found:
        problem = f"{name!r} is not installed; installed: {', '.join(found)}"
        raise ConfigError("size", problem, "Install it: speechasym models --install FILE")
    return pretrained.checked(found[name])


def install_model(file: str | Path, *, overwrite: bool = False) -> Path:
    """Install a model from a file, under the name of the folder inside, and return its folder.

    Args:
        file: made by `scripts/ship_model.py --zip`.
        overwrite: replace a model of the same name.

    Raises:
        CheckpointError: a file that is damaged, or not such a file.
        ConfigError: a model of that name is there already.
        OutputError: the folder cannot be written.

    Example:
        >>> folder = speechasym.install_model("speechasym-small.zip")
        >>> [model.name for model in speechasym.models()]
        ['tiny', 'small']
        >>> recogniser = speechasym.Recogniser(size="small")
    """
    remedy = "Give a file that scripts/ship_model.py --zip made"
    try:
        with zipfile.ZipFile(file) as archive:
            names = [PurePosixPath(name) for name in archive.namelist()]
            name = names[0].parts[0] if names else ""
            alike = all(len(p.parts) == 2 and p.parts[0] == name for p in names)
            sums = PurePosixPath(name, pretrained.SUMS) in names
            if not (alike and sums and _NAME.fullmatch(name)):
                raise CheckpointError(file, "is not the file of a model", remedy)
            if sum(info.file_size for info in archive.infolist()) > _LARGEST:
                raise CheckpointError(file, "is larger than 2 GB when unpacked", remedy)
            return _unpack(archive, name, models_folder(), overwrite)
    except (zipfile.BadZipFile, EOFError, json.JSONDecodeError) as error:
        raise CheckpointError(file, f"is damaged, or not a zip file ({error})", remedy) from error
    except OSError as error:
        named = error.filename is None or Path(error.filename) == Path(file)
        kind = CheckpointError if named else OutputError
        problem = f"cannot be {'read' if named else 'written'} ({error.strerror})"
        raise kind(error.filename or file, problem, "Check the path and its permissions") from error


def _unpack(archive: zipfile.ZipFile, name: str, folder: Path, overwrite: bool) -> Path:
    """Unpack a model beside its place, check it, and move it there."""
    target = folder / name
    if name == SHIPPED:
        raise ConfigError(name, "comes with the package", "Give the model another name")
    if target.exists() and not overwrite:
        raise ConfigError(target, "is installed already", "Replace it: --overwrite")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as temporary:
        archive.extractall(temporary)
        pretrained.checked(Path(temporary) / name)
        if target.exists():
            shutil.move(target, Path(temporary) / "before")
        os.rename(Path(temporary) / name, target)
    return target
