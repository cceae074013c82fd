"""Systems to compare: read from a file, with the decoding of words, and run by seed."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from recipes.compare.jobs import MEASURES, Job, WordDecoding, train_and_evaluate
from speechasym import files
from speechasym.config import build, override, read_yaml
from speechasym.errors import ConfigError


class System(NamedTuple):
    """A configuration, by what it changes."""

    name: str
    shows: str  # what it is, in words
    words: tuple[str, ...] = ()  # key=value, over the common configuration


def read_systems(path: Path) -> list[System]:
    """Read the systems of a file, ours first. Raises `ConfigError`."""
    systems = []
    for name, entry in read_yaml(path).items():
        entry, where = {} if entry is None else entry, f"{path}: {name}"
        if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*", name):
            raise ConfigError(where, "is not a name of a folder", "Use letters, digits and -")
        if not isinstance(entry, dict):
            raise ConfigError(
                where, f"must be a mapping, got {entry!r}", "Write {shows: ..., set: [key=value]}"
            )
        if unknown := [key for key in entry if key not in ("shows", "set")]:
            raise ConfigError(f"{where}.{unknown[0]}", "is unknown", "A system has shows and set")
        words = entry.get("set") or []
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ConfigError(
                f"{where}.set", f"must be a list of key=value, got {words!r}",
                "Put quotes around each that contains braces or a colon",
            )  # fmt: skip
        systems.append(System(name, str(entry.get("shows") or name), tuple(words)))
    if not systems:
        raise ConfigError(path, "contains no system", "Write NAME: {shows: ..., set: [key=value]}")
    return systems


def word_decoding(
    lexicon: Path | None, lm: Path | None, options: Sequence[str]
) -> WordDecoding | None:
    """Return how words are found; None without a language model.

    Args:
        options: key=value, of `DecodingConfig`, and spelling.

    Raises:
        ConfigError: options that do not belong together, or are out of range.
    """
    from speechasym.recognition.search import DecodingConfig, config_of

    if lm is None:
        if lexicon is not None or options:
            name = "--decode" if lexicon is None else "--lexicon"
            raise ConfigError(name, "has no effect without a language model", "Give --lm too")
        return None
    mapping: dict[str, Any] = {}
    for option in options:
        override(mapping, option)
    spelling, source = bool(mapping.pop("spelling", False)), str(mapping.get("source", "phones"))
    config = build(DecodingConfig, asdict(config_of(source)) | mapping, "--decode {}".format)
    if lexicon is None and source != "letters":
        raise ConfigError(
            "--lexicon", "is missing", "Give pronunciations, or --decode source=letters"
        )
    sums = [None if path is None else files.sha256(path) for path in (lexicon, lm)]
    return WordDecoding(lexicon, lm, config, spelling, [*sums, asdict(config), spelling])


def run_system(job: Job) -> dict[str, Any] | None:
    """Return the line of a system and a seed; None if it was stopped."""
    if (done := train_and_evaluate(job)) is None:
        return None
    line, result = done
    paths = (job.config.data.train, job.config.data.dev, str(job.test))
    data = zip(("train", "dev", "test"), paths, job.data, strict=True)
    counts = {}  # {measure: {speaker: [N, S, D, I]}}
    for name in result.scores:
        speakers = result.by_speaker(name).items()
        counts[MEASURES[name]] = {who: [c.length, *c[1:4]] for who, c in speakers}
    return line | {
        "system": job.system.name, "shows": job.system.shows, "counts": counts,
        "data": {kind: {"cuts": Path(path).name, "sha256": sha} for kind, path, sha in data},
        "split": _split(job.test), "labels": asdict(job.config.data.labels),
        "decoding": result.decoding, "audio_seconds": result.seconds,
    }  # fmt: skip


def _split(test: Path) -> str:
    """Return what the preparation report beside the cuts says of the split."""
    try:
        return str(json.loads(test.with_name("report.json").read_text("utf-8"))["split"])
    except (OSError, ValueError, LookupError, TypeError):
        return "unknown"
