"""The recipe claims/learning: its model's arithmetic, its meters, and pipelines of processes."""

import os
import signal
from dataclasses import replace

import numpy as np
import pytest

from recipes.claims.learning import costs, pipeline, scaling, stacks, systems
from recipes.claims.learning.processes import Processes, Server
from recipes.claims.learning.scaling import Affine, Costs, Link
from speechasym.errors import ConfigError, TrainingError
from speechasym.training.distributed import ProcessGroup

TINY = stacks.Setup(
    function="convolution", levels=3, pairs=1, width=8, batch=4, frames=24, labels=2
)
FAST = Link(0.0, float("inf"))
# 4 levels, 8 utterances; a second for each utterance and level, and nothing else
PLAIN = Costs(
    levels=4, batch=8, first=Affine(0, 1), level=Affine(0, 1), head=Affine(0, 0), update=0.0,
    boundary=1.0, parameters=1.0, extras={"local": 0.0},
)  # fmt: skip


def schedule_1f1b(parts: int, microbatches: int, forward: float, backward: float, hop: float):
    """Seconds of a batch in the order 1F1B, event by event; messages never wait for each other."""
    orders = []
    for p in range(parts):
        warm = min(microbatches, parts - p)
        order = [("F", m) for m in range(warm)]
        for m in range(microbatches):
            order.append(("B", m))
            if warm + m < microbatches:
                order.append(("F", warm + m))
        orders.append(order)
    ended: dict[tuple[str, int, int], float] = {}
    clock, place = [0.0] * parts, [0] * parts
    while any(place[p] < len(orders[p]) for p in range(parts)):
        for p in range(parts):
            if place[p] == len(orders[p]):
                continue
            kind, m = orders[p][place[p]]
            source = (kind, m, p - 1 if kind == "F" else p + 1)
            outermost = p == (0 if kind == "F" else parts - 1)
            if not outermost and source not in ended:
                continue
            ready = 0.0 if outermost else ended[source] + hop
            clock[p] = max(clock[p], ready) + (forward if kind == "F" else backward)
            ended[kind, m, p] = clock[p]
            place[p] += 1
    return max(clock)


@pytest.mark.parametrize("parts, microbatches", [(2, 2), (2, 8), (4, 4), (4, 8), (4, 16), (1, 4)])
@pytest.mark.parametrize("hop", [0.0, 0.1, 3.0])
def test_the_pipeline_takes_as_long_as_its_schedule(parts, microbatches, hop):
    modelled = replace(PLAIN, batch=microbatches, boundary=0.0)
    part = 4 / parts  # seconds of a microbatch of one utterance
    expected = schedule_1f1b(parts, microbatches, part / 3, part * 2 / 3, hop)
    got = scaling.pipelined(modelled, parts, microbatches, Link(hop, float("inf")))
    assert got == pytest.approx(expected)


def test_the_bubble_is_that_of_the_formula():
    seconds = scaling.pipelined(PLAIN, 4, 8, FAST)
    assert 1 - 8 * 1 / seconds == pytest.approx((4 - 1) / (8 + 4 - 1))
    # with shared cores, all parts having work takes longer, filling and draining do not
    shared = replace(PLAIN, cores=2)
    assert scaling.pipelined(shared, 4, 8, FAST) == pytest.approx(8 * 2 + 3)


def test_local_errors_by_hand():
    assert scaling.local(PLAIN, "local", 1, FAST) == scaling.one_worker(PLAIN) == 32
    assert scaling.local(PLAIN, "local", 4, FAST) == 8
    assert scaling.local(PLAIN, "local", 3, FAST) == 16  # 2, 1 and 1 levels
    headed = replace(PLAIN, head=Affine(2.0, 0.5), update=0.25)
    assert scaling.one_worker(headed) == 32 + 6 + 4 * 0.25
    headed = replace(headed, extras={"local": 7.0})  # of each level below the top
    assert scaling.local(headed, "local", 2, FAST) == 16 + 2 * 7 + 2 * 0.25
    shared = replace(headed, cores=1)
    assert scaling.local(shared, "local", 2, FAST) == 32 + 6 + 3 * 7 + 4 * 0.25
    slow = Link(0.0, 0.5)  # bytes a second; 8 bytes a batch
    assert scaling.local(PLAIN, "local", 4, slow) == 16
    assert scaling.local(PLAIN, "local", 4, slow, broadcast=1.0) == 48  # the top sends to three
    late = Link(30.0, float("inf"))
    assert scaling.local(PLAIN, "local", 4, late, queue=2) == 30
    assert scaling.local(PLAIN, "local", 4, late, queue=60) == 8


def test_replicas_by_hand():
    assert scaling.ring(12.0, 1, Link(9.0, 1.0)) == 0
    assert scaling.ring(12.0, 4, Link(1.0, 2.0)) == 6 * (1 + 1.5)
    assert scaling.replicated(PLAIN, 2, FAST) == 16
    assert scaling.replicated(replace(PLAIN, cores=1), 2, FAST) == 32


@pytest.mark.parametrize("system", scaling.LINES)
def test_limits(system):
    link = Link(1e-4, 1e9)
    modelled = replace(PLAIN, head=Affine(0.1, 0.01), update=0.01, batch=16)
    modelled = replace(modelled, extras=dict.fromkeys(pipeline.RULES, 0.26))
    if "x 4" not in system:
        alone = scaling.speedup(
            system, 1, replace(modelled, extras=dict.fromkeys(pipeline.RULES, 0.0)), link
        )
        assert alone == pytest.approx(1)
        assert scaling.speedup(system, 1, modelled, link) <= 1 + 1e-9
    with_parts = [scaling.speedup(system, w, modelled, FAST) for w in (1, 2, 4)]
    assert with_parts == sorted(with_parts)
    for workers in (2, 4, 8, 64):
        here = scaling.speedup(system, workers, modelled, link)
        assert here <= scaling.speedup(system, workers, modelled, FAST) <= workers + 1e-9
    # without messages, replicas multiply
    assert scaling.speedup(system, 64, modelled, FAST) == pytest.approx(
        16 * scaling.speedup(system, 4, modelled, FAST)
        if system != "replicas"
        else 64 * scaling.speedup(system, 1, modelled, FAST)
    )


def test_division_and_fit():
    assert [scaling.divided(w, 16) for w in (1, 3, 16, 64)] == [(1, 1), (3, 1), (16, 1), (16, 4)]
    assert stacks.split(5, 2) == [range(0, 3), range(3, 5)]
    with pytest.raises(ConfigError, match="3 parts are more than the 2 blocks"):
        stacks.split(2, 3)
    fitted = Affine.fitted({1: 3.0, 2: 5.0, 8: 17.0})
    assert fitted == pytest.approx(Affine(1.0, 2.0))
    assert Affine.fitted({1: 2.0, 4: 8.0}).fixed == pytest.approx(0, abs=1e-9)


def test_processes_have_the_gradients_of_one_process():
    """Pipelines of 2 processes, and 2 replicas, have the gradients of one process."""
    with Processes(systems.Backprop, arguments=(TINY,)) as one:
        expected = one.ask(("gradients",))[0]
        losses = one.ask(("run", 2))[0]
        whole = one.ask(("memory",))[0]
    for schedule in systems.SCHEDULES:
        with Processes(systems.Pipelined, 2, arguments=(TINY, schedule, 4)) as two:
            got = [g for part in two.ask(("gradients",)) for g in part]
            assert two.ask(("run", 2))[1] == pytest.approx(losses, rel=1e-5)
            timed = two.ask(("timed", 2))
            peaks = two.ask(("memory",))
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
        # a step's activations go up, and their gradients down
        assert [t["sent"] for t in timed] == [TINY.batch * TINY.boundary] * 2
        assert all(0 < t["busy"] < t["seconds"] for t in timed)
        # in 1F1B the first part holds two of four microbatches
        assert sum(peaks) < 0.6 * whole if schedule == "1F1B" else sum(peaks) > 0.9 * whole
    with Processes(systems.Backprop, 2, arguments=(TINY,)) as two:
        for a, b in zip(two.ask(("gradients",))[1], expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rule", pipeline.RULES)
def test_parts_that_learn_by_themselves_send_activations_only_up(rule):
    keys = pipeline.RULES[rule]
    with Processes(systems.Local, arguments=(TINY, keys)) as one:
        losses = one.ask(("run", 4))[0]
    with Processes(systems.Local, 2, arguments=(TINY, keys)) as two:
        top, low = two.ask(("run", 4))
        np.testing.assert_allclose(np.add(top, low), losses, rtol=1e-6)
        top, low = two.ask(("timed", 2))
    assert low["sent"] > TINY.batch * TINY.boundary
    assert (top["sent"] > 0) == ("broadcast" in rule)
    assert set(top["waited"]) >= {"below"} and set(low["waited"]) >= {"queue"}
    for answer in (top, low):
        assert 0 < answer["busy"] < answer["seconds"]


class Dying(Server):
    """A process that kills itself, or fails, when it is asked to."""

    def __init__(self, group: ProcessGroup) -> None:
        self.rank = group.rank

    def die(self, rank: int) -> int:
        if self.rank == rank:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.rank

    def fail(self) -> None:
        raise ValueError("no such thing")


def test_a_process_that_dies_or_fails_is_named():
    with Processes(Dying, 2) as two:
        assert two.ask(("die", 7)) == [0, 1]
        with pytest.raises(TrainingError, match="process 1: has died"):
            two.ask(("die", 1))
    assert not any(process.is_alive() for process in two._running)
    with Processes(Dying, 1) as one, pytest.raises(TrainingError, match="no such thing"):
        one.ask(("fail",))


def test_it_measures_resumes_and_reports(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(
        pipeline, "RULES", {k: pipeline.RULES[k] for k in scaling.LINES if k in pipeline.RULES}
    )
    words = "--levels 4 --pairs 1 --width 8 --batch 4 --frames 24 --labels 2"
    words += " --function convolution --microbatches 4 --steps 1"
    arguments = ["--out", str(tmp_path), *words.split()]
    assert pipeline.main([*arguments, "--rounds", "1"]) == 0
    first = (tmp_path / pipeline.LINES).read_text()
    assert pipeline.main([*arguments, "--rounds", "2"]) == 0
    printed = capsys.readouterr().out
    assert "round 2 of 2" in printed and "2 rounds of 1 steps" in printed
    assert (tmp_path / pipeline.LINES).read_text().startswith(first)
    text = (tmp_path / pipeline.REPORT).read_text()
    assert "| backprop, 1F1B, 3 processes, 4 microbatches |" in text and "nan" not in text
    assert f", {pipeline.CORES} cores; torch" in text
    assert (tmp_path / pipeline.FIGURE).stat().st_size > 20_000
    assert pipeline.main([*arguments, "--rounds", "0"]) == 2
    assert "--rounds" in capsys.readouterr().err


def test_the_costs_of_levels_are_plausible():
    levels = costs.Levels(ProcessGroup(), TINY)
    found = levels.measure()
    assert set(found["seconds"]) == {"1", "2", "4"}
    assert all(t >= 0 for one in found["seconds"].values() for pair in one.values() for t in pair)
    assert found["parameters"] == sum(p.numel() * 4 for p in levels.parts[1].parameters())
