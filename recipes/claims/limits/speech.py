"""Nets trained on short utterances read the same speech in short and in long recordings (C6).

    python -m recipes.claims.limits.speech OUT/speech --cuts short=CUTS 15=CUTS_15 60=CUTS_60

The folder has runs NAME-seedN, as those of `recipes.compare`. A line for each run and length is
appended to FOLDER/lengths.jsonl, so that a second call reads only what is new; the report is
FOLDER/lengths.md.
Nets with the softmax are also tested with other weights: scores times log N / log 100, with and
without the share of positions in them, and with a window of about the length of training.

Shapes: K seeds, S speakers.
"""

import argparse
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from recipes.claims.arbitration import readings
from recipes.claims.asymmetry.common import log
from recipes.claims.block.lines import append
from recipes.compare.intervals import difference
from recipes.compare.jobs import MEASURES, guarded, publish, read_lines, spread
from recipes.compare.report import counted
from recipes.provenance import commit, machine, table
from speechasym.errors import ConfigError
from speechasym.levels.attention import Attention
from speechasym.recognition.trained_model import TrainedModel, open_run
from speechasym.scoring.error_rates import error_rate

TYPICAL = 100  # steps of an utterance of 3 s, at which the other weights are the softmax
WINDOW = 60  # steps to each side of a query
BASE = "softmax"
OTHERS = ("contents by log N", "all by log N", "window")  # weights in the test, of the base's nets


class Sharper:
    """The scores of an attention, times log N / log 100."""

    def __init__(self, module: Attention, positions: bool) -> None:
        self.heads, self.positions = module._heads, module._positions
        module._heads = self.sharper_heads  # type: ignore[method-assign]
        if positions:
            module._positions = self.sharper_positions  # type: ignore[method-assign]

    def sharper_heads(self, x: Tensor) -> Tensor:
        result = self.heads(x)
        result[0] *= _ratio(x.shape[1])
        return result

    def sharper_positions(self, queries: int, keys: int, x: Tensor) -> tuple[Tensor, Tensor]:
        bias, visible = self.positions(queries, keys, x)
        return bias * _ratio(keys), visible


def _ratio(count: int) -> float:
    return math.log(max(count, 2)) / math.log(TYPICAL)


def reweigh(net: TrainedModel, weights: str) -> TrainedModel:
    """Give the attention of a net other weights, one of `OTHERS`, and return the net."""
    for module in net.model.modules():
        if isinstance(module, Attention):
            if weights == "window":
                module.window = WINDOW
            else:
                Sharper(module, weights == "all by log N")
    return net


def read(
    folder: Path, cuts: dict[str, Path], lexicon: Path | None, base: str
) -> list[dict[str, Any]]:
    """Read what has not been read yet; return the lines of all runs, lengths and weights."""
    names = [path.parent.name.rpartition("-seed") for path in folder.glob("*-seed*/config.json")]
    runs = sorted((system, int(seed)) for system, _, seed in names)
    path = folder / "lengths.jsonl"
    done = {(x["system"], x["seed"], x["length"]) for x in read_lines(path)}
    for length, manifest in cuts.items():
        nets = {}
        for system, seed in runs:
            others = {f"{base}, {w}": w for w in OTHERS} if system == base else {}
            for name, weights in {system: None, **others}.items():
                if (name, seed, length) not in done:
                    net = open_run(folder / f"{system}-seed{seed}")
                    nets[f"{name}|{seed}"] = net if weights is None else reweigh(net, weights)
        if nets:
            log(f"{folder.name}, {length}: {len(nets)} nets")
            append(path, scored(nets, manifest, length, lexicon))
    return read_lines(path)


def scored(
    nets: dict[str, TrainedModel], manifest: Path, length: str, lexicon: Path | None
) -> list[dict[str, Any]]:
    """Return a line for each net, with counts as those of `recipes.compare`."""
    condition = readings.read(nets, manifest, "test", lexicon=lexicon)
    speakers = {u.name: u.speaker for u in condition.utterances}
    lines = []
    for name in nets:
        counts: dict[str, dict[str, list[int]]] = {}
        for head, symbols in condition.symbols.items():
            said = {u.name: u.said[head] for u in condition.utterances}
            heard = {
                u.name: [symbols[label - 1] for label in u.readings[head][name].labels]
                for u in condition.utterances
            }
            by: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
            score = error_rate(said, heard, speakers=speakers)
            for utterance, c in score.utterances.items():
                row = [c.length, *c[1:4]]
                who = speakers[utterance]
                by[who] = [a + b for a, b in zip(by[who], row, strict=True)]
            counts[MEASURES[head]] = dict(by)
        system, seed = name.split("|")
        lines.append({
            "system": system, "seed": int(seed), "length": length, "counts": counts,
            "commit": commit(), "machine": machine(),
        })  # fmt: skip
    return lines


def report(lines: Sequence[dict[str, Any]], title: str, base: str = BASE) -> str:
    """Return a table for each measure: rates by length, and errors relative to the base's."""
    lengths = list(dict.fromkeys(line["length"] for line in lines))
    systems = list(dict.fromkeys(line["system"] for line in lines))
    measures = list(dict.fromkeys(m for line in lines for m in line["counts"]))
    parts = [f"## {title}"]
    for measure in measures:
        rows = []
        for system in systems:
            runs = {x["seed"] for x in lines if x["system"] == system}
            row = [system, str(len(runs))]
            for length in lengths:
                own, theirs = (
                    sorted((x for x in lines if (x["system"], x["length"]) == (name, length)),
                           key=lambda x: x["seed"])
                    for name in (system, base)
                )  # fmt: skip
                seeds = {x["seed"] for x in own}
                theirs = [x for x in theirs if x["seed"] in seeds]
                ours = counted(own, measure)
                cell = spread([100 * c[:, 0].sum() / c[:, 1].sum() for c in ours])
                if system != base and own and theirs:
                    middle, low, high = (
                        100 * v for v in difference(counted(theirs, measure), ours)
                    )
                    cell += f"; {middle:+.0f} % [{low:+.0f}, {high:+.0f}]"
                row.append(cell)
            rows.append(row)
        parts += [f"### {measure}, %", table(["weights", "seeds", *lengths], rows).rstrip()]
    parts.append(
        f"Median (least to greatest) over seeds; errors relative to those of {base} with the same"
        " seeds [95 % interval over speakers and seeds]."
    )
    return "\n\n".join(parts) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Read what is new, and write the report; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.claims.limits.speech",
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter,
    )  # fmt: skip
    add = parser.add_argument
    add("folder", type=Path, help="of runs")
    add("--cuts", nargs="+", required=True, metavar="LENGTH=CUTS", help="manifests to test on")
    add("--lexicon", type=Path, help="pronunciations, for cuts without phones")
    add("--base", default=BASE, help="system that the others are compared with")
    options = parser.parse_args(arguments)

    def act() -> int:
        cuts = {}
        for word in options.cuts:
            length, equals, path = word.partition("=")
            if not equals:
                raise ConfigError("--cuts", f"{word!r} is not LENGTH=CUTS", "Use 60=long.jsonl.gz")
            cuts[length] = Path(path)
        lines = read(options.folder, cuts, options.lexicon, options.base)
        text = report(lines, options.folder.name, options.base)
        publish(text, options.folder / "lengths.md")
        return 0

    return guarded(act)


if __name__ == "__main__":
    raise SystemExit(main())
