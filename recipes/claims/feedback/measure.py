"""Read test cuts in clean sound, in noise and with masked stretches; count errors of each run.

    python -m recipes.claims.feedback.measure OUT/mini --test CUTS --noise FOLDER

OUT/mini is a folder of `recipes.compare`. A line for each run goes to OUT/mini/measured.jsonl; runs
that are there already are not read again. A run with feedback is also read with other numbers of
passes, and without parts of what is sent, in clean sound and at 0 dB.
"""

import argparse
import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from recipes.claims.arbitration import readings
from recipes.claims.asymmetry.common import log
from recipes.claims.loop.measure import with_passes
from recipes.compare.jobs import read_lines
from recipes.provenance import commit
from speechasym import files
from speechasym.levels.hierarchy import Hierarchy
from speechasym.recognition.trained_model import TrainedModel, open_run
from speechasym.scoring.error_rates import error_rate
from speechasym.training.rules.meter import Flops

MEASURED = "measured.jsonl"
PASSES = (1, 2, 3, 4)
SILENT = ("prediction", "difference", "message")  # parts that are not sent
FRAMES = (16, 500)  # of the batch whose FLOPs are counted


class Sound(NamedTuple):
    """How test cuts are changed."""

    name: str
    noises: str = "test"  # unheard in training, or dev: heard
    snr_db: float | None = None
    masked_s: float | None = None


SOUNDS = (
    Sound("clean"),
    *(Sound(f"{snr} dB", snr_db=snr) for snr in (20, 10, 5, 0, -5)),
    *(Sound(f"{snr} dB, heard", "dev", snr) for snr in (5, 0)),
    *(Sound(f"masked {ms} ms", masked_s=ms / 1000) for ms in (50, 100, 200)),
)
OF_VARIANTS = ("clean", "0 dB")


def without(net: TrainedModel, part: str) -> TrainedModel:
    """Return a net with feedback whose levels do not hear a part of the message."""
    model = deepcopy(net.model)
    assert isinstance(model, Hierarchy)
    for level, below in zip(model.config.levels[:-1], model.levels, strict=False):
        heard, units = below.get_parameter("context.weight").data, level.units
        if part != "difference":  # of shares; then of log2 of the steps
            heard[:, :units] = heard[:, 2 * units] = 0
        if part != "prediction":
            heard[:, units : 2 * units] = heard[:, 2 * units + 1] = 0
    return net._replace(model=model)


def variants(net: TrainedModel) -> dict[str, TrainedModel]:
    """Return a net, named "", and if it has feedback, what is left of it without."""
    config: Any = net.config.model
    if config.feedback.passes == 1:
        return {"": net}
    counts = [n for n in PASSES if n != config.feedback.passes]
    nets = {f"{n} pass{'es' * (n > 1)}": with_passes(net, n) for n in counts}
    return {"": net} | nets | {f"no {part}": without(net, part) for part in SILENT}


def step_flops(net: TrainedModel) -> int:
    """Return the FLOPs of a training step of a trained net on noise, without the heads' losses."""
    model = deepcopy(net.model).train()
    assert isinstance(model, Hierarchy)
    model.config = replace(model.config, feedback=replace(model.config.feedback, vary=False))
    torch.manual_seed(0)
    rows, frames = FRAMES
    x = torch.randn(rows, frames, model.inputs)
    with Flops() as flops:
        output = model(x, torch.full((rows,), frames))
        heads = [log_probs.mean() for log_probs, _ in output.heads.values()]
        torch.stack([*heads, *output.losses.values()]).sum().backward()
    return flops.of.total()


def counts(condition: readings.Condition, head: str, net: str) -> dict[str, list[int]]:
    """Return {speaker: [symbols said, errors]} of a net."""
    symbols, said, answers, speakers = condition.symbols[head], {}, {}, {}
    for u in condition.utterances:
        said[u.name], speakers[u.name] = u.said[head], u.speaker
        answers[u.name] = [symbols[label - 1] for label in u.readings[head][net].labels]
    table = {}
    for speaker in sorted(set(speakers.values())):
        own = [name for name, who in speakers.items() if who == speaker]
        score = error_rate({n: said[n] for n in own}, {n: answers[n] for n in own}).counts
        table[speaker] = [score.length, sum(score[1:4])]
    return table


def measure(
    nets: Mapping[str, TrainedModel], test: Path, noise: Path
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return {net: {sound: {head: {speaker: [symbols said, errors]}}}}; "" hears all sounds."""
    table: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in nets}
    for sound in SOUNDS:
        heard = {name: net for name, net in nets.items() if not name or sound.name in OF_VARIANTS}
        condition = readings.read(
            heard, test, sound.noises, noise=noise, snr_db=sound.snr_db, masked_s=sound.masked_s
        )
        for name in heard:
            table[name][sound.name] = {h: counts(condition, h, name) for h in condition.symbols}
        log(sound.name)
    return table


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="of recipes.compare")
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--noise", type=Path, required=True, help="folder of recordings")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    path = options.folder / MEASURED
    lines = read_lines(path)
    done = {(line["system"], line["seed"]) for line in lines}
    for run in read_lines(options.folder / "results.jsonl"):
        key = run["system"], run["seed"]
        if key in done:
            continue
        net = open_run(options.folder / f"{key[0]}-seed{key[1]}")
        line = {
            "system": key[0], "seed": key[1], "parameters": net.parameters,
            "flops": step_flops(net), "seconds": run["seconds"], "commit": commit(),
            "sounds": measure(variants(net), options.test, options.noise),
        }  # fmt: skip
        lines.append(line)
        with files.atomic(path) as file:
            file.write("".join(json.dumps(line) + "\n" for line in lines).encode())
        log(f"measured {key[0]}, seed {key[1]}")


if __name__ == "__main__":
    main()
