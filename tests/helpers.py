"""What several test files share: recordings to make, the command to run, folders to look into."""

import json
import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile as sf

ROOT = Path(__file__).resolve().parents[1]


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def environment() -> dict[str, str]:
    """For subprocesses: this checkout is importable, tables are wide enough not to fold paths."""
    inherited = {name: value for name, value in os.environ.items() if name[:5] != "DASK_"}
    return inherited | {"PYTHONPATH": str(ROOT), "COLUMNS": "400", "PYTHONIOENCODING": "utf-8"}


def run_python(*args, timeout=60, **options) -> Done:
    """Run `python ARGS` on this checkout. No command may ever show a traceback."""
    options = {"env": environment(), "cwd": ROOT} | options
    command = [sys.executable, *map(str, args)]
    done = subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", timeout=timeout, **options
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Done(done.returncode, done.stdout, done.stderr)


def run_cli(*args, **options) -> Done:
    """Run the command with these arguments."""
    return run_python("-m", "speechasym", *args, **options)


def sine(
    seconds: float = 0.3, rate: int = 16000, hertz: float = 440.0, amplitude: float = 0.5
) -> np.ndarray:
    """(T,) samples of a sine."""
    return amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def tone(path: Path, samples=None, rate: int = 16000, **options) -> Path:
    """Write samples, or a short sine, as a recording; `options` go to `soundfile.write`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, sine(rate=rate) if samples is None else samples, rate, **options)
    return path


def leftovers(folder: Path) -> list[Path]:
    """Temporary files, and .npy files that numpy cannot read whole."""
    left = list(folder.rglob("*.part"))
    for path in folder.rglob("*.npy"):
        try:
            np.load(path)
        except (ValueError, OSError, EOFError):
            left.append(path)
    return left


def contents(folder: Path) -> dict[str, bytes]:
    """{name in the folder: bytes} of every file."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def let_go(pipe: Path, reader: threading.Thread) -> None:
    """End a thread that reads a named pipe, whether it waits for a writer or has left already.

    To open the pipe as usual would wait for ever where the thread has left.
    """
    while reader.is_alive():
        with suppress(OSError):  # nobody reads just now
            os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        reader.join(0.01)


def called(capsys, *arguments) -> tuple[int, str, str]:
    """The command in this process: exit code, stdout, stderr."""
    from speechasym.cli.main import main

    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as end:
        code = end.code
    said = capsys.readouterr()
    return code, said.out, said.err


def resumed(capsys, main, arguments, lines: Path) -> str:
    """Run a recipe again that was stopped while it wrote a line; return what it printed."""
    lines.write_text(lines.read_text()[:-40])
    main(arguments)
    return capsys.readouterr().out


def write_cuts(path, cuts):
    """Write a manifest of cuts."""
    from lhotse import CutSet

    CutSet.from_cuts(cuts).to_file(path)
    return path


def table_rows(said: str) -> dict[str, str]:
    """{name: value} of a table that a command printed."""
    rows = (line.strip("│ ").split("│") for line in said.splitlines() if line[0] == "│")
    return {name.strip(): value.strip() for name, value in rows}


def text_manifest(path, texts):
    """Cuts that say texts; their recordings are nowhere."""
    with path.open("w") as file:
        for n, text in enumerate(texts):
            times = {"start": 0.0, "duration": 1.0, "channel": 0}
            said = {"id": f"s{n}", "recording_id": f"r{n}", **times, "text": text}
            source = {"type": "file", "channels": [0], "source": "none.wav"}
            recording = {
                "id": f"r{n}", "sources": [source], "sampling_rate": 16000, "num_samples": 16000,
                "duration": 1.0, "channel_ids": [0],
            }  # fmt: skip
            cut = {"id": f"c{n}", **times, "supervisions": [said], "recording": recording}
            file.write(json.dumps({**cut, "type": "MonoCut"}) + "\n")
    return path


def zipfian_sentences(seed=3, sentences=300, words=150):
    """Sentences with repeated phrases, so that all counts of counts are above 0."""
    rng = np.random.default_rng(seed)
    share = np.arange(1.0, words + 1) ** -1.3
    names = [f"W{n}" for n in range(words)]
    return [
        [str(w) for w in rng.choice(names, rng.integers(0, 9), p=share / share.sum())]
        for _ in range(sentences)
    ]


RULE_PHONES = {
    "A": "AA1", "B": "B", "D": "D", "E": "EH0", "I": "IH1", "M": "M", "N": "N", "O": "OW2",
    "P": "P", "S": "S", "T": "T",
}  # fmt: skip


def rule_phones(word: str) -> tuple[str, ...]:
    """A language of rules: C before E and I is S, else K; TH is one phone, X two; last E silent."""
    phones, at = [], 0
    while at < len(word):
        letter, after = word[at], word[at + 1 : at + 2]
        if letter + after == "TH":
            phones.append("TH")
            at += 1
        elif letter == "C":
            phones.append("S" if after in tuple("EI") else "K")
        elif letter == "X":
            phones += ["K", "S"]
        elif letter != "E" or after:
            phones.append(RULE_PHONES[letter])
        at += 1
    return tuple(phones)


def rule_words(count, seed=0):
    rng = np.random.default_rng(seed)
    onsets, vowels = [*"BCDMNPSTCC", "TH", "X"], [*"AEIO"]
    words = set()
    while len(words) < count:
        word = "".join(
            str(rng.choice(onsets)) + str(rng.choice(vowels)) for _ in range(rng.integers(2, 5))
        )
        words.add(word + str(rng.choice([*"BCCDMNPST"])) + str(rng.choice(["", "E"])))
    return sorted(words)
