"""Error rates of trained nets that see no more than a window of frames at a time (C15).

    python -m recipes.claims.context.windows --cuts CUTS --run NAME-seedN=FOLDER --out FILE.jsonl

A window is moved along each recording. Only what a net reads in its middle part, an eighth of
it, counts; joined, that is the text of the recording. Lines that FILE has already are kept.

Shapes: N windows, F frames, D columns, S steps.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from recipes.claims.arbitration.readings import labelled
from recipes.claims.asymmetry.common import log
from recipes.compare.jobs import read_lines
from recipes.provenance import commit, machine
from speechasym import files
from speechasym.levels.level import ModelOutput
from speechasym.recognition.segments import GRID, normalised
from speechasym.recognition.trained_model import TrainedModel, open_run
from speechasym.recognition.transcription import best_path, join
from speechasym.scoring.error_rates import ErrorRate, error_rate
from speechasym.training import cut_features

# frames before and after the part that counts, whose length is the second number
WINDOWS = ((12, 12), (24, 12), (48, 12), (96, 24), (192, 48), (384, 96), (768, 192), (888, 216))
MOST = 24_000  # frames in a batch


class Window(NamedTuple):
    """A stretch of a recording, in frames."""

    begin: int  # of what is seen
    start: int  # of what counts
    end: int  # of what is seen


def windows(frames: int, margin: int, middle: int) -> list[Window]:
    """Return the windows whose middles fill a recording, cut off at its ends.

    Args:
        frames: of the recording.
        margin: frames before and after each middle.
        middle: frames that count in each window; both are multiples of `GRID`, so that windows of
            two levels' steps stay where they were.

    Example:
        >>> windows(40, 12, 24)
        [Window(begin=0, start=0, end=36), Window(begin=12, start=24, end=40)]
    """
    assert margin % GRID == 0 == middle % GRID
    return [
        Window(max(0, start - margin), start, min(frames, start + middle + margin))
        for start in range(0, frames, middle)
    ]


def row(output: ModelOutput, n: int) -> ModelOutput:
    """Return the heads of one of a batch."""
    part = slice(n, n + 1)
    heads = {head: (p[part], size[part]) for head, (p, size) in output.heads.items()}
    spans = {head: (a[part], b[part]) for head, (a, b) in output.spans.items()}
    return ModelOutput(heads, {}, spans, [])


@torch.no_grad()
def outputs(
    trained: TrainedModel, rows: NDArray[np.float32], seen: Sequence[Window], again: bool
) -> Iterator[tuple[Window, ModelOutput, list[float]]]:
    """Yield each window, what heads make of it, and how many steps each level passes on in it.

    rows: (F, D) of the recording. again: normalise them over the window again.
    """
    size = max(1, MOST // max(w.end - w.begin for w in seen))
    for first in range(0, len(seen), size):
        batch = seen[first : first + size]
        parts = [rows[w.begin : w.end] for w in batch]
        if again:
            parts = [normalised(part, trained.feature_config) for part in parts]
        padded = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(p) for p in parts], True)
        output = trained.model(padded, torch.tensor([len(p) for p in parts]))
        for n, window in enumerate(batch):
            kept = [float(level.passed.mask[n].sum()) for level in output.levels]
            yield window, row(output, n), kept


def read(
    trained: TrainedModel, rows: NDArray[np.float32], margin: int, middle: int, again: bool = False
) -> tuple[dict[str, list[str]], NDArray[np.float64]]:
    """Return what is read in a recording {head: symbols}, window by window.

    The second value is the sum over windows of their frames and of the steps that each level passes
    on. Without a `margin` the recording is one window.
    """
    rate = trained.feature_config.rate
    seen = windows(len(rows), margin, middle) if margin else [Window(0, 0, len(rows))]
    text: dict[str, list[Any]] = {head: [] for head in trained.inventories}
    sums: list[list[float]] = []
    for window, output, kept in outputs(trained, rows, seen, again):
        for head, before in text.items():
            after = best_path(trained.posteriors(output, head, window.begin / rate))
            join(before, after, window.start / rate, margin / rate / 2 if window.start else 0.0)
        sums.append([window.end - window.begin, *kept])
    symbols = {head: [i.label for i in intervals] for head, intervals in text.items()}
    return symbols, np.sum(sums, 0)


def by_speaker(score: ErrorRate, speakers: Mapping[str, str]) -> dict[str, list[int]]:
    """Return {speaker: [errors, tokens]} of what is scored."""
    counts = {speaker: [0, 0] for speaker in sorted(set(speakers.values()))}
    for name, c in score.utterances.items():
        counts[speakers[name]][0] += c.errors
        counts[speakers[name]][1] += c.length
    return counts


def measure(
    trained: TrainedModel, recordings: Sequence[tuple[str, str, NDArray[np.float32], dict]],
    margin: int, middle: int, again: bool,
) -> dict[str, Any]:  # fmt: skip
    """Return errors and tokens {head: {speaker: [errors, tokens]}}, and what is kept a second.

    recordings: their names, speakers, features (F, D) and what is said {head: symbols}.
    """
    began = time.process_time()
    sums: list[NDArray[np.float64]] = []
    texts: dict[str, dict[str, list[str]]] = defaultdict(dict)
    for name, _, rows, _ in recordings:
        symbols, summed = read(trained, rows, margin, middle, again)
        sums.append(summed)
        for head, line in symbols.items():
            texts[head][name] = line
    spent = time.process_time() - began
    speakers = {name: speaker for name, speaker, _, _ in recordings}
    counts = {}
    for head, answers in texts.items():
        said = {name: symbols[head] for name, _, _, symbols in recordings}
        counts[head] = by_speaker(error_rate(said, answers, speakers=speakers), speakers)
    rate = trained.feature_config.rate
    frames, *kept = np.sum(sums, 0)
    kept = [float(k / frames * rate) for k in kept]
    return {"counts": counts, "kept": kept, "seconds": round(spent, 2)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--run", action="append", required=True, metavar="NAME-seedN=FOLDER")
    add("--cuts", required=True, help="long recordings, see claims/limits/splice.py")
    add("--lexicon", help="for the phones that are said, if the cuts have none")
    add("--every", type=int, default=1, help="reads one of so many cuts")
    add("--most", type=int, default=2000, help="frames of the longest window")
    add("--again", action="store_true", help="also normalise the features over each window")
    add("--out", type=Path, default=Path("out/claims/context/windows.jsonl"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    lines = read_lines(options.out)
    recordings: list[tuple[str, str, NDArray[np.float32], dict]] = []
    for word in options.run:
        name, folder = word.split("=", 1)
        trained = open_run(folder)
        data = labelled(trained, options.cuts, options.lexicon)
        for n in range(0, len(data), options.every) if not recordings else ():
            task = cut_features.FeatureTask(data.index.cut(n), trained.feature_config)
            said = {head: data.reference(head, n) for head in trained.inventories}
            rows = cut_features.features_of(task)
            recordings.append((data.ids[n], data.speakers[n] or "", rows, said))
        system, seed = name.rsplit("-seed", 1)
        tried = [w for w in WINDOWS if 2 * w[0] + w[1] <= options.most]
        for margin, middle in ((0, 0), *tried):
            for again in (False, True) if options.again and margin else (False,):
                key = {"system": system, "seed": int(seed), "frames": 2 * margin + middle,
                       "again": again, "cuts": Path(options.cuts).name}  # fmt: skip
                if any(key.items() <= line.items() for line in lines):
                    continue
                line = key | measure(trained, recordings, margin, middle, again)
                line |= {"commit": commit(), "machine": machine()}
                lines.append(line)
                with files.atomic(options.out) as file:
                    file.write("".join(json.dumps(line) + "\n" for line in lines).encode())
                rates = {h: np.sum(list(c.values()), 0) for h, c in line["counts"].items()}
                log(f"{name} {key['frames']} {'again ' * again}" + ", ".join(
                    f"{h} {100 * e / max(1, n):.1f}" for h, (e, n) in rates.items()
                ) + f"; {line['seconds']} s")  # fmt: skip


if __name__ == "__main__":
    main()
