"""`recipes/language`: books, training that resumes, measures, a library of nets, a second pass."""

import json

import numpy as np
import pytest
import torch

from recipes.language import data, library, measure, ngram, report, second_pass, train
from speechasym.errors import ConfigError, TextError
from speechasym.recognition.decoder import Hypothesis

SMALL = [
    "model={inputs: 8, levels: [{width: 8, units: 4, events: hysteresis, block: {causal: true}},"
    " {width: 8, units: 0, block: {causal: true}}]}",
    "batch=2", "length=32", "context=16", "steps=4", "validate_every=2",
]  # fmt: skip


@pytest.fixture(scope="module")
def books(tmp_path_factory):
    """Three books, and what is made of them."""
    folder = tmp_path_factory.mktemp("books")
    for name, words in (("a", "The cat sat. It ran!"), ("b", "A dog barked."), ("c", "Cats run.")):
        (folder / f"{name}.txt").write_text(f"{words} " * 40)
    out = folder / "out"
    assert data.prepare([folder], out, ["b"], ["c"]) == {
        "train": ["a"],
        "dev": ["b"],
        "test": ["c"],
    }
    return out


@pytest.fixture(scope="module")
def run(books, tmp_path_factory):
    """A trained run."""
    out = tmp_path_factory.mktemp("runs") / "small"
    train.train("levels", data.load(books), out, 0, SMALL)
    return out


def test_books_become_sentences_of_known_symbols(books, tmp_path):
    loaded = data.load(books)
    assert data.decode(loaded.train["a"][:20]) == "THE CAT SAT\nIT RAN\nT"
    with pytest.raises(ConfigError, match=r"does not know: '1é'"):
        data.encode("CAFé 1")
    (tmp_path / "empty.txt").write_text(" \n")
    assert data.main([str(tmp_path / "out"), str(tmp_path / "empty.txt")]) == 2
    with pytest.raises(TextError, match="is empty"):
        data.read(tmp_path / "empty.txt")
    with pytest.raises(ConfigError, match="no such book among a"):
        (tmp_path / "a.txt").write_text("One.")
        (tmp_path / "empty.txt").unlink()
        data.prepare([tmp_path], tmp_path / "out", ["z"], [])
    with pytest.raises(ConfigError, match="no book is left to train on"):
        data.prepare([tmp_path], tmp_path / "out", ["a"], [])
    with pytest.raises(ConfigError, match=r"holds no books\.json"):
        data.load(tmp_path)


def test_a_stopped_run_continues_to_the_same_model(books, run, tmp_path, monkeypatch):
    step, calls = train._step, []

    def stop(*args):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return step(*args)

    out = tmp_path / "small"
    monkeypatch.setattr(train, "_step", stop)
    with pytest.raises(KeyboardInterrupt):
        train.train("levels", data.load(books), out, 0, SMALL)
    monkeypatch.setattr(train, "_step", step)
    train.train("levels", data.load(books), out, 0, SMALL)
    ours, theirs = (train.open_model(path)[0].state_dict() for path in (out, run))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    with pytest.raises(ConfigError, match="holds a run with other settings"):
        train.train("levels", data.load(books), out, 0, [*SMALL, "batch=3"])
    with pytest.raises(ConfigError, match="fewer than a text of length"):
        train.train("levels", data.load(books), tmp_path / "x", 0, [*SMALL, "length=9999"])


def test_levels_correct_an_n_gram_model(books, tmp_path, monkeypatch):
    loaded = data.load(books)
    settings = [SMALL[0].replace("inputs", "corrects: true, inputs"), *SMALL[1:], "prior=3"]
    parts = train.priors(loaded.train.values(), 3, 4)
    text = torch.from_numpy(loaded.train["a"][None, :40].astype(np.int64))
    said = [prior(text) for prior in parts]
    total = said[-1].exp().sum(-1)[:, 1:]  # before, <unk> is as likely as some letters
    torch.testing.assert_close(total, torch.ones(1, 39), atol=0.05, rtol=0)
    four = [data.encode(word * 10 + data.END) for word in ("AB", "CD", "CE", "CF")]
    after_a = torch.tensor([[data.SYMBOLS.index("A")]])
    b = [float(p(after_a)[0, 0, data.SYMBOLS.index("B")]) for p in train.priors(four, 2, 4)]
    assert b[0] < min(b[1:]) - 1  # the first part's model has not read it
    rows = train._by_part(parts, [3, 0], text.expand(2, -1))
    assert torch.equal(rows, torch.cat([said[3], said[0]]))

    train.train("corrects", loaded, tmp_path / "run", 0, [*settings, "learning_rate=1e-9"])
    model, _ = train.open_model(tmp_path / "run")
    expected = said[-1].log_softmax(-1)
    torch.testing.assert_close(model(text).log_probs, expected, atol=1e-5, rtol=0)
    both = second_pass.scorers(tmp_path / "run")
    assert list(both) == ["run", "run, n-grams alone"]
    first, second = (scorer(text, torch.tensor([40])) for scorer in both.values())
    torch.testing.assert_close(first, second.log_softmax(-1), atol=1e-5, rtol=0)
    model.prior = None
    with pytest.raises(ConfigError, match="simpler model that levels correct is missing"):
        model(text)
    with pytest.raises(ConfigError, match=r"prior: is 0, but model\.corrects is True"):
        train.read_config("corrects", [*settings, "prior=0"])
    with pytest.raises(ConfigError, match="parts: must be an integer >= 2"):
        train.read_config("corrects", [*settings, "parts=1"])

    monkeypatch.setattr(ngram, "ORDERS", (2, 3))
    monkeypatch.setattr(measure, "CONTEXTS", (4, 8))
    monkeypatch.setattr(measure, "STRETCH", 50)
    command = ["--data", str(books), "--out", str(tmp_path / "measured.jsonl")]
    assert ngram.main(command) == ngram.main(command) == 0
    (line,) = (tmp_path / "measured.jsonl").read_text().splitlines()
    assert 1 < np.mean(json.loads(line)["bits"]["c"]["8"]) < 5


def test_windows_say_what_the_whole_text_says(books, run):
    model, _ = train.open_model(run)
    text = data.load(books).test["c"][:40]
    whole = torch.from_numpy(text.astype(np.int64))
    with torch.no_grad():
        expected = model(whole[None, :-1]).log_probs[0].gather(1, whole[1:, None])[:, 0]
    torch.testing.assert_close(train.log_probs(model, text, 20), expected[: len(text)])
    parts = train.log_probs(model, text, 8)
    assert len(parts) == 39
    with torch.no_grad():  # the last window begins 16 symbols before the end of the one before
        late = model(whole[None, 16:32]).log_probs[0].gather(1, whole[17:33, None])[:, 0]
    torch.testing.assert_close(parts[24:32], late[8:])


def test_runs_are_measured_and_reported(books, run, tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "CONTEXTS", (4, 8))
    monkeypatch.setattr(report, "CONTEXTS", (4, 8))
    monkeypatch.setattr(measure, "STRETCH", 50)
    monkeypatch.setattr(measure, "WRITTEN", 5)
    lines = tmp_path / "measured.jsonl"
    command = [str(run), "--data", str(books), "--out", str(lines)]
    assert measure.main([str(tmp_path / "nowhere"), *command[1:]]) == 2
    assert measure.main(command) == 0
    before = lines.read_text()
    assert measure.main(command) == 0 and lines.read_text() == before
    line = json.loads(before)
    assert line["parameters"] > 100 and line["text"].startswith(measure.OPENING)
    event = line["events"][0]
    assert event["sample"].replace("|", "").startswith("CATS RUN\n") and event["symbols"] >= 1
    other = {**line, "system": "other", "run": "other", "seed": 1}
    lines.write_text(before + json.dumps(other) + "\n")
    assert report.main([str(lines), "--out", str(tmp_path / "report.md")]) == 0
    text = (tmp_path / "report.md").read_text()
    assert "| other | 1 |" in text and "+0.000 [" in text
    assert (tmp_path / "report.png").stat().st_size > 5000


def test_the_net_that_knows_the_text_is_heard():
    torch.manual_seed(0)
    following = torch.randint(4, (300,))
    sure = torch.full((300, 4), 0.02).scatter(1, following[:, None], 0.94).log()
    wrong = sure.roll(1, 1)  # as sure, and mostly wrong
    both = library.Answers(
        torch.stack([wrong, sure]), following,
        torch.special.entr(torch.stack([wrong, sure]).exp()).sum(-1),
        torch.stack([library._past(torch.stack([row.gather(1, following[:, None])[:, 0]
                                                for row in (-wrong, -sure)]), d)
                     for d in library.DECAYS], -1),
    )  # fmt: skip
    table, about = library.rules([both])
    bits = {name: float(rule(both).mean()) for name, rule in table.items()}
    assert bits["voices by past surprise"] < bits["mean of probabilities"] - 0.5
    assert bits["voices by both"] <= bits["voices by past surprise"] + 1e-6
    assert bits["voices by selectivity"] == pytest.approx(bits["mean of probabilities"], abs=1e-3)
    assert about["voices by past surprise"]["past"] > 0


def test_a_second_pass_may_choose_other_words():
    def best(*answers):
        return [Hypothesis(words, total, {}, 0.0) for words, total in answers]

    utterances = [
        second_pass.Utterance(
            "u", "s", ["THE", "CAT"], best((("CAT",), -1.0), (("THE", "CAT"), -2.0))
        )
    ]

    def model(x, lengths):
        return torch.zeros(*x.shape, len(data.SYMBOLS))

    table = second_pass.second_pass(model, utterances, [(0.0, 0.0), (1.0, 2.0)])
    assert table == {(0.0, 0.0): {"s": [1, 2]}, (1.0, 2.0): {"s": [0, 2]}}
    other = second_pass.Utterance("v", "t", ["CAT"], best((("CAT",), -1.0)))
    crossed = second_pass.crosswise(model, [*utterances, other])
    # for t what is best for s: words are to be added; for s any weight is as good for t
    assert crossed.chosen == {"s": (0.0, -2.0), "t": (0.6, 2.0)}
    assert crossed.errors == {"s": [1, 2], "t": [0, 1]}
    assert second_pass.rate(table[0.0, 0.0]) == 50.0
