"""The demonstration behind `make demo`: features and pictures of the recordings in data/."""

import sys
import time
from pathlib import Path

from speechasym.extraction import extract
from speechasym.plots import plot
from speechasym.progress import progress

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "out" / "demo"


def main() -> int:
    begun = time.monotonic()
    recordings = sorted(p for p in (ROOT / "data").iterdir() if p.suffix in (".wav", ".flac"))
    said = dict(
        line.split(" ", 1) for line in (ROOT / "data/transcripts.txt").read_text().splitlines()
    )
    made = extract(
        recordings, OUT / "features", tracks=("level", "frequency", "phase"), overwrite=True
    )
    with progress(len(recordings), "draw") as step:
        for recording in recordings:
            plot(recording, OUT / f"{recording.stem}.png")
            step()
    here = OUT.relative_to(Path.cwd()) if OUT.is_relative_to(Path.cwd()) else OUT
    print(f"{len(made.made) + len(made.kept)} recordings in {time.monotonic() - begun:.1f} s")
    print(
        f"Features: {here}/features/*.npy (frames, 192), explained in {here}/features/features.json"
    )
    print("Pictures: waveform, level, frequency and phase of")
    for recording in recordings:
        print(f"  {here}/{recording.stem}.png  “{said[recording.stem]}”")
    return 1 if made.failed else 0


if __name__ == "__main__":
    sys.exit(main())
