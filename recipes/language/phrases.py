"""A level above words reads what was said, word by word, and predicts the next word.

    python -m recipes.language.phrases RUN --train CUTS --dev CUTS --test CUTS ... --out OUT \\
        [--lexicon FILE] [--text TEXTS ...] [--seeds 3] [--only NAMES]

RUN is a finished run of speechasym. Its levels hear each word, and what its highest level makes of
the sound is the input of a causal level, alone or with the identity of the word. Stopped, the same
command continues after the last system that is done. OUT gets the words of each CUTS (.npz),
results.jsonl and report.md.

Shapes: N words, V classes (the commonest words, and other).
"""

import argparse
import hashlib
import itertools
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recipes.claims.asymmetry.common import log
from recipes.compare.jobs import guarded, interrupt_on_sigterm, publish, read_lines, select
from recipes.language import next_words, phrases_report, spoken_words
from recipes.language.next_words import Vocabulary
from recipes.language.phrase_level import (
    LEVEL,
    STEPS,
    TEXT_STEPS,
    Phrases,
    System,
    evaluate,
    learn,
    read_texts,
)
from recipes.language.spoken_words import Words
from recipes.provenance import commit, machine
from speechasym import files
from speechasym.config import check_count
from speechasym.errors import ConfigError, OutputError
from speechasym.language.lexicon import read_lexicon
from speechasym.language.texts import read_sentences
from speechasym.recognition.pronounced_words import pronouncer
from speechasym.recognition.trained_model import open_run

_SPEECH = (
    System(name="word"),
    System(name="sound", word=False, sound="sound"),
    System(name="word + sound", sound="sound"),
    System(name="word + timing", timing=True),
    System(name="word + sound + timing", sound="sound", timing=True),
)
SYSTEMS = (
    *_SPEECH,
    *(replace(s, name=f"text: {s.name}", text=True) for s in _SPEECH if s.word),
    System(name="text: word + sound of another token", sound="other", text=True),
    System(name="text: word + 16 components", sound="sound", components=16, text=True),
    System(name="text: word + how it differs", sound="sound", components=16, own=True, text=True),
    System(name="text: word + lowest level", sound="sound", level=0, text=True),
    System(name="text: word + timing in utterances", timing=True, by="utterance", text=True),
    System(name="text: word in utterances", by="utterance", text=True),
    System(name="word + lowest level", sound="sound", level=0),
    System(name="word + lowest level + timing", sound="sound", level=0, timing=True),
    System(name="word + sound that hears ahead", sound="ahead"),
)
FORMAT = 2  # of the lines of results
Tables = dict[str, NDArray[np.float32]]  # of each set, log2 p (N, V)
Events = dict[str, NDArray[np.bool_]]  # of each set, where they begin (N,)


def run_systems(
    systems: Sequence[System], words: dict[str, Words], texts: Sequence[Sequence[str]], seeds: int,
    results: Path, key: str,
) -> None:  # fmt: skip
    """Train and measure what is not in the results yet, and the rivals, a line each.

    words: those to train on, called train, dev, and the sets to test on.

    Raises `OutputError` for results of another run, cuts or texts, which their key tells.
    """
    lines = read_lines(results)
    if any(line["key"] != key for line in lines):
        problem = "holds results of another run, other cuts, texts or settings"
        raise OutputError(results, problem, "Choose another --out")
    done = {(line["system"], line["seed"]) for line in lines}
    vocabulary = Vocabulary.of_texts(words["train"].text.tolist(), [])
    sets = [name for name in words if name != "train"]
    classes = {name: vocabulary.of(words[name].text.tolist()) for name in sets}

    def add(name: str, seed: int, tables: Tables, new: Events, **about: Any) -> None:
        scores = {
            of: next_words.scores(words[of], classes[of], tables[of])
            | {"breaks": next_words.breaks(words[of], new[of])}
            for of in sets
        }
        line = {"system": name, "seed": seed, **about, "sets": scores, "commit": commit()}
        lines.append(line | {"machine": machine(), "key": key})
        with files.atomic(results) as file:
            file.write("".join(json.dumps(line) + "\n" for line in lines).encode())
        log(f"{name}, seed {seed}")

    if not any(line["system"] == "unigram" for line in lines):
        for name, tables in next_words.rivals(words, vocabulary, texts).items():
            new = {of: next_words.surprising(tables[of], classes[of], LEVEL.keep) for of in sets}
            add(name, 0, tables, new)
    begun: dict[int, Phrases] = {}
    for seed, system in itertools.product(range(seeds), systems):
        if (system.name, seed) in done:
            continue
        began = time.process_time()
        said = words["train"], words["dev"]
        if system.text and seed not in begun:
            begun = {seed: read_texts(seed, *said, texts)}
        more = (texts, begun[seed]) if system.text else ()
        model, inputs, dev = learn(system, seed, *said, *more)
        seconds = time.process_time() - began
        results_of = {of: evaluate(model, inputs.stretches(words[of])) for of in sets}
        tables = {of: table for of, (table, _) in results_of.items()}
        new = {of: events for of, (_, events) in results_of.items()}
        add(system.name, seed, tables, new, dev=dev, seconds=seconds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("run", type=Path, help="finished run whose levels hear the words")
    add("--train", type=Path, nargs="+", required=True, help="cuts")
    add("--dev", type=Path, required=True, help="cuts by which training is stopped")
    add("--test", type=Path, nargs="+", required=True, help="cuts, each file a set of its own")
    add("--out", type=Path, required=True, help="folder of results")
    add("--lexicon", type=Path, help="pronunciations (default: those of the run, or letters)")
    add("--text", type=Path, nargs="+", default=[], help="books to learn words from first")
    add("--seeds", type=int, default=3, help="networks of each system")
    add("--only", help="comma-separated systems")
    options = parser.parse_args(arguments)
    interrupt_on_sigterm()
    torch.set_num_threads(1)

    def act() -> int:
        check_count("--seeds", options.seeds)
        if len({path.name for path in options.test} | {"train", "dev"}) < len(options.test) + 2:
            raise ConfigError("--test", "two sets have the same name", "Rename the files")
        systems = select(
            SYSTEMS, options.only, f"Choose among {', '.join(s.name for s in SYSTEMS)}"
        )
        trained = open_run(options.run)
        path = options.lexicon or trained.lexicon
        pronounce = None if path is None else pronouncer(read_lexicon(path), guess=True)
        heard = [trained.fingerprint, None if path is None else files.sha256(path)]
        cuts = [*options.train, options.dev, *options.test]
        keys = [_digest([*heard, files.sha256(one)]) for one in cuts]
        read = [
            spoken_words.cached(options.out / f"{key}.npz", trained, one, pronounce)
            for key, one in zip(keys, cuts, strict=True)
        ]
        count = len(options.train)
        words = {"train": spoken_words.joined(read[:count]), "dev": read[count]}
        words |= {path.name: one for path, one in zip(options.test, read[count + 1 :], strict=True)}
        texts = [list(itertools.chain(*read_sentences(path))) for path in options.text]
        settings = [
            FORMAT,
            keys,
            [files.sha256(path) for path in options.text],
            str(LEVEL),
            STEPS,
            TEXT_STEPS,
        ]
        chosen = [system for system in systems if texts or not system.text]
        results = options.out / "results.jsonl"
        run_systems(chosen, words, texts, options.seeds, results, _digest(settings))
        publish(phrases_report.report(read_lines(results)), options.out / "report.md")
        return 0

    return guarded(act)


def _digest(values: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:12]


if __name__ == "__main__":
    raise SystemExit(main())
