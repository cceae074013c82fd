"""The ablations of recipes/mini: all can be trained, a cut one goes on, and the verdicts count."""

import json
import signal
import subprocess
import sys
import time
from argparse import Namespace

import numpy as np
import pytest
import scipy.stats
import tiny
import torch
from helpers import ROOT, environment

from recipes.compare import jobs
from recipes.mini import ablations
from speechasym.errors import ConfigError, OutputError
from speechasym.levels import hierarchy

LABELS = {"phones": (39, 13.0), "letters": (28, 17.0), "words": (98, 4.0)}  # symbols; a second


@pytest.fixture
def base(tmp_path):
    words = dict(word.split("=") for word in tiny.corpus(tmp_path, 12))
    path = tmp_path / "base.yaml"
    path.write_text(
        f"data: {{train: {words['data.train']}, dev: {words['data.dev']}}}\n"
        "heads: {phones: 1, letters: 0.5, words: 0.5}\ntarget: words\nbatch_seconds: 3\n"
    )
    return path


def wanted(model, head):
    """Steps a second that a head has where events come at their wanted rate."""
    place, rate = getattr(model.config.heads, head), 100.0
    for number, level in enumerate(level.config for level in model.levels):
        rate /= level.stride
        if number == place.level:
            return rate * place.slots
        rate *= 1.0 if level.events == "none" else level.keep


def test_every_variant_is_a_model_with_steps_enough(base, tmp_path):
    names, seen = [variant.name for variant in ablations.VARIANTS], set()
    own = ["data.features={features: asymmetry, compact: true, normalise: utterance}"]
    for variant in ablations.VARIANTS:
        assert set(variant.rivals) <= set(names)
        options = Namespace(out=tmp_path, test=tmp_path / "dev.jsonl")
        job = ablations.job_of(variant, 1, base, own, options)
        assert job.sha256 != ablations.job_of(variant, 2, base, own, options).sha256
        seen.add(job.sha256)
        columns = len(job.config.data.features.columns())
        sizes = {head: LABELS[head][0] for head in job.config.heads.used}
        model = hierarchy.build_model(job.config.model, columns, sizes)
        out = model(torch.randn(2, 60, columns), torch.tensor([60, 50]))
        sum(log_probs.sum() for log_probs, _ in out.heads.values()).backward()
        for head, (_, lengths) in out.heads.items():
            steps = wanted(model, head) if out.levels else lengths[0] / 0.6
            assert steps > LABELS[head][1], (variant.name, head)
    assert len(seen) == len(names) == len(set(names))  # no two are the same


def test_a_cut_run_goes_on_and_a_done_one_is_left(base, tmp_path, capsys, forked_jobs):
    out = tmp_path / "out"
    words = [str(base), "--out", str(out), "--test", str(tmp_path / "dev.jsonl")]
    words += ["--seeds", "1", "--epochs", "12", "--only", "stride"]
    command = [sys.executable, "-m", "recipes.mini.ablations", *words]
    log = out / "stride-seed0" / "metrics.jsonl"
    with (tmp_path / "said").open("w") as said:
        process = subprocess.Popen(command, env=environment(), cwd=ROOT, stdout=said, stderr=said)
        begun = time.monotonic()
        while not (log.exists() and log.stat().st_size > 2000) and process.poll() is None:
            assert time.monotonic() - begun < 60
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 130, (tmp_path / "said").read_text()
    assert jobs.read_lines(out / ablations.RESULTS) == []
    cut = log.read_bytes()
    steps = cut.count(b'"step"')
    assert ablations.main(words) == 0
    assert log.read_bytes().startswith(cut) and log.read_bytes().count(b'"step"') > steps
    lines = {line["variant"]: line for line in jobs.read_lines(out / ablations.RESULTS)}
    assert set(lines) == {"stride"} and lines["stride"]["epochs"] == 12
    assert set(lines["stride"]["rates"]) == set(ablations.MEASURES)
    assert len(lines["stride"]["events"]) == 3
    assert "stride-seed0: started" in capsys.readouterr().out
    changed = log.stat().st_mtime_ns
    assert ablations.main(words) == 0 and log.stat().st_mtime_ns == changed
    said = capsys.readouterr().out
    assert "started" not in said and f"| {lines['stride']['parameters']:,} |" in said
    assert (out / ablations.REPORT).read_text() in said
    assert ablations.main([*words, "--set", "clip=1"]) == 2
    assert "other settings" in capsys.readouterr().err


def line(variant, seed, rate):
    return {
        "variant": variant, "seed": seed, "rates": {"PER": rate}, "parameters": 5, "seconds": 1,
        "audio_hours_per_hour": 100, "events": [], "machine": "here", "commit": "c", "epochs": 1,
        "sentences": 9, "versions": {"torch": "2"},
    }  # fmt: skip


def test_report_pairs_by_seed():
    rates = {0: 0.10, 1: 0.20, 2: 0.40}
    lines = [line("base", seed, rate) for seed, rate in rates.items()]
    lines += [line("stride", seed, rate + 0.05 + 0.001 * seed) for seed, rate in rates.items()]
    lines += [line("norm-pre", 3, 0.5), line("phones-only", 2, 0.41)]
    said = ablations.report(lines[::-1])
    assert (
        "| base | the configuration unchanged | 3 | 5 | 1 | 100 | - | 20.0 (10.0 to 40.0)" in said
    )
    assert "| stride | base | +5.1 [+4.9, +5.3] worse | - |" in said
    assert "| phones-only | base | +1.0, one seed |" in said
    assert "| norm-pre | base" not in said and "Of 1 comparisons" in said


@pytest.mark.parametrize("count", [2, 3, 6, 10])
def test_interval_is_students(count):
    rng = np.random.default_rng(count)
    values = rng.normal(0.5, 1, count)
    mean, low, high = map(float, ablations.verdict(values).translate(PLAIN).split()[:3])
    error = scipy.stats.sem(values)
    assert np.allclose((low, high), scipy.stats.t.interval(0.95, count - 1, mean, error), atol=0.11)
    assert ablations.verdict([0.0, 0.0]).endswith("within seed noise")
    assert ablations.verdict([-1.0, -1.1]).endswith("better") and ablations.verdict([]) == "-"


PLAIN = str.maketrans("", "", "[],")


def test_wrong_names_and_broken_results_are_told(base, tmp_path, capsys):
    assert ablations.main([str(base), "--out", str(tmp_path), "--only", "basis"]) == 2
    assert ablations.main([str(base), "--out", str(tmp_path), "--seeds", "0"]) == 2
    assert "'basis' is not a variant" in capsys.readouterr().err
    assert ablations.main([str(base), "--out", str(tmp_path), "--list", "--only", "stride"]) == 0
    assert "events=stride" in capsys.readouterr().out
    with pytest.raises(ConfigError):
        jobs.select(ablations.VARIANTS, "", "See --list", "variant")
    job = jobs.Job(ablations.VARIANTS[0], 0, None, tmp_path / "base-seed0", base, "")
    (tmp_path / "base-seed0.log").write_text("Traceback\nTrainingError: step 3\n")
    assert not jobs.keep_result(job, tmp_path / ablations.RESULTS)
    assert "TrainingError: step 3" in capsys.readouterr().out
    (tmp_path / ablations.RESULTS).write_text(json.dumps(line("base", 0, 0.1)) + "\n{")
    with pytest.raises(OutputError, match="cannot be read"):
        jobs.read_lines(tmp_path / ablations.RESULTS)
