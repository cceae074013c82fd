"""Recognise phones by a run and a bigram of phones, and compare with the run alone.

    python -m recipes.timit.phone_lm RUN --test CUTS --tune CUTS [--tuned-by RUN] --out DIR

The bigram (interpolated Kneser-Ney) is that of the transcripts a run was trained on. The weights
with the fewest errors on --tune are used for the test. If RUN was trained on the cuts of --tune,
--tuned-by names a run that was not. To the search each phone is a word of one symbol, so that sil,
which has no pronunciation in a lexicon, is one too.

DIR gets phones.arpa, the bigram; phones.txt and phones.ref.txt in without/ and with/, for
`speechasym score per`; and phone_lm.json with the weights and all figures.

Shapes: S steps, V classes (0 is CTC's blank).
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

from speechasym import files
from speechasym.annotations import transcripts
from speechasym.corpora import manifests
from speechasym.errors import SpeechAsymError
from speechasym.language import kneser_ney, ngrams
from speechasym.language.arpa import write_arpa
from speechasym.language.ngrams import NgramModel
from speechasym.levels import ctc
from speechasym.recognition.decoder import Decoder
from speechasym.recognition.search import DecodingConfig, WordSearch
from speechasym.recognition.spellings import Spellings
from speechasym.recognition.trained_model import TrainedModel, open_run
from speechasym.scoring.error_rates import ErrorRate, error_rate, speaker_of
from speechasym.training import dataset, labels
from speechasym.training.streaming import in_order

BATCH_S = 120.0  # of audio at a time
# Of the bigram's log p; of each phone, which balances it; taken from the blank's log p. Each point
# of the grid is decoded: the n-best lists that `recognition.tuning` rescores hold too few of the
# many sequences of phones, and led to weights with more errors than no bigram.
LM_WEIGHTS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
PHONE_SCORES = (0.0, 0.5, 1.0, 1.5)
BLANK_PENALTIES = (0.0, 1.0)
WEIGHTS = ("lm_weight", "phone_score", "blank_penalty")
SEARCH = DecodingConfig(
    source="phones", beam=20, width=18.0, histories=3, nbest=1, word_score=0.0, lm_weight=0.0
)


class PhoneDecoder(Decoder):
    """A decoder whose words are the phones themselves, silence too, without separators."""

    def __init__(self, inventory: Sequence[str], lm: NgramModel, config: DecodingConfig = SEARCH):
        self.inventories, self.lm, self.config = {"phones": inventory}, lm, config
        written: Spellings = {
            phone: [(number,)] for phone, number in labels.classes(inventory).items()
        }
        self.searches = {"phones": WordSearch(written, lm)}


@dataclass(frozen=True, kw_only=True)
class Material:
    """The posteriors of a run for cuts, and the cuts' transcripts."""

    inventory: Sequence[str]
    references: dict[str, list[str]]  # {cut: phones}
    posteriors: dict[str, NDArray[np.float32]]  # {cut: (S, V)}, natural log p
    speakers: dict[str, str]

    def errors(self, hypotheses: Mapping[str, Sequence[str]]) -> float:
        """Return the phone error rate of {cut: phones}."""
        references = self.references
        total = sum(Levenshtein.distance(references[k], list(hypotheses[k])) for k in references)
        return total / max(1, sum(map(len, references.values())))

    def score(self, hypotheses: Mapping[str, Sequence[str]]) -> ErrorRate:
        """Return the phone error rate of {cut: phones}, with its interval over speakers."""
        return error_rate(self.references, hypotheses, speakers=self.speakers)


def posteriors_of(trained: TrainedModel, cuts: str) -> Material:
    """Compute the posteriors of the phones head.

    Raises `ConfigError` if the run lacks that head, or `cuts` is not a manifest.
    """
    trained.check_heads(["phones"], "RUN")
    config = replace(trained.config.data, workers=0)
    inventory = trained.inventories["phones"]
    data = dataset.load(config, cuts, ["phones"], inventories={"phones": inventory})
    posteriors = {}
    with torch.no_grad():
        for batch in in_order(data, BATCH_S):
            log_probs, steps = trained.model(batch.features, batch.lengths).heads["phones"]
            for name, row, count in zip(batch.ids, log_probs, steps.tolist(), strict=True):
                posteriors[name] = row[:count].numpy()
    return Material(
        inventory=inventory,
        references={name: data.reference("phones", n) for n, name in enumerate(data.ids)},
        posteriors=posteriors,
        speakers={
            name: speaker or speaker_of(name)
            for name, speaker in zip(data.ids, data.speakers, strict=True)
        },
    )


def bigram(trained: TrainedModel) -> NgramModel:
    """Estimate the bigram of a run's training cuts. Raises `ConfigError` if they are gone."""
    config = trained.config.data
    cuts = manifests.stream_cuts(config.train)
    rows = (labels.tokens(cut, "phones", config.labels, None) for _, cut in cuts)
    return kneser_ney.estimate(rows, 2, vocabulary=trained.inventories["phones"])


def without_bigram(material: Material) -> dict[str, list[str]]:
    """Return {cut: phones} by the best class of each step, as `speechasym evaluate` does."""
    hypotheses = {}
    for name, row in material.posteriors.items():
        best = ctc.greedy(torch.from_numpy(row)[None], torch.tensor([len(row)]))[0]
        hypotheses[name] = ctc.symbols(best, material.inventory)
    return hypotheses


def with_bigram(
    material: Material, lm: NgramModel, config: DecodingConfig = SEARCH
) -> dict[str, list[str]]:
    """Return {cut: phones} by the sum over alignments and the bigram."""
    decoder = PhoneDecoder(material.inventory, lm, config)
    return {
        name: list(decoder.decode({"phones": row})[0].words)
        for name, row in material.posteriors.items()
    }


def tune_weights(
    material: Material, lm: NgramModel
) -> tuple[DecodingConfig, list[dict[str, float]]]:
    """Return the weights with the fewest errors, and the error rate of each point of the grid."""
    trials = []
    for weights in product(LM_WEIGHTS, PHONE_SCORES, BLANK_PENALTIES):
        config = _with_weights(*weights)
        rate = material.errors(with_bigram(material, lm, config))
        trials.append(dict(zip(WEIGHTS, weights, strict=True)) | {"rate": rate})
    best = min(trials, key=lambda trial: trial["rate"])
    return _with_weights(*(best[name] for name in WEIGHTS)), trials


def _with_weights(lm_weight: float, phone_score: float, blank_penalty: float) -> DecodingConfig:
    return replace(SEARCH, lm_weight=lm_weight, word_score=phone_score, blank_penalty=blank_penalty)


def _interval(result: ErrorRate) -> list[float] | None:
    """Return the 95 % interval, None if there is only one speaker."""
    return [result.low, result.high] if result.speakers > 1 else None


def run(folder: str, test: str, tune_cuts: str, tuned_by: str | None, out: Path) -> None:
    """Tune the weights, decode the test with and without the bigram, write and print results."""
    chooser = open_run(tuned_by or folder)
    held_out = posteriors_of(chooser, tune_cuts)
    config, trials = tune_weights(held_out, bigram(chooser))
    trained = open_run(folder)
    material, lm = posteriors_of(trained, test), bigram(trained)
    write_arpa(out / "phones.arpa", lm)
    tables = {
        "without": without_bigram(material), "with": with_bigram(material, lm, config)
    }  # fmt: skip
    for name, hypotheses in tables.items():
        transcripts.write_text(out / name / "phones.txt", hypotheses)
        transcripts.write_text(out / name / "phones.ref.txt", material.references)
    results = {name: material.score(hypotheses) for name, hypotheses in tables.items()}
    perplexity = lm.perplexity(list(material.references.values())).perplexity
    values = config.lm_weight, config.word_score, config.blank_penalty
    weights = dict(zip(WEIGHTS, values, strict=True))
    figures: dict[str, Any] = {
        "run": folder, "test": test, "tune": tune_cuts, "tuned_by": tuned_by, "weights": weights,
        "tuning": {
            "without": held_out.errors(without_bigram(held_out)),
            "with": min(trial["rate"] for trial in trials),
            "tried": trials,
        },
        "perplexity": perplexity,
        "labels": asdict(trained.config.data.labels),
    }  # fmt: skip
    figures |= {k: {"rate": r.rate, "interval_95": _interval(r)} for k, r in results.items()}
    files.write_json(out / "phone_lm.json", figures)
    text = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in weights.items())
    print(f"Bigram of {len(lm.words) - len(ngrams.SPECIAL)} phones, perplexity {perplexity:.1f}")
    print(f"Weights chosen on {tune_cuts}: {text}")
    for name, result in results.items():
        interval = f"  ({result.low:.2%} - {result.high:.2%})" if _interval(result) else ""
        print(f"{name + ':':<9}{result.rate:7.2%}{interval}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.timit.phone_lm", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("run", help="folder of a finished run")
    parser.add_argument("--test", required=True, help="cuts to score")
    parser.add_argument("--tune", required=True, help="cuts to choose the weights on")
    parser.add_argument("--tuned-by", help="run to choose them with (default: RUN)")
    parser.add_argument("--out", required=True, help="folder for the results")
    options = parser.parse_args(arguments)
    try:
        run(options.run, options.test, options.tune, options.tuned_by, Path(options.out))
    except SpeechAsymError as error:
        parser.exit(2, f"phone_lm: {error}\n")


if __name__ == "__main__":
    main()
