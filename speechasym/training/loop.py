"""The training loop: plain steps over batches; an interrupted run resumes exactly, to the bit.

All that is drawn at random in a step (masks, dropout) depends on the seed, the step and the process
only, so that no state of a generator needs to be saved. The schedule follows the share of the run
that is done: of epochs, steps, FLOPs or minutes. A run by minutes depends on the clock, and cannot
be repeated to the bit.
"""

import logging
import math
import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial, reduce
from pathlib import Path
from typing import Any

import torch

from speechasym import files
from speechasym.errors import ConfigError, TrainingError
from speechasym.levels import chain
from speechasym.levels.config import HierarchyConfig
from speechasym.levels.hierarchy import Hierarchy
from speechasym.progress import progress_bar
from speechasym.training import (
    batches,
    checkpoints,
    dataset,
    distillation,
    distributed,
    environment,
    growing,
    handshake,
    models,
    on_device,
    optimiser,
    parallel,
    run_folder,
    streaming,
    tensorboard,
    validation,
    warm_start,
)
from speechasym.training.config import OWN, TrainConfig, read_config
from speechasym.training.models import Build
from speechasym.training.monitor import Monitor
from speechasym.training.rules import meter, nets
from speechasym.training.rules.errors import Task
from speechasym.training.rules.learner import Learner
from speechasym.training.run_folder import Run, RunState, WriteMetrics

log = logging.getLogger(__name__)
UNREADABLE = "unreadable"  # among cuts left out: those that cannot be read
Advance = Callable[[float, str], None]  # share of the run that is done, text


def train(
    config: TrainConfig | str | Path,
    out: str | Path,
    *,
    overrides: Sequence[str] = (),
    resume: bool = False,
    build: Build | None = None,
    show_progress: bool = True,
) -> dict[str, Any]:
    """Train a recogniser into a folder.

    On SIGTERM or Ctrl-C the state is saved and the function returns; a second one ends it at once.
    Under torchrun each process takes its share of every batch, and the first one writes.

    Args:
        config: as `read_config` returns it, or a YAML file.
        out: folder of the run.
        overrides: `key=value` words that take precedence over the file.
        resume: continue an interrupted run in `out`, or start if there is none.
        build: builds the model from (config.model, columns, {head: symbols}); default:
            `hierarchy.build_model`. A model maps (features (B, F, D), lengths (B,)) to an object
            with heads {head: (log_probs (B, F', symbols + 1), lengths (B,))}, losses {name:
            scalar, already weighted} and, for `framewise`, spans as in `output.ModelOutput`. If it
            has `initialise`, that is called once before training with an iterator of a few
            (features, lengths). Its `symbol_axes` say which parameters belong to symbols (see
            `warm_start`), and `undecayed` of its modules which have no weight decay.
        show_progress: on stderr.

    Returns:
        steps, epochs, seconds, best (error of the target head on dev), best_step, target (the
        head), dev (the last validation), left_out (cuts by head, and `unreadable` ones; under
        torchrun, those of the first process), finished, reason, folder, parameters (their number).

    Raises:
        ConfigError, LabelError, AudioError: the input is not valid.
        OutputError: the folder holds another run, is in use, or cannot be written.
        CheckpointError: the run cannot be resumed.
        TrainingError: a loss or gradient is not finite; names the module that caused it.

    Example:
        >>> speechasym.train("run.yaml", "short", overrides=["steps=2"])["reason"]
        'finished'
    """
    if not isinstance(config, TrainConfig):
        config = read_config(config, overrides)
    out = Path(os.path.abspath(out))
    if build is None:  # report the model's faults before features are computed for hours
        models.build_model(config, 1, {head: ("",) for head in config.heads.used})
    start = None if config.start is None else warm_start.phones_of(config.start)  # likewise
    teacher = distillation.open_teacher(config)  # likewise
    if config.learning.parts > 1 and isinstance(config.model, HierarchyConfig):
        stages = chain.stages(config.model, config.learning.blocks)
        parallel.divide([1.0] * len(stages), config.learning.parts)  # likewise
    device = environment.select_device(config.device)
    as_samples = on_device.computes_features(config.data, device) and not config.teacher.hears_clean
    with ExitStack() as stack:
        learning, facts = config.learning, partial(handshake.facts_of, config)
        group = stack.enter_context(
            distributed.process_group(device, learning.parts, facts, learning.timeout_s)
        )
        device = environment.own_gpu(device)
        if group.is_first:
            stack.enter_context(files.locked_folder(out))
            run_folder.write_config(config, out, resume)
        distributed.barrier(group)
        growing.check_processes(config, group)
        stack.enter_context(environment.deterministic(config.threads))
        resumes = resume and checkpoints.exists(out)
        if resumes and (end := run_folder.finished(out, config.target_head)) is not None:
            return end
        bound, config = config.model, growing.current(config, out, resumes)
        show = show_progress and group.is_first
        data, heads = config.data, list(config.heads.used)
        train_set = dataset.load(
            data, data.train, heads, augment=data.augment, seed=config.seed,
            show_progress=show, timed=config.timed, as_samples=as_samples, start=start,
            clean=config.teacher.hears_clean, views="views" in config.learning.local,
        )  # fmt: skip
        inventories = train_set.inventories
        dev_set = dataset.load(
            data, data.dev, heads, inventories=inventories, show_progress=show,
            as_samples=as_samples, views=train_set.views,
            augment=replace(dataset.UNCHANGED, speeds=data.augment.speeds)
            if train_set.views else dataset.UNCHANGED,
        )  # fmt: skip
        to_device = on_device.DeviceBatches(device, data if as_samples else None)
        batches.check_longest(train_set.ids, train_set.seconds.tolist(), config.batch_seconds)
        model = models.build_model(config, train_set.columns, inventories, build)
        if not resumes:
            models.initialise_model(model, train_set, config, to_device)
            if config.start is not None:
                warm_start.start_from(model, train_set.columns, inventories, config.start)
        models.add_learning_nets(model, config)
        problem = f"batches of {config.batch_seconds:g} s need more memory than {device} has"
        remedy = f"Lower it, or make the model smaller{' (in a new run)' if resumes else ''}"
        too_large = ConfigError("batch_seconds", problem, remedy)
        stack.enter_context(environment.memory_errors_as(too_large))
        model.to(device)
        distributed.broadcast(model.state_dict().values(), group)
        links = stack.enter_context(parallel.connect(group, learning.queue, learning.staleness))
        run = Run(
            config, out, train_set, dev_set, model,
            optimiser.adamw(model, config.learning_rate, config.weight_decay, to_device.defers),
            optimiser.Average(model, config.averaging), to_device, group,
            Learner(model, config, device, group, links), bound,
            distillation.ready(teacher, config, inventories, device),
        )  # fmt: skip
        state = run_folder.restore(run) if resumes else RunState()
        if not resumes:
            batch = next(streaming.in_order(train_set, config.batch_seconds, device=to_device))
            validation.check_model(model, batch, {h: len(s) for h, s in inventories.items()})
        state.parameters = sum(
            t.numel() for t in nets.without_nets(dict(model.named_parameters())).values()
        )
        stopped = stack.enter_context(environment.stop_signals())
        advance = stack.enter_context(progress_bar("train", show))
        write = stack.enter_context(run_folder.metrics(out, state.metrics, group))
        if config.tensorboard and group.is_first:
            write = stack.enter_context(tensorboard.with_scalars(write, out, state.step))
        return _loop(run, state, stopped, advance, write)


def _loop(
    run: Run, state: RunState, stopped: list[int], advance: Advance, write: WriteMetrics
) -> dict[str, Any]:
    config, saved, began = run.config, state.step, time.monotonic() - state.seconds
    stop, unread = False, deque[Callable[[], dict[str, Any]]]()

    def read(keep: int) -> bool:
        """Write the lines of steps except the last ones; return whether a stop was asked for."""
        stops = False
        while len(unread) > keep:
            line = unread.popleft()()
            stops |= line.pop("stop")
            if (measured := line.pop("meter")) is not None:
                write(measured)
            state.metrics = write(line)
            advance(state.share(config, len(run.train)), f"loss {line['loss']:.3f}")
        return stops

    while not (state.done or stop):
        seconds = run.train.seconds.tolist()
        groups = batches.epoch_batches(
            seconds, config.batch_seconds, config.seed, state.epoch, state.batch
        )
        below = run.learner.links.below
        for part in streaming.steps(
            run.train, groups, state.epoch, workers=run.train.workers, group=run.group,
            device=run.to_device,
        ) if below is None else parallel.steps_from_below(below, groups, run.device):  # fmt: skip
            unread.append(_step(run, state, part, stopped, began))
            stop = read(int(run.to_device.defers))
            epoch_ends = state.cuts == len(run.train)
            if epoch_ends:
                state.epoch, state.batch, state.cuts = state.epoch + 1, 0, 0
            over = state.share(config, len(run.train)) >= 1
            every = config.validate_every
            due = over or (epoch_ends if every is None else state.step % every == 0)
            saves = stop or due or state.step - saved >= config.save_every
            tensors: dict[str, torch.Tensor] = {}
            if saves:
                stop |= read(0)
                tensors = run_folder.gather(run, state)
            best, watched = _validate(run, state, advance, write) if due else (False, {})
            if due and not over:
                run, text = growing.after_validation(run, state, watched, write)
                if text:
                    advance(-1, text)
                    tensors = run_folder.gather(run, state)
            patience = config.patience
            if patience is not None and state.stale >= patience:
                state.done = f"no improvement in {patience} validations"
            elif over:
                state.done = "finished"
            if saves:
                run_folder.save(run, state, best, tensors)
                saved = state.step
            if state.done or stop:
                break
        assert state.done or stop or state.batch == 0  # the sampler yields every cut once
    if state.done:
        run_folder.export(run, state)
    return run_folder.summary(run.out, state, config.target_head)


def _step(
    run: Run, state: RunState, part: streaming.Step, stopped: list[int], began: float
) -> Callable[[], dict[str, Any]]:
    """Take one step of the optimiser and update the state.

    Returns a function that waits for the device and returns the line for the metrics, or raises
    `TrainingError`: where loss or gradient is not finite, parameters are as before.
    """
    config, model, device, batch = run.config, run.model, run.device, part.batch
    start, number = on_device.now(device), state.step
    totals = {head: max(1, count) for head, count in part.labels.items()}
    local = part.numbers[run.group.rank :: run.group.size]  # none with more processes than cuts
    audio = float(run.train.seconds[list(part.numbers)].sum())
    share = float(run.train.seconds[list(local)].sum()) / audio

    group, learner = run.group, run.learner

    def signs_of_now() -> tuple[float, float]:
        stops = stopped or (group.watch is not None and group.watch.stops.is_set())
        return float(bool(stops)), (time.monotonic() - began) * (group.rank == 0)

    signs = part.signs or signs_of_now()  # the lowest part decides for all
    if part.signs and stopped and group.watch is not None:
        group.watch.ask_to_stop()
    follow = run.train.follow if config.mmi else {}
    task = Task(batch, totals, share, number, part.carry, signs, part.skipped, follow, run.teacher)
    measured = None
    if learner.rule.meter and state.batch == 0 and group.is_first:
        measured = meter.measure(learner, task)
        start = on_device.now(device)
    model.zero_grad(set_to_none=True)
    with growing.counted_flops(config, state, batch):
        loss, parts, left_out = learner.backward(task)
    if group.parts == 1:  # with several, they have gone up by now
        signs = signs_of_now()
    sums = torch.stack([loss, *parts.values()]).float()
    told = torch.tensor(signs, pin_memory=device.type == "cuda").to(device, non_blocking=True)
    rows = learner.rows.flatten() if group.parts > 1 else sums.new_zeros(0)
    sums = distributed.sum_gradients(learner.trained, torch.cat([sums, told, rows]), group)
    sums, rows = sums.split([len(sums) - len(rows), len(rows)])
    norm = learner.clip(config.clip)
    widths = getattr(model, "scales", sums.new_zeros(0))
    if group.parts > 1:
        report = parallel.Report(
            rows.view(len(learner.mine), -1), learner.norms, learner.widths, left_out
        )
        rows, norms, widths, left_out = parallel.gather_report(learner.links, report)
        sums = torch.cat([reduce(torch.add, rows), sums[-2:]])
        norm = norms.square().sum().sqrt()
    numbers = on_device.DeviceNumbers(torch.cat([sums, norm.float()[None], widths]), start)

    def read() -> list[float]:
        total, norm = (values := numbers.read())[0], values[len(sums)]
        if not (math.isfinite(total) and math.isfinite(norm)):
            cause = "in another process"
            if batch:
                cause = optimiser.find_non_finite(model, lambda: run.learner.loss(task)[0])
                cause = f"{cause}; cuts {', '.join(batch.ids[:3])}"
            problem = f"loss {total:g}, gradient norm {norm:g}: {cause}"
            kept = f"the checkpoint in {run.out} is intact; " if checkpoints.exists(run.out) else ""
            remedy = f"{kept}lower learning_rate or clip, or use precision=float32"
            raise TrainingError(f"step {number + 1}", problem, remedy)
        return values

    if run.to_device.defers:
        finite = sums[0].isfinite() & norm.isfinite()
        run.optimiser.found_inf = (~finite).float()  # type: ignore[attr-defined]
    else:
        read()
    done = state.share(config, len(run.train))
    rate = config.learning_rate * optimiser.rate_factor(done, config.warm_up, config.schedule)
    for parameters in run.optimiser.param_groups:
        parameters["lr"] = rate
    with meter.updates(run.learner, measured):
        run.optimiser.step()
    distributed.broadcast(model.buffers(), run.group)
    state.step, state.batch = state.step + 1, state.batch + 1
    run.average.update(model, state.step)
    state.cuts += len(part.numbers)
    _log_left_out(state, left_out, part.skipped)
    line = {"step": state.step, "epoch": state.epoch}
    counted = {"flops": state.flops} if config.counts_flops else {}

    def finish() -> dict[str, Any]:
        values, count = read(), len(sums)
        total, *losses_, stop, seconds = values[:count]
        state.seconds = seconds  # of the first process: all must agree on when the run is over
        return {
            **line, "loss": total, **counted,
            **{f"loss_{name}": value for name, value in zip(parts, losses_, strict=True)},
            "widths": [round(width, 4) for width in values[count + 1 :]],
            "learning_rate": rate, "gradient": values[count], "seconds": round(seconds, 3),
            "audio_hours_per_hour": round(audio / max(1e-9, numbers.seconds()), 1),
            "waited": round(part.waited, 4), "stop": stop > 0,
            "meter": None if measured is None else line | measured,
        }  # fmt: skip

    return finish


def _log_left_out(
    state: RunState, left_out: Mapping[str, list[str]], skipped: Mapping[str, str]
) -> None:
    for name, why in skipped.items():
        if name not in (known := state.left_out.setdefault(UNREADABLE, [])):
            log.warning("%s; it is left out", why)
            known.append(name)
    for head, names in left_out.items():
        known = state.left_out.setdefault(head, [])
        if names and not known:
            problem = "has more %s than the model has steps: such cuts do not count in that loss"
            log.warning(f"cut %s {problem}", names[0], head)
        known += [name for name in names if name not in known]


def _validate(
    run: Run, state: RunState, advance: Advance, write: WriteMetrics
) -> tuple[bool, dict[str, Any]]:
    """Evaluate averaged parameters on dev; returns whether they are the best, and what was seen."""
    config, heads = run.config, list(run.config.heads.used) or [OWN]
    numbers = [0.0] * 2 * len(heads)
    watched: dict[str, Any] = {}
    if run.group.is_first:
        seconds, monitor = 2 * config.batch_seconds, None
        if config.monitor and isinstance(run.model, Hierarchy):
            monitor = Monitor(run.model, run.dev)
        follow, device = run.train.follow if config.mmi else {}, run.to_device
        with run.average.applied(run.model):
            if config.heads.used:
                result = validation.evaluate(
                    run.model, run.dev, seconds, device, config.precision, monitor, follow
                )
            else:
                loss = validation.own_loss(run.learner, run.dev, seconds, device, monitor)
                result = {OWN: loss}, {OWN: loss}
            watched = monitor.line() if monitor else {}
        numbers = [part[head] for part in result for head in heads]
    numbers = distributed.broadcast_numbers(numbers, run.device, run.group)
    keys = [f"dev_{what}_{head}" for what in ("loss", "error") for head in heads]
    state.last = dict(zip(keys, numbers, strict=True))
    line = {"step": state.step, "epoch": state.epoch}
    state.metrics = write(line | state.last)
    if any(watched.values()):
        state.metrics = write(line | watched)
    errors = ", ".join(f"{head} {100 * state.last[f'dev_error_{head}']:.1f} %" for head in heads)
    found = f"error {errors}" if config.heads.used else f"loss {state.last[f'dev_loss_{OWN}']:.4f}"
    position = f"step {state.step}, epoch {state.epoch}"
    advance(-1, f"{position}: dev {found}; {state.seconds:.0f} s")
    error, loss = (state.last[f"dev_{what}_{config.target_head}"] for what in ("error", "loss"))
    if state.best is None or (error, loss) < (state.best, state.best_loss):
        state.best, state.best_loss = error, loss
        state.best_step, state.stale = state.step, 0
        return True, watched
    state.stale += 1
    return False, watched
