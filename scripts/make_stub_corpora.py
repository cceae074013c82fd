"""Write stub corpora in the folder layouts of the real ones, with a second of noise a sentence.

    python scripts/make_stub_corpora.py OUT

The same call gives the same bytes, but for the random serial number in an Ogg file. There is no
speech in them: the tests of `speechasym.corpora` prepare them if the licensed corpora are missing.
"""

import argparse
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import soundfile as sf

RATE = 16000  # Hz
PHONE = 800  # samples of each phone
WORDS = {
    "she": "sh iy",
    "had": "hv ae dcl d",
    "your": "y er",
    "dark": "dcl d aa r kcl k",
    "suit": "s ux tcl t",
    "in": "ix n",
    "greasy": "gcl g r iy s iy",
    "wash": "w aa sh",
    "water": "w ao dx axr",
    "all": "ao l",
    "year": "y ih axr",
    "don't": "d ow n tcl",
    "ask": "ae s kcl k",
    "me": "m iy",
    "oily": "oy l iy",
    "rag": "r ae gcl g",
}
SMALL = {"TRAIN": ("FCJF0", "MDAC0"), "TEST": ("FAKS9", "MDAB9")}  # no official TEST speaker
READERS = {"stub-train": (11, 12), "stub-dev": (21,)}


def words_of(name: str, count: int = 4) -> list[str]:
    """Draw words by a name: the same name gives the same words."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return [list(WORDS)[number] for number in rng.integers(len(WORDS), size=count)]


def noise(name: str, samples: int) -> np.ndarray:
    """Draw (T,) int16 noise by a name."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return (3000 * rng.standard_normal(samples)).clip(-32768, 32767).astype(np.int16)


def timit(
    folder: Path,
    speakers: Mapping[str, Iterable[str]] = SMALL,
    *,
    sentences: int = 10,
    case: str = "upper",
    coding: str = "NIST",
    ending: str = ".wav",
    flat: bool = False,
) -> Path:
    """Write a TIMIT: PART/DR1/SPEAKER/SX1.WAV with .PHN, .WRD and .TXT.

    Args:
        speakers: {"TRAIN" or "TEST": names}.
        sentences: number for each speaker, up to 10: 5 SX, 3 SI, 2 SA, in this order.
        case: case of all names: "upper", "lower" or "mixed".
        coding: "NIST" or "WAV", independent of the ending.
        ending: ending of recordings; ".wav.wav" as in some re-packagings.
        flat: dr1-speaker/sx1.wav, without TRAIN and TEST.
    """
    number = 0
    for part, names in speakers.items():
        for speaker in names:
            number += 1
            kinds = [f"sx{number + 100 * k}" for k in range(5)]
            kinds += [f"si{number + 1000 + 500 * k}" for k in range(3)] + ["sa1", "sa2"]
            dialect = number % 8 + 1
            place = f"dr{dialect}-{speaker}" if flat else f"{part}/DR{dialect}/{speaker}"
            home = folder / _case(place, case)
            home.mkdir(parents=True, exist_ok=True)
            for sentence in kinds[:sentences]:
                _timit_sentence(home, speaker, sentence, case, coding, ending)
    return folder


def _case(name: str, case: str) -> str:
    return {"upper": name.upper(), "lower": name.lower(), "mixed": name.title()}[case]


def _timit_sentence(
    home: Path, speaker: str, sentence: str, case: str, coding: str, ending: str
) -> None:
    words = words_of(sentence)
    phones, spoken, at = ["0 1600 h#"], [], 1600
    for word in words:
        begin = at
        for phone in WORDS[word].split():
            phones.append(f"{at} {at + PHONE} {phone}")
            at += PHONE
        spoken.append(f"{begin} {at} {word}")
    phones.append(f"{at} {at + 1600} h#")
    samples = noise(f"{speaker.upper()} {sentence}", at + 1600 + 320)
    text = f"0 {len(samples)} {' '.join(words).capitalize()}."
    for suffix, lines in ((".phn", phones), (".wrd", spoken), (".txt", [text])):
        path = home / _case(sentence + suffix, case)
        path.write_text("\n".join(lines) + "\n", "utf-8", newline="\n")
    sf.write(home / _case(sentence + ending, case), samples, RATE, "PCM_16", format=coding)


def librispeech(
    folder: Path, form: str = "flac", subsets: Mapping[str, Iterable[int]] = READERS
) -> Path:
    """Write subsets {name: readers}, 2 chapters a reader, 3 utterances each; and SPEAKERS.TXT."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = ["; reader_id | gender | subset | minutes | name"]
    for subset, readers in subsets.items():
        for reader in readers:
            rows.append(f"{reader:<4} | {'FM'[reader % 2]} | {subset} | 0.1 | A | B")
            for chapter in (100 + reader, 200 + reader):
                _chapter(folder / subset / f"{reader}/{chapter}", f"{reader}-{chapter}", form)
    (folder / "SPEAKERS.TXT").write_text("\n".join(rows) + "\n", "utf-8", newline="\n")
    return folder


def _chapter(home: Path, name: str, form: str) -> None:
    home.mkdir(parents=True, exist_ok=True)
    lines = []
    for number in range(3):
        utterance = f"{name}-{number:04d}"
        lines.append(f"{utterance} {' '.join(words_of(utterance, 6)).upper()}")
        samples = noise(utterance, 8000 + zlib.crc32(utterance.encode()) % 4000)
        coding = ("OPUS", None, "OGG") if form == "opus" else ("PCM_16",)
        sf.write(home / f"{utterance}.{form}", samples, RATE, *coding)
    text = "\n".join(lines) + "\n"
    (home / f"{name}.trans.txt").write_text(text, "utf-8", newline="\n")
    (home / f"._{name}-0000.{form}").write_bytes(b"\0\5\26\7junk")


def official(folder: Path) -> Path:
    """Write a TIMIT with the 74 official speakers in TEST and some more, a sentence each."""
    from speechasym.corpora.timit import CORE_TEST, DEVELOPMENT

    test = [*sorted(DEVELOPMENT | CORE_TEST), "FAKS9", "MDAB9"]
    return timit(folder, {"TRAIN": ("FCJF0", "MDAC0", "MDPK0"), "TEST": test}, sentences=1)


def main() -> None:
    """Write all stubs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, help="output folder")
    out = parser.parse_args().out
    timit(out / "timit-disc" / "TIMIT")
    timit(out / "timit-riff", coding="WAV")
    timit(out / "timit-lower", case="lower", coding="WAV")
    timit(out / "timit-mixed", case="mixed")
    timit(out / "timit-double", coding="WAV", ending=".wav.wav")
    timit(out / "timit-flat", case="lower", coding="WAV", flat=True)
    official(out / "timit-official")
    librispeech(out / "LibriSpeech")
    librispeech(out / "LibriSpeech-wav", form="wav")
    librispeech(out / "LibriSpeech-opus", form="opus")


if __name__ == "__main__":
    main()
