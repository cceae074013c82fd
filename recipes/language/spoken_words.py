"""The words of cuts: when each was said, and what the levels of a trained run made of its sound.

Two vectors a word, each the mean of the levels' output over its span, lowest level first:
`sound`, when the levels hear `LEAD_S` before the word and nothing after its end, so that they
cannot know what comes next; and `ahead`, when they hear the whole utterance. Features are
normalised as in training, by means and deviations of the whole utterance.

Shapes: N words, F frames, D channels of all levels, B words of an utterance.
"""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechasym import files
from speechasym.annotations.intervals import Interval
from speechasym.corpora.manifests import read_cuts
from speechasym.errors import AlignmentError, ConfigError, OutputError
from speechasym.levels.events import Steps
from speechasym.levels.hierarchy import Hierarchy
from speechasym.progress import progress
from speechasym.recognition.alignment import align
from speechasym.recognition.pronounced_words import Pronounce
from speechasym.recognition.trained_model import TrainedModel
from speechasym.training import labels
from speechasym.training.cut_features import FeatureTask, features_of

LEAD_S = 1.0  # of sound before a word that its levels hear


class Words(NamedTuple):
    """Words in the order in which they are read, chapter by chapter."""

    text: NDArray[np.str_]  # (N,)
    speaker: NDArray[np.str_]  # (N,)
    utterance: NDArray[np.str_]  # (N,) id of the cut; up to its last hyphen: the chapter
    start: NDArray[np.float64]  # (N,) s,
    end: NDArray[np.float64]  # in the utterance,
    length: NDArray[np.float64]  # which is so long
    widths: NDArray[np.int64]  # channels of each level, which add up to D
    sound: NDArray[np.float16]  # (N, D) without what follows
    ahead: NDArray[np.float16]  # (N, D) with what follows in the utterance

    @property
    def chapter(self) -> NDArray[np.str_]:
        """(N,) of each word."""
        return np.array([name.rpartition("-")[0] or name for name in self.utterance])

    @property
    def pause(self) -> NDArray[np.float64]:
        """(N,) s of silence after each word; at the end of an utterance, until the next begins."""
        rest = self.length - self.end
        following = np.append(self.start[1:], 0.0)
        same = np.append(self.utterance[1:] == self.utterance[:-1], False)
        near = np.append(self.chapter[1:] == self.chapter[:-1], False)
        silent = np.where(same, following - self.end, rest + np.where(near, following, 0.0))
        return np.maximum(silent, 0.0)


def over_spans(steps: Steps, spans: NDArray[np.int64]) -> Tensor:
    """Return means (B, D) of steps (B, F, D) over a span (B, 2) of frames in each row."""
    first, last = torch.from_numpy(spans).unbind(1)
    shared = torch.minimum(steps.end, last[:, None]) - torch.maximum(steps.start, first[:, None])
    weight = (shared.clamp(min=0) * steps.mask).to(steps.y.dtype)
    return (weight[:, None] @ steps.y)[:, 0] / weight.sum(1, keepdim=True).clamp(min=1)


@torch.no_grad()
def sounds(
    trained: TrainedModel, rows: NDArray[np.float32], spans: NDArray[np.int64]
) -> tuple[list[Tensor], list[Tensor]]:
    """Return for each level what it makes (B, D) of words, without and with what follows.

    Args:
        rows: features (F, D) of the utterance.
        spans: (B, 2) first frame of each word, and the frame after its last.
    """
    lead = round(LEAD_S * trained.feature_config.rate)
    begins = np.maximum(spans[:, 0] - lead, 0)
    parts = [torch.from_numpy(rows[a:z]) for a, z in zip(begins, spans[:, 1], strict=True)]
    lengths = torch.tensor([len(part) for part in parts])
    output = trained.model(torch.nn.utils.rnn.pad_sequence(parts, batch_first=True), lengths)
    alone = [over_spans(level, spans - begins[:, None]) for level in output.levels]
    ahead = [
        over_spans(_repeated(level, len(spans)), spans) for level in trained.output(rows).levels
    ]
    return alone, ahead


def _repeated(steps: Steps, count: int) -> Steps:
    fields = (getattr(steps, name) for name in ("y", "mask", "start", "end"))
    return Steps(*(field.expand(count, *field.shape[1:]) for field in fields))


def read_words(trained: TrainedModel, cuts: Path, pronounce: Pronounce | None) -> Words:
    """Read the words of all cuts; times are the cuts' own, or else found by forced alignment.

    Cuts that cannot be aligned are left out, and it is printed how many.

    Raises `LabelError` for cuts without words, `AlignmentError` if none can be aligned, and
    `ConfigError` for a model without levels.
    """
    table: dict[str, list[object]] = {name: [] for name in Words._fields}
    failed: list[AlignmentError] = []
    if not isinstance(trained.model, Hierarchy):
        raise ConfigError(trained.name, "its model has no levels", "Use one run of a hierarchy")
    manifest = sorted(read_cuts(cuts), key=lambda cut: cut.id)
    rate = trained.feature_config.rate
    with progress(len(manifest), cuts.name) as step:
        for cut in manifest:
            step()
            texts, timed = labels.words_of(cut), labels.aligned(cut, "word")
            if not texts:
                continue
            try:
                if len(timed) != len(texts):
                    timed = align(trained, cut, pronounce=pronounce).tiers["words"]
            except AlignmentError as error:
                failed.append(error)
                continue
            rows = features_of(FeatureTask(cut, trained.feature_config))
            alone, ahead = sounds(trained, rows, _frames(timed, rate, len(rows)))
            table["text"] += texts
            table["speaker"] += [cut.supervisions[0].speaker or ""] * len(texts)
            table["utterance"] += [cut.id] * len(texts)
            table["length"] += [cut.duration] * len(texts)
            table["start"] += [word.start for word in timed]
            table["end"] += [word.end for word in timed]
            table["sound"].append(torch.cat(alone, 1).half().numpy())
            table["ahead"].append(torch.cat(ahead, 1).half().numpy())
            table["widths"] = [level.shape[1] for level in alone]
    if not table["text"]:
        raise failed[-1] if failed else ConfigError(str(cuts), "holds no words", "Give other cuts")
    if failed:
        print(f"{cuts.name}: {len(failed)} of {len(manifest)} cuts left out, such as: {failed[-1]}")
    for name in ("sound", "ahead"):
        table[name] = np.concatenate(cast("list[NDArray]", table[name]))  # type: ignore[assignment]
    return Words(*(np.asarray(table[name]) for name in Words._fields))


def _frames(words: list[Interval], rate: float, most: int) -> NDArray[np.int64]:
    """Return the frames (B, 2) of words, at least one, none of them after a word's end."""
    spans = np.array([(word.start * rate, word.end * rate) for word in words]).astype(np.int64)
    spans[:, 1] = np.clip(spans[:, 1], 1, most)
    spans[:, 0] = np.minimum(spans[:, 0], spans[:, 1] - 1)
    return spans


def cached(path: Path, trained: TrainedModel, cuts: Path, pronounce: Pronounce | None) -> Words:
    """Return what `read_words` does, from a file if it is there. Raises `OutputError` too."""
    if not path.is_file():
        words = read_words(trained, cuts, pronounce)
        with files.atomic(path) as file:
            np.savez(file, **words._asdict())
    try:
        with np.load(path, allow_pickle=False) as table:
            return Words(*(table[name] for name in Words._fields))
    except (OSError, ValueError, KeyError) as error:
        raise OutputError(path, f"cannot be read ({error})", "Remove it") from error


def parts(words: Words, by: str) -> list[NDArray[np.int64]]:
    """Return the numbers of the words of each chapter or utterance."""
    names = words.chapter if by == "chapter" else words.utterance
    return [np.array(list(group)) for _, group in groupby(range(len(names)), lambda n: names[n])]


def joined(several: Sequence[Words]) -> Words:
    """Return the words of several sets as one."""
    joint = {name: np.concatenate([getattr(w, name) for w in several]) for name in Words._fields}
    return Words(**joint | {"widths": several[0].widths})
