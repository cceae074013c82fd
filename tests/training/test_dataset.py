"""Datasets: labels, batches, variants and splices of cuts."""

import gzip
import json
import pickle
import weakref
from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from helpers import tone

from speechasym.corpora import manifests
from speechasym.errors import ConfigError, LabelError
from speechasym.language.letters import LETTERS
from speechasym.levels import ctc
from speechasym.training import batches, dataset, labels, streaming
from speechasym.training.augment import SHORTEST, Variant, draw_variant
from speechasym.training.augment_config import AugmentConfig
from speechasym.training.cut_features import FeatureTask, features_of
from speechasym.training.cuts import read_noises

HEADS = ["phones", "letters", "words"]


def load(words, *more, heads=("phones",), **options):
    config = tiny.config(words, *more).data
    return dataset.load(config, config.train, heads, show_progress=False, **options)


def test_labels_of_all_heads(few_words):
    data = load(few_words, heads=HEADS)
    assert data.inventories["phones"] == ("aa", "b", "iy", "s")  # no silence
    assert data.inventories["letters"] == LETTERS
    assert data.inventories["words"] == ("A", "AS", "BEE", "SEA", "<unk>")
    text = data.index.cut(0).supervisions[0].text.upper()
    assert "".join(data.reference("letters", 0)) == text
    batch = data.batch([0, 3])
    for head, (rows, counts) in batch.targets.items():
        assert rows.dtype == counts.dtype == torch.int64
        for number, row, count in zip([0, 3], rows, counts, strict=True):
            symbols = ctc.symbols(row[:count].tolist(), data.inventories[head])
            assert symbols == data.reference(head, number)
            assert not row[count:].any()


def test_frames_have_the_phone_in_their_middle(few_words):
    data = load(few_words, timed=True, augment=AugmentConfig(speeds=(1.0, 1.25)))
    known = labels.classes(data.inventories["phones"])
    for epoch in range(2):
        batch = data.batch([0, 5, 7], epoch=epoch)
        assert batch.frame_labels.shape == batch.features.shape[:2]
        for row, length, number in zip(
            batch.frame_labels, batch.lengths.tolist(), [0, 5, 7], strict=True
        ):
            cut = data.index.cut(number)
            speed = 1.0 if abs(length - 50 * cut.duration) <= 1 else 1.25
            for frame, label in enumerate(row[:length].tolist()):
                at = (frame + 0.5) / 50 * speed
                items = cut.supervisions[0].alignment["phone"]
                here = [i.symbol for i in items if i.start <= at < i.end]
                assert label == (known.get(here[0], 0) if here else 0)
            assert not row[length:].any()
    assert load(few_words).batch([0]).frame_labels is None


def test_spliced_cuts_are_stretches_with_their_phones(few_words):
    augment = AugmentConfig(speeds=(1.0, 1.25), splice=1.0)
    data = load(few_words, timed=True, augment=augment)
    several = set()
    for epoch in range(6):
        batch = data.batch([3, 4], epoch)
        again = data.batch([4], epoch)  # whatever else is in the batch
        assert torch.equal(again.features[0], batch.features[1][: again.lengths[0]])
        counts = data.count_labels([3, 4], epoch)
        assert counts["phones"] == int(batch.targets["phones"][1].sum())
        for place, number in enumerate((3, 4)):
            pieces = data.excerpts(number, epoch)
            several.add(len(pieces))
            assert pieces[0].cut == number
            want, symbols = [], []
            for piece in pieces:
                speed = draw_variant(augment, 0, data.ids[piece.cut], piece.variant, 0).speed
                x = features_of(
                    FeatureTask(data.index.cut(piece.cut), data.config.features, Variant(speed))
                )
                phones = labels.timed_phones(data.index.cut(piece.cut), data.config.labels)
                inside = phones[piece.phones]
                assert len(inside) >= min(SHORTEST, len(phones))
                middles = (np.arange(len(x)) + 0.5) / 50 * speed
                chosen = (middles >= inside[0].start) & (middles < inside[-1].end)
                want.append(torch.from_numpy(x[chosen]).half().float())
                symbols += [phone.label for phone in inside]
            length = int(batch.lengths[place])
            assert torch.equal(batch.features[place, :length], torch.cat(want))
            row = batch.targets["phones"][0][place, : len(symbols)].tolist()
            assert ctc.symbols(row, data.inventories["phones"]) == symbols
            unique = torch.unique_consecutive(batch.frame_labels[place, :length])
            assert set(unique[unique > 0].tolist()) <= set(row)
    assert several == {2, 3}
    whole = replace(data, augment=AugmentConfig(splice=0.0)).batch([3], 0)
    assert int(whole.lengths[0]) == int(data.batch([3]).lengths[0])


def test_framewise_needs_times(tmp_path):
    config = tiny.config(tiny.corpus(tmp_path, 2)).data
    path = tmp_path / "train.jsonl"
    kept = [json.loads(line) for line in path.read_text().splitlines()]
    for row in kept:
        del row["supervisions"][0]["alignment"]
    path.write_text("".join(json.dumps(row) + "\n" for row in kept))
    with pytest.raises(LabelError, match="phones have no times"):
        dataset.load(config, str(path), ["letters"], timed=True, show_progress=False)


def test_speeds_take_turns(few_words):
    augment = AugmentConfig(speeds=(0.9, 1.0, 1.1))
    data = load(few_words, augment=augment)
    lengths = torch.stack([data.batch(range(6), epoch).lengths for epoch in range(4)])
    kept = data.batch(range(6)).lengths
    assert all(len(set(column)) == 3 for column in lengths[:3].T.tolist())
    torch.testing.assert_close(lengths[:3].amax(0), (kept / 0.9).round().long(), atol=1, rtol=0)
    assert torch.equal(lengths[3], lengths[0])
    fast = lengths[0] < kept  # neighbours are not all at one speed in one epoch
    assert fast.any() and not fast.all()


def test_a_batch_depends_on_seed_epoch_and_cuts_only(tmp_path, few_words):
    tone(tmp_path / "hum.wav", 0.3 * np.random.default_rng(0).standard_normal(9000))
    augment = AugmentConfig(speeds=(0.9, 1.1), noise=str(tmp_path), time_masks=1, gain=0.1)
    data = load(few_words, augment=augment, seed=3)
    batch, alone = data.batch([5, 2], 7), data.batch([2], 7)
    assert torch.equal(batch.features[1, : alone.lengths[0]], alone.features[0])
    others = [data.batch([2], 9), load(few_words, augment=augment, seed=4).batch([2], 7)]
    for other in others:  # at the same speed or another, in other noise, with other masks
        assert not torch.equal(other.features, alone.features)
    drawn = {draw_variant(augment, 1, data.ids[2], epoch, 3) for epoch in range(12)}
    assert sum(variant.noise is not None for variant in drawn) > 3  # new noise in each epoch


def test_what_is_kept_in_memory_does_not_depend_on_features(few_words, monkeypatch):
    data, alive = load(few_words, augment=AugmentConfig(speeds=(1.0, 1.1))), []
    compute = dataset.features_of

    def watched(task):
        rows = compute(task)
        alive.append(weakref.ref(rows.base if rows.base is not None else rows))
        return rows

    monkeypatch.setattr(dataset, "features_of", watched)
    groups = list(batches.epoch_batches(data.seconds.tolist(), 3, 0, 0))
    most = 0
    for step in streaming.steps(data, groups, 0):
        most = max(most, sum(ref() is not None for ref in alive))
        assert len(step.batch.ids) <= 4
    assert len(alive) == len(data) and most <= 1
    size = len(pickle.dumps(data))
    assert size < 600 * len(data) + 10_000  # ids, lines and labels


def test_faults_are_named(tmp_path, few_words):
    config = tiny.config([f"data.train={tmp_path / 'no.jsonl'}", few_words[1]]).data
    with pytest.raises(ConfigError, match="no such manifest"):
        dataset.load(config, config.train, ["phones"], show_progress=False)
    for raw, message in ((b"", "contains no cuts"), (b"{", "cannot be read as a manifest")):
        (tmp_path / "bad.jsonl.gz").write_bytes(gzip.compress(raw))
        with pytest.raises(ConfigError, match=message):
            manifests.read_cuts(tmp_path / "bad.jsonl.gz")
    path = tiny.manifest(tmp_path / "m.jsonl", {"s-1": "a bee", "s-2": "a"})
    path.write_text(2 * path.read_text())
    with pytest.raises(ConfigError, match="contains the cut s-1 twice"):
        manifests.read_cuts(path)
    for other in (tmp_path, tmp_path / "audio" / "s-1.wav"):
        with pytest.raises(ConfigError, match="is not a manifest of cuts"):
            manifests.read_cuts(other)
    (cut, *_) = [json.loads(line) for line in path.read_text().splitlines()]
    for part, name in ((cut["recording"], "Recording"), (cut["supervisions"][0], "Supervision")):
        (tmp_path / "parts.jsonl").write_text(json.dumps(part) + "\n")
        with pytest.raises(ConfigError, match=f"contains a {name}.*, not cuts"):
            manifests.read_cuts(tmp_path / "parts.jsonl")
    with pytest.raises(ConfigError, match="no recordings in"):
        (tmp_path / "empty").mkdir()
        read_noises(str(tmp_path / "empty"))


def test_labels_that_are_missing_name_manifest_cut_and_key(tmp_path):
    path = tiny.manifest(tmp_path / "m.jsonl", {"s-1": "a bee"})
    cut = json.loads(path.read_text())
    del cut["supervisions"][0]["alignment"]
    path.write_text(json.dumps(cut) + "\n")
    with pytest.raises(LabelError, match=r"m\.jsonl: cut s-1: .*data\.labels\.lexicon"):
        load([f"data.train={path}", "data.dev=x"])
