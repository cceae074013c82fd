"""Word-like segments: units that follow one another again and again, by description length.

    python -m recipes.discovery.units.words --timit ROOT --train CUTS --out results.json \\
        [--runs RUN ...] [--cuts CUTS --aligned DIR --lexicon FILE]

A text of units is written with a lexicon; neighbours become a word of their own as long as that
shortens lexicon and text together [1]. What it learns from the training set it looks for in TIMIT's
sentences and in CUTS. Units are those of k-means, and of the lowest level of RUNS, between pieces
of log-mel; beside them stand phones, spelt by LEXICON in training and aligned in CUTS. Needs the
results of `measure`.

[1] C. de Marcken, "Unsupervised language acquisition", PhD thesis, MIT, 1996.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from recipes.discovery.units import measure, systems
from recipes.discovery.units.corpus import RATE, Corpus, matrices
from recipes.discovery.units.systems import FRAMES, FROZEN
from speechasym import errors
from speechasym.annotations.intervals import Interval
from speechasym.corpora.manifests import stream_cuts
from speechasym.language.lexicon import read_lexicon
from speechasym.training.cuts import load_samples

AT_ONCE = 20  # pairs that are joined before counts are taken again
LONGEST = 12  # units of a word
QUIET = -1.0  # mean of log-mel, in deviations of the recording, below which a unit is a pause
SIZE = 64  # units of k-means
Word = tuple[int, ...]


def joined(text: Sequence[Word], pairs: set[tuple[Word, Word]]) -> list[Word]:
    """Return a text in which pairs of neighbours are one word, from left to right."""
    out: list[Word] = []
    for word in text:
        if out and (out[-1], word) in pairs:
            out[-1] += word
        else:
            out.append(word)
    return out


def learn(texts: Sequence[Sequence[int]], apart: frozenset[int]) -> list[set[tuple[Word, Word]]]:
    """Return the pairs that become words, in rounds.

    Args:
        texts: units of each recording.
        apart: units that stay words of their own, such as pauses.
    """
    rows: list[list[Word]] = [[(unit,) for unit in text] for text in texts]
    spelling = np.log(len({unit for text in texts for unit in text}))
    rounds: list[set[tuple[Word, Word]]] = []
    while True:
        single = Counter(word for row in rows for word in row)
        pairs = Counter(pair for row in rows for pair in pairwise(row))
        total = single.total()
        gains = []
        for (one, two), n in pairs.items():
            if one == two or len(one + two) > LONGEST or apart & {*one, *two} or n < 2:
                continue
            before = _code(total) - _code(single[one]) - _code(single[two])
            after = _code(total - n) - _code(single[one] - n) - _code(single[two] - n) - _code(n)
            gain = before - after - spelling * len(one + two)
            if gain > 0:
                gains.append((gain, (one, two)))
        chosen: set[tuple[Word, Word]] = set()
        used: set[Word] = set()
        for _, pair in sorted(gains, reverse=True):
            if len(chosen) < AT_ONCE and not used & set(pair):
                chosen.add(pair)
                used |= set(pair)
        if not chosen:
            return rounds
        rounds.append(chosen)
        rows = [joined(row, chosen) for row in rows]


def _code(count: int) -> float:
    return count * float(np.log(count)) if count > 0 else 0.0


def segmented(
    intervals: Sequence[Interval], numbers: Mapping[str, int], rounds: Sequence[set]
) -> list[Interval]:
    """Return the words of a recording's units, as intervals."""
    text: list[Word] = [(numbers.get(row.label, -1),) for row in intervals]
    for pairs in rounds:
        text = joined(text, pairs)
    ends = np.cumsum([len(word) for word in text])
    starts = ends - [len(word) for word in text]
    return [
        Interval(intervals[a].start, intervals[b - 1].end, "-".join(map(str, word)))
        for word, a, b in zip(text, starts.tolist(), ends.tolist(), strict=True)
    ]


def quiet(units: systems.Units, loudness: Mapping[str, NDArray]) -> set[str]:
    """Return the units whose mean loudness (F,) is low."""
    sums: dict[str, list[float]] = {}
    for name, rows in units.items():
        for row in rows:
            a, b = round(row.start * FRAMES), round(row.end * FRAMES)
            kept = sums.setdefault(row.label, [0.0, 0.0])
            kept[0] += float(loudness[name][a:b].sum())
            kept[1] += b - a
    return {label for label, (total, frames) in sums.items() if total < QUIET * max(1.0, frames)}


def words(training: systems.Units, test: systems.Units, pauses: set[str]) -> systems.Units:
    """Return the words in test, learned from training."""
    labels = sorted({row.label for rows in training.values() for row in rows})
    numbers = {label: n for n, label in enumerate(labels)}
    texts = [[numbers[row.label] for row in rows] for rows in training.values()]
    rounds = learn(texts, frozenset(numbers[label] for label in pauses))
    print(f"{sum(map(len, rounds))} words of {sum(map(len, texts))} units", flush=True)
    return {name: segmented(rows, numbers, rounds) for name, rows in test.items()}


def spelt(cuts: Sequence, lexicon: Path) -> systems.Units:
    """Return the phones of the texts of cuts, without times: one a second."""
    known = read_lexicon(lexicon)
    out: systems.Units = {}
    for cut in cuts:
        said = (cut.supervisions[0].text or "").split()
        row = [p.rstrip("012") for word in said if word in known for p in known[word][0]]
        out[cut.id] = [Interval(n, n + 1, phone) for n, phone in enumerate(row)]
    return out


def add(name: str, parts: list[Corpus], found: systems.Units, results: measure.Results) -> None:
    """Measure words in each corpus."""
    for corpus in parts:
        own = {n: found[n] for n in corpus.sounds if n in found}
        if len(own) == len(corpus.sounds):
            cell = measure.word_scores(corpus, own)
            cell |= measure.boundary_scores(corpus, systems.starts(own), "words")
            results.add(f"{corpus.name} | words of {name} | 0", cell)


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m recipes.discovery.units.words")
    option = parser.add_argument
    measure.add_tests(parser)
    option("--train", type=Path, required=True, help="manifest of cuts to find words in")
    option("--lexicon", type=Path, help="spells the training cuts' texts, for words of phones")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    parts, sounds = measure.corpora(options.timit, options.cuts, options.aligned)
    results = measure.Results(options.out)
    clusters = f"k-means {measure.CHANGED[1]} between pieces, {SIZE}"
    names = [run.name.rpartition("-")[0] or run.name for run in options.runs]
    expected = [clusters, *(f"{name}, level 0" for name in names)]
    expected += ["phones"] if options.lexicon and options.cuts else []
    if all(f"{parts[-1].name} | words of {name} | 0" in results.cells for name in expected):
        return
    cuts = [cut for _, cut in stream_cuts(options.train)]
    train = {cut.id: load_samples(cut, RATE) for cut in cuts}
    logmel = matrices(train, FROZEN[measure.CHANGED[0]])
    loudness = {name: x.mean(1) / max(1e-6, float(x.mean(1).std())) for name, x in logmel.items()}
    both = train | sounds
    limits = measure.limits(both, results)
    found = systems.clusters(
        {n: train[n] for n in list(train)[:: max(1, len(train) // measure.FITTED_CUTS)]},
        both, FROZEN[measure.CHANGED[1]], (SIZE,), 1, limits,
    )[SIZE, 0].units  # fmt: skip
    kinds = {clusters: found}
    for run, name in zip(options.runs, names, strict=True):
        levels = systems.levels(run, both, limits)
        kinds |= {f"{name}, {level}": levels[level].units for level in
                  ("level 0", "level 0 between pieces")}  # fmt: skip
    for name, units in kinds.items():
        training = {n: units[n] for n in train}
        tested = {n: units[n] for n in sounds}
        add(name, parts, words(training, tested, quiet(training, loudness)), results)
    if options.lexicon and options.cuts:
        spoken = spelt(cuts, options.lexicon)
        tested = {n: [r for r in rows if r.label in {p.label for v in spoken.values() for p in v}]
                  for n, rows in parts[-1].phones.items()}  # fmt: skip
        add("phones", parts[-1:], words(spoken, tested, set()), results)


if __name__ == "__main__":
    try:
        main()
    except errors.SpeechAsymError as error:
        sys.exit(f"words.py: {error}")
