"""The training data: features and labels of cuts in memory, and batches of them.

Shapes: B utterances, F frames, D columns, L labels.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from speechasym import files
from speechasym.annotations.intervals import Interval
from speechasym.corpora.manifests import check_writable, read_cuts
from speechasym.errors import AudioError, LabelError
from speechasym.language.lexicon import Lexicon, read_lexicon
from speechasym.language.ngrams import UNKNOWN
from speechasym.training import batches, labels
from speechasym.training.augment import Excerpt, draw_splice, draw_variant, perturb_features
from speechasym.training.config import AugmentConfig, DataConfig
from speechasym.training.cuts import read_noises
from speechasym.training.feature_cache import FeatureTask, features_of_all
from speechasym.training.labels import Inventory

if TYPE_CHECKING:
    from lhotse import CutSet

log = logging.getLogger(__name__)
UNCHANGED = AugmentConfig()  # each cut once, as recorded


class Batch(NamedTuple):
    """Utterances side by side, the shorter ones padded with 0."""

    ids: list[str]
    features: Tensor  # (B, F, D) float32
    lengths: Tensor  # (B,) int64 frames
    targets: dict[str, tuple[Tensor, Tensor]]  # {head: (labels (B, L) int64, how many (B,))}
    frame_labels: Tensor | None = None  # (B, F) int64 phones, 0 where unknown

    def to(self, device: torch.device | str) -> "Batch":
        """Return a copy on another device."""
        targets = {head: (a.to(device), b.to(device)) for head, (a, b) in self.targets.items()}
        features, lengths = self.features.to(device), self.lengths.to(device)
        frames = None if self.frame_labels is None else self.frame_labels.to(device)
        return Batch(self.ids, features, lengths, targets, frames)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A set of cuts, with everything in memory. Lists are by cut, or by cut and variant."""

    cuts: "CutSet"
    ids: list[str]
    speakers: list[str]
    seconds: list[float]
    features: list[list[Tensor]]  # by cut and variant: (F, D)
    labels: dict[str, list[list[int]]]  # {head: by cut}
    references: dict[str, list[list[str]]]  # {head: symbols by cut}, unknown words included
    inventories: Inventory
    fingerprint: str  # sha256 of the manifest
    rate: float  # frames a second
    # by cut and variant (L, 3): label of each phone, its first frame, the frame after its last
    phone_frames: list[list[Tensor]] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def columns(self) -> int:
        """The number of columns of the features."""
        return self.features[0][0].shape[1]

    def batch(
        self,
        numbers: Sequence[int],
        epoch: int = 0,
        augment: AugmentConfig = UNCHANGED,
        seed: tuple[int, int] = (0, 0),
    ) -> Batch:
        """Return the cuts of these indices, each in the variant whose turn it is in an epoch.

        Masks, gain, shift and splices depend on `seed` (of the run, the step) and the cut only.
        """
        features, phones, frame_labels = [], [], []
        for number in numbers:
            excerpts = self.excerpts(number, epoch, augment, seed)
            x = torch.cat([self.features[e.cut][e.variant][e.frames] for e in excerpts])
            features.append(perturb_features(x, augment, self.rate, (*seed, number)))
            phones.append([label for e in excerpts for label in e.phones])
            if self.phone_frames is not None:
                frame_labels.append(torch.cat([self._frame_labels(e) for e in excerpts]))
        targets = {head: [rows[n] for n in numbers] for head, rows in self.labels.items()}
        if "phones" in targets:
            targets["phones"] = phones
        return Batch(
            [self.ids[n] for n in numbers],
            pad_sequence(features, batch_first=True),
            torch.tensor([len(x) for x in features]),
            {head: batches.pad_labels(rows) for head, rows in targets.items()},
            pad_sequence(frame_labels, batch_first=True) if frame_labels else None,
        )

    def excerpts(
        self, number: int, epoch: int, augment: AugmentConfig, seed: tuple[int, int]
    ) -> list[Excerpt]:
        """Return what stands for a cut in `batch` with these arguments: all of it, or a splice."""
        if augment.splice:
            assert self.phone_frames is not None  # `load` sees to it
            if excerpts := draw_splice(self.phone_frames, number, augment, (*seed, number)):
                return excerpts
        variant = (number + epoch) % len(self.features[number])
        whole = self.labels["phones"][number] if "phones" in self.labels else []
        return [Excerpt(number, variant, slice(None), whole)]

    def _frame_labels(self, excerpt: Excerpt) -> Tensor:
        """Return the label of each frame (F,), 0 where unknown."""
        assert self.phone_frames is not None
        row = torch.zeros(len(self.features[excerpt.cut][excerpt.variant]), dtype=torch.int64)
        for label, first, end in self.phone_frames[excerpt.cut][excerpt.variant].tolist():
            row[first:end] = label
        return row[excerpt.frames]

    def count_labels(
        self, numbers: Sequence[int], epoch: int, augment: AugmentConfig, seed: tuple[int, int]
    ) -> dict[str, int]:
        """Return {head: labels} of the batch that `batch` returns for these arguments."""
        counts = {head: sum(len(rows[n]) for n in numbers) for head, rows in self.labels.items()}
        if augment.splice:
            excerpts = (e for n in numbers for e in self.excerpts(n, epoch, augment, seed))
            counts["phones"] = sum(len(excerpt.phones) for excerpt in excerpts)
        return counts

    def in_order(self, max_seconds: float) -> Iterator[Batch]:
        """Yield batches of all cuts unchanged, those of similar length together."""
        for numbers in batches.group_by_length(self.seconds, max_seconds):
            yield self.batch(numbers)


def load(
    config: DataConfig,
    path: str,
    heads: Sequence[str],
    *,
    inventories: Inventory | None = None,
    augment: AugmentConfig = UNCHANGED,
    seed: int = 0,
    show_progress: bool = True,
    timed: bool = False,
    pronunciations: Lexicon | None = None,
) -> Dataset:
    """Read a manifest of cuts, and compute the features of all its variants.

    Args:
        config: features, labels, cache and workers.
        path: of the manifest.
        inventories: of a training set; default: from these cuts.
        augment: which variants to compute; default: each cut unchanged.
        seed: of the variants.
        timed: find the phone of each frame, too.
        pronunciations: default: the configured lexicon.

    Raises:
        ConfigError: no manifest or lexicon.
        LabelError, AudioError: naming the cut; with `timed` also for cuts without timed phones.
    """
    name = Path(path).name
    if config.cache is not None:
        check_writable(config.cache)
    cuts = read_cuts(Path(path))
    words, of_run = pronunciations, (inventories or {}).get("phones")
    if words is None and config.labels.lexicon is not None:
        words = read_lexicon(config.labels.lexicon)
    with naming(path):
        texts = {
            h: [labels.tokens(cut, h, config.labels, words, of_run) for cut in cuts] for h in heads
        }
        if inventories is None:
            inventories = {h: labels.inventory(h, rows, config.labels) for h, rows in texts.items()}
        times = [labels.timed_phones(cut, config.labels) for cut in cuts] if timed else []
        if missing := [cut.id for cut, row in zip(cuts, times, strict=False) if not row]:
            remedy = "Set framewise and data.augment.splice to 0"
            raise LabelError(f"cut {missing[0]}", "its phones have no times", remedy)
    encoded = {h: _encode(rows, inventories[h], f"{name}: {h}") for h, rows in texts.items()}
    noises = read_noises(augment.noise) if augment.noise else []
    tasks = []
    for cut in cuts:
        for number in range(augment.variants):
            variant = draw_variant(augment, len(noises), cut.id, number, seed)
            noise = None if variant.noise is None else noises[variant.noise]
            tasks.append(FeatureTask(cut, config.features, variant, noise, config.cache))
    with naming(path):
        what = f"features of {name.split('.')[0]}"
        features = list(features_of_all(tasks, config.workers, what, show_progress))
    count, rate = augment.variants, config.features.rate
    by_cut = [slice(n, n + count) for n in range(0, len(tasks), count)]
    frames = []
    if timed:
        known = labels.classes(inventories["phones"])
        frames = [
            _phone_frames(times[n // count], known, len(x), rate / task.variant.speed)
            for n, (x, task) in enumerate(zip(features, tasks, strict=True))
        ]
    return Dataset(
        cuts=cuts,
        ids=[cut.id for cut in cuts],
        speakers=[next((s.speaker for s in c.supervisions if s.speaker), "") for c in cuts],
        seconds=[cut.duration for cut in cuts],
        features=[[torch.from_numpy(x) for x in features[part]] for part in by_cut],
        labels=encoded,
        references=texts,
        inventories={head: tuple(inventories[head]) for head in heads},
        fingerprint=files.sha256(Path(path)),
        rate=rate,
        phone_frames=[frames[part] for part in by_cut] if timed else None,
    )


def _encode(rows: Sequence[Sequence[str]], inventory: Sequence[str], what: str) -> list[list[int]]:
    """Return the labels of symbols; warns of symbols that were not learned."""
    known = labels.classes(inventory)
    unknown = {token for row in rows for token in row} - set(known)
    if unknown and UNKNOWN not in known:
        names = ", ".join(map(repr, sorted(unknown)[:5]))
        log.warning("%s %s not in the model's inventory: each counts as an error", what, names)
    return [labels.encode(row, known) for row in rows]


def _phone_frames(
    phones: Sequence[Interval], known: Mapping[str, int], frames: int, rate: float
) -> Tensor:
    """Return (L, 3): label of each phone, its first frame, and the frame after its last.

    A frame has the phone that holds its middle. Phones that are not known are left out.
    """
    middles = (np.arange(frames) + 0.5) / rate
    rows = [
        (known[phone.label], *np.searchsorted(middles, (phone.start, phone.end)).tolist())
        for phone in phones
        if phone.label in known
    ]
    return torch.tensor(rows, dtype=torch.int32).reshape(-1, 3)


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Name the manifest in errors about one of its cuts."""
    try:
        yield
    except (LabelError, AudioError) as error:
        raise type(error)(f"{path}: {error.args[0]}", *error.args[1:]) from error
