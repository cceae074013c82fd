"""What a run writes to metrics.jsonl, also as scalars for TensorBoard."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from speechasym.errors import ConfigError
from speechasym.training.run_folder import WriteMetrics

FOLDER = "tensorboard"
GROUPS = ("dev_loss", "dev_error", "loss")  # loss_phones is the scalar loss/phones


@contextmanager
def with_scalars(write: WriteMetrics, out: Path, step: int) -> Iterator[WriteMetrics]:
    """Yield a function that writes a line as `write` does, and its numbers for TensorBoard.

    Args:
        out: folder of the run; the scalars are written to its folder tensorboard.
        step: after which a run resumes; later scalars that are there are hidden.

    Raises `ConfigError` if tensorboard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        remedy = "pip install 'speechasym[tensorboard]', or leave tensorboard out"
        raise ConfigError("tensorboard", "is not installed", remedy) from error
    with SummaryWriter(str(out / FOLDER), purge_step=step + 1) as writer:

        def both(line: Mapping[str, Any]) -> int:
            for key, value in line.items():
                if key not in ("step", "epoch") and isinstance(value, int | float):
                    writer.add_scalar(_tag(key), value, line["step"])
            return write(line)

        yield both


def _tag(key: str) -> str:
    """Return the name of a scalar; TensorBoard draws those of a group side by side."""
    group = next((group for group in GROUPS if key.startswith(f"{group}_")), None)
    return key if group is None else f"{group}/{key[len(group) + 1 :]}"
