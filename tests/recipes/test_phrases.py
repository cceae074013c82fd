"""`recipes/language/phrases`: what was said before and how predicts the next word; no peeking."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from toy import LEXICON

from recipes.language import next_words, phrase_level, phrases, spoken_words
from recipes.language.phrase_level import Inputs, System, evaluate, learn
from speechasym.corpora.manifests import read_cuts
from speechasym.errors import AlignmentError, ConfigError, LabelError, OutputError


def words(count, seed):
    """Words of two speakers; what follows a BA or DA is heard in how it is said, not in which."""
    rng = np.random.default_rng(seed)
    rise = rng.integers(0, 2, count)
    low = np.append(0, rise[:-1])  # said of the word before
    text = np.where(low, rng.choice(["BA", "DA"], count), rng.choice(["GO", "NO"], count))
    sound = np.zeros((count, 4), np.float16)
    sound[:, 3] = 2 * rise - 1 + 0.1 * rng.standard_normal(count)
    speaker = np.repeat(["s1", "s2"], count // 2)
    place = np.arange(count) % 10
    return spoken_words.Words(
        text, speaker, np.array([f"{s}-{n // 10:03d}" for n, s in enumerate(speaker)]),
        place * 0.5, place * 0.5 + np.where(rise, 0.2, 0.4), np.full(count, 5.0), np.array([2, 2]),
        sound, -sound,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def small(monkeypatch):
    level = replace(phrase_level.LEVEL, width=16, units=8)
    values = {
        "STEPS": 20,
        "TEXT_STEPS": 2,
        "RATE": 0.03,
        "CHUNK": 20,
        "CHANNELS": 8,
        "LEVEL": level,
    }
    for name, value in values.items():
        monkeypatch.setattr(phrase_level, name, value)


def bits(system, seed=0):
    train, dev = words(600, 1), words(200, 2)
    model, inputs, error = learn(system, seed, train, dev)
    return model, inputs, error


def test_what_is_only_heard_is_learned_and_nothing_is_known_before_it():
    model, inputs, error = bits(System(name="both", sound="sound"))
    # 2 words are left to choose from, or 4
    assert error < 1.6 < 1.8 < bits(System(name="word"))[2]
    said = words(40, 3)
    before, new = evaluate(model, inputs.stretches(said))
    changed = said._replace(text=said.text.copy(), sound=said.sound.copy())
    changed.text[9:20], changed.sound[9:20] = "GO", 3
    after, also_new = evaluate(model, inputs.stretches(changed))
    assert np.array_equal(after[:10], before[:10])  # word 10 is predicted from word 9
    assert np.array_equal(also_new[:9], new[:9])
    assert not np.allclose(after[10:20], before[10:20])
    np.testing.assert_allclose(after[20:], before[20:])  # another chapter


def test_inputs_of_systems():
    said = words(40, 3)
    vocabulary = next_words.Vocabulary.of_texts(said.text.tolist(), [["GO", "SO"] * 10])
    assert set(vocabulary.known) == {"BA", "DA", "GO", "NO", "SO"} and len(vocabulary.classes) == 4
    table = {
        system.name: Inputs(said, vocabulary, system).stretches(said) for system in phrases.SYSTEMS
    }
    assert [len(table[name]) for name in ("word", "text: word in utterances")] == [2, 4]
    word, sound, timing = (torch.cat([s[n] for s in table["word"]]) for n in (1, 2, 3))
    assert not sound.any() and not timing.any() and word[0] == next_words.START
    assert set(table["sound"][0].word.tolist()) == {next_words.START, next_words.UNKNOWN}
    assert table["word + sound + timing"][0].timing.std() > 0.5
    ahead, heard = (table[n][0].sound for n in ("word + sound that hears ahead", "word + sound"))
    np.testing.assert_allclose(ahead[1:], -heard[1:], atol=1e-4)
    assert table["text: word + 16 components"][0].sound.shape[1] == 2
    own = Inputs(said, vocabulary, System(name="own", sound="sound", own=True)).stretches(said)
    assert abs(own[0].sound).mean() < abs(heard).mean()
    other = next_words.other_tokens(said.text)
    assert (said.text[other] == said.text).all() and (other != np.arange(40)).all()
    assert sorted(other) == list(range(40))


def test_pauses_and_events_are_counted_by_speaker():
    said = words(40, 3)
    pause = said.pause
    assert pause[0] == pytest.approx(said.start[1] - said.end[0])
    assert pause[9] == pytest.approx(5 - said.end[9] + said.start[10])
    assert pause[19] == pytest.approx(5 - said.end[19])  # the end of a chapter
    new = np.append(False, pause[:-1] >= next_words.LEAST_PAUSE_S)
    table = next_words.breaks(said, new)
    assert table["s1"] == [new[1:20].sum()] * 3 + [19]
    table = next_words.breaks(said, ~new)
    assert table["s2"][0] == 0 and table["s2"][1] == 19 - table["s2"][2]


def test_ngrams_are_distributions_and_use_what_they_know():
    text = ["A", "B", "C"] * 20
    part, classes = np.zeros(60), np.array([0, 1, 2] * 20)
    rows = next_words.contexts(text, part, 3)
    assert rows[0] == [(), ("",), ("", "")] and rows[2] == [(), ("B",), ("B", "A")]
    table = next_words.Ngrams(4).count(rows, classes).log_probs(rows)
    np.testing.assert_allclose((2.0**table).sum(1), 1, rtol=1e-5)
    assert (table[3:].argmax(1) == classes[3:]).all()
    assert table[1, 3] > -20  # what never came is possible


def test_the_levels_hear_nothing_after_a_word(trained):
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((60, 33)).astype(np.float32)
    columns = trained.model.inputs
    rows = np.resize(rows, (60, columns))
    spans = np.array([[5, 20], [22, 40]])
    alone, ahead = spoken_words.sounds(trained, rows, spans)
    assert [len(a) for a in alone] == [2] * len(trained.model.levels)
    later = rows.copy()
    later[40:] += 5
    also, now = spoken_words.sounds(trained, later, spans)
    assert all(torch.equal(a, b) for a, b in zip(alone, also, strict=True))
    assert not torch.allclose(ahead[-1][1], now[-1][1])


def test_the_command_resumes_and_reports(toy, trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(phrases, "open_run", lambda _: trained)
    monkeypatch.setattr(phrase_level, "STEPS", 2)
    lexicon = tmp_path / "lexicon.txt"
    lexicon.write_text("A AA\nAM AA M\nMASS M AA S\n")
    (tmp_path / "book.txt").write_text("A mass. Am a mass am. " * 20)
    cuts, out = str(toy / "test_cuts.jsonl.gz"), tmp_path / "out"
    command = [
        "run", "--train", cuts, cuts, "--dev", cuts, "--test", cuts, "--out", str(out), "--text",
        str(tmp_path / "book.txt"), "--lexicon", str(lexicon), "--seeds", "1", "--only",
        "word,text: word + sound + timing",
    ]  # fmt: skip
    assert phrases.main(command) == 0
    before = (out / "results.jsonl").read_text()
    assert phrases.main(command) == 0 and (out / "results.jsonl").read_text() == before
    lines = [json.loads(line) for line in before.splitlines()]
    assert {line["system"] for line in lines} >= {"unigram", "text: bigram", "word"}
    report = (out / "report.md").read_text()
    assert "| text: word + sound + timing | 1 |" in report and "Where events begin" in report
    assert phrases.main([*command, "--train", cuts]) == 2
    assert "holds results of another run" in capsys.readouterr().err
    assert phrases.main([*command, "--only", "nothing"]) == 2
    assert phrases.main([*command, "--test", cuts, cuts]) == 2
    assert "two sets have the same name" in capsys.readouterr().err
    assert phrases.main([*command, "--seeds", "0"]) == 2


def test_bad_input_is_named(toy, trained, tmp_path):
    cuts = toy / "test_cuts.jsonl.gz"
    with pytest.raises(ConfigError, match="its model has no levels"):
        spoken_words.read_words(trained._replace(model=torch.nn.Linear(1, 1)), cuts, None)
    first, changed = next(iter(read_cuts(cuts))), tmp_path / "changed.jsonl"
    first.supervisions[0].alignment = None
    type(read_cuts(cuts)).from_cuts([first]).to_file(changed)
    assert len(spoken_words.read_words(trained, changed, LEXICON.get).text) >= 2
    with pytest.raises(AlignmentError, match="does not know the phone 'ZZ'"):
        spoken_words.read_words(trained, changed, lambda word: [("ZZ",)])
    first.supervisions[0].text = None
    type(read_cuts(cuts)).from_cuts([first]).to_file(changed)
    with pytest.raises(LabelError, match="it has no text"):
        spoken_words.read_words(trained, changed, None)
    (tmp_path / "broken.npz").write_bytes(b"PK")
    with pytest.raises(OutputError, match="cannot be read"):
        spoken_words.cached(tmp_path / "broken.npz", trained, cuts, None)
