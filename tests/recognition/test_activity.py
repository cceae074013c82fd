"""Speech activity: evidence, hysteresis, silence, and recordings of all kinds."""

from itertools import pairwise

import numpy as np
import pytest
from helpers import ROOT

import speechasym
from speechasym import AudioError, CheckpointError, ConfigError
from speechasym.recognition import activity, activity_evidence
from speechasym.recognition.activity import ActivityConfig, classes, without_short
from speechasym.recognition.noises import sounds_without_speech

SENTENCE = ROOT / "data" / "librivox-austen-0880.flac"  # speech from 0.3 to 2.7 s
RATE = 16000


def white(seconds, rms, seed=0, rate=RATE):
    rng = np.random.default_rng(seed)
    return (rms * rng.standard_normal(round(seconds * rate))).astype(np.float32)


@pytest.fixture(scope="module")
def sentence():
    return speechasym.load(SENTENCE, RATE)[0]


@pytest.fixture(scope="module")
def mixed(sentence):
    """2 s of silence, 3 s of noise, a sentence of 3 s with noise 15 dB below it, 3 s of noise."""
    rms = float(np.sqrt(np.mean(sentence**2))) * 10 ** (-15 / 20)
    noisy = np.concatenate([np.zeros(3 * RATE), sentence, np.zeros(3 * RATE)])
    noisy = noisy + white(len(noisy) / RATE, rms)
    return np.concatenate([white(2, 1e-5), noisy]).astype(np.float32)


@pytest.fixture(scope="module")
def sounds():
    return sounds_without_speech(6, RATE, np.random.default_rng(99))


def share(intervals, label, start, end):
    """Share of start to end that has a label."""
    inside = (
        max(0.0, min(i.end, end) - max(i.start, start)) for i in intervals if i.label == label
    )
    return sum(inside) / (end - start)


def test_silence_noise_and_speech_are_found(mixed):
    intervals = speechasym.segments(mixed, RATE)
    assert share(intervals, "silence", 0, 1.9) > 0.95
    assert share(intervals, "noise", 2.1, 4.8) > 0.9
    assert share(intervals, "speech", 5.5, 7.6) > 0.7
    assert share(intervals, "noise", 8.3, 10.9) > 0.9


def test_intervals_cover_the_recording(mixed):
    result = activity.activity(mixed[:-77], RATE)
    assert result.intervals[0].start == 0
    assert result.intervals[-1].end == result.seconds == (len(mixed) - 77) / RATE
    for before, after in pairwise(result.intervals):
        assert before.end == after.start and before.label != after.label
    assert sum(map(result.total, activity.LABELS)) == pytest.approx(result.seconds)
    speech = next(i for i in result.intervals if i.label == "speech")
    noise = next(i for i in result.intervals if i.label == "noise")
    assert result.probability(speech) > 0.5 > result.probability(noise)
    assert result.level(speech) > result.level(noise) > -60


@pytest.mark.parametrize("kind", ["white", "brown", "gusts", "hum", "siren", "music", "dither"])
def test_sounds_without_speech(sounds, kind):
    assert share(speechasym.segments(sounds[kind], RATE), "speech", 0, 6) < 0.15


def test_blocks_do_not_matter(sentence):
    x = np.concatenate([sentence, white(22, 0.01), sentence])
    whole = np.concatenate(list(activity_evidence.evidence([x])))
    edges = [0, 7, 7, 161, 50000, 50001, 333333, len(x)]
    parts = [x[a:b] for a, b in pairwise(edges)]
    assert len(whole) == len(x) // 160 > activity_evidence.GRID + activity_evidence.REACH
    np.testing.assert_array_equal(np.concatenate(list(activity_evidence.evidence(parts))), whole)


def test_windows_equal_a_loop():
    rows = np.random.default_rng(0).standard_normal((150, 36)).astype(np.float32)
    got = activity_evidence.windowed(rows, 40, 120)
    assert got.shape == (80, len(activity_evidence.columns()))
    for f in (40, 77, 119):
        expected = [rows[max(0, f - 5) : f + 6].mean(0)]
        for half in (20, 50):
            part = rows[max(0, f - half) : f + half + 1].astype(float)
            expected += [part.mean(0), part.std(0)]
        np.testing.assert_allclose(got[f - 40], np.concatenate(expected), atol=1e-4)


def test_loudness_does_not_matter(mixed):
    x = mixed[2 * RATE :]
    loud, soft = (activity.activity(g * x, RATE).log_odds for g in (1.0, 0.1))
    assert np.abs(soft - loud).max() < 0.5 < np.ptp(loud) / 10


def test_rates_channels_and_files(mixed, tmp_path):
    import soundfile
    import soxr

    cd = soxr.resample(mixed, RATE, 44100)
    soundfile.write(tmp_path / "cd.wav", np.stack([cd, cd], 1), 44100, subtype="FLOAT")
    from_file = speechasym.segments(tmp_path / "cd.wav")
    telephone = speechasym.segments((soxr.resample(mixed, RATE, 8000), 8000))
    for other in (from_file, telephone):
        assert share(other, "speech", 5.5, 7.6) > 0.7
        assert share(other, "speech", 2.1, 4.8) < 0.1


def test_digital_silence():
    assert [i.label for i in speechasym.segments(np.zeros(3 * RATE, np.float32), RATE)] == [
        "silence"
    ]


@pytest.mark.parametrize("seconds", [0.001, 0.1])
def test_too_short(seconds):
    with pytest.raises(AudioError, match=r"must be longer than 0\.1 s"):
        speechasym.segments(white(seconds, 0.1), RATE)
    assert len(speechasym.segments(white(0.11, 0.1), RATE)) == 1


@pytest.mark.parametrize(
    "options",
    [{"threshold": 1.0}, {"threshold": 0.0}, {"margin": -1.0}, {"silence_db": 3.0},
     {"shortest_gap": float("nan")}],
)  # fmt: skip
def test_options_out_of_range(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        speechasym.segments(white(1, 0.1), RATE, **options)


def test_hysteresis_and_shortest_durations():
    odds = np.full(100, -5.0, np.float32)
    odds[10:40] = 2  # speech
    odds[20:25] = -0.5  # between the thresholds
    odds[30:34] = -5  # a gap of 4 frames
    odds[60:63] = 5  # 3 frames
    odds[70:80] = -0.5  # not above the upper threshold
    level = np.full(100, -30.0, np.float32)
    config = ActivityConfig(threshold=0.5, margin=1.0, shortest_gap=0.05, shortest_speech=0.05)
    speech, silence = classes(odds, level, config)
    assert np.flatnonzero(np.diff(speech)).tolist() == [9, 39] and not silence.any()
    narrow = ActivityConfig(threshold=0.5, margin=0.0, shortest_gap=0.0, shortest_speech=0.0)
    assert np.flatnonzero(np.diff(classes(odds, level, narrow)[0])).tolist() == [
        9, 19, 24, 29, 33, 39, 59, 62,
    ]  # fmt: skip


def test_silence_is_low_in_level_or_far_below_the_recording():
    odds = np.full(300, -5.0, np.float32)
    odds[:100] = 5
    level = np.full(300, -20.0, np.float32)
    level[100:200], level[200:] = -58, -50
    _, silence = classes(odds, level, ActivityConfig())
    assert silence[110:190].all() and not silence[210:].any() and not silence[:100].any()
    _, silence = classes(odds, level, ActivityConfig(silence_below_db=45))
    assert not silence.any()
    _, silence = classes(odds, level, ActivityConfig(silence_below_db=45, silence_db=-55))
    assert silence[110:190].all()


def test_short_noise_beside_silence_is_silence():
    odds, level = np.full(200, -5.0, np.float32), np.full(200, -80.0, np.float32)
    odds[:50], level[:60], level[120:125] = 5, -20, -20
    _, silence = classes(odds, level, ActivityConfig(shortest_gap=0.2))
    assert silence[50:].all()


def test_short_runs():
    mask = np.array([1, 0, 1, 1, 0, 1, 1, 1], bool)
    assert without_short(mask, 3).tolist() == [False] * 5 + [True] * 3
    assert without_short(mask, 1).tolist() == mask.tolist()


@pytest.mark.parametrize("text", ["{}", "[]", "no", '{"bias": 0, "weights": {"mean1": 2}}'])
def test_a_file_without_the_function(tmp_path, text):
    path = tmp_path / "activity.json"
    path.write_text(text)
    with pytest.raises(CheckpointError, match="not a logistic function"):
        activity.read_logistic(path)
