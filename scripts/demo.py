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
    compact = extract(
        recordings, OUT / "asymmetry", features="asymmetry", compact=True, overwrite=True
    )
    levels = OUT / f"{recordings[-1].stem}-levels.png"
    with progress(len(recordings) + 1, "draw") as step:
        for recording in recordings:
            plot(recording, OUT / f"{recording.stem}.png")
            step()
        plot(recordings[-1], levels, ("levels",))
        step()
    here = OUT.relative_to(Path.cwd()) if OUT.is_relative_to(Path.cwd()) else OUT
    print(f"{len(made.made) + len(made.kept)} recordings in {time.monotonic() - begun:.1f} s")
    print(
        f"Features: {here}/features/*.npy (frames, 192), explained in {here}/features/features.json"
    )
    print(f"Asymmetry, compact: {here}/asymmetry/*.npy (frames, 33)")
    print(f"Level-wise asymmetry: {here}/{levels.name}")
    print("Pictures: waveform, level, frequency and phase of")
    for recording in recordings:
        print(f"  {here}/{recording.stem}.png  “{said[recording.stem]}”")
    return 1 if made.failed or compact.failed else 0


if __name__ == "__main__":
    sys.exit(main())
