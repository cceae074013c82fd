"""Write stand-ins of the full LibriSpeech and TIMIT: all folders and names, of few recordings.

    python scripts/make_stand_in.py OUT [--librispeech ROOT] [--timit ROOT] [--share 1.0]

Each recording is a hard link to one of ROOT's (a copy where links cannot be made), so that 960
hours take little more space than their folders. They are for trials of speed, memory and resuming
at full size: the same sentences return under many names, so error rates mean nothing.
"""

import argparse
import itertools
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import soundfile as sf

from speechasym.corpora import librispeech
from speechasym.corpora.timit import CORE_TEST, DEVELOPMENT
from speechasym.progress import progress

MEAN_SECONDS = 12.3  # of LibriSpeech's training utterances: 961 hours in 281241
CHAPTERS = 2.35  # of each of LibriSpeech's training readers: 5831 of 2484
TIMIT_TRAIN, TIMIT_TEST = 462, 168  # speakers


def link(source: Path, target: Path) -> None:
    """Link a file to another name, or copy it."""
    try:
        os.link(source, target)
    except OSError:  # another file system, or too many links
        shutil.copyfile(source, target)


def long_utterances(root: Path) -> list[tuple[Path, str]]:
    """Return (recording, text) of the longest utterances, with the mean duration of the corpus."""
    texts = {}
    for path in sorted(root.rglob("*.trans.txt")):
        for line in path.read_text("utf-8").splitlines():
            name, text = line.split(None, 1)
            texts[name] = text
    paths = [path for path in sorted(root.rglob("*.flac")) if path.stem in texts]
    seconds = {path: sf.info(path).duration for path in paths}
    paths.sort(key=lambda path: (-seconds[path], path))
    totals = itertools.accumulate(seconds[path] for path in paths)
    longest = sum(total / n >= MEAN_SECONDS for n, total in enumerate(totals, 1))
    return [(path, texts[path.stem]) for path in paths[: max(1, longest)]]


def write_librispeech(root: Path, out: Path, share: float = 1.0) -> int:
    """Write subsets with the published numbers of readers and utterances; return the latter."""
    sources = itertools.cycle(long_utterances(root))
    rows, reader, written = ["; reader_id | gender | subset | minutes | name"], 1000, 0
    numbers = {
        name: (max(1, round(readers * share)), max(1, round(utterances * share)))
        for name, (readers, utterances) in librispeech.PUBLISHED.items()
    }
    total = sum(utterances for _, utterances in numbers.values())
    with progress(total, "LibriSpeech") as step:
        for subset, (readers, utterances) in numbers.items():
            chapters = max(readers, round(CHAPTERS * readers))
            sizes = spread(utterances, chapters)
            for n, chapter in enumerate(spread(chapters, readers)):
                rows.append(f"{reader} | {'FM'[n % 2]} | {subset} | 25 | stand-in")
                for k in range(chapter):
                    folder = out / subset / str(reader) / str(100000 + k)
                    folder.mkdir(parents=True)
                    lines = []
                    for m in range(next(sizes)):
                        source, text = next(sources)
                        name = f"{reader}-{100000 + k}-{m:04d}"
                        link(source, folder / f"{name}.flac")
                        lines.append(f"{name} {text}\n")
                        written += 1
                        step()
                    table = folder / f"{reader}-{100000 + k}.trans.txt"
                    table.write_text("".join(lines), "utf-8")
                reader += 1
    (out / "SPEAKERS.TXT").write_text("\n".join(rows) + "\n", "utf-8")
    return written


def spread(total: int, parts: int) -> Iterator[int]:
    """Yield `parts` numbers, as equal as can be, that add up to `total`."""
    for n in range(parts):
        yield total * (n + 1) // parts - total * n // parts


def write_timit(root: Path, out: Path, share: float = 1.0) -> int:
    """Write 462 speakers in TRAIN and 168 in TEST, 10 sentences each; return the sentences."""
    speakers = [f for f in sorted(root.glob("*/DR*/*")) if any(f.glob("*.PHN"))]
    official = sorted(CORE_TEST | DEVELOPMENT)
    others = (f"{'FM'[n % 2]}X{n // 26 % 26 + 65:c}{n % 26 + 65:c}{n // 676}" for n in range(9999))
    count = round(TIMIT_TEST * share)
    names = {"TEST": [*official, *itertools.islice(others, max(0, count - len(official)))]}
    names["TRAIN"] = list(itertools.islice(others, max(1, round(TIMIT_TRAIN * share))))
    sources, written = itertools.cycle(speakers), 0
    for part in ("TRAIN", "TEST"):
        for n, name in enumerate(names[part]):
            folder = out / part / f"DR{n % 8 + 1}" / name
            folder.mkdir(parents=True)
            for path in sorted(next(sources).iterdir()):
                link(path, folder / path.name)
                written += path.suffix.upper() == ".PHN"
    return written


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, help="folder to write LibriSpeech and TIMIT into")
    parser.add_argument("--librispeech", type=Path, help="folder of subsets to link to")
    parser.add_argument("--timit", type=Path, help="folder of TRAIN and TEST")
    parser.add_argument("--share", type=float, default=1.0, help="of the full size")
    options = parser.parse_args(arguments)
    for name, write in (("LibriSpeech", write_librispeech), ("TIMIT", write_timit)):
        root, out = getattr(options, name.lower()), options.out / name
        if root is not None:
            if out.exists():
                parser.error(f"{out} exists. Remove it, or choose another folder")
            print(f"{out}: {write(root, out, options.share)} recordings")


if __name__ == "__main__":
    main()
