"""A list of the models at hand: shipped, installed, and runs below given folders."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from speechasym.errors import ConfigError
from speechasym.recognition.installed import installed
from speechasym.recognition.trained_model import open_run
from speechasym.training import checkpoints


class ModelEntry(NamedTuple):
    """A finished model."""

    name: str  # as `Recogniser(size=name)`; of a run, its folder
    folder: Path
    parameters: int
    heads: tuple[str, ...]
    megabytes: float  # of the model, its lexicon and language model
    words: bool  # whether it finds words by lexicon and language model


def models(folders: str | Path | Sequence[str | Path] = ()) -> list[ModelEntry]:
    """List the shipped model, installed ones, and finished runs below folders.

    Args:
        folders: where to look for runs, at any depth.

    Raises:
        CheckpointError: a model that is damaged.
        ConfigError: a folder that does not exist.

    Example:
        >>> for model in speechasym.models("runs"):
        ...     print(model.name, model.parameters, model.heads)
        tiny 481091 ('phones', 'letters', 'words')
        runs/live 12080 ('phones', 'letters', 'words')
    """
    entries = [_entry(name, folder) for name, folder in installed().items()]
    for folder in [folders] if isinstance(folders, str | Path) else folders:
        entries += [_entry(str(run), run) for run in _runs_below(Path(folder))]
    return entries


def _runs_below(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise ConfigError(folder, "is not a folder", "Give a folder with runs")
    paths = sorted(folder.rglob(checkpoints.MODEL_META))
    yield from (path.parent for path in paths if (path.parent / checkpoints.MODEL).is_file())


def _entry(name: str, folder: Path) -> ModelEntry:
    trained = open_run(folder)
    files = [folder / checkpoints.MODEL, folder / checkpoints.MODEL_META]
    files += [path for path in (trained.lexicon, trained.lm) if path is not None]
    size = sum(path.stat().st_size for path in files) / 1e6
    words = trained.lm is not None and trained.lexicon is not None
    heads = tuple(trained.inventories)
    return ModelEntry(name, folder, trained.parameters, heads, size, words)
