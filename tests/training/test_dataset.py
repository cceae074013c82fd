"""Datasets: labels, batches, variants and splices of cuts."""

import gzip
import json

import pytest
import tiny
import torch

from speechasym.corpora import manifests
from speechasym.errors import ConfigError, LabelError
from speechasym.language.letters import LETTERS
from speechasym.levels import ctc
from speechasym.training import dataset, labels
from speechasym.training.augment import SHORTEST
from speechasym.training.config import AugmentConfig
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
    text = data.cuts[0].supervisions[0].text.upper()
    assert "".join(data.references["letters"][0]) == text
    batch = data.batch([0, 3])
    for head, (rows, counts) in batch.targets.items():
        assert rows.dtype == counts.dtype == torch.int64
        for number, row, count in zip([0, 3], rows, counts, strict=True):
            symbols = ctc.symbols(row[:count].tolist(), data.inventories[head])
            assert symbols == data.references[head][number]
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
            cut = data.cuts[number]
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
    for step in range(6):
        batch = data.batch([3, 4], 0, augment, (7, step))
        again = data.batch([4], 0, augment, (7, step))  # whatever else is in the batch
        torch.testing.assert_close(again.features[0], batch.features[1][: again.lengths[0]])
        counts = data.count_labels([3, 4], 0, augment, (7, step))
        assert counts["phones"] == int(batch.targets["phones"][1].sum())
        for place, number in enumerate((3, 4)):
            pieces = data.excerpts(number, 0, augment, (7, step))
            several.add(len(pieces))
            assert pieces[0].cut == number
            want, symbols = [], []
            for piece in pieces:
                rows = data.phone_frames[piece.cut][piece.variant].tolist()
                inside = [
                    r for r in rows if piece.frames.start <= r[1] and r[2] <= piece.frames.stop
                ]
                assert piece.phones == [label for label, _, _ in inside]
                assert len(inside) >= min(SHORTEST, len(rows))
                want.append(data.features[piece.cut][piece.variant][piece.frames])
                symbols += piece.phones
            length = int(batch.lengths[place])
            torch.testing.assert_close(batch.features[place, :length], torch.cat(want))
            assert batch.targets["phones"][0][place, : len(symbols)].tolist() == symbols
            unique = torch.unique_consecutive(batch.frame_labels[place, :length])
            assert set(unique[unique > 0].tolist()) <= set(symbols)
    assert several == {2, 3}
    whole = data.batch([3], 0, AugmentConfig(splice=0.0), (7, 0))
    assert int(whole.lengths[0]) == len(data.features[3][1])


def test_framewise_needs_times(tmp_path):
    config = tiny.config(tiny.corpus(tmp_path, 2)).data
    path = tmp_path / "train.jsonl"
    kept = [json.loads(line) for line in path.read_text().splitlines()]
    for row in kept:
        del row["supervisions"][0]["alignment"]
    path.write_text("".join(json.dumps(row) + "\n" for row in kept))
    with pytest.raises(LabelError, match="phones have no times"):
        dataset.load(config, str(path), ["letters"], timed=True, show_progress=False)


def test_variants_take_turns(few_words):
    more = ["data.augment.speeds=0.9,1,1.1", "data.augment.copies=3"]
    augment = tiny.config(few_words, *more).data.augment
    data = load(few_words, *more, augment=augment)
    for number in range(3):
        lengths = {len(data.batch([number], epoch).features[0]) for epoch in range(3)}
        kept = len(load(few_words).features[number][0])
        assert lengths == {kept, *(len(x) for x in data.features[number])} and len(lengths) == 3
        assert max(lengths) == pytest.approx(kept / 0.9, abs=1.5)
        assert torch.equal(data.batch([number], 4).features, data.batch([number], 1).features)
        # neighbours are not all at one speed in one epoch
        assert torch.equal(
            data.batch([number], 1).features[0], data.features[number][(number + 1) % 3]
        )


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
