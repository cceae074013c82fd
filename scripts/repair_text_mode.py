"""Repair recordings that were copied in text mode: python scripts/repair_text_mode.py TIMIT COPY

Such a copy turns each byte 13 into 10 and drops it before a 10. After a drop, every sample is
composed of the wrong two bytes, which sounds like loud noise. In TIMIT the .TXT beside a recording
states the number of samples, so the number of missing bytes is known; their places are those
before a byte 10 that make the whole signal smoothest. A byte 13 that became 10 without being
dropped shifts a sample by 768 if it was the high byte, which is repaired if its neighbours show it,
or by 3, which is left.

The whole folder is copied; only 16-bit mono WAV files with such damage are changed.
"""

import shutil
import sys
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from speechasym.audio import reading

CR, LF = 13, 10


def samples_before(recording: Path) -> int | None:
    """Return the true length in samples, from the .TXT beside it: `0 48743 She had ...`."""
    for ending in (".TXT", ".txt"):
        text = recording.with_suffix(ending)
        if text.exists():
            return int(text.read_text().split()[1])
    return None


def roughness(data: NDArray[np.uint8], shift: int) -> NDArray[np.float64]:
    """Return the sum of absolute steps up to each byte, with samples at even or odd offsets."""
    usable = (len(data) - shift) // 2 * 2
    x = data[shift : shift + usable].view("<i2").astype(float)
    step = np.abs(np.diff(x, prepend=x[:1]))
    cost = np.zeros(len(data) + 1)
    cost[shift + 2 : shift + usable + 1 : 2] = step[: len(cost[shift + 2 : shift + usable + 1 : 2])]
    return np.cumsum(cost)


def places(data: NDArray[np.uint8], missing: int) -> tuple[float, list[int]]:
    """Return where to insert `missing` bytes 13, each before a byte 10, for the least roughness."""
    rough = [roughness(data, 0), roughness(data, 1)]
    ends = np.append(np.flatnonzero(data == LF), len(data))
    best = rough[0][ends]  # nothing inserted yet, up to each candidate
    back: list[NDArray[np.intp]] = []
    for n in range(1, missing + 1):
        shifted = rough[n % 2][ends]
        start = best - shifted  # insert one at candidate q, then continue in the other phase
        least = np.minimum.accumulate(start)
        where = np.maximum.accumulate(
            np.where(start == least, np.arange(len(start)), 0)
        )  # the last candidate that reaches the minimum
        best = np.full(len(ends), np.inf)
        best[1:] = least[:-1] + shifted[1:]
        back.append(np.concatenate([[0], where[:-1]]))
    chosen, at = [], len(ends) - 1
    for step in reversed(back):
        at = int(step[at])
        chosen.append(int(ends[at]))
    return float(best[-1]), sorted(chosen)


def repair(data: NDArray[np.uint8], length: int) -> tuple[NDArray[np.int16], int]:
    """Return `length` samples of damaged bytes, and the number of inserted bytes."""
    gap = 2 * length - len(data)
    # an odd number of drops leaves half a sample, which a later program removed
    options = [places(data, n) for n in range(max(0, gap - 1), gap + 1)]
    _, chosen = min(options)
    whole = np.insert(data, chosen, CR)
    whole = np.pad(whole, (0, max(0, 2 * length - len(whole))))[: 2 * length]
    x = whole.view("<i2").astype(np.int32)
    high = x >> 8 == LF
    for _ in range(3):  # a neighbour may have to be repaired first
        padded = np.pad(x, 2, mode="edge")
        expected = (4 * (padded[1:-3] + padded[3:-1]) - padded[:-4] - padded[4:]) / 6
        base = np.where(x >> 8 == CR, x - 768, x)
        moved = np.abs(base + 768 - expected) < np.abs(base - expected)
        x = np.where(high, base + 768 * moved, x)
    return x.astype(np.int16), len(chosen)


def main(source: Path, target: Path) -> int:
    """Copy a folder and repair the recordings in the copy; return the exit code."""
    if target.exists():
        print(f"{target} exists already: choose a new folder", file=sys.stderr)
        return 2
    shutil.copytree(source, target)
    repaired = inserted = 0
    for path in sorted(target.rglob("*")):
        if path.suffix.lower() != ".wav" or not path.is_file():
            continue
        info = reading.info(path)
        length = samples_before(path)
        if not info.warning or length is None or info.channels != 1:
            continue
        x, rate = soundfile.read(path, dtype="int16")
        fixed, count = repair(x.view(np.uint8), max(length, len(x)))
        path.chmod(0o644)
        soundfile.write(path, fixed, rate, subtype="PCM_16")
        repaired += 1
        inserted += count
    print(f"{repaired} recordings repaired in {target}, {inserted} bytes inserted")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
