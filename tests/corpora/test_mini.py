"""The embedded corpus: repeatable, exact times, held-out voices and sentences, typed errors."""

import json
import sys
from itertools import pairwise

import numpy as np
import pytest
import soundfile as sf
import soxr
from helpers import contents, leftovers

from speechasym import files
from speechasym.audio.rooms import in_room
from speechasym.corpora import espeak, manifests
from speechasym.corpora.espeak import Phone, Spoken, Voice
from speechasym.corpora.mini import preparation, rendering, sentences, voices
from speechasym.errors import ConfigError, OutputError, SynthesisError
from speechasym.language.phones import FOLD_39

try:
    espeak.engine()
except SynthesisError as error:
    pytest.skip(str(error), allow_module_level=True)

MINUTES = 0.3
VOICES = [
    Voice(espeak=f"{voices.LANGUAGE[who.accent]}+{who.variant}") for who in voices.SPEAKERS.values()
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small corpus and its folder."""
    root = tmp_path_factory.mktemp("mini") / "with space ü"
    return preparation.prepare(root, minutes=MINUTES, workers=2), root


def test_same_seed_same_bytes_whatever_the_number_of_workers(made, tmp_path):
    again = preparation.prepare(tmp_path / "again", minutes=MINUTES, workers=1)
    assert contents(tmp_path / "again") == contents(made[1])
    notes = [
        [p for p in corpus.report.problems if "sha256" in p.kind] for corpus in (again, made[0])
    ]
    assert notes[0] == notes[1] and len(notes[0]) == 1


def test_another_seed_gives_other_sentences_and_sounds(made, tmp_path):
    other = preparation.prepare(tmp_path / "other", minutes=0.05, seed=1)
    here = {cut.supervisions[0].text for cuts in made[0].sets.values() for cut in cuts.cuts}
    there = {cut.supervisions[0].text for cuts in other.sets.values() for cut in cuts.cuts}
    assert not here & there
    assert other.report.problems[-1].detail != made[0].report.problems[-1].detail


def test_an_utterance_does_not_depend_on_what_was_said_before():
    first = espeak.say("the cat sees a dog.", VOICES[0])
    espeak.say("my sister took the egg.", VOICES[5])
    second = espeak.say("the cat sees a dog.", VOICES[0])
    assert np.array_equal(first.samples, second.samples) and first.phones == second.phones
    other = espeak.say("the cat sees a dog.", VOICES[1])
    assert not np.array_equal(first.samples[:9000], other.samples[:9000])


def test_phones_tile_the_sound_and_words_are_made_of_them(made):
    _, root = made
    for line in (root / "utterances.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        x, rate = sf.read(root / row["path"])
        assert rate == 16000 and len(x) == row["samples"]
        assert 0.02 < np.abs(x).max() < 1
        phones, words = row["phones"], row["words"]
        assert phones[0][0] == 0 and phones[-1][1] == len(x)
        assert all(end - begin > 0.01 * rate for begin, end, _ in phones + words)
        assert all(a[1] == b[0] for a, b in pairwise(phones))
        assert not any(a[2] == b[2] == "sil" for a, b in pairwise(phones))
        assert {symbol for *_, symbol in phones} <= set(FOLD_39.values())
        assert [symbol for *_, symbol in words] == row["text"].split()
        spoken = {i for begin, end, _ in words for i, p in enumerate(phones) if begin <= p[0] < end}
        silent = {i for i, p in enumerate(phones) if p[2] == "sil"}
        assert spoken | silent == set(range(len(phones))) and not spoken & silent
        edges = {begin for begin, *_ in phones} | {len(x)}
        assert {t for begin, end, _ in words for t in (begin, end)} <= edges
    assert not leftovers(root.parent)


def test_manifests_are_lhotse_s_and_say_the_same(made, tmp_path):
    corpus, _ = made
    written = manifests.write(corpus, tmp_path)
    assert any(path.name == "train_cuts.jsonl.gz" for path in written)
    for name, made_set in corpus.sets.items():
        cut = next(iter(made_set.cuts))
        assert cut.load_audio().shape == (1, cut.num_samples)
        supervision = cut.supervisions[0]
        assert cut.id.startswith(f"mini-{name}-{supervision.speaker}-")
        phones = supervision.alignment["phone"]
        assert phones[-1].end == pytest.approx(cut.duration, abs=1e-6)
        assert [item.symbol for item in supervision.alignment["word"]] == supervision.text.split()
    text = corpus.report.text()
    assert "minutes" in text and "sha256" in text and "espeak-ng 1." in text


def test_voices_and_sentences_are_held_out():
    planned = sentences.plan(0, 25)
    by_set = {name: [line for line in planned if line.set == name] for name in sentences.SETS}
    speakers = {name: {line.speaker for line in own} for name, own in by_set.items()}
    assert len({line.text for line in planned}) == len(planned)
    assert speakers["train"] == speakers["dev"] and len(speakers["train"]) == 16
    assert len(speakers["test"]) == 3 and not speakers["test"] & speakers["train"]
    for part in (speakers["train"], speakers["test"]):
        assert {voices.SPEAKERS[key].accent for key in part} == {"us", "gb"}
        assert {voices.SPEAKERS[key].gender for key in part} == {"male", "female"}
    words = {name: set(" ".join(line.text for line in own).split()) for name, own in by_set.items()}
    assert 60 <= len(words["train"]) <= 100
    assert words["dev"] <= words["train"] and words["test"] <= words["train"]
    assert sentences.plan(0, 25) == planned != sentences.plan(1, 25)


def test_every_word_has_its_phones_in_both_accents():
    lists = [
        sentences.BEINGS,
        sentences.THINGS,
        sentences.FOODS,
        sentences.QUALITIES,
        sentences.COLOURS,
        sentences.SEEN,
    ]
    lists += [
        sentences.DONE,
        sentences.EATEN,
        sentences.TIMES,
        *sentences.PLACES,
        *sentences.PLACES.values(),
    ]
    words = sorted(set(" ".join(lists).split()))
    found = set()
    for accent, voice in (("us", VOICES[0]), ("gb", VOICES[4])):
        for first in range(0, len(words), 6):
            spoken = espeak.say(" ".join(words[first : first + 6]) + ".", voice)
            _, phones = rendering.intervals_of(spoken, accent, 0, 1 << 30)
            found |= {phone.label for phone in phones}
    # dh is in "the"; a flap only where a US t stands between vowels
    assert found | {"dh", "dx"} == set(FOLD_39.values())


@pytest.mark.parametrize("voice", VOICES, ids=lambda voice: voice.espeak)
def test_events_are_where_the_sound_begins_and_ends(voice):
    """After digital silence a phone begins within 1 ms of its event (a stop: its burst)."""
    spoken = espeak.say("she took a small cake to the happy teacher.", voice)
    x, rate = spoken.samples, spoken.sample_rate
    late = []
    for before, phone in pairwise(spoken.phones):
        past = x[max(before.sample, phone.sample - rate // 200) : phone.sample]
        if phone.word >= 0 and len(past) and not past.any():
            late.append(np.flatnonzero(x[phone.sample :])[0] / rate)
    assert len(late) >= 5 and max(late) < 0.001
    end = next(p.sample for p in spoken.phones[1:] if p.word < 0)
    last = np.flatnonzero(x)[-1]
    assert abs(last - end) / rate < 0.002


def test_a_stop_has_its_closure():
    closed = [(0, "a", 0), (900, "t", 0), (1200, "_:", -1)]
    samples = np.ones(2000, np.int16)
    samples[500:900] = samples[1200:] = 0
    spoken = Spoken(samples, 16000, ["at"], [Phone(*phone) for phone in closed])
    words, phones = rendering.intervals_of(spoken, "us", 100, 2200)
    assert [tuple(p) for p in phones] == [
        (0, 100, "sil"), (100, 600, "ae"), (600, 1300, "t"), (1300, 2200, "sil"),
    ]  # fmt: skip
    assert [tuple(w) for w in words] == [(100, 1300, "at")]


def test_resampling_does_not_delay():
    click = np.zeros(22050, np.float32)
    click[4410] = 1
    assert soxr.resample(click, 22050, 16000, "HQ").argmax() == 3200


def test_a_room_does_not_delay_and_noise_is_as_loud_as_asked():
    rng = np.random.default_rng(0)
    click = np.zeros(8000)
    click[1000] = 1
    wet = in_room(click, 16000, 0.2, 10.0, rng)
    assert np.abs(wet[:1000]).max() < 1e-9 and wet[1000] == pytest.approx(1)
    assert 10 * np.log10(np.sum(wet[1001:] ** 2)) == pytest.approx(-10, abs=0.01)


def test_unknown_phone():
    spoken = Spoken(np.ones(100, np.int16), 22050, ["x"], [Phone(0, "X@", 0)])
    with pytest.raises(SynthesisError, match=r"'X@'.*not in the map.*PHONE_MAP"):
        rendering.intervals_of(spoken, "us", 0, 100)


def test_no_library(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    espeak.engine.cache_clear()
    try:
        with pytest.raises(SynthesisError, match=r"pip install speechasym\[synth\]"):
            preparation.prepare(tmp_path / "out", minutes=MINUTES)
    finally:
        monkeypatch.undo()
        espeak.engine.cache_clear()
    assert not list(tmp_path.iterdir())


def test_no_such_voice():
    with pytest.raises(SynthesisError, match="no such voice"):
        espeak.say("hello.", Voice(espeak="zz+none"))
    with pytest.raises(ConfigError, match="pitch"):
        Voice(espeak="en-us", pitch=101)


@pytest.mark.parametrize(
    "option",
    [{"minutes": 0}, {"minutes": float("nan")}, {"minutes": 1e6}, {"seed": -1}, {"workers": 0}],
)
def test_options_out_of_range(option, tmp_path):
    with pytest.raises(ConfigError, match=next(iter(option))):
        preparation.prepare(tmp_path / "out", **option)
    assert not list(tmp_path.iterdir())


def test_made_once_and_never_over_other_files(made, tmp_path, monkeypatch):
    corpus, root = made
    monkeypatch.setattr(preparation, "_build", None)  # nothing is built again
    assert preparation.prepare(root, minutes=MINUTES).report == corpus.report
    with pytest.raises(OutputError, match="another seed"):
        preparation.prepare(root, minutes=MINUTES, seed=1)
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(OutputError, match="contains other files"):
        preparation.prepare(tmp_path, minutes=MINUTES, overwrite=True)
    with pytest.raises(ConfigError, match="no mini corpus"):
        preparation.read(tmp_path)


def test_damage_is_found_and_overwritten(tmp_path):
    root = tmp_path / "m"
    preparation.prepare(root, minutes=0.02)
    before = contents(root)
    victim = next(root.rglob("*.flac"))
    victim.write_bytes(victim.read_bytes()[:-9])
    with pytest.raises(OutputError, match="damaged"):
        preparation.prepare(root, minutes=0.02)
    (root / "features").mkdir()
    with pytest.raises(OutputError, match="features: would be lost"):
        preparation.prepare(root, minutes=0.02, overwrite=True)
    (root / "features").rmdir()
    victim.unlink()
    with pytest.raises(OutputError, match="damaged"):
        preparation.prepare(root, minutes=0.02)
    preparation.prepare(root, minutes=0.02, overwrite=True)
    assert contents(root) == before and len(list(tmp_path.iterdir())) == 1


def test_all_or_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise OutputError("disk", "full", "Free space")

    monkeypatch.setattr(files, "write_json", fail)
    with pytest.raises(OutputError, match="full"):
        preparation.prepare(tmp_path / "out", minutes=0.02)
    assert not list(tmp_path.iterdir())
