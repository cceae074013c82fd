"""Training: a plain loop over batches, which goes on to the bit where it was cut.

Whatever is drawn at random in a step (masks, dropout) depends on the seed, the step and the
process only, so that no state of a generator needs to be kept. The schedule follows the share of
the run that is done: of epochs, steps, or minutes. A run by minutes depends on the clock, and is
not repeatable to the bit.

In the run's folder: config.json; metrics.jsonl, a line for each step and validation; checkpoints
(see `checkpoints`); at the end model.safetensors and model.json.
"""

import logging
import math
import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from speechasym import files
from speechasym.errors import CheckpointError, ConfigError, TrainingError
from speechasym.levels import ctc, presets
from speechasym.progress import shares
from speechasym.training import (
    checkpoints,
    dataset,
    distributed,
    run_folder,
    validation,
    warm_start,
)
from speechasym.training import config as configs
from speechasym.training.config import TrainConfig
from speechasym.training.dataset import Batch, Dataset
from speechasym.training.labels import Inventory
from speechasym.training.optimiser import Average, adamw, clipped, culprit, rate_factor
from speechasym.training.run_folder import Note, Place, Run

log = logging.getLogger(__name__)
Build = Callable[[Mapping[str, Any], int, dict[str, int]], nn.Module]
FIT_BATCHES = 4  # that a model is shown before training


def train(
    config: TrainConfig,
    out: str | Path,
    *,
    resume: bool = False,
    build: Build | None = None,
    shown: bool = True,
) -> dict[str, Any]:
    """Train a recogniser into a folder.

    On SIGTERM or Ctrl-C the state is written and the function returns; a second one ends it at
    once. Under torchrun each process takes its share of every batch, and the first one writes.

    Args:
        resume: go on where a run in `out` stopped, or begin if there is none.
        build: makes the model from (config.model, columns, {head: symbols}); default
            `hierarchy.build_model`. A model maps (features (B, F, D), lengths (B,)) to an object
            with heads {head: (log_probs (B, F', symbols + 1), lengths (B,))}, losses {name:
            scalar, already weighted} and, for `framewise`, spans as of `level.Output`. If it has
            `fitted`, that is called once before training with an iterator of a few (features,
            lengths).
        shown: tell how far it is, on stderr.

    Returns:
        steps, epochs, seconds, best (error of the target head on dev), best_step, dev (the last
        validation), left_out (cuts by head; under torchrun, those of the first process), finished,
        reason, folder.

    Raises:
        ConfigError, LabelError, AudioError: the input does not fit.
        OutputError: the folder holds another run, is in use, or cannot be written.
        CheckpointError: a run that cannot be gone on with.
        TrainingError: a loss or gradient that is not finite, with the module that made it.
    """
    out = Path(os.path.abspath(out))
    if build is None:  # the run keeps its model whole, whatever presets become
        config = replace(config, model=presets.merged(config.model))
        # faults of it are told before hours of features
        _model(config, 1, {head: ("",) for head in config.heads.used}, build)
    if config.start is not None:
        checkpoints.load_model(config.start)  # likewise
    device = run_folder.device_of(config.device)
    with ExitStack() as stack:
        team = stack.enter_context(distributed.team(device))
        if device.type == "cuda":
            own = os.environ.get("LOCAL_RANK", str(device.index or 0))  # torchrun's word goes first
            device = torch.device("cuda", int(own))
            torch.cuda.set_device(device)
        if team.first:
            stack.enter_context(files.locked_folder(out))
            run_folder.begin(config, out, resume)
        distributed.wait(team)
        stack.enter_context(run_folder.repeatable(config.threads))
        goes_on = resume and checkpoints.exists(out)
        if goes_on and (end := run_folder.finished(out)) is not None:
            return end
        shown = shown and team.first
        heads = list(config.heads.used)
        train_set = dataset.load(
            config.data, config.data.train, heads,
            augment=config.data.augment, seed=config.seed, shown=shown,
            timed=config.framewise > 0 or config.data.augment.splice > 0,
        )  # fmt: skip
        dev_set = dataset.load(
            config.data, config.data.dev, heads, inventories=train_set.inventories, shown=shown
        )
        dataset.check_fits(train_set, config.batch_seconds)
        model = _model(config, train_set.columns, train_set.inventories, build)
        if not goes_on:
            _fit(model, train_set, config)
            if config.start is not None:
                warm_start.start_from(model, train_set.columns, train_set.inventories, config.start)
        too_much = ConfigError(
            "batch_seconds",
            f"batches of {config.batch_seconds:g} s need more memory than {device} has",
            f"Lower it, or make the model smaller{' (another run)' if goes_on else ''}",
        )
        stack.enter_context(run_folder.enough_memory(too_much))
        model.to(device)
        distributed.same_start(model, team)
        run = Run(
            config, out, train_set, dev_set, model,
            adamw(model, config.learning_rate, config.weight_decay),
            Average(model, config.averaging), device, team,
        )  # fmt: skip
        place = run_folder.restore(run) if goes_on else Place()
        if not goes_on:
            batch = next(train_set.in_order(config.batch_seconds)).to(device)
            validation.probe(model, batch, {h: len(s) for h, s in train_set.inventories.items()})
        stopped = stack.enter_context(run_folder.stoppable())
        move = stack.enter_context(shares("train", shown))
        note = stack.enter_context(
            run_folder.metrics(out, place) if team.first else nullcontext(run_folder.no_note)
        )
        return _loop(run, place, stopped, move, note)


def _loop(
    run: Run,
    place: Place,
    stopped: list[int],
    move: Callable[[float, str], None],
    note: Note,
) -> dict[str, Any]:
    config, saved, begun = run.config, place.step, time.monotonic() - place.seconds

    def clock() -> float:
        return time.monotonic() - begun

    while not place.done:
        batches = dataset.epoch_batches(
            run.train, config.batch_seconds, config.seed, place.epoch, place.batch
        )
        for numbers in batches:
            line = _step(run, place, numbers, stopped, clock)
            stop = line.pop("stop")
            place.metrics = note(line)
            move(place.share(config, len(run.train)), f"loss {line['loss']:.3f}")
            ended = place.cuts == len(run.train)
            if ended:
                place.epoch, place.batch, place.cuts = place.epoch + 1, 0, 0
            over = place.share(config, len(run.train)) >= 1
            every = config.validate_every
            due = over or (ended if every is None else place.step % every == 0)
            best = due and _validate(run, place, note, move)
            patience = config.patience
            if patience is not None and place.stale >= patience:
                place.done = f"no improvement in {patience} validations"
            elif over:
                place.done = "finished"
            if stop or due or place.step - saved >= config.save_every:
                run_folder.save(run, place, best)
                saved = place.step
            if place.done:
                break
            if stop:
                return run_folder.summary(run.out, place)
        assert place.done or place.batch == 0  # the sampler gives every cut once
    run_folder.export(run, place)
    return run_folder.summary(run.out, place)


def _step(
    run: Run, place: Place, numbers: list[int], stopped: list[int], clock: Callable[[], float]
) -> dict[str, Any]:
    """One step of the optimiser; moves the place on, and returns the line for metrics."""
    config, model, device = run.config, run.model, run.device
    began = time.monotonic()
    own = distributed.share(numbers, run.team)
    augment, seed = config.data.augment, (config.seed, place.step)
    batch = run.train.batch(own, place.epoch, augment, seed).to(device) if own else None
    counts = run.train.labels_in(numbers, place.epoch, augment, seed)
    totals = {head: max(1, count) for head, count in counts.items()}
    mine = sum(run.train.seconds[n] for n in own) / sum(run.train.seconds[n] for n in numbers)
    weights = config.heads.used

    def loss_of() -> tuple[Tensor, dict[str, Tensor], dict[str, list[str]]]:
        torch.manual_seed(_mixed(config.seed, place.step, run.team.rank))
        return _loss(run, batch, weights, totals, mine)

    model.zero_grad(set_to_none=True)
    loss, parts, left_out = loss_of()
    if loss.requires_grad:
        loss.backward()
    names = list(parts)
    sums = torch.stack([loss.detach(), *(parts[n] for n in names)]).float()
    signs = torch.tensor([float(bool(stopped)), clock() * run.team.first], device=device)
    sums = distributed.summed(model, torch.cat([sums, signs]), run.team)
    norm = clipped(model, config.clip)
    total, *values, stop, seconds = sums.tolist()
    if not (math.isfinite(total) and math.isfinite(float(norm))):
        why = culprit(model, lambda: loss_of()[0]) if own else "in another process"
        kept = f"the checkpoint in {run.out} is whole; " if checkpoints.exists(run.out) else ""
        raise TrainingError(
            f"step {place.step + 1}",
            f"loss {total:g}, gradient norm {float(norm):g}: {why}; cuts {', '.join(batch.ids[:3])}"
            if batch
            else why,
            f"{kept}lower learning_rate or clip, or use precision=float32",
        )
    rate = config.learning_rate * rate_factor(
        place.share(config, len(run.train)), config.warm_up, config.schedule
    )
    for group in run.optimiser.param_groups:
        group["lr"] = rate
    run.optimiser.step()
    distributed.same_buffers(model, run.team)
    place.step, place.batch = place.step + 1, place.batch + 1
    run.average.update(model, place.step)
    place.cuts += len(numbers)
    _tell_left_out(place, left_out)
    audio = sum(run.train.seconds[n] for n in numbers)
    place.seconds = seconds  # of the first process: all have to agree when it is over
    return {
        "step": place.step, "epoch": place.epoch, "loss": total,
        **{f"loss_{name}": value for name, value in zip(names, values, strict=True)},
        "widths": [round(width, 4) for width in getattr(model, "widths", ())],
        "learning_rate": rate, "gradient": float(norm), "seconds": round(place.seconds, 3),
        "audio_hours_per_hour": round(audio / max(1e-9, time.monotonic() - began), 1),
        "stop": stop > 0,
    }  # fmt: skip


def _loss(
    run: Run, batch: Batch | None, weights: Mapping[str, float], totals: Mapping[str, int],
    mine: float,
) -> tuple[Tensor, dict[str, Tensor], dict[str, list[str]]]:  # fmt: skip
    """Loss of this process's part, that of each head (nats a label), cuts that did not fit.

    Args:
        totals: labels of the whole batch, by head; mine: share of the batch that is here.
    """
    names = (*weights, "local", *(["frames"] if run.config.framewise else []))
    parts = {part: torch.zeros((), device=run.device) for part in names}
    if batch is None:
        return torch.zeros((), device=run.device), parts, {}
    with validation.autocast(run.device, run.config.precision):
        output = run.model(batch.features, batch.lengths)
    loss = torch.zeros((), device=run.device)
    left_out = {}
    for head, weight in weights.items():
        log_probs, lengths = output.heads[head]
        lost, fits = ctc.loss(log_probs, lengths, *batch.targets[head])
        lost = lost / totals[head]
        loss = loss + weight * lost
        parts[head] = lost.detach()
        left_out[head] = [name for name, fit in zip(batch.ids, fits, strict=True) if not fit]
    if run.config.framewise:
        assert batch.frames is not None  # they were loaded for it
        log_probs, lengths = output.heads["phones"]
        own = validation.framewise(log_probs, output.spans["phones"], lengths, batch.frames)
        loss = loss + mine * run.config.framewise * own
        parts["frames"] = mine * own.detach()
    for value in output.losses.values():
        loss = loss + mine * value
        parts["local"] = parts["local"] + mine * value.detach()
    return loss, parts, left_out


def _tell_left_out(place: Place, left_out: Mapping[str, list[str]]) -> None:
    for head, names in left_out.items():
        known = place.left_out.setdefault(head, [])
        if names and not known:
            log.warning(
                "cut %s has more %s than the model has frames: left out of that loss, as are any "
                "others like it", names[0], head,
            )  # fmt: skip
        known += [name for name in names if name not in known]


def _validate(
    run: Run,
    place: Place,
    note: Note,
    move: Callable[[float, str], None],
) -> bool:
    """Losses and errors on dev, with averaged parameters; returns whether it is the best so far."""
    config, heads = run.config, list(run.config.heads.used)
    numbers = [0.0] * 2 * len(heads)
    if run.team.first:
        with run.average.inside(run.model):
            found = validation.evaluate(
                run.model, run.dev, batch_seconds=2 * config.batch_seconds,
                device=run.device, precision=config.precision,
            )  # fmt: skip
        numbers = [found.losses[h] for h in heads] + [found.errors[h] for h in heads]
    numbers = distributed.from_first(numbers, run.device, run.team)
    losses, errors = numbers[: len(heads)], numbers[len(heads) :]
    place.last = {f"dev_loss_{head}": value for head, value in zip(heads, losses, strict=True)}
    place.last |= {f"dev_error_{head}": value for head, value in zip(heads, errors, strict=True)}
    place.metrics = note({"step": place.step, "epoch": place.epoch, **place.last})
    said = ", ".join(f"{h} {100 * e:.1f} %" for h, e in zip(heads, errors, strict=True))
    move(-1, f"step {place.step}, epoch {place.epoch}: dev error {said}; {place.seconds:.0f} s")
    error, loss = (place.last[f"dev_{what}_{config.chosen}"] for what in ("error", "loss"))
    if place.best is None or (error, loss) < (place.best, place.best_loss):
        place.best, place.best_loss = error, loss
        place.best_step, place.stale = place.step, 0
        return True
    place.stale += 1
    return False


def _mixed(seed: int, step: int, rank: int) -> int:
    return (seed * 1_000_003 + step) * 4096 + rank


def _model(
    config: TrainConfig, columns: int, inventories: Inventory, build: Build | None
) -> nn.Module:
    if build is None:
        from speechasym.levels.hierarchy import build_model

        build = build_model
    sizes = {head: len(symbols) for head, symbols in inventories.items()}
    try:
        with (
            run_folder.enough_memory(
                ConfigError("model", "memory is too small for it", "Make it smaller")
            ),
            torch.random.fork_rng(devices=()),
        ):
            torch.manual_seed(config.seed)
            return build(config.model, columns, sizes)
    except ConfigError as error:
        subject, problem, remedy = error.args
        if subject.startswith("model"):
            raise
        raise ConfigError(f"model: {subject}", problem, remedy) from error


def _fit(model: nn.Module, data: Dataset, config: TrainConfig) -> None:
    """Let a model that wants to see data before training set itself from some."""
    fitted = getattr(model, "fitted", None)
    if fitted is None:
        return
    batches = dataset.epoch_batches(data, config.batch_seconds, config.seed, 0)
    shown = [data.batch(numbers) for numbers, _ in zip(batches, range(FIT_BATCHES), strict=False)]
    with torch.no_grad(), torch.random.fork_rng(devices=()):
        torch.manual_seed(config.seed)
        fitted(iter([(batch.features, batch.lengths) for batch in shown]))


def open_model(
    folder: str | Path, build: Build | None = None
) -> tuple[nn.Module, TrainConfig, Inventory]:
    """A trained model, ready for use, its configuration and the symbols of its heads.

    Args:
        folder: of a run that is over; build: as of `train`.

    Raises `CheckpointError` where there is no model, or it is not whole, or of another build.
    """
    tensors, meta = checkpoints.load_model(folder)
    try:
        config = configs.of_dict(meta["config"])
        inventories = {head: tuple(symbols) for head, symbols in meta["inventories"].items()}
        model = _model(config, int(meta["columns"]), inventories, build)
        checkpoints.restore(model, tensors, folder)
    except (LookupError, TypeError, ValueError, AttributeError, CheckpointError) as error:
        said = error.args[1] if isinstance(error, CheckpointError) else str(error).rstrip(".")
        said = f"it lacks {error}" if isinstance(error, KeyError) else said
        made = meta.get("versions")
        version = made.get("speechasym") if isinstance(made, dict) else None
        raise CheckpointError(
            Path(folder) / checkpoints.MODEL_META,
            f"is of another version: {said}",
            f"Use the one that made it ({version or 'unknown'}), or train anew",
        ) from error
    return model.eval(), config, inventories
