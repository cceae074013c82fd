"""Students of whose training cuts only some have labels; a teacher speaks for all (C21).

    python -m recipes.claims.topology.little LABELLED TRAIN CONFIG SYSTEMS --test CUTS --out OUT ...

After the manifests of the cuts with labels and of all cuts come the words of `recipes.compare`. In
training, other cuts of TRAIN have no loss of their labels.
"""

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from recipes.compare import __main__ as compare
from recipes.compare.jobs import guarded
from speechasym.corpora.manifests import read_cuts
from speechasym.errors import ConfigError
from speechasym.training import losses
from speechasym.training.config import TrainConfig
from speechasym.training.on_device import Batch


@contextmanager
def without_labels(ids: Collection[str]) -> Iterator[None]:
    """Leave the labels of these cuts out of the loss of heads."""
    of_all = losses.head_losses

    def of_some(
        heads: Mapping[str, tuple[Tensor, Tensor]],
        spans: Any,
        batch: Batch,
        config: TrainConfig,
        totals: Mapping[str, int],
        share: float,
        follow: losses.Follow = losses.NOTHING_FOLLOWS,
    ) -> tuple[Tensor, dict[str, Tensor], dict[str, list[str]]]:
        rows = [row for row, name in enumerate(batch.ids) if name not in ids]
        if len(rows) == len(batch.ids):
            return of_all(heads, spans, batch, config, totals, share, follow)
        targets = {head: (all_[rows], counts[rows])
                   for head, (all_, counts) in batch.targets.items()}  # fmt: skip
        totals = {head: max(1, int(counts.sum())) for head, (_, counts) in targets.items()}
        some = {head: (x[rows], lengths[rows]) for head, (x, lengths) in heads.items()}
        part = batch._replace(ids=[batch.ids[row] for row in rows], targets=targets)
        return of_all(some, {}, part, config, totals, share, follow)

    losses.head_losses = of_some
    try:
        yield
    finally:
        losses.head_losses = of_all


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)

    def act() -> int:
        if len(words) < 2:
            raise ConfigError("arguments", "lack LABELLED and TRAIN", "See the file's beginning")
        labelled, train = ({cut.id for cut in read_cuts(Path(path))} for path in words[:2])
        with without_labels(train - labelled):  # in this process
            return compare.main([*words[2:], "--workers", "0"])

    return guarded(act)


if __name__ == "__main__":
    raise SystemExit(main())
