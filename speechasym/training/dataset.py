"""Cuts as a recogniser is trained on them: features and labels in memory, and batches of them.

Shapes: B utterances, F frames, D columns, L labels.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from speechasym import files
from speechasym.corpora import manifests
from speechasym.errors import AudioError, ConfigError, LabelError
from speechasym.language import lexicon
from speechasym.training import batches, feature_cache, labels
from speechasym.training.config import AugmentConfig, DataConfig
from speechasym.training.labels import Inventory

if TYPE_CHECKING:
    from lhotse import CutSet

log = logging.getLogger(__name__)


SPLICED = 1  # in seeds: what is spliced is drawn apart from what is masked
SHORTEST = 6  # phones in a stretch that is spliced


class Piece(NamedTuple):
    """A stretch of a cut's variant."""

    cut: int  # its number
    variant: int
    frames: slice
    phones: list[int]  # classes


class Batch(NamedTuple):
    """Utterances side by side; what is behind the end of the shorter ones is 0."""

    ids: list[str]
    features: Tensor  # (B, F, D) float32
    lengths: Tensor  # (B,) int64 frames
    targets: dict[str, tuple[Tensor, Tensor]]  # {head: (classes (B, L) int64, how many (B,))}
    speakers: list[str]
    frames: Tensor | None = None  # (B, F) int64 classes of phones whose times are known, else 0

    def to(self, device: torch.device | str) -> "Batch":
        """The same on another device."""
        targets = {head: (a.to(device), b.to(device)) for head, (a, b) in self.targets.items()}
        return self._replace(
            features=self.features.to(device),
            lengths=self.lengths.to(device),
            targets=targets,
            frames=None if self.frames is None else self.frames.to(device),
        )


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A set of cuts, everything in memory."""

    cuts: "CutSet"
    ids: list[str]
    speakers: list[str]
    seconds: list[float]
    features: list[list[Tensor]]  # by cut and variant: (F, D)
    classes: dict[str, list[list[int]]]  # {head: by cut}
    references: dict[str, list[list[str]]]  # {head: by cut}: tokens as they are, none <unk>
    inventories: Inventory
    fingerprint: str  # sha256 of the manifest
    rate: float  # frames a second
    # by cut and variant (L, 3): class of each phone, its first frame and the one after its last
    timed: list[list[Tensor]] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def columns(self) -> int:
        """D."""
        return self.features[0][0].shape[1]

    def batch(
        self,
        numbers: Sequence[int],
        epoch: int = 0,
        augment: AugmentConfig | None = None,
        seed: tuple[int, int] = (0, 0),
    ) -> Batch:
        """The cuts of these numbers, each in the variant that is its turn in an epoch.

        Args:
            augment: what masks, gain and shift to draw; none: leave features as they are.
            seed: of the run, and the step: what is drawn depends on these and the cut only.
        """
        rows, frames, said = [], [], []
        for number in numbers:
            pieces = self.pieces(number, epoch, augment, seed)
            row = torch.cat([self.features[p.cut][p.variant][p.frames] for p in pieces])
            if augment is not None:
                row = changed(row, augment, self.rate, _seed(*seed, number))
            rows.append(row)
            said.append([label for p in pieces for label in p.phones])
            if self.timed is not None:
                whole = [_framed(self.timed[p.cut][p.variant], self.features[p.cut][p.variant])
                         for p in pieces]  # fmt: skip
                frames.append(torch.cat([f[p.frames] for f, p in zip(whole, pieces, strict=True)]))
        labels = {head: [rows[n] for n in numbers] for head, rows in self.classes.items()}
        if "phones" in labels:
            labels["phones"] = said
        return Batch(
            [self.ids[n] for n in numbers],
            torch.nn.utils.rnn.pad_sequence(rows, batch_first=True),
            torch.tensor([len(row) for row in rows]),
            {head: padded(own) for head, own in labels.items()},
            [self.speakers[n] for n in numbers],
            torch.nn.utils.rnn.pad_sequence(frames, batch_first=True) if frames else None,
        )

    def pieces(
        self,
        number: int,
        epoch: int = 0,
        augment: AugmentConfig | None = None,
        seed: tuple[int, int] = (0, 0),
    ) -> "list[Piece]":
        """What a cut's place in a batch holds: it, or stretches of it and of one or two others.

        What is drawn depends on the seed, the step and the cut only, as in `batch`.
        """
        variant = (number + epoch) % len(self.features[number])
        whole = self.classes["phones"][number] if "phones" in self.classes else []
        if augment is None or not augment.splice:
            return [Piece(number, variant, slice(None), whole)]
        rng = np.random.default_rng(_seed(*seed, number, SPLICED))
        if rng.random() >= augment.splice:
            return [Piece(number, variant, slice(None), whole)]
        assert self.timed is not None  # `load` sees to it
        others = rng.integers(len(self), size=rng.integers(1, 3)).tolist()
        found = []
        for cut in (number, *others):
            variant = int(rng.integers(len(self.features[cut])))
            rows = self.timed[cut][variant]
            least = min(SHORTEST, len(rows))
            size = int(rng.integers(least, max(least, len(rows) // 2) + 1))
            first = int(rng.integers(len(rows) - size + 1))
            chosen = rows[first : first + size]
            frames = slice(int(chosen[0, 1]), int(chosen[-1, 2]))
            found.append(Piece(cut, variant, frames, chosen[:, 0].tolist()))
        return found

    def labels_in(
        self, numbers: Sequence[int], epoch: int, augment: AugmentConfig, seed: tuple[int, int]
    ) -> dict[str, int]:
        """{head: labels} of the batch that `batch` would make of the same arguments."""
        counts = {head: sum(len(rows[n]) for n in numbers) for head, rows in self.classes.items()}
        if augment.splice:
            pieces = (p for n in numbers for p in self.pieces(n, epoch, augment, seed))
            counts["phones"] = sum(len(piece.phones) for piece in pieces)
        return counts

    def in_order(self, max_seconds: float) -> Iterator[Batch]:
        """Batches of all cuts as they are, those of similar length together."""
        for numbers in grouped(self.seconds, max_seconds):
            yield self.batch(numbers)


def _seed(*parts: int) -> int:
    """A seed for torch from several numbers."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)


def padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Rows of classes -> (B, L) padded with 0, L at least 1, and how many (B,)."""
    lengths = torch.tensor([len(row) for row in rows])
    out = torch.zeros(len(rows), max([1, *map(len, rows)]), dtype=torch.int64)
    for number, row in enumerate(rows):
        out[number, : len(row)] = torch.tensor(row, dtype=torch.int64)
    return out, lengths


def grouped(seconds: Sequence[float], max_seconds: float) -> list[list[int]]:
    """Numbers in batches, longest first: as many as fit with padding, at least one."""
    groups: list[list[int]] = []
    for number in sorted(range(len(seconds)), key=lambda n: (-seconds[n], n)):
        last = groups[-1] if groups else []
        if last and (len(last) + 1) * seconds[last[0]] <= max_seconds:
            last.append(number)
        else:
            groups.append([number])
    return groups


def changed(x: Tensor, augment: AugmentConfig, rate: float, seed: int) -> Tensor:
    """Features (F, D) -> the same with gain and shift by column, and masks of zeros [1].

    [1] D. S. Park et al., "SpecAugment", Interspeech 2019, without the time warping.
    """
    if not (augment.gain or augment.shift or augment.time_masks or augment.column_masks):
        return x
    generator = torch.Generator().manual_seed(seed)
    frames, columns = x.shape
    x = x * torch.exp(augment.gain * torch.randn(columns, generator=generator))
    x = x + augment.shift * torch.randn(columns, generator=generator)
    longest = min(round(augment.time_mask_s * rate), frames)
    widest = round(augment.column_mask_share * columns)
    for count, axis, most, size in (
        (augment.time_masks, 0, longest, frames),
        (augment.column_masks, 1, widest, columns),
    ):
        for width, place in torch.rand(count, 2, generator=generator).tolist():
            wide = int(width * (most + 1))
            x.narrow(axis, int(place * (size - wide + 1)), wide).zero_()
    return x


def load(
    config: DataConfig,
    path: str,
    heads: Sequence[str],
    *,
    inventories: Inventory | None = None,
    augment: AugmentConfig | None = None,
    seed: int = 0,
    shown: bool = True,
    timed: bool = False,
) -> Dataset:
    """Read a manifest of cuts, and compute the features of all its variants.

    Args:
        config: features, labels, cache and workers; path: the manifest.
        inventories: those of a training set; none: made from these cuts.
        augment: which variants to make; none: each cut as it is.
        seed: of the variants; shown: tell how far it is.
        timed: also which phone each frame has.

    Raises:
        ConfigError: no manifest, no lexicon; LabelError, AudioError: naming the cut; with `timed`
            also where cuts have no phones with times.
    """
    augment = augment or AugmentConfig()
    feature_cache.check_cache(config.cache)
    cuts = manifests.read_cuts(Path(path))
    words = None if config.labels.lexicon is None else lexicon.read(config.labels.lexicon)
    with _naming(path):
        references = {
            head: [labels.tokens(cut, head, config.labels, words) for cut in cuts] for head in heads
        }
        if inventories is None:
            inventories = {
                head: labels.inventory(head, rows, config.labels)
                for head, rows in references.items()
            }
    labels.check_heads(heads, inventories)
    classes = {}
    for head, rows in references.items():
        known = labels.classes(inventories[head])
        classes[head] = [labels.encode(row, known) for row in rows]
        strange = {token for row in rows for token in row} - set(known)
        if strange and labels.UNKNOWN not in known:
            log.warning(
                "%s: %s %s are not among those learned: each counts as an error",
                Path(path).name, head, ", ".join(map(repr, sorted(strange)[:5])),
            )  # fmt: skip
    noises = feature_cache.read_noises(augment.noise) if augment.noise else []
    times: list[list[tuple[str, float, float]]] = []
    if timed:
        with _naming(path):
            times = [labels.timed_phones(cut, config.labels) for cut in cuts]
            if missing := [cut.id for cut, row in zip(cuts, times, strict=True) if not row]:
                raise LabelError(
                    f"cut {missing[0]}", "it has no phones with their times",
                    "Set framewise and data.augment.splice to 0",
                )  # fmt: skip
    tasks = []
    for cut in cuts:
        for number in range(augment.variants):
            chosen = feature_cache.draw(augment, len(noises), cut.id, number, seed)
            noise = None if chosen.noise is None else noises[chosen.noise]
            tasks.append(feature_cache.Task(cut, chosen, noise, config.features, config.cache))
    what = f"features of {Path(path).name.split('.')[0]}"
    with _naming(path):
        made = [
            torch.from_numpy(x) for x in feature_cache.compute(tasks, config.workers, what, shown)
        ]
    each = augment.variants
    placed: list[list[Tensor]] | None = None
    if timed:
        known = labels.classes(inventories["phones"])
        every = [
            _at_frames(times[n // each], known, len(x), config.features.rate / task.variant.speed)
            for n, (x, task) in enumerate(zip(made, tasks, strict=True))
        ]
        placed = [every[i : i + each] for i in range(0, len(every), each)]
    return Dataset(
        cuts=cuts,
        ids=[cut.id for cut in cuts],
        speakers=[_speaker(cut) for cut in cuts],
        seconds=[cut.duration for cut in cuts],
        features=[made[i : i + each] for i in range(0, len(made), each)],
        classes=classes,
        references=references,
        inventories={head: tuple(inventories[head]) for head in heads},
        fingerprint=files.sha256(Path(path)),
        rate=config.features.rate,
        timed=placed,
    )


def _at_frames(
    times: Sequence[tuple[str, float, float]], known: Mapping[str, int], frames: int, rate: float
) -> Tensor:
    """(symbol, start, end) in s -> (L, 3): class, first frame, the frame after the last.

    A frame has the phone that holds its middle. Phones that are not known are left out.
    """
    middles = (np.arange(frames) + 0.5) / rate
    rows = [
        (known[symbol], *np.searchsorted(middles, (start, end)).tolist())
        for symbol, start, end in times
        if symbol in known
    ]
    return torch.tensor(rows, dtype=torch.int32).reshape(-1, 3)


def _framed(rows: Tensor, features: Tensor) -> Tensor:
    """Timed phones (L, 3) of features (F, D) -> the class of each frame (F,); 0 where none is."""
    frames = torch.zeros(len(features), dtype=torch.int64)
    for label, first, end in rows.tolist():
        frames[first:end] = label
    return frames


@contextmanager
def _naming(path: str) -> Iterator[None]:
    """An error of a cut says which manifest it is in."""
    try:
        yield
    except (LabelError, AudioError) as error:
        subject, problem, remedy = error.args
        raise type(error)(f"{path}: {subject}", problem, remedy) from error


def _speaker(cut: Any) -> str:
    named = [s.speaker for s in cut.supervisions if s.speaker]
    return named[0] if named else ""


def check_fits(data: Dataset, batch_seconds: float) -> None:
    """Raises `ConfigError` for a cut longer than a batch may be."""
    longest = max(range(len(data)), key=lambda n: data.seconds[n])
    if data.seconds[longest] > batch_seconds:
        raise ConfigError(
            "batch_seconds",
            f"{batch_seconds:g} s are less than cut {data.ids[longest]} of "
            f"{data.seconds[longest]:g} s",
            "Raise it, or leave such cuts out",
        )


def epoch_batches(
    data: Dataset, max_seconds: float, seed: int, epoch: int, first: int = 0
) -> Iterator[list[int]]:
    """Numbers of the cuts of each batch of an epoch, from batch `first` on; any process's are one.

    Drawn by lhotse's sampler from the seed and the epoch alone, so that a run that was cut goes on
    at the same batch. Processes of one run all see the same batch, and share it among themselves.
    """
    made = batches.sampler(data.cuts, max_seconds, seed=seed)
    made.world_size, made.rank = 1, 0  # lhotse would give each process its own
    made.set_epoch(epoch)
    index: Mapping[str, int] = {name: number for number, name in enumerate(data.ids)}
    for number, batch in enumerate(made):
        if number >= first:
            yield [index[cut.id] for cut in batch]
