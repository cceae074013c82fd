"""The server answers its own page only, and reads only what was opened."""

import json
import os
import shutil
import struct
from contextlib import closing
from http.client import HTTPConnection
from urllib.parse import urlencode, urlsplit

import numpy as np
import pytest
import soundfile
import toy
from helpers import ROOT

import speechasym
from speechasym.annotations.textgrid import read_textgrid
from speechasym.asymmetry import loops
from speechasym.errors import AudioError, CheckpointError, ConfigError
from speechasym.explorer import asymmetry_panel, overview, signal_panels
from speechasym.plots.asymmetry import design

OURS = {"X-Requested-With": "speechasym"}


class Client:
    """Requests to a server, as the page makes them."""

    def __init__(self, explorer):
        self.url = urlsplit(explorer.address)

    def __call__(self, path, method="GET", body=None, **headers):
        """Return status and body."""
        path = path if path.startswith("/") else self.url.path + path
        with closing(HTTPConnection(self.url.netloc, timeout=60)) as connection:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            self.headers = response.headers
            return response.status, response.read()

    def json(self, path, status=200):
        answer, body = self(path)
        assert answer == status, body
        return json.loads(body)

    def post(self, path, content, status=200):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        answer, body = self(path, "POST", body, **OURS)
        assert answer == status, body
        return json.loads(body)

    def error(self, path, status):
        return self.json(path, status)["error"]

    def id_of(self, name):
        recordings = self.json("session.json")["recordings"]
        return next(r["id"] for r in recordings if r["name"] == name)

    def tile(self, panel, number="0", **options):
        status, body = self(f"r/{number}/tile?{urlencode({'panel': panel, **options})}")
        assert status == 200, body
        (size,) = struct.unpack_from("<I", body)
        header = json.loads(body[4 : 4 + size])
        values = np.frombuffer(body, np.uint8, offset=4 + size)
        shape = header["rows"], header["columns"]
        scale = (header["hi"] - header["lo"]) / 255
        return header, header["lo"] + scale * values.reshape(shape)


@pytest.fixture(scope="module")
def client():
    with speechasym.explore(ROOT / "data", browser=False) as explorer:
        yield Client(explorer)


@pytest.fixture
def folder(tmp_path):
    """A folder with one recording, words beside it, and files that must not be read."""
    (tmp_path / "open").mkdir()
    shutil.copy(ROOT / "data" / "cards-001.wav", tmp_path / "open" / "a.wav")
    (tmp_path / "open" / "a.ctm").write_text("a 1 0.1 0.2 one\na 1 0.4 0.2 two\n")
    (tmp_path / "secret.wav").write_bytes((tmp_path / "open" / "a.wav").read_bytes())
    return tmp_path / "open"


@pytest.fixture
def opened(folder):
    with speechasym.explore(folder, browser=False) as explorer:
        yield Client(explorer)


def test_the_page_and_the_list_of_recordings(client):
    status, body = client("")
    assert status == 200 and body.lower().startswith(b"<!doctype html>")
    assert "default-src 'self'" in client.headers["Content-Security-Policy"]
    session = client.json("session.json")
    assert len(session["recordings"]) == 12 and session["title"] == "data"
    assert session["models"][0]["levels"] == ["level 0", "level 1", "level 2"]
    info = client.json(f"r/{client.id_of('goforward.wav')}/info.json")
    assert info["rate"] == 16000 and info["tiers"] == []
    assert client("alive")[0] == 204


def test_wrong_token_host_or_origin_is_refused(client):
    assert client("/")[0] == client("/session.json")[0] == client("/x/session.json")[0] == 404
    assert client("session.json", Host="example.org")[0] == 403
    assert client("session.json", Origin="http://example.org")[0] == 403
    assert client("session.json", Origin="null")[0] == 403
    assert client("session.json", Origin=f"http://{client.url.netloc}")[0] == 200
    assert client("r/0/textgrid", "POST", b"{}")[0] == 403
    assert client("r/0/textgrid", "POST", b"{}", Origin="http://x.org", **OURS)[0] == 403


def test_only_the_list_can_be_read(opened):
    for path in (
        "../secret.wav", "r/../secret.wav/info.json", "r/%2e%2e%2fsecret.wav/info.json", "r/a.wav",
        "server.py", "r/1/info.json", "r/-1/info.json", "page.html/..", "..%2f..%2fsecret.wav",
    ):  # fmt: skip
        assert opened(path)[0] == 404, path


def test_spectrogram_tiles_have_the_values_of_the_library(client):
    path = ROOT / "data" / "goforward.wav"
    number = client.id_of(path.name)
    s = speechasym.spectrogram(path)
    for zoom in (0, -1, 2):
        header, values = client.tile("gammatone", number, zoom=zoom, index=0)
        assert header["exact"] and header["frequencies"] == pytest.approx(s.frequencies, abs=0.01)
        expected = speechasym.spectrogram(path, frame_rate=100 * 2.0**zoom).level_db[:, :512]
        count = expected.shape[1]  # without a last one of less than half its length
        assert values.shape[1] - count in (0, 1)
        assert np.abs(values[:, :count] - expected).max() < 0.26  # half a step
    _, later = client.tile("gammatone", number, zoom=2, index=1)
    expected = speechasym.spectrogram(path, frame_rate=400).level_db[:, 512:1024]
    assert np.abs(later[:, : expected.shape[1]] - expected).max() < 0.26
    header, values = client.tile("spectrogram", number, zoom=0, index=0, window_ms=20)
    x, rate = speechasym.load(path)
    centred = (np.concatenate([x[80:], np.zeros(80, np.float32)]), rate)
    fft = speechasym.spectrogram(centred, kind="fft", frame_rate=100, window_ms=20).level_db
    assert np.abs(values - fft[:, : values.shape[1]])[:, 2:-2].max() < 0.26


def test_asymmetry_and_waveform_tiles_have_the_values_of_the_library(client):
    path = ROOT / "data" / "goforward.wav"
    number = client.id_of(path.name)
    x, rate = speechasym.load(path)
    frames = loops.all_frames(x, design(rate))
    for kind, track in (("amplitude", "amplitude"), ("phase", "lead")):
        header, values = client.tile("asymmetry", number, zoom=0, index=0, kind=kind, scale=2)
        expected = frames.asymmetry[track][2].T
        assert np.abs(values[:, : expected.shape[1]] - expected).max() < 0.005
    _, wider = client.tile("asymmetry", number, zoom=0, index=0, kind="phase", scale=2, width=4)
    assert np.abs(wider).mean() < 0.5 * np.abs(values).mean()
    header, values = client.tile("waveform", number, zoom=-2, index=0)
    step = header["hi"] / 100
    assert values.max() == pytest.approx(x.max(), abs=step)
    assert values.min() == pytest.approx(x.min(), abs=step)
    header, values = client.tile("waveform", number, zoom=10, index=0)
    assert header["columns"] == 512 and np.all(values[0] == values[1])  # between samples
    assert client.tile("waveform", number, zoom=0, index=9)[0]["columns"] == 0


@pytest.mark.parametrize(
    "query",
    ["panel=gammatone&zoom=0", "panel=x&zoom=0&index=0", "panel=gammatone&zoom=9&index=0",
     "panel=gammatone&zoom=0&index=-1", "panel=gammatone&zoom=nan&index=0",
     "panel=gammatone&zoom=0&index=0&channels=1e9", "panel=asymmetry&zoom=0&index=0&scale=7",
     "panel=units&zoom=0&index=0&model=9"],
)  # fmt: skip
def test_an_impossible_tile_is_refused(client, query):
    assert ":" in client.error(f"r/0/tile?{query}", 400)


def test_sound_and_table_of_a_stretch(client):
    number = client.id_of("goforward.wav")
    x, _ = speechasym.load(ROOT / "data" / "goforward.wav")
    _, body = client(f"r/{number}/audio.wav?from=0.5&to=1")
    expected = "audio/wav", 'attachment; filename="goforward-0.5-1.wav"'
    assert (client.headers["Content-Type"], client.headers["Content-Disposition"]) == expected
    assert np.frombuffer(body[44:], "<i2").tolist() == (x[8000:16000] * 32768).astype(int).tolist()
    lines = client(f"r/{number}/data.csv?panel=gammatone&from=0.5&to=1")[1].decode().splitlines()
    assert lines[0].startswith("time (s),gammatone 50.0 Hz (dB re full-scale sine),")
    assert len(lines) == 51 and lines[1].startswith("0.5000,")
    assert "stretch of up to 120 s" in client.error(f"r/{number}/audio.wav?from=2&to=1", 400)


def test_a_model_reads_a_recording_as_the_library_does():
    path = ROOT / "data" / "librivox-austen-0930.flac"
    run = ROOT / "tests" / "fixtures" / "run-0.1" / "run"
    with speechasym.explore(path, run=run, browser=False) as explorer:
        client = Client(explorer)
        recogniser = explorer.session.models[0].recogniser
        level = recogniser.activations(path)[0]
        header, values = client.tile("units", zoom=0, index=0, level=0)
        expected = level.units[5].numpy()[header["units"]]
        first = int(level.frames[5, 0])
        error = np.abs(values[:, first] - np.minimum(expected, header["hi"]))
        assert error.max() < header["hi"] / 200
        assert [name.split()[-1] for name in header["names"]] == list(map(str, header["units"]))
        events = client.json("r/0/events?level=0&from=0&to=9")["events"]
        assert len(events) == 1 + int((level.winner.diff() != 0).sum())
        tiers = client.json("r/0/recognised.json")["tiers"]
        transcript = recogniser.transcribe(path)
        assert [t["name"] for t in tiers] == list(transcript.symbols)
        assert [i[2] for i in tiers[0]["intervals"]] == [i.label for i in transcript.phones]
        problem = client.error("r/0/tile?panel=units&level=3&zoom=0&index=0", 400)
        assert "level: 3 is not one of the 2 levels of run" in problem


def test_labels_are_saved_and_replace_nothing(opened, folder):
    tiers = opened.json("r/0/info.json")["tiers"]
    assert [(t["name"], len(t["intervals"])) for t in tiers] == [("ctm", 2)]
    tiers[0] |= {"name": "words"}
    tiers[0]["intervals"][0][2] = "won"
    (folder / "a.corrected.TextGrid").write_text("mine")
    paths = [opened.post("r/0/textgrid", {"tiers": tiers})["path"] for _ in range(2)]
    assert paths == [str(folder / f"a.corrected-{n}.TextGrid") for n in (2, 3)]
    assert (folder / "a.corrected.TextGrid").read_text() == "mine"
    words = [i for i in read_textgrid(paths[0])["words"] if i.label]
    assert [(i.label, round(i.start, 6)) for i in words] == [("won", 0.1), ("two", 0.4)]
    os.remove(folder / "a.corrected.TextGrid")
    names = [t["name"] for t in opened.json("r/0/info.json")["tiers"]]
    assert names == ["ctm", "words (corrected-2)", "words (corrected-3)"]


@pytest.mark.parametrize(
    "content",
    [b"no JSON", {"tiers": [{"name": "a"}]}, {"tiers": []},
     {"tiers": [{"name": "a", "intervals": [[0.2, 0.1, "x"]]}]},
     {"tiers": [{"name": "a", "intervals": [[0.1, 0.3, "x"], [0.2, 0.4, "y"]]}]},
     {"tiers": [{"name": "a", "intervals": [[0, 99, "x"]]}]},
     {"tiers": [{"name": "a", "intervals": [[0, None, "x"]]}]},
     {"tiers": [{"name": "a", "intervals": [[0, 1, 2]]}]},
     {"tiers": [{"name": " ", "intervals": []}]}],
)  # fmt: skip
def test_impossible_labels_are_refused(opened, folder, content):
    before = sorted(folder.iterdir())
    assert opened.post("r/0/textgrid", content, 400)["error"]
    assert sorted(folder.iterdir()) == before


def test_a_recording_that_is_deleted_or_changed_while_open(opened, folder):
    assert opened.json("r/0/info.json")["seconds"] > 1
    raw = (folder / "a.wav").read_bytes()
    os.remove(folder / "a.wav")
    text = opened.error("r/0/tile?panel=waveform&zoom=0&index=0", 410)
    assert "a.wav: has been deleted or moved" in text
    assert "deleted" in opened.error("r/0/info.json", 410)
    (folder / "a.wav").write_bytes(raw)
    soundfile.write(folder / "a.wav", np.zeros(8000, np.float32), 16000)
    assert "changed" in opened.error("r/0/tile?panel=waveform&zoom=0&index=0", 410)
    assert opened.json("r/0/info.json")["seconds"] == 0.5  # chosen again
    assert opened.tile("waveform", zoom=0, index=0)[0]["columns"] == 50


def test_recordings_that_cannot_be_read_or_are_odd(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "broken.wav").write_bytes(b"RIFF\x00\x00")
    bad = rng.normal(0, 0.1, 16000).astype(np.float32)
    bad[12000] = np.nan
    soundfile.write(tmp_path / "nan.wav", bad, 16000, "FLOAT")
    soundfile.write(tmp_path / "short.wav", bad[:3], 16000)
    soundfile.write(tmp_path / "silent.wav", np.zeros(16000), 16000)
    soundfile.write(tmp_path / "stereo.flac", np.stack([bad[:9000], -bad[:9000]], 1), 22050)
    with speechasym.explore(tmp_path, browser=False, out=tmp_path / "out") as explorer:
        client = Client(explorer)
        rows = {r["name"]: r for r in client.json("session.json")["recordings"]}
        assert "truncated header" in rows["broken.wav"]["error"]
        assert "truncated" in client.error(f"r/{rows['broken.wav']['id']}/info.json", 400)
        number = rows["nan.wav"]["id"]
        text = client.error(f"r/{number}/tile?panel=gammatone&zoom=0&index=0", 400)
        assert "sample 12000 (at 0.750000 s) must be finite" in text
        for name in ("short.wav", "silent.wav", "stereo.flac"):
            for panel in ("waveform", "gammatone", "spectrogram", "asymmetry"):
                for zoom in (-12, 0, 3):
                    header, values = client.tile(panel, rows[name]["id"], zoom=zoom, index=0)
                    assert header["columns"] >= 1
                    if name != "short.wav" and panel in ("gammatone", "spectrogram"):
                        assert np.all(values == -120)  # the mean of opposite channels is silent
        assert client.json(f"r/{rows['stereo.flac']['id']}/info.json")["channels"] == 2


def amplitude_asymmetry(x):
    return loops.all_frames(x, design(16000)).asymmetry["amplitude"][0]


def test_a_long_recording_is_seen_from_afar(tmp_path, monkeypatch):
    monkeypatch.setattr(signal_panels, "SHORT_S", 1.0)
    monkeypatch.setattr(asymmetry_panel, "NEAR_S", 1.0)
    monkeypatch.setattr(signal_panels, "DIRECT_S", 0.0)
    path = ROOT / "data" / "librivox-austen-0870.flac"
    with speechasym.explore(path, browser=False) as explorer:
        client = Client(explorer)
        s = speechasym.spectrogram(path, frame_rate=1 / overview.SECONDS / 2)
        while not (got := client.tile("gammatone", zoom=-3, index=0))[0]["exact"]:
            pass
        whole = s.level_db.shape[1] - 1
        assert np.abs(got[1] - s.level_db)[:, :whole].max() < 0.26
        while not (got := client.tile("waveform", zoom=-3, index=0))[0]["exact"]:
            pass
        x, _ = speechasym.load(path)
        assert got[1].max() == pytest.approx(x.max(), abs=0.01)
        while not (got := client.tile("asymmetry", zoom=-3, index=0))[0]["exact"]:
            pass
        frames = loops.all_frames(x, asymmetry_panel.design(16000, 64, 1.0)).asymmetry["amplitude"][
            0
        ]
        means = frames[: len(frames) // 8 * 8].reshape(-1, 8, 64).mean(1).T
        assert np.abs(got[1][:, : means.shape[1]] - means).max() < 0.01
        _, values = client.tile("asymmetry", zoom=3, index=9)  # from 5.76 to 6.4 s
        assert np.abs(values[:, ::8] - frames[576:640].T).max() < 0.005


def test_a_part_far_from_any_known_state_begins_after_a_run_in(tmp_path, monkeypatch):
    monkeypatch.setattr(asymmetry_panel, "NEAR_S", 6.0)
    monkeypatch.setattr(asymmetry_panel, "PART_S", 1.0)
    monkeypatch.setattr(asymmetry_panel, "BEFORE_S", 3.0)
    path = ROOT / "data" / "librivox-austen-0870.flac"
    x, _ = speechasym.load(path)
    frames = amplitude_asymmetry(x)
    with speechasym.explore(path, browser=False) as explorer:
        client = Client(explorer)
        _, values = client.tile("asymmetry", zoom=3, index=9)
        assert np.abs(values[:, ::8] - frames[576:640].T).max() < 0.005
        _, values = client.tile("asymmetry", zoom=0, index=0)  # from the start: exact
        assert np.abs(values[:, :500] - frames[:500].T).max() < 0.005


def test_what_the_microphone_records(client):
    x, _ = speechasym.load(ROOT / "data" / "goforward.wav")
    live = client.post("live/start", {"rate": 16000})
    assert live["temporary"]
    parts = [x[i : i + 3200] for i in range(0, 16000, 3200)]
    answers = [client.post(f"live/{live['live']}", part.astype("<f4").tobytes()) for part in parts]
    assert [round(a["seconds"], 3) for a in answers] == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert sum(a["gammatone"]["columns"] for a in answers) == 100
    assert "finite" in client.post(f"live/{live['live']}", b"\xff\xff\xff\xff", 400)["error"]
    recording = client.post(f"live/{live['live']}/stop", b"")["recording"]
    assert recording["seconds"] == 1.0 and recording["rate"] == 16000
    header, _ = client.tile("gammatone", recording["id"], zoom=0, index=0)
    assert header["columns"] == 100
    saved = {"tiers": [{"name": "a", "intervals": []}]}
    assert "--out" in client.post(f"r/{recording['id']}/textgrid", saved, 409)["error"]
    assert client.post(f"live/{live['live']}", b"", 404)["error"]


def test_a_run_shows_its_cuts(tmp_path, monkeypatch):
    run = tmp_path / "run"
    shutil.copytree(ROOT / "tests" / "fixtures" / "run-0.1" / "run", run)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"dev_cuts.jsonl.gz, are not there. Give recordings"):
        speechasym.explore(run, browser=False)
    for name, count in (("test", 1), ("dev", 2)):
        toy.manifest(tmp_path, name, count, 1)
    with speechasym.explore("run", browser=False) as explorer:
        client = Client(explorer)
        session = client.json("session.json")
        assert [r["name"] for r in session["recordings"]] == ["test-00", "dev-00", "dev-01"]
        assert session["models"][0]["name"] == "run"
        tiers = {t["name"]: t["intervals"] for t in client.json("r/1/info.json")["tiers"]}
        assert list(tiers) == ["words", "phones", "text"]
        assert tiers["text"][0][2].split() == [i[2] for i in tiers["words"]]
    (run / "model.json").unlink()
    with pytest.raises(CheckpointError, match="not the folder of a finished run"):
        speechasym.explore("run", browser=False)


def test_what_cannot_be_opened(tmp_path):
    with pytest.raises(AudioError, match="no such file or folder"):
        speechasym.explore(tmp_path / "missing", browser=False)
    with pytest.raises(AudioError, match="holds no recordings"):
        speechasym.explore(tmp_path, browser=False)
    (tmp_path / "text.wav").write_text("no samples")
    with pytest.raises(AudioError, match=r"text\.wav"):
        speechasym.explore(tmp_path / "text.wav", browser=False)
    with speechasym.explore(browser=False) as explorer:
        assert Client(explorer).json("session.json")["recordings"] == []
        port = urlsplit(explorer.address).port
        with pytest.raises(ConfigError, match=f"cannot listen on port {port}"):
            speechasym.explore(browser=False, port=port)
