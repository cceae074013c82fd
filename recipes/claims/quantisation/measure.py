"""Read cuts with weights of few bits: layer by layer, and all together.

    python -m recipes.claims.quantisation.measure RUN --cuts CUTS --lexicon FILE --out LINES
        [--every 3] [--layers] [--bits 8 4 3 2]

RUN: a folder, or `package` for the model of the package. Each line of the result is one condition:
what is rounded and how, the errors and the loss, and how the units respond. Run again, it skips
what is there.
"""

import argparse
import copy
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rapidfuzz.distance import Levenshtein
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from recipes.claims.arbitration import readings
from recipes.claims.quantisation.rounding import (
    SCHEMES,
    matrices,
    outliers,
    quantised,
    rounded_inputs,
)
from recipes.compare.jobs import guarded, read_lines
from speechasym import files
from speechasym.levels import ctc
from speechasym.levels.level import LevelOutput
from speechasym.levels.units import shares
from speechasym.ranks.laws import selectivity
from speechasym.recognition.trained_model import TrainedModel, open_run

BITS = (8, 6, 5, 4, 3, 2)
LAYER_BITS = (4, 3, 2)  # of one layer alone, which 8 bits do not change
BATCH = 8  # utterances
PACKAGE = "package"
PHONES = "phones"


class Utterance(NamedTuple):
    """An utterance, and what is said in it."""

    speaker: str
    features: Tensor  # (F, D)
    said: dict[str, list[str]]  # {head: symbols}


class Units(NamedTuple):
    """How the units of a level respond to all utterances."""

    activation: Tensor  # (T, U) shares, step after step
    selectivity: float


class Answer(NamedTuple):
    """What a model makes of all utterances."""

    loss: dict[str, float]  # {head: nats per label}
    errors: dict[str, dict[str, list[int]]]  # {head: {speaker: [errors, symbols]}}
    units: list[Units]  # of the levels that have any


def utterances(
    net: TrainedModel, cuts: Path, lexicon: Path | None, every: int = 1
) -> list[Utterance]:
    """Return one of so many cuts, sorted by length. Raises as `dataset.load`."""
    readings.check_plain(net)
    data = readings.labelled(net, cuts, lexicon)
    rows = [
        Utterance(
            data.speakers[n], torch.from_numpy(x).float(),
            {head: data.reference(head, n) for head in net.inventories},
        )
        for n, _, x in readings.changed_cuts(net, cuts, "dev", every=every)
    ]  # fmt: skip
    return sorted(rows, key=lambda u: len(u.features))


@torch.no_grad()
def answer(net: TrainedModel, model: nn.Module, sounds: Sequence[Utterance]) -> Answer:
    """Read utterances with a model in the place of a run's own."""
    loss = dict.fromkeys(net.inventories, 0.0)
    labels = dict.fromkeys(net.inventories, 0)
    errors: dict[str, dict[str, list[int]]] = {head: {} for head in net.inventories}
    levels: dict[int, list[Tensor]] = {}
    for first in range(0, len(sounds), BATCH):
        part = sounds[first : first + BATCH]
        lengths = torch.tensor([len(u.features) for u in part])
        output = model(pad_sequence([u.features for u in part], batch_first=True), lengths)
        for number, level in enumerate(output.levels):
            if level.activation is not None:
                levels.setdefault(number, []).append(_shares(level))
        for head, inventory in net.inventories.items():
            log_probs, steps = output.heads[head]
            classes = {symbol: n for n, symbol in enumerate(inventory, 1)}
            rows = [torch.tensor([classes[s] for s in u.said[head] if s in classes]) for u in part]
            counts = torch.tensor([len(row) for row in rows])
            value, fits = ctc.loss(log_probs, steps, pad_sequence(rows, batch_first=True), counts)
            follow = net.follow.get(head)
            if follow is not None:  # trained beside rivals: its loss is that
                value = value + ctc.rivals(log_probs, torch.where(fits, steps, 0), follow)
            loss[head] += float(value)
            labels[head] += int(counts[fits].sum())
            for u, row in zip(part, ctc.greedy(log_probs, steps, follow), strict=True):
                counted = errors[head].setdefault(u.speaker, [0, 0])
                counted[0] += Levenshtein.distance(u.said[head], ctc.symbols(row, inventory))
                counted[1] += len(u.said[head])
    units = []
    for _, parts in sorted(levels.items()):
        together = torch.cat(parts)
        units.append(Units(together, float(selectivity(together).mean())))
    return Answer({h: loss[h] / max(1, labels[h]) for h in loss}, errors, units)


def _shares(level: LevelOutput) -> Tensor:
    assert level.activation is not None
    return shares(level.activation)[level.mask]


def moved(before: Units, now: Units) -> float | None:
    """Return the mean share of a step's activation that has gone to other units, 0 to 1.

    None where events end elsewhere, so that steps are not the same.
    """
    if before.activation.shape != now.activation.shape:
        return None
    return float((before.activation - now.activation).abs().sum(1).mean()) / 2


def conditions(net: TrainedModel, bits: Sequence[int], layers: bool) -> Iterator[dict[str, Any]]:
    """Yield what to round, as keys of a line: layer ("" all), bits, scheme, inputs (bits or 0)."""
    yield {"layer": "", "bits": 32, "scheme": "tensor", "inputs": 0}
    yield {"layer": "", "bits": 16, "scheme": "float", "inputs": 0}
    for scheme in SCHEMES:
        for b in bits:
            yield {"layer": "", "bits": b, "scheme": scheme, "inputs": 0}
            if b in (8, 4):
                yield {"layer": "", "bits": b, "scheme": scheme, "inputs": b}
    if layers:
        for name in matrices(net.model):
            for scheme in SCHEMES:
                for b in LAYER_BITS:
                    yield {"layer": name, "bits": b, "scheme": scheme, "inputs": 0}


def line(
    net: TrainedModel, before: Answer | None, keys: Mapping[str, Any], sounds: Sequence[Utterance]
) -> tuple[dict[str, Any], Answer]:
    """Return the line of a condition, and the answer; `before`: that without rounding."""
    axes, bits, scheme = matrices(net.model), int(keys["bits"]), str(keys["scheme"])
    only = [keys["layer"]] if keys["layer"] else None
    model = net.model
    if scheme == "float":
        model = copy.deepcopy(net.model).half().float()
    elif bits != 32:
        model = quantised(net.model, bits, scheme, only)
    inputs = rounded_inputs(model, keys["inputs"], scheme) if keys["inputs"] else nullcontext()
    with inputs:
        now = answer(net, model, sounds)
    result = {
        **keys, "loss": now.loss, "errors": now.errors,
        "selectivity": [u.selectivity for u in now.units],
        "level": getattr(heads, PHONES).level if (heads := _heads(net)) else 0,
        "moved": [moved(a, b) for a, b in zip((before or now).units, now.units, strict=True)],
    }  # fmt: skip
    if only and bits != 32:
        axis = axes[only[0]] if scheme == "channel" else None
        result |= outliers(net.model.get_parameter(only[0]), bits, axis)
    return result, now


def _heads(net: TrainedModel) -> Any:
    return getattr(net.config.model, "heads", None)


def measure(
    net: TrainedModel, sounds: Sequence[Utterance], todo: Iterable[Mapping[str, Any]], out: Path
) -> None:
    """Append the lines of conditions that the file lacks; the first is that without rounding."""
    known = {
        json.dumps([n[k] for k in ("layer", "bits", "scheme", "inputs")]) for n in read_lines(out)
    }
    before = None
    for keys in todo:
        if before is not None and json.dumps(list(keys.values())) in known:
            continue
        new, now = line(net, before, keys, sounds)
        before = before or now
        if json.dumps(list(keys.values())) not in known:
            lines = [*read_lines(out), new]
            with files.atomic(out) as file:
                file.write("".join(json.dumps(n) + "\n" for n in lines).encode())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("run", help="folder of a run, or package")
    add("--cuts", type=Path, required=True)
    add("--lexicon", type=Path, help="for the phones that are said, if the cuts have none")
    add("--out", type=Path, required=True, metavar="LINES", help="file of JSON lines")
    add("--every", type=int, default=1, help="read one of so many cuts")
    add("--layers", action="store_true", help="each layer alone, too")
    add("--bits", type=int, nargs="+", default=list(BITS))
    options = parser.parse_args(arguments)

    def act() -> int:
        torch.set_num_threads(1)
        net = open_run(None if options.run == PACKAGE else options.run)
        matrices(net.model)
        sounds = utterances(net, options.cuts, options.lexicon, options.every)
        todo = conditions(net, options.bits, options.layers)
        measure(net, sounds, todo, options.out)
        return 0

    return guarded(act)


if __name__ == "__main__":
    raise SystemExit(main())
