"""Measure speed and accuracy of word decoding on one thread, as a markdown table.

python benchmarks/decoding.py RUN --cuts CUTS --lexicon FILE --lm ARPA [--most 60]
    [--beams 50,150,500] [--sources phones,letters,both]
"""

import argparse
import statistics
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

from speechasym.config import names
from speechasym.recognition.decoder import open_decoder
from speechasym.recognition.search import DecodingConfig, config_of
from speechasym.recognition.trained_model import TrainedModel, open_run
from speechasym.training import dataset, labels


class Utterance(NamedTuple):
    """The reference words of a cut, and the posteriors of the heads."""

    seconds: float
    words: list[str]
    posteriors: dict[str, NDArray[np.float32]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    for name in ("--cuts", "--lexicon", "--lm"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--most", type=int, default=60, help="cuts")
    parser.add_argument("--beams", default="50,150,500")
    parser.add_argument("--sources", default="phones,letters,both")
    options = parser.parse_args()
    torch.set_num_threads(1)
    trained = open_run(options.run)
    spoken = list(utterances(trained, options.cuts, options.most))
    seconds = sum(u.seconds for u in spoken)
    print("| searched | beam | x real time | WER | best of the list | its length |")
    print("| --- | --- | --- | --- | --- | --- |")
    for source in names(options.sources):
        for beam in map(int, names(options.beams)):
            config = config_of(source, beam=beam)
            start = time.monotonic()
            decoder = open_decoder(
                trained.written, options.lexicon, options.lm, config, merged=trained.merged
            )
            built = time.monotonic() - start
            start = time.process_time()  # of one thread, whatever else runs on the machine
            lists = [decoder.decode(u.posteriors) for u in spoken]
            spent = time.process_time() - start
            total = sum(len(u.words) for u in spoken)
            errors = [
                [Levenshtein.distance(u.words, list(h.words)) for h in row]
                for u, row in zip(spoken, lists, strict=True)
            ]
            print(
                f"| {source} | {beam} | {seconds / spent:.0f}"
                f" | {sum(row[0] for row in errors) / total:.1%}"
                f" | {sum(map(min, errors)) / total:.1%}"
                f" | {statistics.mean(map(len, lists)):.1f} |",
                flush=True,
            )
    unknown = decoder.unknown_rates([u.words for u in spoken])
    known, sizes = decoder.vocabulary.known, decoder.lm.sizes
    print(
        f"\n{len(spoken)} cuts, {seconds:.0f} s, {total} words, {unknown['either'] or 0:.1%}"
        f" unknown; {known:,} words, n-grams {', '.join(f'{n:,}' for n in sizes)}; read and built"
        f" in {built:.0f} s. {other_settings()}"
    )
    return 0


def utterances(trained: TrainedModel, cuts: Path, most: int) -> Iterator[Utterance]:
    """Yield the first cuts of a manifest, recognised by the run."""
    head = next(head for head in ("letters", "words", "phones") if head in trained.inventories)
    data = dataset.load(
        trained.config.data, str(cuts), [head], inventories=trained.inventories, show_progress=False
    )
    for number in range(min(most, len(data))):
        batch = data.batch([number])
        with torch.no_grad():
            output = trained.model(batch.features, batch.lengths)
        words = labels.words_of(data.index.cut(number))
        yield Utterance(float(data.seconds[number]), words, _first(output.heads))


def _first(
    heads: Mapping[str, tuple[torch.Tensor, torch.Tensor]],
) -> dict[str, NDArray[np.float32]]:
    return {head: p[0, : int(steps[0])].numpy() for head, (p, steps) in heads.items()}


def other_settings() -> str:
    """Return the other settings as text."""
    config = DecodingConfig()
    names = ("lm_weight", "word_score", "blank_penalty", "width", "symbol_width", "histories")
    return ", ".join(f"{name} {getattr(config, name):g}" for name in names) + "."


if __name__ == "__main__":
    raise SystemExit(main())
