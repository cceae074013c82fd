"""The comparison of systems: runs end to end, and its intervals are those of dumb loops."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny

from recipes.compare import intervals, jobs, systems
from recipes.compare.__main__ import main
from recipes.compare.report import REPORT, RESULTS, counted, report
from speechasym.errors import ConfigError, OutputError
from speechasym.language import kneser_ney
from speechasym.language.arpa import write_arpa
from speechasym.recognition.search import config_of
from speechasym.scoring import error_rates
from speechasym.scoring.error_rates import Counts

LEXICON = "A AA\nBEE B IY\nSEA S IY\nAS AA S\n"


@pytest.fixture
def given(tmp_path):
    """Words of the command, for two systems: one hears phones, the other words alone."""
    cuts = dict(word.split("=") for word in tiny.corpus(tmp_path, 12))
    (tmp_path / "base.yaml").write_text(
        f"data: {{train: {cuts['data.train']}, dev: {cuts['data.dev']}, workers: 2}}\n"
        "model: {every: {width: 16}}\nheads: {phones: 1, words: 0.5}\ntarget: words\n"
        "epochs: 1\nbatch_seconds: 3\n"
    )
    (tmp_path / "systems.yaml").write_text(
        "ours: {shows: phones and words}\nwords-only: {set: [heads.phones=0]}\n"
    )
    said = ["a bee", "sea as", "bee sea a", "as a"]
    texts = {f"v{n % 2}-{n}": words for n, words in enumerate(said)}
    tiny.manifest(tmp_path / "test.jsonl", texts)
    (tmp_path / "report.json").write_text(json.dumps({"split": "of tones"}))
    (tmp_path / "lexicon.txt").write_text(LEXICON)
    lm = kneser_ney.estimate([words.upper().split() for words in said], 2)
    write_arpa(tmp_path / "lm.arpa", lm)
    names = {k: str(tmp_path / k) for k in ("base.yaml", "systems.yaml", "test.jsonl", "out")}
    words = [names["base.yaml"], names["systems.yaml"], "--test", names["test.jsonl"]]
    return [*words, "--out", names["out"], "--seeds", "1"]


def test_from_configuration_to_table(given, tmp_path, capsys, forked_jobs):
    words = [*given, "--lexicon", str(tmp_path / "lexicon.txt"), "--lm", str(tmp_path / "lm.arpa")]
    words += ["--decode", "beam=20", "--set", "seed=7"]
    assert main(words) == 0, [p.read_text() for p in (tmp_path / "out").glob("*.log")]
    lines = {x["system"]: x for x in jobs.read_lines(tmp_path / "out" / RESULTS)}
    assert list(lines["ours"]["counts"]["PER"]) == ["v0", "v1"]
    assert set(lines["ours"]["rates"]) == {"PER", "WER", "WER by lexicon"}
    assert set(lines["words-only"]["rates"]) == {"WER"} and not lines["words-only"]["decoding"]
    assert lines["ours"]["decoding"]["settings"]["beam"] == 20
    assert lines["words-only"]["overrides"] == ["heads.phones=0"] and lines["ours"]["seed"] == 0
    for line in lines.values():
        assert line["epochs"] == 1 and line["sentences"] == 4 and line["split"] == "of tones"
        assert line["data"]["test"]["cuts"] == "test.jsonl" and line["labels"]["silence"] == "drop"
        for measure, rate in line["rates"].items():
            total = np.sum([row for row in line["counts"][measure].values()], axis=0)
            assert rate == pytest.approx(total[1:].sum() / total[0])
    text = (tmp_path / "out" / REPORT).read_text()
    assert f"| ours | phones and words | 1 | {lines['ours']['parameters']:,} |" in text
    assert "4 sentences" in text and "2 speakers; fewer than 10" in text and "of tones" in text
    assert "lm.arpa (" in text and "beam 20" in text and "silence drop" in text
    assert "one seed" in text or "| words-only | - | " in text
    capsys.readouterr()
    assert main([*words, "--report"]) == 0 and main(words) == 0
    assert "started" not in capsys.readouterr().out
    assert (tmp_path / "out" / REPORT).read_text() == text
    assert main([*words, "--decode", "lm_weight=1"]) == 2
    assert "ours-seed0 was done with other settings" in capsys.readouterr().err
    # the other does not decode
    assert main([*words, "--only", "words-only", "--decode", "lm_weight=1"]) == 0


def made(seed, seeds, speakers, share):
    """(K, S, 2) errors and tokens, as counts of speakers."""
    rng = np.random.default_rng(seed)
    tokens = np.tile(rng.integers(20, 80, speakers), (seeds, 1))
    return np.stack([rng.binomial(tokens, share), tokens], -1).astype(float)


def line(system, seed, counts, **more):
    rows = {f"v{n:02d}": [int(t), int(e), 0, 0] for n, (e, t) in enumerate(counts)}
    rate = counts[:, 0].sum() / counts[:, 1].sum()
    data = {k: {"cuts": k, "sha256": "f" * 64} for k in ("train", "dev", "test")}
    return {
        "system": system, "seed": seed, "counts": {"PER": rows}, "rates": {"PER": rate},
        "parameters": 1234, "seconds": 2.0 + seed, "data": data, "split": "s", "labels": {"a": 1},
        "decoding": None, "sentences": 9, "audio_seconds": 3.0, "commit": "c", "epochs": 1,
        "machine": "here", "versions": {"torch": "2"},
    } | more  # fmt: skip


def test_interval_over_speakers_is_that_of_scoring():
    counts = made(1, 3, 7, 0.3)
    low, high = intervals.interval(counts)
    # the same errors, written as utterances
    said, heard, speakers = {}, {}, {}
    for k, row in enumerate(counts.astype(int)):
        for s, (errors, tokens) in enumerate(row):
            name = f"{s}-{k}"
            said[name], speakers[name] = ["a"] * tokens, f"v{s}"
            heard[name] = ["b"] * errors + ["a"] * (tokens - errors)
    result = error_rates.error_rate(said, heard, speakers=speakers)
    assert (low, high) == pytest.approx((result.low, result.high))
    drawn = intervals.rates(counts, np.ones((intervals.ROUNDS, 3)), intervals.drawn(7, 0))
    assert drawn == pytest.approx(result.samples)


def test_difference_by_dumb_loops():
    ours, other = made(1, 3, 5, 0.2), made(2, 4, 5, 0.3)
    middle, low, high = intervals.difference(ours, other)
    speakers = intervals.drawn(5, 0)
    assert (speakers == intervals.drawn(5, 0)).all() and (speakers.sum(1) == 5).all()
    found = []
    for r in range(intervals.ROUNDS):
        rate = []
        for number, counts in enumerate((ours, other)):
            seeds, sums = intervals.drawn(len(counts), 1, number)[r], [0.0, 0.0]
            for k in range(len(counts)):
                for s in range(5):
                    for end in (0, 1):
                        sums[end] += seeds[k] * speakers[r, s] * counts[k, s, end]
            rate.append(sums[0] / sums[1])
        found.append(rate[1] / rate[0] - 1)
        if r == 200:
            break
    whole = [c[..., 0].sum() / c[..., 1].sum() for c in (ours, other)]
    assert middle == pytest.approx(whole[1] / whole[0] - 1)
    assert low < np.quantile(found, 0.2) and high > np.quantile(found, 0.8)
    drawings = [
        intervals.rates(c, intervals.drawn(len(c), 1, n), speakers)
        for n, c in enumerate((ours, other))
    ]
    assert drawings[1][:201] / drawings[0][:201] - 1 == pytest.approx(found)
    shares = drawings[1] / drawings[0] - 1
    assert (low, high) == pytest.approx(tuple(np.quantile(shares, [0.025, 0.975])))


def test_pairs_of_speakers_and_seed_noise_both_count():
    # speakers differ much, and both systems alike: only pairs can tell a small difference
    hard = np.array([[5, 100], [50, 100], [20, 100], [80, 100], [10, 100], [60, 100]], float)
    ours, other = np.stack([hard] * 3), np.stack([hard * [1.1, 1]] * 3)
    middle, low, high = intervals.difference(ours, other)
    assert (middle, low, high) == pytest.approx((0.1, 0.1, 0.1))
    assert intervals.verdict(ours, other).endswith("] worse")
    assert intervals.verdict(other, ours).endswith("] better")
    # seeds that differ by more than that hide it
    noisy = np.stack([hard * [k, 1] for k in (0.7, 1.1, 1.5)])
    assert intervals.verdict(ours, noisy).endswith("] not distinguishable")
    assert intervals.verdict(ours, noisy[:1]).endswith("] one seed")
    assert intervals.verdict(ours[:, :1], other[:, :1]) == "+10.0, no interval"
    assert intervals.verdict(ours * [0, 1], other) == "-" == intervals.verdict(ours[:0], other)


def test_report():
    compared = [systems.System("ours", "levels"), systems.System("b", "GRU")]
    compared.append(systems.System("c", "-"))
    ours, other = made(1, 3, 12, 0.2), made(2, 3, 12, 0.5)
    lines = [line("ours", k, ours[k]) for k in range(3)]
    lines += [line("b", k, other[k], parameters=99) for k in range(3)]
    text = report(lines[::-1], compared, "python -m recipes.compare x")
    assert text == report(lines, compared, "python -m recipes.compare x")
    low, high = (100 * v for v in intervals.interval(ours))
    assert "| ours | levels | 3 | 1,234 | 3 | " in text and f") [{low:.1f}, {high:.1f}] |" in text
    assert "| b | +" in text and "] worse |" in text and "Of 1 comparisons" in text
    assert "| c |" not in text and "too narrow" not in text and "`python -m recipes" in text
    assert "Of 0" not in report(lines[:3], compared, "")  # one system: nothing to compare
    with pytest.raises(OutputError, match="other speakers"):
        report([*lines, line("b", 4, other[0][:5])], compared, "")
    with pytest.raises(OutputError, match="2 test sets"):
        data = {"test": {"cuts": "x", "sha256": "e"}}
        report([*lines, line("b", 4, other[0], data=data)], compared, "")


def test_runs_at_a_time_have_cores_of_their_own(tmp_path, monkeypatch):
    begun = []

    class Process:
        def __init__(self, target, args):
            self.sentinel, (_, self.job, core) = object(), args
            begun.append((self.job.seed, core))

        def start(self):
            self.job.folder.mkdir()
            if self.job.seed != 3:
                out = {"rates": {"PER": 0.5}, "seconds": 1}
                (self.job.folder / jobs.RESULT).write_text(json.dumps(out))

        def join(self):
            pass

    monkeypatch.setattr(jobs, "get_context", lambda kind: SimpleNamespace(Process=Process))
    monkeypatch.setattr(jobs, "wait", lambda sentinels: sentinels[-1:])
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {5, 3}, raising=False)
    planned = [jobs.Job(None, n, None, tmp_path / f"a-seed{n}", Path(), "") for n in range(4)]
    assert (
        jobs.run_all(planned, systems.run_system, tmp_path / "lines", 2) == 1
    )  # the last gave nothing
    assert begun == [(0, 3), (1, 5), (2, 5), (3, 5)]  # the first is the last to end
    assert len(jobs.read_lines(tmp_path / "lines")) == 3
    more = [job._replace(folder=tmp_path / f"b-seed{job.seed}") for job in planned[:2]]
    assert jobs.run_all(more, systems.run_system, tmp_path / "lines", 1) == 0
    assert begun[4:] == [(0, None), (1, None)]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "contains no system"),
        ("a/b: {}", "not a name of a folder"),
        ("a: 3", "a: must be a mapping, got 3"),
        ("a: {from: run}", "a.from: is unknown"),
        ("a: {set: x=1}", "must be a list of key=value"),
        ("a: {set: [{x: 1}]}", "must be a list of key=value"),
        ("a: {}\na: {}", "duplicate key"),
    ],
)
def test_systems_that_cannot_be(tmp_path, text, told):
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(ConfigError, match=told):
        systems.read_systems(tmp_path / "s.yaml")


@pytest.mark.parametrize(
    ("lexicon", "lm", "given", "told"),
    [
        ("l", None, [], "--lexicon: has no effect"),
        (None, None, ["beam=3"], "--decode: has no effect"),
        (None, "m", [], "--lexicon: is missing"),
        ("l", "m", ["beams=3"], "--decode beams"),
        ("l", "m", ["beam=many"], "--decode beam"),
        ("l", "m", ["source=words"], "got 'words'"),
        ("l", "m", [], "l: cannot be read"),
    ],
)
def test_decoding_that_cannot_be(lexicon, lm, given, told):
    with pytest.raises(ConfigError, match=told):
        systems.word_decoding(lexicon and Path(lexicon), lm and Path(lm), given)


def test_decoding_by_its_options(tmp_path):
    (path := tmp_path / "lm").write_text("x")
    words = systems.word_decoding(None, path, ["source=letters", "lm_weight=0.5", "spelling=true"])
    assert words.config == config_of("letters", lm_weight=0.5) and words.spelling
    assert words.config.heads == ("letters",)
    assert systems.word_decoding(None, None, []) is None


def test_wrong_words_of_the_command(given, capsys):
    assert main([*given, "--only", "theirs"]) == 2
    assert "'theirs' is not a system" in capsys.readouterr().err
    assert main([*given, "--seeds", "0"]) == 2
    assert main([*given, "--set", "epoch=3"]) == 2
    assert "epoch" in capsys.readouterr().err


def test_counts_are_kept_in_the_order_that_is_read():
    counts = Counts(hits=7, substitutions=1, deletions=2, insertions=4)
    lines = [{"counts": {"PER": {"v": [counts.length, *counts[1:4]]}}}]
    assert counted(lines, "PER").tolist() == [[[7.0, 10.0]]]
    assert counted(lines, "WER").size == 0


def _line(job):
    if job.seed == 1:
        raise ValueError("no sound")
    job.folder.mkdir(parents=True)
    return {"system": job.system, "seed": job.seed, "rates": {"PER": 0.5}, "seconds": 1.0}


def test_without_workers_jobs_are_done_here(tmp_path, capsys):
    todo = [jobs.Job("a", n, None, tmp_path / f"a{n}", tmp_path, "") for n in (0, 1, 2)]
    todo[1].folder.mkdir()
    assert jobs.run_all(todo, _line, tmp_path / RESULTS, 0) == 1
    assert [line["seed"] for line in jobs.read_lines(tmp_path / RESULTS)] == [0, 2]
    assert "a1: failed: no sound" in capsys.readouterr().out
    with pytest.raises(KeyboardInterrupt):
        jobs.run_all(todo[:1], lambda job: None, tmp_path / RESULTS, 0)
