"""How fast `speechasym explore` shows recordings, and with how much memory.

python benchmarks/explore.py [HOURS]: starts the server as a user does, and asks for what its page
asks for, as the page would: session, recording, waveform and gammatone spectrogram of a recording
of 10 s; then tiles that were not computed before; then the same of a long recording, made of the
sentences in data/ at random levels, as WAV and FLAC. Memory is VmHWM, the most that was resident.
"""

import json
import re
import struct
import subprocess
import sys
import tempfile
import time
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import numpy as np
import soundfile

import speechasym

RATE = 16000
PANELS = ("waveform", "gammatone", "spectrogram", "asymmetry")


class Page:
    """A server in a process of its own, and requests to it over one connection."""

    def __init__(self, path: Path) -> None:
        command = [sys.executable, "-m", "speechasym", "explore", str(path), "--no-browser"]
        started = time.perf_counter()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        words = self.process.stdout.readline().split()
        self.address = urlsplit(next(word for word in words if word.startswith("http")))
        self.start_up = time.perf_counter() - started
        self.connection = HTTPConnection(self.address.netloc)

    def get(self, path: str) -> bytes:
        """Return the body of an answer."""
        self.connection.request("GET", self.address.path + path)
        response = self.connection.getresponse()
        body = response.read()
        assert response.status == 200, body
        return body

    def tile(self, panel: str, zoom: int, index: int, more: str = "") -> bool:
        """Ask for a tile; return whether it is exact."""
        body = self.get(f"r/0/tile?panel={panel}&zoom={zoom}&index={index}{more}")
        (size,) = struct.unpack_from("<I", body)
        return bool(json.loads(body[4 : 4 + size])["exact"])

    def first_picture(self, zoom: int) -> float:
        """Return the seconds until waveform and gammatone spectrogram are there."""
        started = time.perf_counter()
        self.get("session.json")
        self.get("r/0/info.json")
        self.tile("waveform", zoom, 0)
        self.tile("gammatone", zoom, 0)
        return time.perf_counter() - started

    def zoom_steps(self, seconds: float, zooms: range) -> dict[str, list[float]]:
        """Return the seconds for a tile at places and zooms not seen before, by panel."""
        rng, steps = np.random.default_rng(0), {panel: list[float]() for panel in PANELS}
        for zoom in zooms:
            for panel in PANELS:
                index = int(rng.uniform(0, seconds) / (512 * 0.01 * 2.0**-zoom))
                started = time.perf_counter()
                self.tile(panel, zoom, index)
                steps[panel].append(time.perf_counter() - started)
        return steps

    @property
    def megabytes(self) -> float:
        """The most memory that was resident."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        match = re.search(r"VmHWM:\s+(\d+) kB", text)
        assert match is not None
        return int(match[1]) / 1000

    def close(self) -> None:
        """Stop the server."""
        self.connection.close()
        self.process.terminate()
        self.process.wait()


def speech(seconds: float, path: Path) -> Path:
    """Write sentences of data/ one after another, at levels between -20 and 0 dB."""
    rng = np.random.default_rng(0)
    files = sorted(Path("data").glob("*.flac"))
    sentences = [speechasym.load(file, sample_rate=RATE)[0] for file in files]
    count, size = 0, round(seconds * RATE)
    with soundfile.SoundFile(str(path), "w", RATE, 1, "PCM_16") as file:
        while count < size:
            x = sentences[rng.integers(len(sentences))][: size - count]
            file.write(x * 10 ** rng.uniform(-1, 0) + rng.normal(0, 1e-4, len(x)))
            count += len(x)
    return path


def report(name: str, page: Page, seconds: float, zoom: int, zooms: range) -> None:
    """Measure a recording, and print a line for each figure."""
    imports = page.megabytes
    first = page.first_picture(zoom)
    print(f"{name}: start-up {page.start_up:.2f} s, then first picture {first:.2f} s")
    started = time.perf_counter()
    while not all([page.tile(panel, zoom, 0) for panel in PANELS]):
        time.sleep(0.5)
    print(f"  all four panels exact after another {time.perf_counter() - started:.2f} s")
    steps = page.zoom_steps(seconds, zooms)
    for panel, times in steps.items():
        text = f"median {1000 * median(times):.0f} ms, longest {1000 * max(times):.0f} ms"
        print(f"  {panel}: {len(times)} tiles, {text}")
    every = [value for times in steps.values() for value in times]
    print(f"  zoom step, median of all panels: {1000 * median(every):.0f} ms")
    peak = page.megabytes
    print(f"  memory: {peak:.0f} MB at most, {peak - imports:.0f} MB more than after start-up")
    page.close()


def main() -> None:
    """Measure a short and a long recording."""
    hours = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    with tempfile.TemporaryDirectory() as folder:
        report("10 s, WAV", Page(speech(10.0, Path(folder) / "a.wav")), 10.0, -1, range(-2, 6))
        for ending in ("wav", "flac"):
            path = speech(3600 * hours, Path(folder) / f"long.{ending}")
            zooms = range(-6, 6)
            page = Page(path)
            report(f"{hours:g} h, {ending.upper()}", page, 3600 * hours, -10, zooms)


if __name__ == "__main__":
    main()
