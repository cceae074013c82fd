"""Preparation of the embedded corpus: its folder is rendered, checked, and read as manifests.

Nineteen voices of two accents speak sentences of a small grammar, in mild rooms and noise, as
16 kHz FLAC. `train` and `dev` share sixteen voices, `test` has three of its own; no sentence occurs
twice. Everything is drawn from a seed: the same seed, length and versions give the same bytes.
"""

import hashlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

from speechasym import files
from speechasym.annotations.intervals import SampleInterval
from speechasym.config import check_count
from speechasym.corpora import espeak, manifests
from speechasym.corpora.manifests import Corpus, Utterance, corpus_of
from speechasym.corpora.mini.rendering import SAMPLE_RATE, render
from speechasym.corpora.mini.sentences import SETS, Line, plan
from speechasym.corpora.mini.voices import SPEAKERS
from speechasym.corpora.report import Problems
from speechasym.errors import ConfigError, OutputError
from speechasym.language.phones import SILENCE
from speechasym.progress import progress
from speechasym.workers import run_tasks

INDEX, UTTERANCES = "mini.json", "utterances.jsonl"
PACKAGES = ("espeakng-loader", "numpy", "soundfile", "soxr")


def prepare(
    root: str | Path,
    *,
    seed: int = 0,
    minutes: float = 25.0,
    workers: int = 2,
    overwrite: bool = False,
    show_progress: bool = False,
) -> Corpus:
    """Create the corpus in a folder, all of it or nothing, and return its manifests.

    The folder gets `audio/SET/SPEAKER/NAME.flac`, `utterances.jsonl` with the times in samples, and
    `mini.json` with the sha256 of each file. If it holds the same corpus already, nothing is
    rendered again. `speechasym.prepare("mini", root, root)` writes the manifests to it.

    Args:
        root: a new or empty folder.
        seed: seed of sentences, of the voices' variation, of rooms and noise.
        minutes: approximate length of all sets together.
        workers: number of processes.
        overwrite: replace another mini corpus in the folder.
        show_progress: show progress on stderr.

    Raises:
        ConfigError: an option is out of range.
        OutputError: the folder holds something else, or cannot be written to.
        SynthesisError: espeak-ng cannot be loaded.

    Example:
        >>> cuts = preparation.prepare("corpora/mini").sets["train"].cuts
    """
    # a link's target is replaced, not the link
    root = manifests.check_writable(Path(root).resolve())
    lines = plan(seed, minutes)
    check_count("workers", workers)
    head = {
        "format": 1, "seed": seed, "minutes": float(minutes), "sample_rate": SAMPLE_RATE,
        "versions": {"espeak-ng": espeak.version()} | files.package_versions(PACKAGES),
    }  # fmt: skip
    if not _is_prepared(root, head, overwrite):
        _build(root, head, lines, workers, show_progress)
    return read(root)


def _is_prepared(root: Path, head: dict[str, Any], overwrite: bool) -> bool:
    """Return whether the folder holds exactly this corpus, undamaged.

    Raises `OutputError` if it holds something that must not be replaced.
    """
    if not root.exists() or not any(root.iterdir()):
        return False
    try:
        index = json.loads((root / INDEX).read_text("utf-8"))
        same = all(index[key] == head[key] for key in head)
        whole = all(files.sha256(root / name) == digest for name, digest in index["sha256"].items())
    except (OSError, ConfigError, ValueError, LookupError, TypeError, AttributeError):
        same = whole = False
        if not (root / INDEX).exists():
            problem = "contains other files, not a mini corpus"
            raise OutputError(root, problem, "Choose a new or empty folder") from None
    if same and whole:
        return True
    if not overwrite:
        problem = "has another seed, length or version" if whole else "was changed or damaged"
        problem = f"contains a mini corpus that {problem}"
        raise OutputError(root, problem, "Choose another folder, or overwrite it")
    expected = {"audio", INDEX, UTTERANCES, "report.txt", "report.json"}
    expected |= {f"{name}_{part}.jsonl.gz" for name in SETS for part in manifests.PARTS}
    if other := sorted({path.name for path in root.iterdir()} - expected):
        problem = "would be lost if the corpus in its folder is overwritten"
        raise OutputError(root / other[0], problem, "Move it")
    return False


def _build(
    root: Path, head: dict[str, Any], lines: list[Line], workers: int, show_progress: bool
) -> None:
    """Write everything to a folder beside `root`, which then takes its place."""
    part = root.with_name(f".{root.name}{files.SUFFIX}")
    with files.locked_folder(part):
        try:
            shutil.rmtree(part / "audio", ignore_errors=True)  # of a run that was killed
            tasks = [(line, head["seed"], part) for line in lines]
            # Even a single worker is a process: it forks for every utterance, and must hold none of
            # the locks of this one.
            preload = [__name__, "soxr", "soundfile"]
            entries = []
            with progress(len(lines), "mini", show_progress) as step:
                for entry in run_tasks(
                    _write_utterance, tasks, workers, in_order=True, preload=preload
                ):
                    entries.append(entry)
                    step()
            with files.atomic(part / UTTERANCES) as file:
                file.writelines(f"{json.dumps(entry)}\n".encode() for entry in entries)
            digests = {entry["path"]: entry["sha256"] for entry in entries}
            digests[UTTERANCES] = files.sha256(part / UTTERANCES)
            files.write_json(part / INDEX, head | {"sha256": digests})
            _replace(part, root)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise


def _write_utterance(task: tuple[Line, int, Path]) -> dict[str, Any]:
    """Render a line by a seed into a folder; return its entry in utterances.jsonl."""
    import soundfile

    line, seed, folder = task
    x, entry = render(line, seed)
    flac = io.BytesIO()
    soundfile.write(flac, x, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    path = f"audio/{line.set}/{line.speaker}/{line.name}.flac"
    with files.atomic(folder / path) as file:
        file.write(flac.getvalue())
    return entry | {"path": path, "sha256": hashlib.sha256(flac.getvalue()).hexdigest()}


def _replace(part: Path, root: Path) -> None:
    """Move the finished folder to its place; an old one is moved away first."""
    old = root.with_name(f".{root.name}.old")
    try:
        if root.exists():
            shutil.rmtree(old, ignore_errors=True)
            root.rename(old)
        part.rename(root)
    except OSError as error:
        problem = f"cannot be written ({error.strerror})"
        raise OutputError(root, problem, "Choose a folder that you may write to") from error
    shutil.rmtree(old, ignore_errors=True)


def read(root: str | Path) -> Corpus:
    """Return the corpus in a folder that `prepare` has created.

    Raises:
        ConfigError: the folder does not contain one.
    """
    root = Path(root).absolute()
    try:
        index = json.loads((root / INDEX).read_text("utf-8"))
        rows = [json.loads(row) for row in (root / UTTERANCES).read_text("utf-8").splitlines()]
    except (OSError, ValueError) as error:
        remedy = "Create it with `speechasym prepare mini`"
        raise ConfigError(root, "contains no mini corpus", remedy) from error
    sets = {name: [_utterance(root, row) for row in rows if row["set"] == name] for name in SETS}
    split = f"seed {index['seed']}; test has speakers of its own, each set its own sentences"
    return corpus_of("mini", split, sets, _notes(index, sets), published={})


def _utterance(root: Path, row: dict[str, Any]) -> Utterance:
    speaker = SPEAKERS[row["speaker"]]
    return Utterance(
        id=row["name"], path=root / row["path"], place=row["path"], sample_rate=SAMPLE_RATE,
        frames=row["samples"], text=row["text"], speaker=row["speaker"], gender=speaker.gender,
        words=tuple(SampleInterval(*word) for word in row["words"]),
        phones=tuple(SampleInterval(*phone) for phone in row["phones"]),
        custom={"accent": speaker.accent} | {k: str(v) for k, v in row["conditions"].items()},
    )  # fmt: skip


def _notes(index: dict[str, Any], sets: dict[str, list[Utterance]]) -> Problems:
    """Return notes on vocabulary, phones and silence of each set, versions, and one checksum."""
    notes = Problems()
    for name, utterances in sets.items():
        words = {symbol for u in utterances for *_, symbol in u.words}
        phones = [phone for u in utterances for phone in u.phones]
        silent = sum(end - start for start, end, phone in phones if phone == SILENCE) / SAMPLE_RATE
        detail = (
            f"{len(words)} different words, {len({symbol for *_, symbol in phones})} different "
            f"phones, {silent / 60:.2f} minutes of silence"
        )
        notes.add("note", "contents", name, detail)
    versions = ", ".join(f"{name} {version}" for name, version in index["versions"].items())
    notes.add("note", "made by", INDEX, versions)
    rows = "".join(f"{digest}  {name}\n" for name, digest in sorted(index["sha256"].items()))
    digest = hashlib.sha256(rows.encode()).hexdigest()
    notes.add("note", "sha256 of all sounds and times", INDEX, digest)
    return notes
