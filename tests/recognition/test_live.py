"""Live recognition: any blocks give the same results; pauses, silence, devices that fail."""

import contextlib
import sys
import types
from dataclasses import replace

import numpy as np
import pytest
from helpers import tone
from toy import RATE, causal, utterance

import speechasym
from speechasym.cli.main import main
from speechasym.errors import AudioError, ConfigError
from speechasym.feature_extraction.sets import MfccFeatures
from speechasym.recognition import live as live_module
from speechasym.recognition.live import LiveTranscription, check, transcribe_live
from speechasym.recognition.recogniser import Recogniser
from speechasym.recognition.trained_model import open_run
from speechasym.recognition.transcription import recognised


@pytest.fixture(scope="module")
def trained(toy):
    """The toy run, with its levels made causal, and features normalised by the past."""
    return causal(open_run(toy / "run"))


@pytest.fixture(scope="module")
def sound():
    """Two utterances with a pause between them, and one after it."""
    quiet = np.zeros(RATE * 3 // 4)
    parts = [utterance(["mass"])[0], quiet, utterance(["am"])[0]]
    return np.concatenate(parts).astype(np.float32)


def read(trained, blocks, **options):
    live = LiveTranscription(Recogniser(trained), blocks, **options)
    return live, list(live)


def cut(x, size):
    return [x[i : i + size] for i in range(0, len(x), size)]


def finals(results):
    return [result for result in results if result.final]


@pytest.fixture(scope="module")
def want(trained, sound):
    """The results, read at the pace of the levels."""
    return read(trained, cut(sound, 1920))[1]


@pytest.mark.parametrize("size", [160, 1234, 10**6])
def test_any_blocks_give_the_same(trained, sound, want, size):
    live, results = read(trained, cut(sound, size))
    assert results == want and len(finals(results)) >= 2
    assert live.report.seconds == len(sound) / RATE
    assert live.report.utterances == len(finals(results))


def test_an_utterance_is_read_as_a_whole_would_be(trained):
    x = utterance(["mass", "am", "a"])[0].astype(np.float32)
    _, results = read(trained, cut(x, 999))
    output = trained.output(trained.features(x))
    want = recognised(trained, output, len(x) / RATE, list(trained.inventories))
    (final,) = finals(results)
    for head, rows in want.items():
        got = final.transcript.symbols[head]
        assert [i.label for i in got] == [i.label for i in rows] and len(rows) > 1
        times = [time for i in rows for time in (i.start, i.end)]
        assert [time for i in got for time in (i.start, i.end)] == pytest.approx(times)


def test_partial_results_only_grow(trained, sound):
    live, results = read(trained, cut(sound, 800))
    said: list[str] = []
    assert sum(not r.final for r in results) > 3
    for result in results:
        labels = [i.label for i in result.transcript.phones]
        assert labels[: len(said)] == said
        assert result.start <= result.end <= live.report.seconds
        said = [] if result.final else labels
    report = live.report
    assert report.symbols == sum(len(r.transcript.phones) for r in finals(results))
    assert 0 < report.latency <= report.latest < 0.3


def test_words_by_lexicon_are_final(trained, sound, files):
    live = LiveTranscription(Recogniser(trained, **files), [sound])
    for result in live:
        assert ("words by lexicon" in result.transcript.symbols) == result.final


def test_silence_says_nothing_and_keeps_nothing(trained, sound):
    live, results = read(trained, [np.zeros(RATE * 20, np.float32), sound])
    assert finals(results)[0].start >= 19.6  # the noise before the sound
    hiss = np.random.default_rng(0).normal(0, 1e-3, 5 * RATE).astype(np.float32)
    live, results = read(trained, [hiss, np.zeros(RATE * 20, np.float32)])
    assert results == [] and live._power.frames.size < 50 and live._utterance is None
    assert live.report.symbols == 0 and "latency" not in str(live.report)


def test_noise_without_symbols_is_forgotten(trained, monkeypatch):
    begun = []
    start = live_module._Utterance.__init__

    def spy(self, live, first, begin):
        start(self, live, first, begin)
        begun.append(begin)

    monkeypatch.setattr(live_module._Utterance, "__init__", spy)
    monkeypatch.setattr(live_module._Path, "read", lambda self, new: [])
    noise = np.random.default_rng(0).normal(0, 0.03, 6 * RATE).astype(np.float32)
    live, results = read(trained, [noise])
    assert results == [] and live._power.frames.size < 50
    # twice for 2 s, until it is known for noise
    assert [b for b in begun if b] == [pytest.approx(2, abs=0.15)] and live._utterance is None
    assert live.speech(np.ones((1, 16), np.float32)).tolist() == [[0] * 16]  # has seen nothing


def test_a_pause_does_not_change_what_is_normal(trained, sound):
    rows = np.ones((1, 16), np.float32)
    live = LiveTranscription(Recogniser(trained), [sound, np.zeros(3 * RATE, np.float32)])
    for result in live:
        if not result.final:
            after_speech = live.speech.copy()(rows)
    assert live._utterance is None
    np.testing.assert_array_equal(live.speech.copy()(rows), after_speech)
    assert np.abs(after_speech).max() > 0.1


def test_without_a_pause_utterances_have_a_limit(trained):
    x = np.concatenate([utterance(["mass", "am", "a"])[0]] * 2).astype(np.float32)
    _, results = read(trained, [x], longest=1.0)
    ends = [r.end for r in finals(results)]
    assert len(ends) >= 3 and max(np.diff(ends)) < 1.2
    starts = [r.start for r in finals(results)]
    assert all(0 <= b - a < 0.2 for a, b in zip(ends, starts[1:], strict=False))


def test_stopped_and_failing_streams_complete_what_was_heard(trained, sound):
    def failing():
        yield from cut(sound[: len(sound) // 2], 1600)
        raise AudioError("device 3", "gave no sound for 2 s", "Connect it")

    live, results = LiveTranscription(Recogniser(trained), failing()), []
    with pytest.raises(AudioError, match="gave no sound"):
        for result in live:
            results.append(result)
    assert results[-1].final
    live = LiveTranscription(Recogniser(trained), iter(cut(sound, 1600)))
    for result in live:
        last = result
        live.stop()
    assert last.final and live.report.seconds < 2


def test_files_have_any_rate_and_pace(trained, sound, want, tmp_path, monkeypatch):
    import soxr

    fast = soxr.resample(sound, RATE, 44100)
    path = tone(tmp_path / "x.wav", np.stack([fast, fast], 1), 44100)
    results = list(transcribe_live(path, Recogniser(trained), pace=np.inf))
    assert [r.transcript.text for r in finals(results)] == [r.transcript.text for r in finals(want)]
    slept = []
    monkeypatch.setattr(live_module.time, "sleep", slept.append)
    monkeypatch.setattr(live_module.time, "monotonic", lambda: 0.0)
    list(live_module._paced([np.zeros(1600)] * 3, 2 * RATE))
    assert slept == pytest.approx([0.05, 0.1, 0.15])
    for pace in (0, -1, np.nan):
        with pytest.raises(ConfigError, match="pace: must be > 0"):
            transcribe_live(path, Recogniser(trained), pace=pace)
    with pytest.raises(AudioError, match=r"none\.wav"):
        transcribe_live(tmp_path / "none.wav", Recogniser(trained))


def test_what_cannot_read_live(trained, toy):
    both = r"run: cannot read live: .*normalised over the whole recording and its levels need later"
    remedy = r".*--set data.features.normalise=running model.every.block.causal=true"
    with pytest.raises(ConfigError, match=both + remedy):
        transcribe_live("x.wav", toy / "run")
    with pytest.raises(ConfigError, match=r"phones by what follows them.* mmi=0"):
        transcribe_live("x.wav", Recogniser(trained._replace(follow={"phones": np.eye(3)})))
    with pytest.raises(ConfigError, match="pretrained model: cannot read live"):
        transcribe_live("x.wav")
    with pytest.raises(ConfigError, match="several runs cannot read live together"):
        check(trained._replace(members=(trained, trained)))

    def changed(features=None, **level):
        config = trained.config
        levels = (replace(config.model.levels[0], **level), *config.model.levels[1:])
        features = features or trained.feature_config
        data = replace(config.data, features=features)
        model = replace(config.model, levels=levels)
        return trained._replace(config=replace(config, model=model, data=data))

    with pytest.raises(ConfigError, match=r"mfcc needs the whole.*Train with asymmetry"):
        check(changed(features=MfccFeatures()))
    with pytest.raises(ConfigError, match=r"levels.0.block.window.*every.block.window=100"):
        check(changed(functions=("attention",)))


class Device:
    """Stands in for sounddevice: gives blocks, then whatever happens to devices."""

    class PortAudioError(Exception):
        pass

    def __init__(self, blocks=(), rates=(RATE,), inputs=1, overflow=False):
        self.blocks, self.rates, self.inputs, self.overflow = blocks, rates, inputs, overflow

    def query_devices(self, device=None, kind=None):
        rows = [{"name": "Speaker", "max_input_channels": 0}]
        rows += [{"name": "Desk mic", "max_input_channels": 1}] * self.inputs
        if kind is None:
            return rows
        if not self.inputs or device not in (None, 1, "Desk"):
            raise ValueError("No input device matching")
        return rows[1] | {"default_samplerate": float(self.rates[0])}

    def check_input_settings(self, device, channels, dtype, samplerate):
        if samplerate not in self.rates:
            raise self.PortAudioError("Invalid sample rate")

    def InputStream(self, callback, **options):
        self.options = options
        if self.blocks is None:
            raise self.PortAudioError("Device unavailable")
        status = types.SimpleNamespace(input_overflow=self.overflow)
        for block in self.blocks:
            callback(block[:, None], len(block), None, status)
        return contextlib.nullcontext()


@pytest.fixture
def plug(monkeypatch):
    def plugged(*args, **more):
        device = Device(*args, **more)
        monkeypatch.setitem(sys.modules, "sounddevice", device)
        return device

    monkeypatch.setattr("speechasym.audio.microphone.WAIT_S", 0.01)
    return plugged


def test_a_device_that_vanishes(trained, sound, want, plug):
    device = plug(cut(sound, 1920))
    live = transcribe_live(None, Recogniser(trained), microphone="1")
    results = []
    with pytest.raises(AudioError, match=r"device 1: gave no sound for .* unplugged"):
        for result in live:
            results.append(result)
    assert finals(results) == finals(want)
    assert device.options["samplerate"] == RATE and device.options["device"] == 1
    assert (live.report.lost, live.report.overruns) == (0, 0)


def test_a_device_of_another_rate_that_overruns(trained, plug):
    x = np.zeros(44100 * 11, np.float32)
    plug(cut(x, 5292), rates=(44100,), overflow=True)
    live = transcribe_live(None, Recogniser(trained))
    with pytest.raises(AudioError, match="microphone: gave no sound"):
        list(live)
    report = live.report
    assert report.seconds == pytest.approx(10, abs=0.2) and report.lost == pytest.approx(1, abs=0.2)
    assert report.overruns == 92 and "LOST 1.0 s, the device overran 92 times" in str(report)


@pytest.mark.parametrize(
    ("options", "device", "message"),
    [
        ({}, 7, "device 7: is not one input device. Choose one with --device: 1 Desk mic"),
        ({"inputs": 0}, None, "microphone: this machine has no input device.*--live FILE"),
        ({"blocks": None}, "Desk", "device Desk: cannot be read .Device unavailable"),
    ],
)
def test_devices_that_cannot_be_heard(trained, plug, options, device, message):
    plug(**options)
    with pytest.raises(AudioError, match=message):
        list(transcribe_live(None, Recogniser(trained), microphone=device))


def test_without_sounddevice(trained, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(ConfigError, match=r"sounddevice: must be installed.*speechasym\[mic\]"):
        transcribe_live(None, Recogniser(trained))


def test_the_command(trained, sound, tmp_path, capsys, monkeypatch, toy):
    monkeypatch.setattr("speechasym.recognition.recogniser.open_runs", lambda run: trained)
    path = str(tone(tmp_path / "x.wav", sound, RATE))
    run = str(toy / "run")
    assert main(["transcribe", run, path, "--live", "--pace", "inf", "--heads", "phones"]) == 0
    out, err = capsys.readouterr()
    want = finals(speechasym.transcribe_live(path, run, pace=np.inf, heads=["phones"]))
    lines = [f"{r.start:.2f} to {r.end:.2f} s\n  {r.transcript}\n" for r in want]
    assert out == "".join(lines) and len(lines) >= 2
    assert f"utterances: {len(lines)}; latency " in err and " x real time" in err
    for words, message in (
        ([run, path, path, "--live"], "--live: reads one file at a time, got 2"),
        ([run, path, "--live", "--textgrid", "out"], "--textgrid: has no effect with --live"),
        ([run, path, "--live", "--device", "1"], "--device: has no effect with a file"),
        ([run, "--live", "--pace", "2"], "--pace: is the speed of a file"),
        ([run, path, "--pace", "2"], "--pace: has no effect without --live"),
        ([], "FILE: no recordings given"),
    ):
        assert main(["transcribe", *words]) == 2
        assert message in capsys.readouterr().err
