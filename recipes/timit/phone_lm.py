"""Phones by a run and a bigram of phones, beside what the run hears without one.

    python recipes/timit/phone_lm.py RUN --test CUTS --tune CUTS [--tuned-by RUN] --out DIR

The bigram (interpolated Kneser-Ney) is that of the transcripts a run was trained on. Its weights
are those with the fewest errors on --tune, and are then taken for the test. Where RUN has learned
the cuts of --tune, --tuned-by names a run that has not. Each phone is a word of one symbol to the
search, so that sil, which has no pronunciation in a lexicon, is one too.

In DIR: phones.arpa, the bigram; without/ and with/ of it, phones.txt and phones.ref.txt each, for
`speechasym score per`; phone_lm.json with the weights and every figure.

Shapes: S steps, V classes (0 is CTC's blank).
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path

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
from speechasym.recognition.decoding_config import DecodingConfig
from speechasym.recognition.search import WordSearch
from speechasym.recognition.trained_model import TrainedModel, open_run
from speechasym.scoring import error_rates
from speechasym.training import dataset, labels

BATCH_S = 120.0  # of audio at a time
# Of the bigram's log p; of each phone, which makes up for it; taken from the blank's log p
LM_WEIGHTS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
PHONE_SCORES = (0.0, 0.5, 1.0, 1.5)
BLANK_PENALTIES = (0.0, 1.0)
SEARCH = DecodingConfig(source="phones", beam=20, nbest=1, word_score=0.0, lm_weight=0.0)


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What a run hears in cuts."""

    trained: TrainedModel
    references: dict[str, list[str]]  # {cut: phones}
    posteriors: dict[str, NDArray[np.float32]]  # {cut: (S, V)}, natural log p
    speakers: dict[str, str]

    def errors(self, found: Mapping[str, Sequence[str]]) -> float:
        """Errors of {cut: phones} by phones said."""
        rows = self.references
        total = sum(Levenshtein.distance(rows[name], list(found[name])) for name in rows)
        return total / max(1, sum(map(len, rows.values())))

    def score(self, found: Mapping[str, Sequence[str]]) -> error_rates.ErrorRate:
        """The same with its interval over speakers."""
        return error_rates.error_rate(self.references, found, speakers=self.speakers)


def hear(trained: TrainedModel, cuts: str) -> Heard:
    """Posteriors of the phones head, and what was said.

    Raises `ConfigError` for a run without that head, or what is no manifest.
    """
    trained.check_heads(["phones"], "RUN")
    config = replace(trained.config.data, workers=1)
    inventories = {"phones": trained.inventories["phones"]}
    data = dataset.load(config, cuts, ["phones"], inventories=inventories)
    posteriors = {}
    with torch.no_grad():
        for batch in data.in_order(BATCH_S):
            log_probs, steps = trained.model(batch.features, batch.lengths).heads["phones"]
            for name, row, count in zip(batch.ids, log_probs, steps.tolist(), strict=True):
                posteriors[name] = row[:count].numpy()
    return Heard(
        trained=trained,
        references=dict(zip(data.ids, data.references["phones"], strict=True)),
        posteriors=posteriors,
        speakers={
            name: who or error_rates.speaker_of(name)
            for name, who in zip(data.ids, data.speakers, strict=True)
        },
    )


def bigram(trained: TrainedModel) -> NgramModel:
    """Of the phones that a run was trained on. Raises `ConfigError` where they are gone."""
    config = trained.config.data
    cuts = manifests.read_cuts(Path(config.train))
    rows = [labels.tokens(cut, "phones", config.labels, None) for cut in cuts]
    return kneser_ney.estimate(rows, 2, vocabulary=trained.inventories["phones"])


def without_bigram(heard: Heard) -> dict[str, list[str]]:
    """{cut: phones} by the best class of each step, as `speechasym evaluate` has it."""
    inventory = heard.trained.inventories["phones"]
    found = {}
    for name, row in heard.posteriors.items():
        best = ctc.greedy(torch.from_numpy(row)[None], torch.tensor([len(row)]))[0]
        found[name] = ctc.symbols(best, inventory)
    return found


def with_bigram(
    heard: Heard, lm: NgramModel, config: DecodingConfig = SEARCH
) -> dict[str, list[str]]:
    """{cut: phones} by the sum over alignments and the bigram."""
    known = labels.classes(heard.trained.inventories["phones"])
    search = WordSearch({phone: [(number,)] for phone, number in known.items()}, lm)
    found = {}
    for name, row in heard.posteriors.items():
        given = row.copy()
        given[:, 0] -= config.blank_penalty
        best = search.nbest(given, config) if len(given) else []
        found[name] = list(best[0][0]) if best else []
    return found


def tuned(heard: Heard, lm: NgramModel) -> tuple[DecodingConfig, list[dict[str, float]]]:
    """The weights with the fewest errors, and the error rate of each of the grid."""
    best, chosen, tried = None, SEARCH, []
    for lm_weight, score, penalty in product(LM_WEIGHTS, PHONE_SCORES, BLANK_PENALTIES):
        config = replace(SEARCH, lm_weight=lm_weight, word_score=score, blank_penalty=penalty)
        rate = heard.errors(with_bigram(heard, lm, config))
        tried.append(
            {"lm_weight": lm_weight, "phone_score": score, "blank_penalty": penalty, "rate": rate}
        )
        if best is None or rate < best:
            best, chosen = rate, config
    return chosen, tried


def interval(result: error_rates.ErrorRate) -> list[float] | None:
    """Of 95 %; none where there is but one speaker."""
    return [result.low, result.high] if result.speakers > 1 else None


def main(arguments: Sequence[str] | None = None) -> None:
    """Tune, decode, write and tell."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", help="folder of a finished run")
    parser.add_argument("--test", required=True, help="cuts to be scored")
    parser.add_argument("--tune", required=True, help="cuts that the weights are chosen on")
    parser.add_argument("--tuned-by", default=None, help="run to choose them with; else RUN")
    parser.add_argument("--out", required=True, help="folder to fill")
    options = parser.parse_args(arguments)
    try:
        tell(options.run, options.test, options.tune, options.tuned_by, Path(options.out))
    except SpeechAsymError as error:
        parser.exit(2, f"phone_lm: {error}\n")


def tell(run: str, test: str, tune: str, tuned_by: str | None, out: Path) -> None:
    """What `main` does."""
    chooser = open_run(tuned_by or run)
    held_out = hear(chooser, tune)
    config, tried = tuned(held_out, bigram(chooser))
    trained = open_run(run)
    heard, lm = hear(trained, test), bigram(trained)
    write_arpa(out / "phones.arpa", lm)
    tables = {"without": without_bigram(heard), "with": with_bigram(heard, lm, config)}
    rates = {name: heard.score(found) for name, found in tables.items()}
    for name, found in tables.items():
        transcripts.write_text(out / name / "phones.txt", found)
        transcripts.write_text(out / name / "phones.ref.txt", heard.references)
    perplexity = lm.perplexity(list(heard.references.values())).perplexity
    weights = {
        "lm_weight": config.lm_weight,
        "phone_score": config.word_score,
        "blank_penalty": config.blank_penalty,
    }
    figures = {
        "run": run, "test": test, "tune": tune, "tuned_by": tuned_by, "weights": weights,
        "tuning": {
            "without": held_out.errors(without_bigram(held_out)),
            "with": min(row["rate"] for row in tried),
            "tried": tried,
        },
        "perplexity": perplexity,
        "labels": asdict(trained.config.data.labels),
        **{
            name: {"rate": result.rate, "interval_95": interval(result)}
            for name, result in rates.items()
        },
    }  # fmt: skip
    files.write_json(out / "phone_lm.json", figures)
    said = ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in weights.items())
    print(f"Bigram of {len(lm.words) - len(ngrams.SPECIAL)} phones, perplexity {perplexity:.1f}")
    print(f"Weights chosen on {tune}: {said}")
    for name, result in rates.items():
        told = f"  ({result.low:.2%} - {result.high:.2%})" if interval(result) else ""
        print(f"{name + ':':<9}{result.rate:7.2%}{told}")


if __name__ == "__main__":
    main()
