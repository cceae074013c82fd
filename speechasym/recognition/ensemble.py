"""Several trained runs that read together, as one model (C14; `levels.arbitration`)."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from speechasym.errors import ConfigError
from speechasym.feature_extraction.joined import join
from speechasym.levels.arbitration import Arbitration
from speechasym.recognition.trained_model import TrainedModel, open_run

Run = str | Path | TrainedModel
Runs = Run | Sequence[Run] | None


def open_runs(runs: Runs) -> TrainedModel:
    """Open a run, None: the pretrained one, or several that read together.

    Several runs read with the heads that all of them have, each by its own features. Labels,
    lexicon and language model are those of the first. An open model is left unchanged.

    Raises:
        CheckpointError: see `open_run`.
        ConfigError: no run, one that is given twice, or runs that cannot read together: they have
            no head in common, other symbols of a head, or other rates of features.
    """
    if not isinstance(runs, Sequence) or isinstance(runs, str | TrainedModel):
        return open_run(runs)
    members = [open_run(run) for run in runs]
    if not members:
        raise ConfigError("runs", "none is given", "Give folders of finished runs")
    first, *others = members
    if not others:
        return first
    for member in members:
        if member.follow:
            problem = "was trained beside rivals, and several runs weigh what CTC alone says"
            raise ConfigError(member.folder, problem, "Give runs trained with mmi=0")
    for number, member in enumerate(members):
        if any(member.fingerprint == other.fingerprint for other in members[:number]):
            problem = "is given twice, and would be heard twice"
            raise ConfigError(member.folder, problem, "Give each run once")
    for other in others:
        _check_alike(first, other)
    heads = [head for head in first.inventories if all(head in m.inventories for m in others)]
    if not heads:
        lists = "; ".join(f"{m.folder}: {', '.join(m.inventories)}" for m in members)
        problem = f"they have no head in common ({lists})"
        raise ConfigError("runs", problem, "Give runs that were trained with the same heads")
    config, columns = first.config, None
    parts = [member.feature_config for member in members]
    if any(part != parts[0] for part in parts):
        joined = join(parts, [str(member.folder) for member in members])
        columns = joined.slices
        config = replace(config, data=replace(config.data, features=joined, cache=None))
    prints = hashlib.sha256(" ".join(member.fingerprint for member in members).encode())
    return first._replace(
        model=Arbitration([member.model for member in members], columns).eval(), config=config,
        inventories={head: first.inventories[head] for head in heads},
        written={head: first.written[head] for head in heads},
        fingerprint=prints.hexdigest(), members=tuple(members),
    )  # fmt: skip


def _check_alike(first: TrainedModel, other: TrainedModel) -> None:
    """Raise `ConfigError` unless two runs have the same symbols."""
    for head, symbols in first.written.items():
        if head in other.written and symbols != other.written[head]:
            raise _different_symbols(head, first, other)


def _different_symbols(head: str, first: TrainedModel, other: TrainedModel) -> ConfigError:
    """Return the error that names an example of the symbols that only one of two runs has."""
    sizes = []
    for run, rival in ((first, other), (other, first)):
        symbols = run.written[head]
        only = sorted(set(symbols) - set(rival.written[head]))
        example = f", {only[0]!r} among them" if only else ""
        sizes.append(f"{run.folder} reads {len(symbols)} {head}{example}")
    problem = f"{sizes[0]}; {sizes[1]}"
    return ConfigError(
        "runs", f"their symbols differ: {problem}",
        "Give runs trained with the same labels (data.labels) on the same cuts",
    )  # fmt: skip
