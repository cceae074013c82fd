"""Files that examples in docs and docstrings use, made from recordings of `data/`."""

import shutil
from pathlib import Path

import soundfile
from helpers import ROOT

import speechasym
from speechasym.annotations.intervals import Interval
from speechasym.annotations.textgrid import write_textgrid

TEXTS = dict(
    line.split(" ", 1) for line in (ROOT / "data" / "transcripts.txt").read_text().splitlines()
)


def make(root: Path) -> Path:
    """Fill a folder with recordings, texts, an annotation and features."""
    data, said = ROOT / "data", TEXTS["librivox-austen-0880"]
    samples, rate = speechasym.load(data / "librivox-austen-0880.flac")
    for name in ("talk.flac", "talk.wav", "speech.wav", "talks/one.flac", "interviews/a.wav"):
        (root / name).parent.mkdir(exist_ok=True)
        soundfile.write(root / name, samples, rate)
    shutil.copy(data / "goforward.wav", root / "interviews" / "b.wav")
    (root / "talk.txt").write_text(said)
    write_textgrid(root / "speech.TextGrid", {"words": [Interval(0.1, 2.0, said)]}, 2.8)
    own = root / "recordings"
    for name, source in (("anna/take1", "cards-001"), ("ben/take1", "goforward")):
        (own / name).parent.mkdir(parents=True)
        shutil.copy(data / f"{source}.wav", own / f"{name}.wav")
        (own / f"{name}.txt").write_text(TEXTS[source])
    rows = [f"{name}/take1.wav,{TEXTS[text]}" for name, text in
            (("anna", "cards-001"), ("ben", "goforward"))]  # fmt: skip
    (own / "list.csv").write_text("\n".join(["path,text", *rows]) + "\n")
    speechasym.extract([root / "speech.wav"], root / "features", format="csv")
    return root
