"""Boundaries of `align` beside hand-made ones, and beside other rules on the same posteriors.

    python -m recipes.timit.alignment out/timit/manifests/test_cuts.jsonl.gz [--run RUN]

Text and lexicon are given, not the phones that were said. As in the evaluation of the Montreal
Forced Aligner, phones of both sides are matched by the least number of edits, and the starts and
ends of those that are the same are compared; words are compared one by one. A closure belongs to
the stop that it is before; silences and the glottal stop are left out.
"""

import argparse
from collections.abc import Iterable, Sequence
from importlib import import_module
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np

from speechasym.annotations.intervals import Interval
from speechasym.cli.options import print_table
from speechasym.corpora.manifests import read_cuts
from speechasym.errors import SpeechAsymError
from speechasym.language.lexicon import read_lexicon
from speechasym.language.phones import FOLD_ANY_TO_39, SILENCES
from speechasym.levels import ctc
from speechasym.recognition import alignment
from speechasym.recognition.pronounced_words import pronouncer
from speechasym.recognition.recogniser import Recogniser
from speechasym.recognition.trained_model import step_frames
from speechasym.training import cut_features, labels

LIMITS_MS = (10, 20, 25, 50, 100)
RELEASES = {
    "bcl": ("b",), "dcl": ("d", "jh"), "gcl": ("g",), "pcl": ("p",), "tcl": ("t", "ch"),
    "kcl": ("k",),
}  # fmt: skip
CTC_SEGMENTATION_LATE_S = 0.017  # mean on the training speakers of the sample, taken off
Times = list[tuple[float, float]]


def hand_made(phones: Sequence[Interval]) -> list[Interval]:
    """Return TIMIT's phones folded to 39, closures joined with their stops, without silences."""
    row: list[Interval] = []
    phones = [phone for phone in phones if phone.label not in SILENCES and phone.label != "q"]
    for number, phone in enumerate(phones):
        label, start = phone.label, phone.start
        following = phones[number + 1].label if number + 1 < len(phones) else ""
        if label in RELEASES:
            if following in RELEASES[label]:
                continue  # it begins the next one
            label = RELEASES[label][0]
        elif number and label in RELEASES.get(phones[number - 1].label, ()):
            start = phones[number - 1].start
        row.append(Interval(start, phone.end, folded(label)))
    return row


def folded(phone: str) -> str:
    """Return a phone of any of the sets among the 39, in lower case."""
    return FOLD_ANY_TO_39.get(phone.lower(), phone.lower())


def matched(said: Sequence[str], written: Sequence[str]) -> list[tuple[int, int]]:
    """Return the pairs of equal phones on the path of the fewest edits; a flap equals t and d."""

    def equal(a: str, b: str) -> bool:
        return a == b or (b == "dx" and a in ("t", "d"))

    rows, columns = len(said) + 1, len(written) + 1
    cost = np.add.outer(np.arange(float(rows)), np.arange(float(columns)))
    for i in range(1, rows):
        for j in range(1, columns):
            change = 0.0 if equal(said[i - 1], written[j - 1]) else 1.2
            others = min(cost[i - 1, j], cost[i, j - 1]) + 1
            cost[i, j] = min(others, cost[i - 1, j - 1] + change)
    pairs, i, j = [], rows - 1, columns - 1
    while i and j:
        same = equal(said[i - 1], written[j - 1])
        if np.isclose(cost[i, j], cost[i - 1, j - 1] + (0.0 if same else 1.2)):
            pairs += [(i - 1, j - 1)] * same
            i, j = i - 1, j - 1
        elif np.isclose(cost[i, j], cost[i - 1, j] + 1):
            i -= 1
        else:
            j -= 1
    return pairs[::-1]


def systems(
    recogniser: Recogniser, cut: Any, phones: Sequence[str], ours: Times
) -> dict[str, Times]:
    """Return the times of the same phones by each rule, from the same posteriors."""
    trained = recogniser.trained
    rows = cut_features.features_of(cut_features.FeatureTask(cut, trained.feature_config))
    log_probs, frames = step_frames(trained.output(rows), "phones")
    log_probs = trained.without_contexts("phones", log_probs)
    seconds = (
        frames / trained.feature_config.rate
    )  # less late than with the filters' delay taken off
    inventory = trained.inventories["phones"]
    row = labels.encode(phones, labels.classes(inventory))
    path = [(seconds[a, 0], seconds[b - 1, 1]) for a, b in ctc.align(log_probs, row)]
    found = {"speechasym": ours, "torchaudio.functional.forced_align": path}
    try:
        segmentation = import_module("ctc_segmentation")
    except ImportError:
        return found
    config = segmentation.CtcSegmentationParameters(char_list=["", *inventory], blank=0)
    config.index_duration = float(np.diff(frames[0])[0] / trained.feature_config.rate)
    truth, first = segmentation.prepare_token_list(config, [np.array([label]) for label in row])
    starts, _, _ = segmentation.ctc_segmentation(config, log_probs.numpy(), truth)
    starts = starts + seconds[0, 0] - CTC_SEGMENTATION_LATE_S
    at = [int(n) + 1 for n in first[: len(row)]]
    ends = [*(starts[n] for n in at[1:]), starts[min(at[-1] + 1, len(starts) - 1)]]
    return found | {"ctc-segmentation": [(starts[n], e) for n, e in zip(at, ends, strict=True)]}


def measure(recogniser: Recogniser, cuts: Iterable[Any]) -> dict[str, dict[str, list[float]]]:
    """Return {system: {"phones" or "words": by how many s boundaries are late}}."""
    assert recogniser.lexicon is not None
    pronounce = pronouncer(read_lexicon(recogniser.lexicon), guess=True)
    late: dict[str, dict[str, list[float]]] = {}
    for cut in cuts:
        try:
            text = " ".join(labels.words_of(cut))
            one = alignment.align(recogniser.trained, cut, text.split(), pronounce=pronounce)
        except SpeechAsymError as error:
            print(error)
            continue
        sounds, words = one.tiers["phones"], labels.aligned(cut, "word")
        ends = [word.end for word in one.tiers["words"]]
        numbers = [sum(end <= sound.start + 1e-6 for end in ends) for sound in sounds]
        said = hand_made(labels.aligned(cut, "phone"))
        pairs = matched([folded(i.label) for i in sounds], [i.label for i in said])
        ours = [(i.start, i.end) for i in sounds]
        for name, times in systems(recogniser, cut, [i.label for i in sounds], ours).items():
            table = late.setdefault(name, {"phones": [], "words": []})
            for i, j in pairs:
                table["phones"] += [times[i][0] - said[j].start, times[i][1] - said[j].end]
            grouped = groupby(zip(numbers, times, strict=True), key=itemgetter(0))
            spans = [[span for _, span in group] for _, group in grouped]
            if len(spans) == len(words):
                for span, word in zip(spans, words, strict=True):
                    table["words"] += [span[0][0] - word.start, span[-1][1] - word.end]
    return late


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("cuts", help="manifest with hand-made times")
    parser.add_argument("--run", help="folder of a run (default: the pretrained model)")
    options = parser.parse_args()
    late = measure(Recogniser(options.run), read_cuts(options.cuts))
    rows = []
    for name, tiers in late.items():
        for tier, times in tiers.items():
            off = 1000 * np.abs(times)
            shares = [f"{np.mean(off <= limit + 1e-6):.1%}" for limit in LIMITS_MS]
            numbers = f"{off.mean():.1f}", f"{np.median(off):.1f}", f"{1000 * np.mean(times):+.1f}"
            rows.append((name, tier, str(len(off)), *numbers, *shares))
    columns = ["system", "tier", "boundaries", "mean ms", "median ms", "late by ms"]
    print_table(options.cuts, rows, [*columns, *(f"<= {ms} ms" for ms in LIMITS_MS)], words=2)


if __name__ == "__main__":
    main()
