"""The server answers its own page only, and reads only what was opened."""

import json
import struct
from contextlib import closing
from http.client import HTTPConnection
from urllib.parse import urlencode, urlsplit

import numpy as np
import pytest
from helpers import ROOT

import speechasym


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

    def json(self, path, status=200, **options):
        answer, body = self(path, **options)
        assert answer == status, body
        return json.loads(body)

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


def test_the_page_and_the_list_of_recordings(client):
    status, body = client("")
    assert status == 200 and body.startswith(b"<!doctype html>")
    assert "default-src 'self'" in client.headers["Content-Security-Policy"]
    session = client.json("session.json")
    assert len(session["recordings"]) == 12 and session["title"] == "data"
    info = client.json("r/6/info.json")
    assert info["rate"] == 16000 and info["tiers"] == []


def test_wrong_token_host_or_origin_is_refused(client):
    assert client("/")[0] == client("/session.json")[0] == client("/x/session.json")[0] == 404
    assert client("session.json", Host="example.org")[0] == 403
    assert client("session.json", Origin="http://example.org")[0] == 403
    assert client("session.json", Origin=f"http://{client.url.netloc}")[0] == 200
    assert client("r/0/textgrid", "POST", b"{}")[0] == 403


def test_only_the_list_can_be_read(client):
    for path in (
        "../pyproject.toml",
        "r/../../etc/passwd/info.json",
        "server.py",
        "r/99/info.json",
    ):
        assert client(path)[0] == 404


def test_a_tile_has_the_values_of_the_library(client):
    path = ROOT / "data" / "goforward.wav"
    number = next(
        r["id"] for r in client.json("session.json")["recordings"] if r["name"] == path.name
    )
    header, values = client.tile("gammatone", number, zoom=0, index=0)
    s = speechasym.spectrogram(path)
    assert header["columns"] == s.level_db.shape[1] and header["exact"]
    assert np.abs(values - s.level_db).max() < 0.26
    header, values = client.tile("waveform", number, zoom=-2, index=0)
    x, _ = speechasym.load(path)
    step = header["hi"] / 100
    assert abs(values.max() - x.max()) < step and abs(values.min() - x.min()) < step
