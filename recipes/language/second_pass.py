"""A language model of letters scores the recogniser's n-best again: WER with and without.

    python -m recipes.language.second_pass LM_RUN ... --run RUN --test CUTS \\
        [--lexicon FILE] [--lm FILE] --out second.json

RUN is a finished run of speechasym, with its lexicon and its n-gram model of words, which the first
pass uses as always, with a wider beam. The weight of the letters' log-probabilities, and what a
word adds, are chosen for each speaker on the cuts of all others. A model that corrects an n-gram
model of letters is compared with that alone.
"""

import argparse
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from recipes.claims.asymmetry.common import log
from recipes.claims.learning.report import difference
from recipes.compare.jobs import guarded
from recipes.language import data
from recipes.language.train import open_model
from recipes.provenance import commit
from speechasym import Recogniser, files
from speechasym.corpora.manifests import read_cuts
from speechasym.errors import ConfigError
from speechasym.recognition.decoder import Hypothesis
from speechasym.scoring.error_rates import error_rate
from speechasym.training.labels import words_of

WEIGHTS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8)
WORD_SCORES = (-2.0, -1.0, 0.0, 1.0, 2.0)
BEST = 100  # sequences of words that are scored again


# symbols (B, F) and lengths (B,) -> log-probabilities (B, F, V) of the next symbols
Scorer = Callable[[Tensor, Tensor], Tensor]


def scorers(run: Path) -> dict[str, Scorer]:
    """Return what a run's model says, and what the simpler model says that it corrects, if any."""
    model, _ = open_model(run)
    found: dict[str, Scorer] = {run.name: lambda x, lengths: model(x, lengths).log_probs}
    if (prior := model.prior) is not None:
        found[f"{run.name}, n-grams alone"] = lambda x, _: prior(x)
    return found


class Utterance(NamedTuple):
    """An utterance after the first pass."""

    name: str
    speaker: str
    said: list[str]
    best: list[Hypothesis]  # best first


class Crossed(NamedTuple):
    """Errors by speaker, and the weight and what a word adds that were chosen for each."""

    errors: dict[str, list[int]]
    chosen: dict[str, tuple[float, float]]


def first_pass(recogniser: Recogniser, cuts: Path) -> list[Utterance]:
    """Return the n-best of all cuts."""
    decoder = recogniser.decoder
    assert decoder is not None
    result = []
    for cut in read_cuts(cuts):
        samples = cut.resample(recogniser.trained.feature_config.sample_rate).load_audio()[0]
        output = recogniser.trained.output(recogniser.trained.features(samples))
        heads = decoder.config.heads
        posteriors = {
            h: recogniser.trained.posteriors(output, h, alone=True).log_probs for h in heads
        }
        speaker = cut.supervisions[0].speaker
        result.append(Utterance(cut.id, speaker, words_of(cut), decoder.decode(posteriors)))
    return result


@torch.no_grad()
def text_scores(model: Scorer, texts: Sequence[Sequence[str]]) -> np.ndarray:
    """Return the log-probability of each sequence of words as a whole sentence."""
    rows = [
        torch.from_numpy(data.encode(f"{data.END}{' '.join(words)}{data.END}").astype(np.int64))
        for words in texts
    ]
    lengths = torch.tensor([len(row) - 1 for row in rows])
    x = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    each = model(x[:, :-1], lengths).gather(2, x[:, 1:, None])[..., 0]
    return each.masked_fill(torch.arange(each.shape[1]) >= lengths[:, None], 0).sum(1).numpy()


def second_pass(
    model: Scorer, utterances: Sequence[Utterance], options: Iterable[tuple[float, float]]
) -> dict[tuple[float, float], dict[str, list[int]]]:
    """Return {(weight, what a word adds): errors by speaker} of the best words by both passes."""
    scores = {u.name: text_scores(model, [h.words for h in u.best]) for u in utterances}
    table = {}
    for weight, word in options:
        answers = {}
        for u in utterances:
            added = word * np.array([len(h.words) for h in u.best])
            totals = np.array([h.total for h in u.best]) + weight * (scores[u.name] + added)
            answers[u.name] = u.best[int(np.argmax(totals))].words
        table[weight, word] = errors(utterances, answers)
    return table


def crosswise(model: Scorer, utterances: Sequence[Utterance]) -> Crossed:
    """Return the errors of each speaker by what is best for all others, and what that is."""
    table = second_pass(model, utterances, itertools.product(WEIGHTS, WORD_SCORES))
    speakers = next(iter(table.values())).keys()
    picked = {
        own: min(table, key=lambda option: rate({s: table[option][s] for s in speakers - {own}}))
        for own in speakers
    }
    return Crossed({own: table[option][own] for own, option in picked.items()}, picked)


def errors(
    utterances: Sequence[Utterance], answers: Mapping[str, Sequence[str]]
) -> dict[str, list[int]]:
    """Return {speaker: [errors, words said]}."""
    table = {}
    for speaker in sorted({u.speaker for u in utterances}):
        own = [u for u in utterances if u.speaker == speaker]
        counts = error_rate(
            {u.name: u.said for u in own}, {u.name: list(answers[u.name]) for u in own},
            speakers=lambda _: "all",
        ).counts  # fmt: skip
        table[speaker] = [sum(counts[1:4]), counts.length]
    return table


def rate(table: Mapping[str, list[int]]) -> float:
    """Return the error rate in %."""
    return 100 * sum(e for e, _ in table.values()) / sum(n for _, n in table.values())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("models", type=Path, nargs="+", help="folders of recipes.language.train")
    add("--run", type=Path, help="finished run (default: the pretrained model)")
    add("--lexicon", type=Path)
    add("--lm", type=Path)
    add("--test", type=Path, required=True, help="cuts of several speakers")
    add("--out", type=Path, required=True, help="file of results, JSON")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)

    def act() -> int:
        recogniser = Recogniser(
            options.run, lexicon=options.lexicon, lm=options.lm, nbest=BEST,
            beam=600, histories=12, width=24.0,  # for sequences that differ enough
        )  # fmt: skip
        test = first_pass(recogniser, options.test)
        if len({u.speaker for u in test}) < 2:
            problem = "has cuts of one speaker, and the weights are chosen on those of others"
            raise ConfigError(str(options.test), problem, "Give cuts of several speakers")
        log("first pass")
        nearest = {u.name: min(u.best, key=lambda h: _distance(u.said, h.words)) for u in test}
        without = errors(test, {u.name: u.best[0].words for u in test})
        oracle = errors(test, {name: h.words for name, h in nearest.items()})
        result: dict[str, object] = {"commit": commit(), "first pass": without, "oracle": oracle}
        print(f"first pass {rate(without):.1f} %, best of {BEST} {rate(oracle):.1f} %")
        for name, model in [pair for run in options.models for pair in scorers(run).items()]:
            after, picked = crosswise(model, test)
            result[name] = {"chosen": picked, "errors": after}
            both = (np.array([list(table.values())], float) for table in (after, without))
            points, low, high = difference(*both)
            interval = f"{points:+.1f} points ({low:+.1f} to {high:+.1f})"
            weights = sorted({weight for weight, _ in picked.values()})
            print(f"{name}: {rate(after):.1f} %, {interval}, weights {weights}")
        files.write_json(options.out, result)
        return 0

    return guarded(act)


def _distance(said: Sequence[str], answer: Sequence[str]) -> int:
    counts = error_rate(
        {"u": list(said)}, {"u": list(answer)}, speakers=lambda _: "u", rounds=1
    ).counts
    return sum(counts[1:4])


if __name__ == "__main__":
    raise SystemExit(main())
