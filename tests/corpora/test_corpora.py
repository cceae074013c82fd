"""Corpora: every known shape gives the same manifests, every fault its line in one report."""

import gzip
import json
import os
import shutil
import sys

import make_stub_corpora as stubs
import numpy as np
import pytest
import soundfile as sf
from helpers import ROOT, contents, leftovers

from speechasym import corpora, files, load
from speechasym.annotations.tiers import read_tiers
from speechasym.corpora import librispeech, timit
from speechasym.errors import ConfigError, OutputError
from speechasym.training.cuts import load_samples

SHAPES = {
    "disc": {},
    "riff": {"coding": "WAV"},
    "lower": {"case": "lower", "coding": "WAV"},
    "mixed": {"case": "mixed"},
    "double": {"coding": "WAV", "ending": ".wav.wav"},
}


@pytest.fixture(scope="module")
def disc(tmp_path_factory):
    return stubs.timit(tmp_path_factory.mktemp("stub") / "TIMIT")


@pytest.fixture(scope="module")
def libri(tmp_path_factory):
    return stubs.librispeech(tmp_path_factory.mktemp("stub") / "LibriSpeech")


@pytest.fixture
def copy(disc, tmp_path):
    return shutil.copytree(disc, tmp_path / "copy")


@pytest.fixture
def books(libri, tmp_path):
    return shutil.copytree(libri, tmp_path / "books")


def facts(corpus):
    """{set: what its supervisions say}, without paths."""
    return {name: [s.to_dict() for s in m.supervisions] for name, m in corpus.sets.items()}


def kinds(report, severity="error"):
    return {kind: len(found) for kind, found in report.kinds(severity).items()}


def ids(corpus):
    return {name: sorted(m.recordings.ids) for name, m in corpus.sets.items()}


def one(root, speaker="FCJF0", sentence="SX1", suffix=".PHN"):
    return next(root.glob(f"TRAIN/*/{speaker}/{sentence}{suffix}"))


# shapes


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_gives_the_same(disc, tmp_path, shape):
    root = stubs.timit(tmp_path / "any" / "data", **SHAPES[shape])
    found, expected = timit.prepare(tmp_path / "any"), timit.prepare(disc)
    assert facts(found) == facts(expected)
    assert ids(found)["test"][0] == "FAKS9_SI1003" and list(found.sets) == ["train", "test"]
    assert found.report.counts == expected.report.counts
    assert found.report.counts["train"].sentences == 16 and not found.report.number("error")
    for cut in found.sets["test"].cuts:
        expected_cut = expected.sets["test"].cuts[cut.id]
        np.testing.assert_array_equal(cut.load_audio(), expected_cut.load_audio())
    assert str(root) in found.sets["test"].cuts[0].recording.sources[0].source


def test_times_are_those_of_the_files(disc):
    supervision = timit.prepare(disc).sets["train"].supervisions["FCJF0_SX1"]
    path = one(disc)
    for tier, suffix, name in (("phone", ".PHN", "phones"), ("word", ".WRD", "words")):
        expected = read_tiers(path.with_suffix(suffix))[name]
        found = [(i.start, i.end, i.symbol) for i in supervision.alignment[tier]]
        assert found == [tuple(interval) for interval in expected]
    words = [item.symbol for item in supervision.alignment["word"]]
    assert supervision.text.lower() == " ".join(words) + "."
    assert (supervision.speaker, supervision.gender) == ("FCJF0", "female")
    assert supervision.custom == {"dialect": "DR2"}


@pytest.mark.parametrize("above", ["train", "TEST/dr1", "with spaces äö 語"])
def test_folders_above_the_root_do_not_matter(tmp_path, above):
    root = stubs.timit(tmp_path / above / "flat", case="lower", coding="WAV", flat=True)
    done = corpora.prepare("timit", root, tmp_path / above / "out")
    assert list(done.corpus.sets) == ["all"] and done.corpus.report.counts["all"].speakers == 4
    assert "no TRAIN or TEST" in done.text and not done.corpus.report.number("warning")
    from lhotse import CutSet

    cuts = CutSet.from_file(done.out / "all_cuts.jsonl.gz")
    assert cuts[0].load_audio().shape == (1, cuts[0].num_samples)
    assert cuts[0].supervisions[0].custom["dialect"].startswith("DR")


@pytest.mark.skipif(sys.platform != "linux", reason="such names exist on Linux only")
def test_names_that_are_not_utf8_are_errors(disc, tmp_path):
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    shutil.copytree(disc, os.path.join(folder, "TIMIT"))
    done = corpora.prepare("timit", tmp_path, tmp_path / "out")
    assert kinds(done.corpus.report) == {"path not UTF-8, which lhotse cannot open": 32}
    assert "caf\\udce9/TIMIT" in done.text and done.text.encode()
    assert kinds(done.corpus.report, "warning") == {"empty set": 2}


def test_flat_form_splits_by_seed_or_list(tmp_path):
    root = stubs.timit(tmp_path, case="lower", flat=True)
    shares = {"train": 0.5, "dev": 0.25, "test": 0.25}
    first, again = (timit.prepare(root, seed=3, shares=shares) for _ in range(2))
    assert facts(first) == facts(again) and "seed 3" in first.report.split
    assert [count.speakers for count in first.report.counts.values()] == [2, 1, 1]
    others = [timit.prepare(root, seed=seed, shares=shares) for seed in range(4)]
    assert any(facts(other) != facts(first) for other in others)
    lists = {"train": ["fcjf0", "MDAC0"], "test": ["FAKS9", "FXXX0"]}
    listed = timit.prepare(root, lists=lists)
    assert [count.speakers for count in listed.report.counts.values()] == [2, 1]
    assert [p.place for p in listed.report.kinds("warning")["speaker of a list not there"]] == [
        "FXXX0"
    ]
    with pytest.raises(ConfigError, match="FCJF0 is in train and test"):
        timit.prepare(root, lists={"train": ["fcjf0"], "test": ["FCJF0"]})


def test_train_and_test_as_they_are_and_dev_by_seed(disc):
    plain, drawn = timit.prepare(disc), timit.prepare(disc, seed=0)
    assert plain.report.split.startswith("local split") and "core test" in plain.report.split
    assert list(drawn.sets) == ["train", "dev", "test"]
    assert ids(drawn)["test"] == ids(plain)["test"]
    assert sorted(ids(drawn)["train"] + ids(drawn)["dev"]) == ids(plain)["train"]


def test_sa_sentences_are_left_out_but_on_request(disc):
    assert not any("_SA" in name for part in ids(timit.prepare(disc)).values() for name in part)
    found = timit.prepare(disc, sa=True)
    assert found.report.counts["train"].sentences == 20
    assert found.report.published["train"] == (462, 4620)
    assert "2 different ones" in found.report.kinds("warning")["sentences in two sets"][0].detail


def test_official_lists(tmp_path):
    assert (len(timit.CORE_TEST), len(timit.DEVELOPMENT)) == (24, 50)
    assert not timit.CORE_TEST & timit.DEVELOPMENT
    found = timit.prepare(stubs.official(tmp_path))
    assert found.report.split.startswith("official split")
    assert {name: count.speakers for name, count in found.report.counts.items()} == {
        "train": 3,
        "dev": 50,
        "test": 24,
    }
    assert {c.supervisions[0].speaker for c in found.sets["test"].cuts} == timit.CORE_TEST
    warnings = kinds(found.report, "warning")
    assert warnings == {
        "number of sentences": 77,
        "counts that are not the published ones": 3,
    }
    assert found.report.kinds("note")["left out"][0].place == "2 recordings of speakers in no set"
    next(tmp_path.glob("TEST/*/MDAB0/*.WAV")).parent.rename(tmp_path / "TEST/DR1/MXXX0")
    assert timit.prepare(tmp_path).report.split.startswith("local split")


# what is written


def test_written_whole_and_the_same_each_time(disc, tmp_path):
    first = corpora.prepare("timit", disc, tmp_path / "a")
    again = corpora.prepare("timit", disc, tmp_path / "b")
    names = {f"{s}_{part}.jsonl.gz" for s in ("train", "test") for part in corpora.manifests.PARTS}
    assert contents(first.out) == contents(again.out)
    names |= {"report.json", "report.txt"}
    assert {path.name for path in first.files} == names
    assert set(contents(first.out)) == names | {".speechasym.json"}
    from lhotse import CutSet, RecordingSet, SupervisionSet, validate

    for name, made in first.corpus.sets.items():
        cuts = CutSet.from_file(first.out / f"{name}_cuts.jsonl.gz")
        validate(cuts.to_eager())
        assert list(cuts) == list(made.cuts)
        recordings = RecordingSet.from_file(first.out / f"{name}_recordings.jsonl.gz")
        assert list(recordings) == list(made.recordings)
        supervisions = SupervisionSet.from_file(first.out / f"{name}_supervisions.jsonl.gz")
        assert list(supervisions) == list(made.supervisions)
    report = json.loads((first.out / "report.json").read_text("utf-8"))
    assert report["sets"]["train"]["sentences"] == 16
    assert report["published"]["test"] == {"speakers": 24, "sentences": 192}


def test_sets_no_longer_made_are_removed(disc, tmp_path):
    corpora.prepare("timit", disc, tmp_path, seed=1)
    (tmp_path / "mine_cuts.jsonl.gz").write_bytes(b"")
    assert (tmp_path / "dev_cuts.jsonl.gz").exists()
    corpora.prepare("timit", disc, tmp_path)
    assert not (tmp_path / "dev_cuts.jsonl.gz").exists()
    assert (tmp_path / "mine_cuts.jsonl.gz").exists()


def test_a_failure_leaves_nothing_half_written(disc, tmp_path, monkeypatch):
    corpora.prepare("timit", disc, tmp_path)
    real = files.atomic

    def full(path):
        if path.name.startswith("test_"):
            raise OutputError(path, "cannot be written (No space)", "Free space")
        return real(path)

    monkeypatch.setattr(files, "atomic", full)
    with pytest.raises(OutputError, match="No space"):
        corpora.prepare("timit", disc, tmp_path)
    assert not (tmp_path / "report.json").exists() and not leftovers(tmp_path)
    for path in tmp_path.glob("*.gz"):
        assert gzip.decompress(path.read_bytes())


@pytest.mark.skipif(os.name != "posix", reason="folders are locked on POSIX systems only")
def test_two_runs_into_one_folder(disc, tmp_path):
    with files.locked_folder(tmp_path), pytest.raises(OutputError, match="another run"):
        corpora.prepare("timit", disc, tmp_path)
    assert not list(tmp_path.iterdir())


def test_outputs_that_cannot_be(disc, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="a file, not a folder"):
        corpora.prepare("timit", disc, tmp_path / "file" / "out")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    if not os.access(closed, os.W_OK):  # root may write anywhere
        with pytest.raises(OutputError, match="read-only"):
            corpora.prepare("timit", disc, closed / "out")


def test_read_only_output_is_refused_before_reading(disc, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(OutputError, match="read-only"):
        corpora.prepare("timit", disc, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_unknown_corpus_and_options(disc, tmp_path):
    with pytest.raises(ConfigError, match="timit, librispeech"):
        corpora.prepare("tmit", disc, tmp_path)
    with pytest.raises(ConfigError, match="Its options are sa"):
        corpora.prepare("timit", disc, tmp_path, sax=True)


# roots that are none


def test_roots_that_are_none(tmp_path):
    for name in ("timit.tar.gz", "timit.zip"):
        (tmp_path / name).write_bytes(b"PK")
        with pytest.raises(corpora.CorpusError, match="an archive, not a folder"):
            timit.prepare(tmp_path / name)
    with pytest.raises(corpora.CorpusError, match=r"an archive: timit\.tar\.gz"):
        timit.prepare(tmp_path)
    with pytest.raises(corpora.CorpusError, match="not found, but an archive"):
        librispeech.prepare(tmp_path)
    with pytest.raises(corpora.CorpusError, match="no such folder"):
        librispeech.prepare(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(corpora.CorpusError, match="Give the corpus's own folder"):
        timit.prepare(tmp_path / "empty")


def test_links_that_go_round(copy):
    (copy / "TRAIN" / "again").symlink_to(copy)
    assert timit.prepare(copy).report.counts["train"].sentences == 16


# faults of TIMIT

FAULTS = {  # suffix, what replaces it, severity and kind
    "no transcript": (".TXT", None, "error", "transcript missing"),
    "empty transcript": (".TXT", b" \n", "error", "transcript empty"),
    "latin-1 transcript": (".TXT", b"0 9 caf\xe9\n", "error", "transcript not UTF-8"),
    "odd transcript": (".TXT", b"Hello there\n", "error", "transcript that cannot be read"),
    "longer transcript": (
        ".TXT",
        b"0 99999 She had.\n",
        "warning",
        "audio shorter than its transcript says",
    ),
    "no phones": (".PHN", None, "error", "phone file missing"),
    "empty phones": (".PHN", b"", "error", "phone file empty"),
    "binary phones": (".PHN", b"0 9 \xff\xfe", "error", "phone file not UTF-8"),
    "overlap": (".PHN", b"0 1600 h#\n1500 3000 sh\n", "error", "overlapping phones"),
    "reversed": (".PHN", b"0 1600 h#\n3000 1600 sh\n", "error", "reversed times"),
    "unknown": (".PHN", b"0 1600 h#\n1600 3000 xx\n", "error", "unknown phone symbols"),
    "not three": (".PHN", b"0 1600 h#\n1600 sh\n", "error", "label that cannot be read"),
    "late": (".PHN", b"0 90000 h#\n", "error", "audio shorter than its labels"),
    "gap": (".PHN", b"0 1600 h#\n1700 9000 sh\n", "warning", "phones that leave a gap"),
    "late start": (".PHN", b"50 9000 h#\n", "warning", "phones that leave a gap"),
    "early end": (".PHN", b"0 1600 h#\n", "warning", "phones that end before the audio"),
    "no words": (".WRD", None, "warning", "word file missing"),
    "odd words": (".WRD", b"0 -9 she\n", "warning", "reversed times"),
    "words overlap": (".WRD", b"0 900 she\n800 2000 had\n", "note", "overlapping words, kept"),
    "no audio": (".WAV", None, "error", "labels without audio"),
    "cut audio": (".WAV", "cut", "error", "audio that cannot be read"),
    "no sound file": (".WAV", b"<html>" * 9, "error", "audio that cannot be read"),
    "8 kHz": (".WAV", 8000, "error", "wrong sample rate"),
    "stereo": (".WAV", "stereo", "error", "more than one channel"),
    "text mode": (".WAV", "text", "warning", "damaged audio"),
}


def spoil(path, change):
    if change is None:
        path.unlink()
    elif isinstance(change, bytes):
        path.write_bytes(change)
    elif change == "cut":
        path.write_bytes(path.read_bytes()[:-2000])
    elif change == "text":
        head, rest = path.read_bytes()[:1024], path.read_bytes()[1024:]
        path.write_bytes(head + rest.replace(b"\r", b"\n"))
    else:
        samples, _ = sf.read(path, dtype="int16")
        if change == "stereo":
            samples = np.stack([samples, samples], 1)
        rate = change if isinstance(change, int) else 16000
        sf.write(path, samples, rate, "PCM_16", format="NIST")


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_has_its_line(copy, fault):
    suffix, change, severity, kind = FAULTS[fault]
    spoil(one(copy, suffix=suffix), change)
    found = timit.prepare(copy)
    assert kinds(found.report, severity)[kind] == 1, found.report.text(None)
    assert found.report.number("error") == (severity == "error")
    assert "SX1" in found.report.kinds(severity)[kind][0].place
    kept = list(found.sets["train"].recordings.ids)
    assert ("FCJF0_SX1" in kept) == (severity != "error") and len(kept) >= 15
    assert kind in found.report.text()
    assert {p.kind for p in found.report.problems} == {kind, "left out"}  # and no other line


def test_one_report_lists_everything_and_strict_writes_nothing(copy, tmp_path):
    readers = sorted(p for p in copy.glob("*/*/*") if p.is_dir())
    chosen = [k for k in FAULTS if FAULTS[k][1] is not None or FAULTS[k][0] != ".WAV"]
    places = [
        (reader, stem.stem) for reader in readers for stem in sorted(reader.glob("S[IX]*.TXT"))
    ]
    for (reader, stem), fault in zip(places, chosen, strict=False):
        spoil(reader / f"{stem}{FAULTS[fault][0]}", FAULTS[fault][1])
    done = corpora.prepare("timit", copy, tmp_path / "out")
    text = (tmp_path / "out" / "report.txt").read_text("utf-8")
    for fault in chosen:
        assert FAULTS[fault][3] in text
    errors = sum(FAULTS[fault][2] == "error" for fault in chosen)
    assert done.corpus.report.number("error") == errors
    counts = done.corpus.report.counts.values()
    assert sum(count.sentences for count in counts) == 32 - errors
    with pytest.raises(corpora.CorpusError, match=f"{errors} errors.*wrong sample rate") as caught:
        corpora.prepare("timit", copy, tmp_path / "strict", strict=True)
    assert caught.value.report.text(None) == text
    assert not (tmp_path / "strict").exists()


def test_warnings_do_not_stop_strict(copy, tmp_path):
    spoil(one(copy, suffix=".WRD"), None)
    assert corpora.prepare("timit", copy, tmp_path / "out", strict=True).files


def test_labels_just_after_the_audio_are_clipped(copy):
    frames = sf.info(one(copy, suffix=".WAV")).frames
    one(copy).write_text(f"0 1600 h#\n1600 {frames + 300} sh\n")
    supervision = timit.prepare(copy).sets["train"].supervisions["FCJF0_SX1"]
    assert supervision.alignment["phone"][-1].end == frames / 16000 == supervision.duration


def test_a_second_copy_stands_in_for_a_broken_one(copy):
    path = one(copy, suffix=".WAV")
    sf.write(path.with_suffix(".WAV.wav"), sf.read(path, dtype="int16")[0], 16000)
    found = timit.prepare(copy)
    assert kinds(found.report, "note")["several copies of one recording"] == 1
    assert not found.report.number("error")
    path.write_bytes(b"NIST_1A broken")
    found = timit.prepare(copy)
    assert not found.report.number("error") and kinds(found.report, "warning")
    source = found.sets["train"].recordings["FCJF0_SX1"].sources[0].source
    assert source.endswith(".WAV.wav")


def test_speakers_ids_and_samples_that_are_there_twice(copy):
    shutil.copytree(one(copy).parent, copy / "TEST" / "DR1" / "FCJF0")
    found = timit.prepare(copy)
    assert kinds(found.report) == {"speaker in two sets": 1, "duplicate id": 8}
    assert found.report.kinds("error")["speaker in two sets"][0].detail == "FCJF0"
    assert found.report.counts["test"].sentences == 16
    assert found.report.kinds("warning")["sentences in two sets"]


def test_same_samples_under_two_ids_in_any_coding(copy):
    path = one(copy, suffix=".WAV")
    other = one(copy, speaker="MDAC0", sentence="SX2", suffix=".WAV")
    sf.write(other, sf.read(path, dtype="int16")[0], 16000, format="WAV")
    shutil.copy(path.with_suffix(".PHN"), other.with_suffix(".PHN"))
    shutil.copy(path.with_suffix(".WRD"), other.with_suffix(".WRD"))
    found = timit.prepare(copy)
    assert kinds(found.report) == {"same audio under two ids": 1}
    assert "MDAC0_SX2 has the samples of FCJF0_SX1" in found.report.text()
    assert "MDAC0_SX2" not in ids(found)["train"] and "FCJF0_SX1" in ids(found)["train"]
    found = timit.prepare(copy, keep_duplicates=True)
    assert not kinds(found.report) and "MDAC0_SX2" in ids(found)["train"]


def test_missing_sentences_and_other_audio(copy):
    for path in one(copy).parent.glob("SX1.*"):
        path.unlink()
    sf.write(copy / "noise.wav", np.zeros(100), 16000)
    (copy / "TRAIN" / "._SX9.WAV").write_bytes(b"junk")
    found = timit.prepare(copy)
    assert found.report.kinds("warning")["number of sentences"][0][2:] == ("FCJF0", "7, not 8")
    assert found.report.kinds("note")["audio that is not TIMIT's by its path"][0].place == (
        "noise.wav"
    )


# LibriSpeech


def test_librispeech_in_any_form_and_depth(libri, tmp_path):
    wav = stubs.librispeech(tmp_path / "wav" / "LibriSpeech", form="wav")
    expected = librispeech.prepare(libri)
    assert ids(expected)["stub-dev"] == [
        f"21-{chapter}-{number:04d}" for chapter in (121, 221) for number in range(3)
    ]
    assert expected.report.counts["stub-train"].speakers == 2
    assert not expected.report.problems
    for root in (wav, wav.parent):
        assert facts(librispeech.prepare(root)) == facts(expected)
    supervision = expected.sets["stub-dev"].supervisions["21-121-0000"]
    assert supervision.gender == "male" and supervision.speaker == "21"
    assert supervision.text == " ".join(stubs.words_of("21-121-0000", 6)).upper()
    dev = librispeech.prepare(libri, subsets=["stub-dev"])
    assert facts(dev) == {"stub-dev": facts(expected)["stub-dev"]}
    alone = librispeech.prepare(libri / "stub-dev")
    assert ids(alone) == ids(dev)
    assert kinds(alone.report, "warning") == {"no SPEAKERS.TXT, genders unknown": 1}
    with pytest.raises(ConfigError, match="Use stub-dev, stub-train"):
        librispeech.prepare(libri, subsets=["dev-clean"])


def test_official_subset_names_show_the_published_counts(books):
    (books / "stub-dev").rename(books / "dev-clean")
    report = librispeech.prepare(books, subsets=["dev-clean"]).report
    assert "40 speakers, 2703 sentences" in report.text() and "own subsets" in report.split


@pytest.mark.parametrize("gap", ["\t", "  ", " \t"])
def test_librispeech_separated_by_any_blanks(books, libri, gap):
    for table in books.rglob("*.trans.txt"):
        lines = table.read_text().splitlines()
        table.write_text(
            "\ufeff" + "\r\n".join(line.replace(" ", gap, 1) for line in lines), "utf-8"
        )
    found, expected = librispeech.prepare(books), librispeech.prepare(libri)
    assert facts(found) == facts(expected) and not found.report.problems


def test_every_fault_of_librispeech(books):
    chapter = books / "stub-dev" / "21" / "121"
    table = chapter / "21-121.trans.txt"
    table.write_bytes(
        b"21-121-0000 CAF\xe9\n21-121-0001 \n21-121-0007 NO AUDIO\n21-121-0002 X\n21-121-0002 Y\n"
        b"\xff\xfe Z\n"
    )
    train = books / "stub-train" / "11" / "111"
    shutil.copy(train / "11-111-0000.flac", train / "11-111-0009.flac")
    (train / "11-111-0001.flac").write_bytes(b"fLaC")
    lines = (train / "11-111.trans.txt").read_text().splitlines()
    lines[2] = "11-111-0002 CHAPTER 12 Ω"
    (train / "11-111.trans.txt").write_text("\n".join(lines), "utf-8")
    speakers = books / "SPEAKERS.TXT"
    speakers.write_text("".join(speakers.read_text().splitlines(True)[:2]))
    found = librispeech.prepare(books)
    assert kinds(found.report) == {
        "transcript not UTF-8": 2,
        "text of an utterance empty": 1,
        "text without audio": 1,
        "two texts for one id": 1,
        "audio without text": 1,
        "audio that cannot be read": 1,
        "text beyond the 28 letters": 1,
    }
    assert kinds(found.report, "warning") == {"reader not in SPEAKERS.TXT": 2}
    assert found.report.counts["stub-dev"].sentences == 4
    assert found.report.counts["stub-train"].sentences == 10
    assert "21-121-0007" in found.report.text() and "12Ω" in found.report.text()


def test_same_samples_in_flac_and_wav(books):
    chapter = books / "stub-train" / "12" / "112"
    samples = sf.read(chapter / "12-112-0000.flac", dtype="int16")[0]
    (chapter / "12-112-0001.flac").unlink()
    sf.write(chapter / "12-112-0001.wav", samples, 16000)
    found = librispeech.prepare(books)
    assert "12-112-0001 has the samples of 12-112-0000" in found.report.text()


def test_librispeech_in_opus(books, libri, tmp_path):
    """The same facts as in FLAC; header, lhotse and this package agree on the samples."""
    opus = stubs.librispeech(tmp_path / "opus" / "LibriSpeech", form="opus")
    expected = librispeech.prepare(libri)
    found = librispeech.prepare(opus)
    assert facts(found) == facts(expected) and not found.report.problems
    for chapter in (books / "stub-train").glob("*/1*"):  # mixed: one chapter a reader in Opus
        shutil.rmtree(chapter)
        shutil.copytree(opus / chapter.relative_to(books), chapter)
    mixed = librispeech.prepare(books)
    assert facts(mixed) == facts(expected) and not mixed.report.problems
    for cut in [*found.sets["stub-train"].cuts, *mixed.sets["stub-train"].cuts]:
        samples = load_samples(cut, 16000)
        assert len(samples) == cut.num_samples == cut.recording.num_samples
        np.testing.assert_array_equal(samples, load(cut.recording.sources[0].source)[0])


def test_copies_with_different_samples(books, tmp_path):
    opus = stubs.librispeech(tmp_path / "opus", form="opus")
    for number, suffix in (("0000", ".opus"), ("0001", ".ogg")):
        place = f"stub-dev/21/121/21-121-{number}.opus"
        shutil.copy(opus / place, (books / place).with_suffix(suffix))
    found = librispeech.prepare(books).report
    assert kinds(found) == {"copies of one recording with different samples": 2}
    assert "21-121-0000.flac" in found.text() and "21-121-0000.opus" in found.text()
    assert found.counts["stub-dev"].sentences == 4


def test_librispeech_reader_in_two_subsets(books):
    (books / "stub-train" / "11").rename(books / "stub-dev" / "11")
    shutil.copytree(books / "stub-dev" / "11" / "111", books / "stub-train" / "11" / "111")
    assert kinds(librispeech.prepare(books).report) == {
        "speaker in two sets": 1,
        "duplicate id": 3,
    }


# the real ones, as far as they are here


@pytest.mark.corpus("TIMIT_ROOT")
def test_local_timit(tmp_path):
    done = corpora.prepare("timit", os.environ["TIMIT_ROOT"], tmp_path, strict=True)
    report = done.corpus.report
    assert report.split.startswith(("local split", "official split"))
    for count in report.counts.values():
        assert count.sentences == 8 * count.speakers
        assert count.phones > 30 * count.sentences
    if report.counts["train"].speakers == 8:  # the part that the recipe's README is about
        readme = (ROOT / "recipes" / "timit" / "README.md").read_text("utf-8")
        assert "\n".join(report.text().splitlines()[:5]) in readme
    for cut in list(done.corpus.sets["test"].cuts)[:5]:
        assert cut.load_audio().shape == (1, cut.num_samples)


@pytest.mark.corpus("LIBRISPEECH_ROOT")
def test_local_librispeech(tmp_path):
    root = os.environ["LIBRISPEECH_ROOT"]
    done = corpora.prepare("librispeech", root, tmp_path, strict=True)
    counts = done.corpus.report.counts
    assert not done.corpus.report.number("warning")
    if set(counts) == {"local-train", "local-dev"}:
        assert {name: tuple(count)[:2] for name, count in counts.items()} == {
            "local-train": (12, 910),
            "local-dev": (4, 112),
        }
        readme = (ROOT / "recipes" / "librispeech" / "README.md").read_text("utf-8")
        assert done.text in readme
