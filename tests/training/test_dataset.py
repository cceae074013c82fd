"""Datasets: labels from cuts, batches, variants, the cache."""

import gzip
import json
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf
import tiny
import torch
from helpers import sine, tone

from speechasym.corpora import manifests
from speechasym.errors import AudioError, ConfigError, LabelError
from speechasym.feature_extraction import sets
from speechasym.language import lexicon, phones
from speechasym.levels import ctc
from speechasym.training import augment as augment_module
from speechasym.training import batches, cuts, dataset, feature_cache, labels
from speechasym.training.config import AugmentConfig, LabelConfig

HEADS = ["phones", "letters", "words"]


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    return tiny.corpus(tmp_path_factory.mktemp("corpus"), 12)


def load(words, *more, heads=("phones",), **options):
    config = tiny.config(words, *more).data
    return dataset.load(config, config.train, heads, show_progress=False, **options)


def cut(text=None, symbols=None, name="c"):
    items = [
        SimpleNamespace(symbol=symbol, start=at / 10, end=(at + 1) / 10)
        for at, symbol in enumerate(symbols or ())
    ]
    alignment = {"phone": items} if symbols is not None else None
    return SimpleNamespace(
        id=name, supervisions=[SimpleNamespace(start=0, text=text, alignment=alignment)]
    )


def test_labels_of_all_heads(words):
    data = load(words, heads=HEADS)
    assert data.inventories["phones"] == ("aa", "b", "iy", "s")  # no silence
    assert data.inventories["letters"] == phones.LETTERS
    assert data.inventories["words"] == ("A", "AS", "BEE", "SEA", "<unk>")
    text = data.cuts[0].supervisions[0].text.upper()
    assert "".join(data.references["letters"][0]) == text
    batch = data.batch([0, 3])
    for head, (rows, counts) in batch.targets.items():
        assert rows.dtype == counts.dtype == torch.int64
        for number, row, count in zip([0, 3], rows, counts, strict=True):
            said = ctc.symbols(row[:count].tolist(), data.inventories[head])
            assert said == data.references[head][number]
            assert not row[count:].any()


@pytest.mark.parametrize(
    ("silence", "want"),
    [
        ("drop", "aa b"),
        ("merge", "sil aa sil b sil"),
        ("keep", "sil aa sil sil b sil sil"),
    ],
)
def test_silences(silence, want):
    config = LabelConfig(silence=silence)
    said = cut(symbols=["SIL", "aa", "sil", "pau", "", "b", "h#", "sil"])
    assert labels.tokens(said, "phones", config, None) == want.split()


def test_times_of_phones_follow_merging_and_folding():
    config = LabelConfig(fold="timit39", silence="merge")
    said = cut(symbols=["h#", "bcl", "b", "q", "ix", "kcl", "h#"])
    rows = labels.timed_phones(said, config)
    assert [(symbol, round(a, 3), round(b, 3)) for symbol, a, b in rows] == [
        ("sil", 0.0, 0.2), ("b", 0.2, 0.3), ("ih", 0.4, 0.5), ("sil", 0.5, 0.7),
    ]  # fmt: skip
    assert labels.timed_phones(cut(text="A"), config) == []


def test_frames_have_the_phone_in_their_middle(words):
    data = load(words, timed=True, augment=AugmentConfig(speeds=(1.0, 1.25)))
    known = labels.classes(data.inventories["phones"])
    for epoch in range(2):
        batch = data.batch([0, 5, 7], epoch=epoch)
        assert batch.frames.shape == batch.features.shape[:2]
        for row, length, number in zip(
            batch.frames, batch.lengths.tolist(), [0, 5, 7], strict=True
        ):
            cut = data.cuts[number]
            speed = 1.0 if abs(length - 50 * cut.duration) <= 1 else 1.25
            for frame, own in enumerate(row[:length].tolist()):
                at = (frame + 0.5) / 50 * speed
                items = cut.supervisions[0].alignment["phone"]
                here = [i.symbol for i in items if i.start <= at < i.end]
                assert own == (known.get(here[0], 0) if here else 0)
            assert not row[length:].any()
    assert load(words).batch([0]).frames is None


def test_spliced_cuts_are_stretches_with_their_phones(words):
    augment = AugmentConfig(speeds=(1.0, 1.25), splice=1.0)
    data = load(words, timed=True, augment=augment)
    several = set()
    for step in range(6):
        batch = data.batch([3, 4], 0, augment, (7, step))
        again = data.batch([4], 0, augment, (7, step))  # whatever else is in the batch
        torch.testing.assert_close(again.features[0], batch.features[1][: again.lengths[0]])
        counts = data.labels_in([3, 4], 0, augment, (7, step))
        assert counts["phones"] == int(batch.targets["phones"][1].sum())
        for place, number in enumerate((3, 4)):
            pieces = data.pieces(number, 0, augment, (7, step))
            several.add(len(pieces))
            assert pieces[0].cut == number
            want, said = [], []
            for piece in pieces:
                rows = data.timed[piece.cut][piece.variant].tolist()
                inside = [
                    r for r in rows if piece.frames.start <= r[1] and r[2] <= piece.frames.stop
                ]
                assert piece.phones == [label for label, _, _ in inside]
                assert len(inside) >= min(augment_module.SHORTEST, len(rows))
                want.append(data.features[piece.cut][piece.variant][piece.frames])
                said += piece.phones
            length = int(batch.lengths[place])
            torch.testing.assert_close(batch.features[place, :length], torch.cat(want))
            assert batch.targets["phones"][0][place, : len(said)].tolist() == said
            heard = torch.unique_consecutive(batch.frames[place, :length])
            assert set(heard[heard > 0].tolist()) <= set(said)
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
    with pytest.raises(LabelError, match="no phones with their times"):
        dataset.load(config, str(path), ["letters"], timed=True, show_progress=False)


def test_folding_of_timit():
    config = LabelConfig(fold="timit39", silence="merge")
    said = cut(symbols=["h#", "sh", "ix", "q", "dcl", "d", "ux", "h#"])
    assert labels.tokens(said, "phones", config, None) == [
        "sil",
        "sh",
        "ih",
        "sil",
        "d",
        "uw",
        "sil",
    ]
    with pytest.raises(LabelError, match="cut c: 'xx' is no symbol of TIMIT"):
        labels.tokens(cut(symbols=["xx"]), "phones", config, None)


def test_phones_from_a_lexicon():
    known = lexicon.Lexicon({"CAT": [("K", "AE1", "T"), ("K", "AH0")]})
    found = labels.tokens(cut("Cat, cat!"), "phones", LabelConfig(), known)
    assert found == ["K", "AE", "T", "K", "AE", "T"]
    with pytest.raises(LabelError, match="'DOG' is not in the lexicon"):
        labels.tokens(cut("dog"), "phones", LabelConfig(), known)
    with pytest.raises(LabelError, match="it has no phones"):
        labels.tokens(cut("cat"), "phones", LabelConfig(), None)


def test_text_becomes_letters_and_words():
    said = cut("Don’t -- ask 'em: well-known!")  # noqa: RUF001
    want = ["DON'T", "ASK", "'EM", "WELL", "KNOWN"]
    assert labels.tokens(said, "words", LabelConfig(), None) == want
    assert labels.tokens(said, "letters", LabelConfig(), None) == list(" ".join(want))
    with pytest.raises(LabelError, match="'7'"):
        labels.tokens(cut("room 7"), "words", LabelConfig(), None)
    with pytest.raises(LabelError, match="it has no text"):
        labels.tokens(cut(), "letters", LabelConfig(), None)


def test_rare_words_are_unknown_and_unknown_phones_left_out():
    config = LabelConfig(word_least=2, word_most=2)
    rows = [list("BAACCC"), list("DDA")]
    assert labels.inventory("words", rows, config) == ("A", "C", "<unk>")
    known = labels.classes(("A", "C", "<unk>"))
    assert labels.encode(["C", "X", "A"], known) == [2, 3, 1]
    assert labels.encode(["aa", "zh"], labels.classes(("aa", "b"))) == [1]


def test_features_are_those_of_extract(words):
    data = load(words)
    recording = data.cuts[0].recording.sources[0].source
    want = sets.features(recording, features="logmel", rate=50, normalise="utterance")
    np.testing.assert_allclose(data.features[0][0].numpy(), want, atol=2e-4)
    batch = data.batch([0, 1])
    assert batch.lengths.tolist() == [len(data.features[n][0]) for n in (0, 1)]
    short = int(batch.lengths.argmin())
    assert not batch.features[short, batch.lengths[short] :].any()


def test_resampled_and_several_channels(tmp_path):
    from lhotse import Recording

    samples = sine(0.5, 44100)
    path = tone(tmp_path / "two.wav", np.stack([samples, 0.5 * samples], 1), 44100)
    made = Recording.from_file(path).to_cut()
    config = sets.FeatureConfig(features="logmel", rate=50)
    found = feature_cache.features_of(
        feature_cache.FeatureTask(made, augment_module.Variant(), None, config, None)
    )
    want = sets.features(path, features="logmel", rate=50)
    assert found.shape == want.shape
    loud = want > want.max() - 40
    assert np.abs(found - want)[loud].max() < 0.1
    config = sets.FeatureConfig(features="logmel", rate=50, channel=1)
    found = feature_cache.features_of(
        feature_cache.FeatureTask(made, augment_module.Variant(), None, config, None)
    )
    want = sets.features(path, features="logmel", rate=50, channel=1)
    assert np.abs(found - want)[loud].max() < 0.1
    config = sets.FeatureConfig(features="logmel", channel=2)
    with pytest.raises(AudioError, match="it has no channel 2"):
        feature_cache.features_of(
            feature_cache.FeatureTask(made, augment_module.Variant(), None, config, None)
        )


def test_batches_of_an_epoch(words):
    data = load(words)
    first = list(batches.epoch_batches(data, 3, 0, 0))
    assert sorted(n for batch in first for n in batch) == list(range(len(data)))
    assert first != list(batches.epoch_batches(data, 3, 0, 1))
    assert first != list(batches.epoch_batches(data, 3, 1, 0))
    for epoch in (0, 3):  # whatever came before
        whole = list(batches.epoch_batches(data, 3, 0, epoch))
        assert list(batches.epoch_batches(data, 3, 0, epoch, first=2)) == whole[2:]
    lengths = [len(batch.ids) for batch in data.in_order(3)]
    assert sum(lengths) == len(data) and len(lengths) > 1


def test_grouped_fits_with_padding():
    assert batches.group_by_length([1, 4, 2, 9, 2], 6) == [[3], [1], [2, 4, 0]]


def test_variants_take_turns(words):
    more = ["data.augment.speeds=0.9,1,1.1", "data.augment.copies=3"]
    augment = tiny.config(words, *more).data.augment
    data = load(words, *more, augment=augment)
    for number in range(3):
        lengths = {len(data.batch([number], epoch).features[0]) for epoch in range(3)}
        kept = len(load(words).features[number][0])
        assert lengths == {kept, *(len(x) for x in data.features[number])} and len(lengths) == 3
        assert max(lengths) == pytest.approx(kept / 0.9, abs=1.5)
        assert torch.equal(data.batch([number], 4).features, data.batch([number], 1).features)
        # neighbours are not all at one speed in one epoch
        assert torch.equal(
            data.batch([number], 1).features[0], data.features[number][(number + 1) % 3]
        )


def test_variants_depend_on_seed_cut_and_number_only():
    augment = AugmentConfig(speeds=(0.9, 1.1), noise="x", noise_share=1.0, snr_db=(3, 9))
    drawn = augment_module.draw_variant(augment, 5, "cut", 1, 7)
    assert drawn == augment_module.draw_variant(augment, 5, "cut", 1, 7) and 3 <= drawn.snr_db <= 9
    others = [("cut", 2, 7), ("tuc", 1, 7), ("cut", 1, 8)]
    assert all(drawn != augment_module.draw_variant(augment, 5, *other) for other in others)
    speeds = {
        augment_module.draw_variant(augment, 5, "cut", number, 7).speed for number in range(2)
    }
    assert speeds == {0.9, 1.1}


def test_noise_has_its_ratio(tmp_path, words, monkeypatch):
    tone(tmp_path / "n" / "hum.wav", 0.3 * np.random.default_rng(0).standard_normal(4000))
    (noise,) = cuts.read_noises(str(tmp_path / "n"))
    clean = load(words).cuts[0]
    got = []
    monkeypatch.setattr(
        sets, "frames", lambda blocks, _: iter([got.append(x) or x[:, None] for x in blocks])
    )
    config = sets.FeatureConfig(features="logmel")
    for other in (None, noise):
        feature_cache.features_of(
            feature_cache.FeatureTask(
                clean, augment_module.Variant(1.0, 0, 0.5, 6.0), other, config, None
            )
        )
    x, mixed = got
    ratio = 10 * np.log10(np.mean(x**2) / np.mean((mixed - x) ** 2))
    assert ratio == pytest.approx(6, abs=0.01)  # noise is shorter, and repeated


def test_noise_from_a_folder_is_a_variant_of_its_own(tmp_path, words):
    tone(tmp_path / "deep" / "hum.wav", 0.3 * np.random.default_rng(0).standard_normal(9000))
    more = [f"data.augment.noise={tmp_path}", "data.augment.noise_share=1"]
    augment = tiny.config(words, *more).data.augment
    data, clean = load(words, *more, augment=augment), load(words)
    assert augment.variants == 2 and len(data.features[0]) == 2
    kept = [*data.features[0], clean.features[0][0]]
    assert all(x.shape == kept[0].shape for x in kept)
    assert not any(torch.equal(a, b) for a, b in zip(kept, kept[1:] + kept[:1], strict=True))


def test_masks_gain_and_shift():
    x = torch.ones(50, 20)
    augment = AugmentConfig(time_masks=1, time_mask_s=0.2, column_masks=1, column_mask_share=0.3)
    widths = set()
    for seed in range(200):
        y = augment_module.perturb_features(x, augment, 100, seed)
        assert torch.equal(y, augment_module.perturb_features(x, augment, 100, seed))
        rows, columns = (y == 0).all(1), (y == 0).all(0)
        assert torch.equal(y == 0, rows[:, None] | columns)
        assert (rows.diff() != 0).sum() <= 2 and (columns.diff() != 0).sum() <= 2
        widths.add((int(rows.sum()), int(columns.sum())))
    assert {w for w, _ in widths} == set(range(21)) and {w for _, w in widths} == set(range(7))
    assert (x == 1).all()  # the kept features stay
    y = augment_module.perturb_features(x, AugmentConfig(shift=0.5), 100, 1)
    assert (y == y[0]).all() and 0.2 < float(y[0].std()) < 0.8
    assert augment_module.perturb_features(x, AugmentConfig(), 100, 1) is x


def test_the_cache(tmp_path, words, monkeypatch):
    more = [f"data.cache={tmp_path / 'c'}"]
    first = load(words, *more)
    kept = sorted((tmp_path / "c").rglob("*.npy"))
    assert len(kept) == len(first)
    assert len(list((tmp_path / "c").rglob("*.*"))) == len(kept)  # and nothing else
    kept[0].write_bytes(kept[0].read_bytes()[:200])  # cut: made anew
    made = []
    whole = feature_cache._features
    monkeypatch.setattr(feature_cache, "_features", lambda task: made.append(task) or whole(task))
    again = load(words, *more)
    assert len(made) == 1
    for a, b in zip(first.features, again.features, strict=True):
        assert torch.equal(a[0], b[0])
    load(words, *more, "data.features.rate=25")
    assert len(made) == 1 + len(first)
    monkeypatch.setattr(feature_cache, "_code", lambda: "another version")
    load(words, *more)
    assert len(made) == 1 + 2 * len(first)


def test_several_workers_give_the_same(words):
    for a, b in zip(load(words).features, load(words, "data.workers=2").features, strict=True):
        assert torch.equal(a[0], b[0])


def test_faults_are_named(tmp_path, words):
    config = tiny.config([f"data.train={tmp_path / 'no.jsonl'}", words[1]]).data
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
    with pytest.raises(ConfigError, match="no recordings below"):
        (tmp_path / "empty").mkdir()
        cuts.read_noises(str(tmp_path / "empty"))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_recording_that_cannot_be_read_names_its_cut(tmp_path, workers):
    texts = {f"s-{n}": "a bee sea as" for n in range(5)}
    path = tiny.manifest(tmp_path / "m.jsonl", texts)
    sf.write(tmp_path / "audio" / "s-3.wav", np.zeros(0), 16000)
    with pytest.raises(AudioError, match="cut s-3"):
        load([f"data.train={path}", "data.dev=x"], f"data.workers={workers}")
    (tmp_path / "audio" / "s-3.wav").unlink()
    with pytest.raises(AudioError, match=r"m\.jsonl: cut s-3: .*s-3\.wav is not there"):
        load([f"data.train={path}", "data.dev=x"])
    (tmp_path / "audio" / "s-3.wav").write_text("no audio")
    with pytest.raises(AudioError, match=r"s-3\.wav is no audio file"):
        load([f"data.train={path}", "data.dev=x"])
    tone(tmp_path / "audio" / "s-3.wav", np.zeros(80))
    with pytest.raises(AudioError, match=r"s-3\.wav has 80 samples at 16000 Hz, where"):
        load([f"data.train={path}", "data.dev=x"])


def test_labels_that_are_missing_name_manifest_cut_and_key(tmp_path):
    path = tiny.manifest(tmp_path / "m.jsonl", {"s-1": "a bee"})
    cut = json.loads(path.read_text())
    del cut["supervisions"][0]["alignment"]
    path.write_text(json.dumps(cut) + "\n")
    with pytest.raises(LabelError, match=r"m\.jsonl: cut s-1: .*data\.labels\.lexicon"):
        load([f"data.train={path}", "data.dev=x"])
