"""The training data: cuts by number, and batches of their features and labels.

Features are computed when a batch needs them, in this process or in workers, or read from a
`FeatureStore`. In memory are only an index of the cuts and the batches in flight.

Shapes: B utterances, F frames, D columns, L labels.
"""

import logging
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from speechasym import files
from speechasym.auditory.filterbank import frame_count, hop
from speechasym.corpora.manifests import check_writable, stream_cuts
from speechasym.errors import AudioError, LabelError
from speechasym.language import contexts
from speechasym.language.lexicon import Lexicon, read_lexicon
from speechasym.training import batches, cuts, labels
from speechasym.training.augment import (
    Excerpt,
    Perturbation,
    Variant,
    draw_perturbation,
    draw_splice,
    draw_variant,
    hashed_seed,
    perturb,
    recurring_variants,
)
from speechasym.training.augment_config import AugmentConfig
from speechasym.training.config import DataConfig
from speechasym.training.cut_features import FeatureTask, features_of, samples_of
from speechasym.training.cut_index import BLOCK, CutIndex, IndexBuilder
from speechasym.training.feature_store import FeatureStore, half
from speechasym.training.labels import Inventory
from speechasym.training.on_device import Batch, Samples
from speechasym.training.symbols import Symbols, SymbolsBuilder, follow, labelled
from speechasym.training.warm_start import StartPhones

if TYPE_CHECKING:
    from lhotse.cut import Cut

log = logging.getLogger(__name__)
UNCHANGED = AugmentConfig()  # each cut once, as recorded


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A set of cuts. What a batch holds depends on the seed, the epoch and its cuts only."""

    index: CutIndex
    symbols: dict[str, Symbols]  # by head
    inventories: Inventory
    fingerprint: str  # sha256 of the manifest
    config: DataConfig
    augment: AugmentConfig
    noises: "list[Cut]"
    seed: int
    store: FeatureStore | None = None
    as_samples: bool = False  # batches carry samples, whose features the device computes
    # start and end in s of all phones of the head "phones": (phones, 2) float64
    times: Tensor | None = None
    start_follow: NDArray[np.float64] | None = None  # of the phones of a run to start from
    views: bool = False  # whether a batch of an epoch has each cut again, at the next speed
    clean: bool = False  # batches of an epoch hold features without noise, room and masks too

    def __len__(self) -> int:
        return len(self.index)

    @property
    def ids(self) -> list[str]:
        """The ids of the cuts."""
        return self.index.ids

    @property
    def speakers(self) -> list[str]:
        """The speaker of each cut, "" where unknown."""
        return self.index.speakers

    @property
    def seconds(self) -> Tensor:
        """The duration of each cut (cuts,), float64."""
        return self.index.seconds

    @cached_property
    def columns(self) -> int:
        """The number of columns of the features."""
        return len(self.config.features.columns())

    @cached_property
    def follow(self) -> dict[str, NDArray[np.float64]]:
        """{"phones": (V, V) which phones follow which, see `symbols.follow`}; {} without phones."""
        if "phones" not in self.symbols:
            return {}
        if self.start_follow is not None:  # of more text than these cuts have
            return {"phones": self.start_follow}
        return {"phones": follow(self.symbols["phones"], len(self.inventories["phones"]) + 1)}

    def reference(self, head: str, number: int) -> list[str]:
        """Return a cut's symbols for a head, unknown words included, phones without contexts."""
        vocabulary, rows, _ = self.symbols[head]
        row = [vocabulary[n] for n in rows[number].tolist()]
        in_context = head == "phones" and self.config.labels.context
        return list(map(contexts.plain, row)) if in_context else row

    @property
    def workers(self) -> int:
        """How many processes are worth while: none to read what is stored."""
        return self.config.workers if self.augment.fresh or self.store is None else 0

    def batch(
        self,
        numbers: Sequence[int],
        epoch: int | None = None,
        skipped: dict[str, str] | None = None,
    ) -> Batch:
        """Return cuts by number, augmented as in an epoch (default: unchanged).

        Args:
            skipped: takes {cut: why} of cuts that cannot be read, which are left out; default:
                raise.

        Raises `AudioError` naming the cut, and `OutputError` for stored features that are damaged.
        """
        kept, examples, perturbations, frame_labels, cleans = [], [], [], [], []
        rows: dict[str, list[list[int]]] = {head: [] for head in self.symbols}
        views = (0, 1) if self.views and epoch is not None else (0,)
        for number, view in ((number, view) for view in views for number in numbers):
            try:
                x, perturbation, known, clean = self._example(number, epoch, view)
            except AudioError as error:
                if skipped is None:
                    raise
                skipped[self.ids[number]] = str(error).rstrip(".")
                continue
            kept += [self.ids[number]] * (view == 0)
            examples.append(x)
            perturbations += perturbation
            frame_labels += known
            cleans += clean
            for head, row in self._labels(number, epoch).items() if view == 0 else ():
                rows[head].append(row)
        carries = self.as_samples and bool(examples)
        features = [torch.zeros(0, self.columns)] * max(1, len(examples))
        return Batch(
            kept,
            pad_sequence(examples if examples and not carries else features, batch_first=True),
            torch.tensor([self._frame_count(x) for x in examples]),
            {head: batches.pad_labels(row) for head, row in rows.items()},
            pad_sequence(frame_labels, batch_first=True) if frame_labels else None,
            Samples.together(examples, perturbations) if carries else None,
            pad_sequence(cleans, batch_first=True) if cleans else None,
        )

    def _frame_count(self, x: Tensor) -> int:
        """Return the frames of a cut's samples (T,) or features (F, D)."""
        if not self.as_samples:
            return len(x)
        features = self.config.features
        return frame_count(len(x), hop(features.sample_rate, features.rate))

    def _example(
        self, number: int, epoch: int | None, view: int = 0
    ) -> tuple[Tensor, list[Perturbation], list[Tensor], list[Tensor]]:
        """Return a cut's features (F, D) in an epoch; or its samples (T,) and what is left to do.

        Also its phone in each frame, if timed, and its clean features, if a teacher hears them.
        `view`: 1 for the variant after the epoch's.
        """
        parts, known, clean = [], [], []
        for excerpt in self.excerpts(number, epoch):
            variant = self._variant(excerpt._replace(variant=excerpt.variant + view), epoch)
            whole = self._sound(excerpt.cut, variant)
            frames = self._frames(excerpt, variant)
            parts.append(whole[frames])
            if self.clean and epoch is not None:
                bare = Variant(variant.speed)
                same = whole if variant == bare else self._sound(excerpt.cut, bare)
                clean.append(same[frames])
            if self.times is not None:
                count = self._frame_count(whole)
                known.append(self._frame_labels(excerpt.cut, variant, count)[frames])
        x, left = torch.cat(parts).float(), []
        if epoch is not None:
            drawn_for = (self.seed, epoch, self.ids[number], *([view] if view else []))
            seed, rate = hashed_seed(*drawn_for), self.config.features.rate
            size = self._frame_count(x), self.columns
            drawn = draw_perturbation(*size, self.augment, rate, seed)
            if drawn is not None and self.as_samples:
                left = [drawn]
            elif drawn is not None:
                x = perturb(x, drawn)
        cleans = [torch.cat(clean).float()[: len(x)]] if clean else []
        return x, left, [torch.cat(known)] if known else [], cleans

    def excerpts(self, number: int, epoch: int | None) -> list[Excerpt]:
        """Return what stands for a cut in an epoch: all of it, or a splice."""
        if epoch is None:
            return [Excerpt(number, 0)]
        if self.augment.splice:
            ends, seed = self.symbols["phones"].rows.ends, (epoch, self.ids[number], "splice")
            splice = draw_splice(ends, number, self.augment, hashed_seed(self.seed, *seed))
            if splice:
                return splice
        return [Excerpt(number, epoch % self.augment.copies if self.augment.copies else epoch)]

    def count_labels(self, numbers: Sequence[int], epoch: int | None) -> dict[str, int]:
        """Return {head: labels} of the batch that `batch` returns for these arguments."""
        rows = [self._labels(n, epoch) for n in numbers]
        return {head: sum(len(row[head]) for row in rows) for head in self.symbols}

    def _labels(self, number: int, epoch: int | None) -> dict[str, list[int]]:
        result = {}
        for head, (_, rows, known) in self.symbols.items():
            parts = [rows[number]]
            if head == "phones":
                parts = [rows[e.cut][e.phones] for e in self.excerpts(number, epoch)]
            row = known.numpy()[np.concatenate(parts)]
            result[head] = row[row > 0].tolist()
        return result

    def _variant(self, excerpt: Excerpt, epoch: int | None) -> Variant:
        if epoch is None:
            return Variant()
        name = self.ids[excerpt.cut]
        return draw_variant(self.augment, len(self.noises), name, excerpt.variant, self.seed)

    def _sound(self, number: int, variant: Variant) -> Tensor:
        """Return a variant's features (F, D), float16 as they are stored, or samples (T,)."""
        name = self.ids[number]
        if self.store is not None:
            kept = recurring_variants(self.augment, len(self.noises), name, self.seed)
            if variant in kept:
                return torch.from_numpy(self.store.read(number, kept.index(variant), name))
        cut = self.index.cut(number)
        before, now = int(self.index.stamps[number]), cuts.file_stamp(cut)
        if before != now and cuts.MISSING not in (before, now):
            problem = "its recording has changed since the run was started"
            raise AudioError(f"cut {name}", problem, "Restore it, or train again in another folder")
        noise = None if variant.noise is None else self.noises[variant.noise]
        task = FeatureTask(cut, self.config.features, variant, noise)
        if self.as_samples:
            return torch.from_numpy(samples_of(task))
        rows = features_of(task)
        return torch.from_numpy(half(rows, name))

    def _edges(self, number: int, variant: Variant) -> Tensor:
        """Return (phones, 2): first frame of each phone, and the frame after its last.

        A frame has the phone that holds its middle.
        """
        assert self.times is not None  # `load` sees to it
        first, end = self.symbols["phones"].rows.ends[number : number + 2].tolist()
        rate = self.config.features.rate / variant.speed
        return torch.ceil(self.times[first:end] * rate - 0.5 - 1e-9).long()

    def _frames(self, excerpt: Excerpt, variant: Variant) -> slice:
        if excerpt.phones == slice(None):
            return slice(None)
        edges = self._edges(excerpt.cut, variant)[excerpt.phones]
        return slice(int(edges[0, 0]), int(edges[-1, 1]))

    def _frame_labels(self, number: int, variant: Variant, frames: int) -> Tensor:
        """Return the label of each frame (F,), 0 where unknown."""
        _, rows, known = self.symbols["phones"]
        row = torch.zeros(frames, dtype=torch.int64)
        edges = self._edges(number, variant).tolist()
        phones = known.numpy()[rows[number]].tolist()
        for label, (first, end) in zip(phones, edges, strict=True):
            row[first:end] = label
        return row


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
    as_samples: bool = False,
    start: StartPhones | None = None,
    views: bool = False,
    clean: bool = False,
) -> Dataset:
    """Read a manifest of cuts once, and store features if there is a folder for them.

    Args:
        config: features, labels, cache and workers.
        path: of the manifest.
        inventories: of a training set; default: from these cuts.
        augment, seed: how batches of an epoch are varied; default: not at all.
        timed: find the phone of each frame, too.
        pronunciations: default: the configured lexicon.
        as_samples: batches carry samples instead of features.
        start: phones of a run to start from; they are used if all phones of the cuts are there.
        views: whether batches of an epoch have each cut twice, see `Dataset`.
        clean: batches of an epoch hold features without noise, room and masks too.

    Raises:
        ConfigError: no manifest or lexicon.
        LabelError, AudioError: naming the cut; with `timed` also for cuts without timed phones.
        OutputError: features cannot be stored.
    """
    if config.cache is not None:
        check_writable(config.cache)
    words, heard = pronunciations, start.inventory if start and config.labels.context else None
    of_run = (inventories or {}).get("phones", heard)
    if words is None and config.labels.lexicon:
        words = read_lexicon(config.labels.lexicon)
    texts = {head: SymbolsBuilder() for head in heads}
    builder, times, left_out = IndexBuilder(), array("d"), 0
    with naming(path):
        for line, cut in stream_cuts(path):
            if (stamp := cuts.file_stamp(cut)) == cuts.MISSING:
                if config.unreadable == "stop":
                    raise cuts.unreadable(cut, FileNotFoundError())
                left_out += 1  # of each batch, so that batches stay those of an interrupted run
            builder.add(line, cut, stamp)
            for head in heads:
                texts[head].add(labels.tokens(cut, head, config.labels, words, of_run))
            if timed:
                phones = labels.timed_phones(cut, config.labels)
                if not phones:
                    remedy = "Set framewise and data.augment.splice to 0"
                    raise LabelError(f"cut {cut.id}", "its phones have no times", remedy)
                times.extend(t for phone in phones for t in (phone.start, phone.end))
    if left_out:
        log.warning("%s: %d of its recordings are missing, and left out", path, left_out)
    if left_out == len(builder.ids):
        raise AudioError(path, "none of its recordings can be read", "Check their paths")
    built = {head: texts[head].build() for head in heads}
    start_follow = None
    if inventories is None:
        inventories = {h: labels.inventory(h, built[h][1], config.labels) for h in heads}
        if start and "phones" in heads and set(start.inventory) >= set(inventories["phones"]):
            inventories["phones"], start_follow = start
    name = Path(path).name
    data = Dataset(
        index=builder.index(),
        symbols={h: labelled(*built[h], inventories[h], f"{name}: {h}") for h in heads},
        inventories={head: tuple(inventories[head]) for head in heads},
        fingerprint=files.sha256(Path(path)),
        config=config,
        augment=augment,
        noises=cuts.read_noises(augment.noise) if augment.noise else [],
        seed=seed,
        as_samples=as_samples,
        times=torch.from_numpy(np.array(times)).reshape(-1, 2) if timed else None,
        start_follow=start_follow,
        views=views,
        clean=clean,
    )
    if config.cache is None:
        return data
    with naming(path):
        what = f"features of {name.split('.')[0]}"
        return replace(data, store=_stored(data, what, show_progress))


def _stored(data: Dataset, what: str, show_progress: bool) -> FeatureStore:
    """Return the store of a dataset, complete."""
    config, index, ids = data.config, data.index, data.ids
    assert config.cache
    noises, skip = data.noises, config.unreadable == "skip"
    variants = partial(recurring_variants, data.augment, len(noises), seed=data.seed)
    store = FeatureStore(config.cache, len(variants(name=ids[0])), BLOCK)
    shards = (
        store.shard(lines, [variants(name=name) for name in part], noises, config.features, skip)
        for n, lines in enumerate(index.blocks)
        if (part := ids[n * BLOCK : (n + 1) * BLOCK])
    )
    store.open_folder()
    store.fill(shards, config.workers, what, show_progress)
    return store


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Name the manifest in errors about one of its cuts."""
    try:
        yield
    except (LabelError, AudioError) as error:
        raise type(error)(f"{path}: {error.args[0]}", *error.args[1:]) from error
