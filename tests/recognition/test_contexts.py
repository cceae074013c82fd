"""A run whose phones are learned in context: searched and aligned with contexts, read without."""

import json
import shutil

import numpy as np
import pytest
import torch
from toy import RATE, causal, configuration, utterance

from speechasym import read_config, train
from speechasym.errors import ConfigError, DecodingError
from speechasym.language.lexicon import Lexicon
from speechasym.levels import ctc
from speechasym.recognition.decoder import BY_LEXICON
from speechasym.recognition.evaluation import evaluate
from speechasym.recognition.live import LiveTranscription
from speechasym.recognition.recogniser import Recogniser
from speechasym.recognition.spellings import pronunciations
from speechasym.recognition.trained_model import open_run
from speechasym.training import checkpoints

PHONES = ("AA", "M", "S")


@pytest.fixture(scope="module")
def folder(toy, files, tmp_path_factory):
    """A run in context that started from the one without."""
    folder = tmp_path_factory.mktemp("contexts") / "run"
    (folder.parent / "run.yaml").write_text(configuration(toy, 60))
    words = ["data.labels.context=true", f"data.labels.lexicon={files['lexicon']}", "mmi=1"]
    config = read_config(folder.parent / "run.yaml", [*words, f"start={toy / 'run'}"])
    train(config, folder, show_progress=False)
    return folder


@pytest.fixture(scope="module")
def run(folder):
    return open_run(folder)


@pytest.fixture(scope="module")
def samples():
    return utterance(["mass", "a", "am"])[0].astype(np.float32)


def test_what_is_learned_is_in_context_and_read_without(run):
    written = checkpoints.load_model(run.folder)[1]["inventories"]["phones"]
    assert written == ["AA+#", "AA+C", "M+#", "M+V", "S+#"]
    assert run.written["phones"] == tuple(written) and run.inventories["phones"] == PHONES
    assert run.merged["phones"].tolist() == [0, 1, 1, 2, 2, 3]
    assert not any("+" in name for level in run.unit_names.values() for name in level.names)


def test_posteriors_are_sums_over_contexts(run, samples):
    output = run.output(run.features(samples))
    alone, read = (run.posteriors(output, "phones", alone=way) for way in (True, False))
    assert alone.symbols == ("", *run.written["phones"]) and read.symbols == ("", *PHONES)
    given_all = ctc.in_sequence(alone.log_probs, run.follow["phones"]).exp()
    torch.testing.assert_close(read.log_probs[:, 1].exp(), given_all[:, 1:3].sum(1))
    levels = run.activations(run.features(samples))
    assert torch.equal(levels[0].log_posteriors["phones"].flatten(0, 1), read.log_probs)


def test_it_is_scored_as_phones_and_finds_words(toy, run, files):
    found = evaluate(run, toy / "test_cuts.jsonl.gz", show_progress=False, **files)
    assert found.scores["phones"].rate < 0.25 and found.scores[BY_LEXICON].rate < 0.25
    symbols = {symbol for row in found.hypotheses["phones"].values() for symbol in row}
    assert symbols == {*PHONES}


def test_a_recording_has_plain_phones_and_words(run, samples, files):
    result = Recogniser(run, **files).transcribe(samples, RATE)
    assert [i.label for i in result.phones] == ["M", "AA", "S", "AA", "AA", "M"]
    assert [i.label for i in result.words_by_lexicon] == ["MASS", "A", "AM"]


def test_words_of_unheard_contexts_can_be_found(run):
    """S is never before a vowel in training: the word SAM takes it as it is at the end."""
    heard = run.written["phones"]
    sam, am = ("S", "AA1", "M"), ("AA0", "M")
    ways = pronunciations(Lexicon({"SAM": [sam]}), ["SAM"], heard, context=True)
    assert ways == {"SAM": [(5, 2, 3)]}
    ways = pronunciations(Lexicon({"SAM": [sam, am]}), ["SAM"], heard, context=True)
    assert ways == {"SAM": [(2, 3)]}  # it has a way to be said that was heard
    with pytest.raises(DecodingError, match=r"does not write K; it writes AA M S,"):
        pronunciations(Lexicon({"CAM": [("K", *am)]}), ["CAM"], heard, context=True)


def test_alignment_has_plain_phones(run, samples, files):
    recogniser = Recogniser(run, **files)
    tiers = recogniser.align(samples, "mass a am", RATE).tiers
    assert [i.label for i in tiers["phones"]] == ["M", "AA", "S", "AA", "AA", "M"]
    _, words, phones = utterance(["mass", "a", "am"])
    for tier, spoken in (("words", words), ("phones", phones)):
        late = [i.start - start for i, (start, _, _) in zip(tiers[tier], spoken, strict=True)]
        assert np.abs(late).max() < 0.03


def test_live_words_are_searched_in_context(run, samples, files):
    recogniser = Recogniser(causal(run)._replace(follow={}), **files)
    *_, last = LiveTranscription(recogniser, [samples])
    symbols = last.transcript.symbols
    assert {i.label for i in symbols["phones"]} <= {*PHONES} and symbols[BY_LEXICON]


def test_runs_in_context_read_together(run, samples, files):
    """If they write the same symbols."""
    first = run._replace(follow={})
    other = first._replace(fingerprint="other", folder=run.folder / "other")
    both = Recogniser([first, other], **files).transcribe(samples, RATE)
    assert {i.label for i in both.phones} <= {*PHONES} and both.words_by_lexicon
    plain = other._replace(written=other.inventories)
    with pytest.raises(ConfigError, match=r"symbols differ: .* reads 5 phones, 'AA\+#' among them"):
        Recogniser([first, plain])


def test_a_model_that_was_shipped_has_a_lexicon_beside_it(run, samples, files, tmp_path):
    """Its configuration names none."""
    shutil.copytree(run.folder, tmp_path / "model")
    path = tmp_path / "model" / checkpoints.MODEL_META
    meta = json.loads(path.read_text())
    meta["config"]["data"]["labels"]["lexicon"] = None
    path.write_text(json.dumps(meta))
    for name, file in (("lexicon.txt", files["lexicon"]), ("lm.arpa", files["lm"])):
        shutil.copyfile(file, tmp_path / "model" / name)
    result = Recogniser(tmp_path / "model").transcribe(samples, RATE)
    assert [i.label for i in result.words_by_lexicon] == ["MASS", "A", "AM"]


def test_where_times_of_phones_are_needed(toy, files):
    words = ["data.labels.context=true", f"data.labels.lexicon={files['lexicon']}"]
    (files["lexicon"].parent / "run.yaml").write_text(configuration(toy))
    for more in (["framewise=1"], ["data.augment.splice=0.5", "heads.letters=0", "heads.words=0"]):
        with pytest.raises(ConfigError, match=r"data\.labels\.context: phones in context"):
            read_config(files["lexicon"].parent / "run.yaml", words + more)
