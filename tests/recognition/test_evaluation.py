"""Evaluation of a trained run, on a language of tones: its figures are those of `score`."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import called, tone
from toy import GAP_S, RATE, TONE_S, manifest, utterance, with_feedback

from speechasym.cli.evaluate import print_evaluation
from speechasym.errors import AudioError, CheckpointError, ConfigError
from speechasym.recognition import evaluation
from speechasym.recognition.decoder import BY_LEXICON
from speechasym.recognition.recogniser import Recogniser
from speechasym.scoring import error_rates
from speechasym.training import checkpoints


@pytest.fixture(scope="module")
def found(toy):
    cuts = toy / "test_cuts.jsonl.gz"
    return evaluation.evaluate(toy / "run", cuts, show_progress=False)


def test_a_learnable_language_is_learned(found):
    """Else the tests below would compare empty hypotheses."""
    assert found.scores["phones"].rate < 0.2
    assert found.scores["words"].rate < 0.4
    assert set(found.scores) == {"phones", "letters", "letters as words", "words"}


def test_score_gives_the_same_figures(found, tmp_path, capsys):
    names = {path.name for path in evaluation.write_hypotheses(tmp_path, found)}
    assert names == {
        *("phones.txt", "letters.txt", "words.txt"),
        *("phones.ref.txt", "words.ref.txt", "speakers.txt"),
    }
    for name, measure, reference, head in (
        ("phones", "per", "phones", "phones"),
        ("letters", "ler", "words", "letters"),
        ("letters as words", "wer", "words", "letters"),
        ("words", "wer", "words", "words"),
    ):
        code, said, _ = called(
            capsys, "score", measure, tmp_path / f"{reference}.ref.txt", tmp_path / f"{head}.txt",
            "--speakers", tmp_path / "speakers.txt", "--strict",
        )  # fmt: skip
        result = found.scores[name]
        row = next(line for line in said.splitlines() if line.startswith("- ")).split()
        c = result.counts
        assert code == 0 and "7 utterances, 3 speakers" in said
        assert row[1] == f"{result.rate:.2%}"
        assert row[2:5] == [f"{result.low:.2%}", "-", f"{result.high:.2%}"]
        assert row[5:9] == [str(n) for n in (c.length, c.substitutions, c.deletions, c.insertions)]


def test_printed_it_is_its_error_rates(found):
    first, *lines = str(found).splitlines()
    assert first == f"{found.trained.name}: 7 cuts, {found.seconds:.0f} s"
    score = found.scores["phones"]
    assert lines[0].split() == [
        "phones", "PER", f"{score.rate:.1%}", f"({score.low:.1%}", "to", f"{score.high:.1%})", "of",
        str(score.counts.length),
    ]  # fmt: skip
    assert len(lines) == len(found.scores)


def test_counts_by_speaker(found):
    for name, result in found.scores.items():
        own = found.by_speaker(name)
        assert list(own) == ["s0", "s1", "s2"]
        assert sum(c.errors for c in own.values()) == result.counts.errors
        first = [result.utterances[f"test-{n:02d}"] for n in (0, 3, 6)]
        assert own["s0"].length == sum(c.length for c in first)


def test_levels_are_those_of_single_cuts(toy, trained, found):
    """No padded step is counted as one."""
    from speechasym.plots.recognised import recognise

    first, others = recognise(trained, toy / "test_cuts.jsonl.gz", None, None, others=True)
    recordings = [first, *others]
    seconds = sum(recording.seconds for recording in recordings)
    assert found.seconds == pytest.approx(seconds) and len(found.levels) == 2
    for summary in found.levels:
        levels = [recording.output.levels[summary.level] for recording in recordings]
        steps = sum(int(level.mask.sum()) for level in levels)
        events = sum(int(level.passed.mask.sum()) for level in levels)
        assert summary.steps == pytest.approx(steps / seconds)
        assert summary.events == pytest.approx(events / seconds)
        assert summary.units == 8 and 0 < summary.selectivity < 1 and summary.beta > 0
    assert found.levels[0].events == pytest.approx(found.levels[1].steps)
    assert found.levels[0].steps == pytest.approx(100 / 3, rel=0.05)


def test_batches_change_nothing(toy, found):
    cuts, options = toy / "test_cuts.jsonl.gz", {"batch_seconds": 0.1, "show_progress": False}
    again = evaluation.evaluate(toy / "run", cuts, heads=["words"], **options)
    assert list(again.scores) == ["words"]
    assert again.hypotheses["words"] == found.hypotheses["words"]


def test_json(found, trained):
    content = json.loads(json.dumps(found.as_json()))
    assert content["checkpoint_sha256"] == trained.fingerprint
    assert content["parameters"] == trained.parameters > 1000
    assert content["utterances"] == 7 and content["cuts_sha256"] == found.cuts_sha256
    score = content["scores"]["phones"]
    result = found.scores["phones"]
    assert score["rate"] == result.rate and score["interval_95"] == [result.low, result.high]
    assert {score[k] for k in "SDI"} == set(result.counts[1:4])
    assert set(score["speakers"]) == {"s0", "s1", "s2"}
    assert content["real_time_factor"]["features"] > 0 < content["real_time_factor"]["model"]
    assert [level["units"] for level in content["levels"]] == [8, 8]


def test_one_speaker_has_no_interval(toy, tmp_path):
    cuts = manifest(tmp_path, "one", 2, 5, speakers=1)
    score = evaluation.evaluate(toy / "run", cuts, show_progress=False).as_json()["scores"]["words"]
    assert score["interval_95"] == [None, None] and len(score["speakers"]) == 1


def test_a_model_without_levels(toy, trained):
    """The baseline has heads only: no events to count."""
    from speechasym.levels.hierarchy import build_model

    sizes = {head: len(symbols) for head, symbols in trained.inventories.items()}
    baseline = build_model({"preset": "recurrent", "width": 8, "hidden": 8}, 16, sizes).eval()
    found = evaluation.evaluate(
        trained._replace(model=baseline), toy / "dev_cuts.jsonl.gz", show_progress=False
    )
    assert found.levels == [] and found.as_json()["levels"] == []
    assert found.scores["phones"].rate > 0.3  # it was never trained


def test_loops_that_do_not_settle_are_reported(toy, trained, found, capsys):
    loops = with_feedback(trained, passes=6, settle=0.05)
    for level in loops.model.levels[:-1]:
        torch.nn.init.normal_(level.context.weight, std=5.0)
    cuts = toy / "test_cuts.jsonl.gz"
    result = evaluation.evaluate(loops, cuts, heads=["phones"], show_progress=False)
    assert result.as_json()["feedback"] == result.feedback
    assert result.feedback["settled"] < 7 and result.feedback["most"] == 6
    print_evaluation(result)
    said = capsys.readouterr().out
    assert f"6 at most; {result.feedback['settled']} of 7 cuts settled" in said
    assert found.feedback is None


def test_letters_are_words_joined_by_single_spaces():
    spoken = {"letters": {"a": list("MA AM")}}
    rows = {"letters": {"a": list("  MA  AM ")}}
    references, hypotheses, scores = evaluation._scored(spoken, rows, {"a": "s"}, 0)
    assert references == {"words": {"a": ["MA", "AM"]}} and hypotheses["letters"]["a"][1] == "AM"
    assert scores["letters"].rate == 0 and scores["letters"].counts.length == 5
    assert scores["letters as words"].counts == error_rates.Counts(hits=2)


# --- words by lexicon -----------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["phones", "letters", "both"])
def test_words_by_lexicon(toy, trained, found, files, source):
    weights = {} if source == "phones" else {"letters_weight": 0.5}
    recogniser = Recogniser(trained, **files, words_from=source, **weights)
    cuts, heads = toy / "test_cuts.jsonl.gz", ["phones", BY_LEXICON]
    own = evaluation.evaluate(recogniser, cuts, heads=heads, show_progress=False)
    assert list(own.scores) == ["phones", BY_LEXICON]
    assert own.references["words"] == found.references["words"]
    result = own.scores[BY_LEXICON]
    assert result.counts.length == found.scores["words"].counts.length
    # the phones alone are right in nearly all of them, the letters less often
    assert result.rate <= (0.25 if source == "letters" else 0.1)
    table = error_rates.error_rate(own.references["words"], own.hypotheses[BY_LEXICON])
    assert table.counts == result.counts
    content = json.loads(json.dumps(own.as_json()))
    assert content["scores"][BY_LEXICON]["measure"] == "WER"
    decoding = content["decoding"]
    assert decoding["settings"]["source"] == source and decoding["real_time_factor"] > 0
    assert decoding["unknown_words"] == {"lm": 0, "lexicon": 0, "either": 0}
    assert found.as_json()["decoding"] is None
    batches = evaluation.evaluate(
        recogniser, cuts, heads=heads, show_progress=False, batch_seconds=0.1
    )
    assert batches.hypotheses[BY_LEXICON] == own.hypotheses[BY_LEXICON]
    only = evaluation.evaluate(recogniser, cuts, heads=[BY_LEXICON], show_progress=False)
    assert only.scores[BY_LEXICON].counts == result.counts and len(only.scores) == 1


def test_command_with_lexicon(toy, files, tmp_path, capsys):
    lexicon, arpa = files.values()
    cuts, out, folder = toy / "test_cuts.jsonl.gz", tmp_path / "x.json", tmp_path / "hyp"
    words = ("--lexicon", lexicon, "--lm", arpa)
    code, said, err = called(
        capsys, "evaluate", toy / "run", "--cuts", cuts, "--heads", "words", *words,
        "--lm-weight", 0.5, "--out", out, "--hypotheses", folder,
    )  # fmt: skip
    assert code == 0, err
    assert BY_LEXICON in said and "language model 0.00%, lexicon 0.00%" in said
    content = json.loads(out.read_text())
    assert f"--lexicon {lexicon} --lm {arpa} --from phones --lm-weight 0.5" in content["command"]
    assert content["decoding"]["settings"]["lm_weight"] == 0.5
    code, table, _ = called(
        capsys, "score", "wer", folder / "words.ref.txt", folder / "words-by-lexicon.txt"
    )
    assert code == 0 and f"{content['scores'][BY_LEXICON]['rate']:.2%}" in table


def test_transcribe_with_lexicon(toy, files, tmp_path, capsys):
    from speechasym.annotations.tiers import read_tiers

    x, times, _ = utterance(["mass", "am", "a"])
    path = tone(tmp_path / "x.wav", x, RATE)
    words = ("--lexicon", files["lexicon"], "--lm", files["lm"])
    code, said, _ = called(
        capsys, "transcribe", toy / "run", path, *words, "--textgrid", tmp_path / "grids"
    )
    assert code == 0 and f"  {BY_LEXICON}: MASS AM A" in said.splitlines()
    tier = read_tiers(tmp_path / "grids" / "x.TextGrid")[BY_LEXICON]
    own = [i for i in tier if i.label]
    assert [i.label for i in own] == ["MASS", "AM", "A"]
    for interval, (start, end, _) in zip(own, times, strict=True):
        assert abs(interval.start - start) < 0.1 and abs(interval.end - end) < 0.1
    silent = tone(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    code, said, _ = called(capsys, "transcribe", toy / "run", silent, *words)
    assert code == 0 and f"{BY_LEXICON}: (no speech)" in said


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--lm", "no.arpa", "--lexicon", "LEXICON"], "no.arpa"),
        (["--lm", "LM", "--lexicon", "no.txt"], "no.txt: cannot be read"),
        (["--lm", "LM"], "lexicon: needed to read phones"),
        (["--lexicon", "no.txt"], "no.txt: cannot be read"),
        (["--beam", "7"], "--beam: has no effect without a language model"),
        (
            ["--lm", "LM", "--lexicon", "LEXICON", "--from", "words"],
            "source: must be one of phones, letters, both, got 'words'",
        ),
        (
            ["--lm", "LM", "--lexicon", "LEXICON", "--lm-weight", "-1"],
            "lm_weight: must be >= 0, got -1",
        ),
        (["--lm", "LEXICON", "--lexicon", "LEXICON"], "lexicon.txt"),
        (["--lm", "LM", "--lexicon", "STRANGE"], "does not write ng"),
    ],
)
def test_words_that_cannot_be_found(toy, files, tmp_path, capsys, options, says):
    strange = tmp_path / "strange.txt"
    strange.write_text(files["lexicon"].read_text() + "AM  AA NG\n")
    names = {"LEXICON": files["lexicon"], "LM": files["lm"], "STRANGE": strange}
    given = [names.get(option, option) for option in options]
    cuts = toy / "test_cuts.jsonl.gz"
    code, _, err = called(capsys, "evaluate", toy / "run", "--cuts", cuts, *given)
    assert code == 2 and says in err and "Traceback" not in err


def test_words_without_pronunciation_are_told_or_guessed(toy, files, tmp_path, capsys, caplog):
    fewer = tmp_path / "fewer.txt"
    fewer.write_text("AM  AA M\nMASS  M AA S\nSAM  S AA M\n")
    cuts = toy / "test_cuts.jsonl.gz"
    words = ("--lexicon", fewer, "--lm", files["lm"])
    code, said, _ = called(capsys, "evaluate", toy / "run", "--cuts", cuts, *words)
    assert code == 0 and "1 word of the language model is not in the lexicon" in caplog.text
    assert "such as A; --spelling" in caplog.text and "lexicon 0.00%" not in said
    caplog.clear()
    code, said, _ = called(capsys, "evaluate", toy / "run", "--cuts", cuts, *words, "--spelling")
    assert code == 0 and "not in the lexicon" not in caplog.text and "lexicon 0.00%" in said


# --- errors --------------------------------------------------------------------------------------


def copied(run: Path, to: Path) -> Path:
    """A run's model, to be damaged."""
    to.mkdir()
    for name in (checkpoints.MODEL, checkpoints.MODEL_META):
        (to / name).write_bytes((run / name).read_bytes())
    return to


def test_runs_that_cannot_be_used(toy, tmp_path):
    cuts = toy / "test_cuts.jsonl.gz"

    def refused(run: Path) -> str:
        with pytest.raises(CheckpointError) as error:
            evaluation.evaluate(run, cuts, show_progress=False)
        return str(error.value)

    assert "is not the folder of a run" in refused(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    assert "holds no model.safetensors" in refused(tmp_path / "empty")
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / checkpoints.LAST).write_text('{"folder": "step-000001"}')
    assert "--resume" in refused(begun)
    other = copied(toy / "run", tmp_path / "other")
    meta = json.loads((other / checkpoints.MODEL_META).read_text())
    (other / checkpoints.MODEL_META).write_text(json.dumps(meta | {"format": 99}))
    assert "got 99" in refused(other) and "version" in refused(other)
    cut = copied(toy / "run", tmp_path / "cut")
    (cut / checkpoints.MODEL).write_bytes((cut / checkpoints.MODEL).read_bytes()[:-9])
    assert "truncated or changed" in refused(cut)


def test_cuts_that_cannot_be_used(toy, tmp_path):
    run = toy / "run"
    with pytest.raises(ConfigError, match="no such manifest"):
        evaluation.evaluate(run, tmp_path / "none.jsonl.gz", show_progress=False)
    with pytest.raises(ConfigError, match="no head phrases; it has phones, letters, words"):
        evaluation.evaluate(run, toy / "test_cuts.jsonl.gz", heads=["phrases"], show_progress=False)
    for options, message in (
        ({"heads": []}, "heads: none is given. Use phones"),
        ({"batch_seconds": 0}, "batch_seconds: must be > 0, got 0"),
        ({"seed": -1}, "seed: must be an integer >= 0, got -1"),
    ):
        with pytest.raises(ConfigError, match=message):
            evaluation.evaluate(run, toy / "test_cuts.jsonl.gz", show_progress=False, **options)
    cuts = manifest(tmp_path, "gone", 2, 4)
    (tmp_path / "gone" / "gone-01.wav").unlink()
    with pytest.raises(AudioError, match="cut gone-01"):
        evaluation.evaluate(run, cuts, show_progress=False)


def test_toy_language():
    """The test's own corpus: no two phones at a time, and words in order."""
    x, said, sounds = utterance(["am", "a", "mass"])
    assert [label for _, _, label in sounds] == ["aa", "m", "aa", "m", "aa", "s"]
    assert all(a[1] <= b[0] + 1e-9 for rows in (said, sounds) for a, b in pairwise(rows))
    assert len(x) / RATE == pytest.approx(6 * TONE_S + 4 * GAP_S)


def test_a_cluster_recognises_the_same(toy, trained, found):
    pytest.importorskip("distributed", reason="the extra `cluster` is not installed")
    arguments = {"show_progress": False, "batch_seconds": 3, "scheduler": "local:2"}
    many = evaluation.evaluate(toy / "run", toy / "test_cuts.jsonl.gz", **arguments)
    assert many.hypotheses == found.hypotheses and many.references == found.references
    assert many.scores.keys() == found.scores.keys()
    assert [level[:3] for level in many.levels] == [
        pytest.approx(level[:3], rel=1e-6) for level in found.levels
    ]
    with pytest.raises(ConfigError, match=r"the run is open already. Give the folder"):
        evaluation.evaluate(trained, toy / "test_cuts.jsonl.gz", **arguments)
