"""Measure discovered units against phones: TIMIT's by hand, and those aligned to unseen readers.

    python -m recipes.discovery.units.measure --timit ROOT --train CUTS --out results.json \\
        --runs runs/asymmetry-0 ... [--cuts CUTS --aligned DIR]

Results are kept in a JSON file as they are computed, and a later call continues from there.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recipes.discovery.units import systems
from recipes.discovery.units.corpus import RATE, Corpus, matrices, of_cuts, of_timit
from recipes.discovery.units.systems import FROZEN, Found
from speechasym import errors, files
from speechasym.corpora.manifests import stream_cuts
from speechasym.scoring import abx, abx_cells
from speechasym.scoring.abx_cells import Task
from speechasym.scoring.boundaries import score_boundaries
from speechasym.scoring.units import UnitScores, score_units
from speechasym.training.cuts import load_samples

SIZES, SEEDS = (64, 128, 256), 3
FITTED_CUTS = 60  # that clusters are fitted to
ROUNDS = 300  # drawings of speakers
TASKS = {"within": Task(), "across": Task(across=True)}
REACHES = (1, 2, 3)  # frames on either side of a change
WIDTHS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4)
COSTS = (1.5, 1.75, 2.0, 2.3, 2.6, 3.0, 3.5, 4.0, 4.6, 5.3)  # of a piece
LATE = (0.0, 0.25, 0.5)  # rows
CHANGED = ("log-mel 80", "compact 33")  # whose changes are boundaries
Candidate = tuple[dict[str, Any], dict[str, list[int]]]  # options, cuts of each recording
CHOSEN_ON = "TRAIN"  # the folder of TIMIT's speakers on whom widths are chosen


def boundary_scores(
    corpus: Corpus, found: dict[str, list[float]], kind: str = "boundaries"
) -> dict:
    """Return precision, recall, F1, R-value, strict and lenient, with samples over speakers."""
    reference = getattr(corpus, kind)
    who: dict[str, list[str]] = {}
    for name in reference:
        who.setdefault(corpus.speakers[name], []).append(name)
    drawn = np.random.default_rng(0).integers(len(who), size=(ROUNDS, len(who)))
    rows: dict[str, Any] = {}
    for matching in ("strict", "lenient"):
        whole = score_boundaries(reference, found, matching)
        parts = [
            score_boundaries({n: reference[n] for n in names}, found, matching)
            for names in who.values()
        ]
        counts = np.array([[p.hypothesised, p.reference, p.correct, p.recalled] for p in parts])
        hypothesised, known, correct, recalled = counts[drawn].sum(1).T.astype(float)
        precision, recall = correct / np.maximum(hypothesised, 1), recalled / known
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
        over = hypothesised / known - 1
        r_value = 1 - (np.hypot(1 - recall, over) + np.abs(recall - 1 - over) / np.sqrt(2)) / 2
        values = {"precision": (whole.precision, precision), "recall": (whole.recall, recall),
                  "f1": (whole.f1, f1), "r_value": (whole.r_value, r_value)}  # fmt: skip
        for name, (value, samples) in values.items():
            rows[f"{matching} {name}"] = _row(value, samples)
    return rows


def word_scores(corpus: Corpus, units: systems.Units) -> dict:
    """Return the F1 of segments whose both ends are a word's, within 20 ms, one to one."""
    hits = found = known = 0
    for name, words in corpus.word_spans.items():
        left = [(w.start, w.end) for w in words]
        known, found = known + len(words), found + len(units[name])
        for segment in units[name]:
            near = [
                w for w in left if max(abs(w[0] - segment.start), abs(w[1] - segment.end)) <= 0.02
            ]
            if near:
                left.remove(near[0])
                hits += 1
    return {"word f1": {"value": 2 * hits / max(1, found + known)}}


def abx_scores(corpus: Corpus, features: dict[str, NDArray]) -> dict:
    """Return the ABX errors within and across speakers."""
    if not corpus.items:
        return {}
    arrays = {n: np.ascontiguousarray(m, np.float32) for n, m in features.items()}
    tokens = abx.select_tokens(corpus.items, arrays, systems.FRAMES)
    scores = abx_cells.abx_scores(tokens, TASKS.values())
    return {
        f"abx {name}": _row(score.error, score.samples)
        for name, score in zip(TASKS, scores.values(), strict=True)
    }


def measured(corpus: Corpus, found: Found, with_abx: bool) -> dict:
    """Return all measures of what a system has found."""
    rows = boundary_scores(corpus, found.boundaries)
    if found.units:
        score = score_units(corpus.phones, found.units, corpus.speakers)
        for name in UnitScores._fields[:6]:
            rows[name] = getattr(score, name)._asdict()
        rows |= {"used": {"value": score.used}, "size": {"value": found.size}}
        rows |= word_scores(corpus, found.units)
    if with_abx and found.features:
        rows |= abx_scores(corpus, found.features)
    return rows


def _row(value: float, samples: NDArray) -> dict:
    low, high = np.nanquantile(samples, [0.025, 0.975]) if len(samples) else (None, None)
    kept = {"value": float(value), "low": low, "high": high}
    return {k: None if v is None else round(float(v), 5) for k, v in kept.items()}


class Results:
    """Cells by name, kept in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cells: dict[str, dict] = json.loads(path.read_text()) if path.exists() else {}

    def add(self, name: str, cell: dict) -> None:
        """Keep a cell, and write the file."""
        self.cells[name] = cell
        files.write_json(self.path, self.cells)
        print(
            name,
            {k: round(100 * v["value"], 1) for k, v in cell.items() if "value" in v},
            flush=True,
        )


def part_of(found: Found, corpus: Corpus) -> Found:
    """Return what was found in a corpus's recordings alone."""

    def some(table: dict[str, Any]) -> dict[str, Any]:
        return {n: table[n] for n in corpus.sounds} if table else {}

    return Found(some(found.units), found.size, some(found.boundaries), some(found.features))


def measure_clusters(parts: list[Corpus], sounds: dict, train: dict, results: Results) -> None:
    """Measure k-means on frozen features: a unit for each frame, or between pieces."""
    known = limits(sounds, results)
    for label in (*FROZEN, f"{CHANGED[1]} between pieces"):
        options = FROZEN[label.removesuffix(" between pieces")]
        names = [
            f"{p.name} | k-means {label}, {k} | {s}"
            for p in parts
            for k in SIZES
            for s in range(SEEDS)
        ]
        if all(name in results.cells for name in names):
            continue
        within = known if label.endswith("between pieces") else None
        all_found = systems.clusters(train, sounds, options, SIZES, SEEDS, within)
        for (size, seed), found in all_found.items():
            for corpus in parts:
                first = (size, seed) == (SIZES[0], 0)  # features are the same for all
                cell = measured(corpus, part_of(found, corpus), first)
                results.add(f"{corpus.name} | k-means {label}, {size} | {seed}", cell)


def measure_boundaries(parts: list[Corpus], sounds: dict, results: Results) -> None:
    """Measure boundaries by changes and by pieces; their options are chosen on TIMIT's TRAIN."""
    on = next(p for p in parts if p.name.endswith(CHOSEN_ON))

    def changes(features: dict[str, NDArray]) -> Iterator[Candidate]:
        for reach in REACHES:
            tracks = {n: systems.changes(features[n], reach) for n in on.sounds}
            deviation = float(np.concatenate(list(tracks.values())).std())
            for share in WIDTHS:
                width = round(share * deviation, 5)
                peaks = {n: systems.turns(t, width) for n, t in tracks.items()}
                yield {"reach": reach, "width": width}, peaks

    def pieces(features: dict[str, NDArray]) -> Iterator[Candidate]:
        for cost in COSTS:
            yield {"cost": cost}, {n: systems.pieces(features[n], cost) for n in on.sounds}

    kinds: dict[str, tuple[float, Any, Any]] = {
        "change": (systems.FRAMES, changes, systems.spectral_change),
        "pieces": (systems.PIECE_RATE, pieces, systems.spectral_pieces),
    }
    for label, options in {k: FROZEN[k] for k in CHANGED}.items():
        for kind, (rate, candidates, find) in kinds.items():
            name = f"{kind} of {label}"
            if all(f"{p.name} | {name} | 0" in results.cells for p in parts):
                continue
            features = matrices(sounds, options | {"rate": rate})
            chosen = chosen_on(on, candidates(features), rate)
            found = find(features, **chosen)
            for corpus in parts:
                cell = measured(corpus, part_of(found, corpus), False) | {"chosen": chosen}
                results.add(f"{corpus.name} | {name} | 0", cell)


def chosen_on(corpus: Corpus, candidates: Iterable[Candidate], rate: float) -> dict[str, Any]:
    """Return the options, and how many rows later, that give the highest R-value."""
    chosen, best = {}, -np.inf
    for options, cuts in candidates:
        for late in LATE:
            times = {n: [(cut + late) / rate for cut in row] for n, row in cuts.items()}
            value = score_boundaries(corpus.boundaries, times).r_value
            if value > best:
                chosen, best = {**options, "late": late}, value
    return chosen


def measure_run(run: Path, parts: list[Corpus], sounds: dict, results: Results) -> None:
    """Measure the levels of a run, NAME-SEED, and its lowest units between pieces."""
    match = re.fullmatch(r"(.+)-(\d+)", run.name)
    name, seed = match.groups() if match else (run.name, "0")
    if f"{parts[-1].name} | {name}, level 0 between pieces | {seed}" in results.cells:
        return
    for label, found in systems.levels(run, sounds, limits(sounds, results)).items():
        for corpus in parts:
            key = f"{corpus.name} | {name}, {label} | {seed}"
            if key not in results.cells:
                results.add(key, measured(corpus, part_of(found, corpus), label == "level 0"))


def limits(sounds: dict, results: Results) -> dict[str, list[float]]:
    """Return the boundaries between pieces of log-mel, cut as was chosen on TIMIT."""
    key = next(key for key in results.cells if f"| pieces of {CHANGED[0]} |" in key)
    chosen = results.cells[key]["chosen"]
    options = FROZEN[CHANGED[0]] | {"rate": systems.PIECE_RATE}
    return systems.spectral_pieces(matrices(sounds, options), **chosen).boundaries


def corpora(
    timit: Path, cuts: Path | None, aligned: Path | None
) -> tuple[list[Corpus], dict[str, NDArray]]:
    """Return TIMIT's TRAIN and TEST, the aligned cuts, and the samples of all recordings."""
    whole = of_timit(timit)
    parts = [
        whole.part([n for n in whole.sounds if n.startswith(group)], f"TIMIT {group}")
        for group in ("TRAIN", "TEST")
    ]
    if cuts is not None and aligned is not None:
        parts.append(of_cuts(cuts, aligned, 60))
    return parts, {n: x for corpus in parts for n, x in corpus.sounds.items()}


def add_tests(parser: argparse.ArgumentParser) -> None:
    """Add the options of what is measured, and where results are kept."""
    add = parser.add_argument
    add("--timit", type=Path, required=True, help="folder of TRAIN, TEST")
    add("--cuts", type=Path, help="manifest of further cuts of unseen readers")
    add("--aligned", type=Path, help="folder of their TextGrids with phones and words")
    add("--runs", type=Path, nargs="*", default=[], help="finished runs, called NAME-SEED")
    add("--out", type=Path, default=Path("out/discovery/units/results.json"))


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.discovery.units.measure",
        description=(__doc__ or "").splitlines()[0],
    )
    add_tests(parser)
    parser.add_argument(
        "--train", type=Path, help="manifest of cuts that clusters are fitted to; none: no clusters"
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    parts, sounds = corpora(options.timit, options.cuts, options.aligned)
    results = Results(options.out)
    measure_boundaries(parts, sounds, results)
    for run in options.runs:
        measure_run(run, parts, sounds, results)
    if options.train is not None:
        cuts = [cut for _, cut in stream_cuts(options.train)]
        chosen = cuts[:: max(1, len(cuts) // FITTED_CUTS)][:FITTED_CUTS]
        train = {cut.id: load_samples(cut, RATE) for cut in chosen}
        measure_clusters(parts, sounds, train, results)


if __name__ == "__main__":
    try:
        main()
    except errors.SpeechAsymError as error:
        sys.exit(f"measure.py: {error}")
