"""Levels and hierarchies on a stream: any parts equal the whole; what cannot stream says why."""

from dataclasses import replace

import pytest
import torch

from speechasym.errors import ConfigError
from speechasym.levels import streaming
from speechasym.levels.config import BlockOptions, LevelConfig
from speechasym.levels.events import Steps
from speechasym.levels.hierarchy import build_model
from speechasym.levels.level import Level

SIZES = {"phones": 5, "letters": 7, "words": 9}
CAUSAL = {"keep": 0.7, "block": {"causal": True, "kernel": 4, "window": 6}, "width": 16, "units": 8}
FRAMES = 50
PARTS = {"single": [1] * FRAMES, "odd": [0, 7, 1, 0, 0, 13, 2, 24, 3, 0], "whole": [FRAMES]}


def model_of(*levels, **more):
    torch.manual_seed(1)
    options = {"preset": "tiny", "levels": [CAUSAL | level for level in levels]}
    model = build_model(options | more, 6, SIZES).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "gain" in name or "following" in name or "duration" in name:
                value.add_(0.3 * torch.randn_like(value))
    model.initialise([(torch.randn(2, 40, 6), torch.tensor([40, 40]))])
    for level in model.levels:
        if level.config.events == "entropy":
            level.hold.log_width.fill_(-7)  # what is expected hardly differs before training
    return model


def streamed(model, x, sizes):
    state, outputs = None, []
    for number, part in enumerate(x.split(sizes, 1)):
        output, state = model.stream(part, state, last=number == len(sizes) - 1)
        outputs.append(output)
    return outputs, state


def check(model, sizes, frames=FRAMES):
    x = torch.randn(1, frames, 6, generator=torch.Generator().manual_seed(2))
    whole = model(x, torch.tensor([frames]))
    outputs, state = streamed(model, x, sizes)
    assert state.frames == frames
    for name, (log_probs, steps) in whole.heads.items():
        got = torch.cat([o.heads[name][0] for o in outputs], 1)
        torch.testing.assert_close(got, log_probs, atol=1e-5, rtol=1e-5)
        assert sum(int(o.heads[name][1]) for o in outputs) == int(steps)
        for side in (0, 1):
            spans = torch.cat([o.spans[name][side] for o in outputs], 1)
            assert torch.equal(spans, whole.spans[name][side])
    for number, level in enumerate(whole.levels):
        parts = [o.levels[number] for o in outputs]
        for field in ("y", "activation", "error"):
            want = getattr(level, field)
            if want is not None:
                got = torch.cat([getattr(p, field) for p in parts], 1)
                torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)
        got = torch.cat([p.passed.y for p in parts], 1)
        torch.testing.assert_close(got, level.passed.y, atol=1e-5, rtol=1e-5)
        for field in ("start", "end", "mask"):
            got = torch.cat([getattr(p.passed, field) for p in parts], 1)
            assert torch.equal(got, getattr(level.passed, field))
        if level.winner is not None and parts[0].winner is not None:
            assert torch.equal(torch.cat([p.winner for p in parts], 1), level.winner)
    return whole


MODELS = {
    "events": (
        [{"stride": 3, "events": "hysteresis"}, {"events": "hysteresis"}, {"units": 0}], {},
    ),
    "windows": (
        [{"events": "stride", "keep": 0.25}, {"stride": 2, "events": "stride"}, {"repeat": 0}],
        {"heads": {"phones": {"tells": True}, "letters": {"level": 1, "slots": 2, "tells": True}}},
    ),
    "entropy": ([{"events": "entropy"}, {"stride": 2, "events": "entropy"}, {"units": 0}], {}),
    "long": (
        [{"stride": 2, "functions": ["statespace", "gate"], "passes": "error"},
         {"functions": ["attention", "linear"], "events": "hysteresis", "passes": "units"},
         {"functions": ["attention", "constant"], "passes": "none",
          "block": {"causal": True, "weights": "scaled", "window": None}}],
        {"heads": {"words": {"level": 2}}},
    ),
    "steered": (
        [{"stride": 3, "steers": "gain", "events": "hysteresis"},
         {"steers": "both", "events": "hysteresis", "functions": ["statespace"]},
         {"steers": "units", "units": 4}],
        {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("sizes", PARTS.values(), ids=PARTS)
@pytest.mark.parametrize("kind", MODELS)
@torch.no_grad()
def test_any_parts_equal_the_whole(kind, sizes):
    levels, more = MODELS[kind]
    whole = check(model_of(*levels, **more), sizes)
    if kind != "long":
        steps = [level.y.shape[1] for level in whole.levels]
        assert steps[0] > steps[1] >= steps[2] > 1  # events of several steps, at every level


@torch.no_grad()
def test_what_waits_is_bounded_and_an_open_event_is_one_step():
    model = model_of({"stride": 3, "events": "hysteresis"}, {"events": "hysteresis"}, {"units": 0})
    x = torch.randn(1, 1, 6).expand(1, 100, 6)  # nothing happens
    sizes, state = [], None
    for _ in range(6):
        output, state = model.stream(x, state)
        tensors = [t for level in state.levels for t in flat(level)]
        sizes.append(sum(t.numel() for t in tensors))
    assert sizes[-1] <= max(sizes[:2])
    assert not output.levels[1].y.numel()  # the event below has not closed
    output, _ = model.stream(x[:, :0], state, last=True)
    assert output.levels[0].passed.end[0, -1] == 600 and output.levels[2].y.shape[1] == 1


def flat(value):
    if isinstance(value, torch.Tensor):
        return [value]
    parts = vars(value).values() if isinstance(value, Steps) else value or ()
    return [t for part in parts for t in flat(part)]


def test_no_frames_at_all():
    model = model_of({"stride": 3, "events": "hysteresis"}, {"events": "stride"}, {})
    output, _ = model.stream(torch.zeros(1, 0, 6), last=True)
    assert all(steps.tolist() == [0] for _, steps in output.heads.values())


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"preset": "small"}, r"levels.0.block.causal: .*Train with model.every.block.causal=true"),
        ({"preset": "recurrent"}, "backwards.*model.every.block.causal=true"),
        (
            {"every": {"block": {"causal": True}}, "feedback": {"passes": 2}},
            "feedback.passes: .*Train with model.feedback.passes=1",
        ),
        (
            {"every": {"block": {"causal": True}}, "levels": {2: {"fluctuation": 1, "draws": 2}}},
            r"levels.2.draws: .*Train with draws=0",
        ),
    ],
)
def test_what_cannot_stream(config, message):
    model = build_model(config, 6, SIZES)
    with pytest.raises(ConfigError, match=message):
        streaming.check(model.config)
    if config.get("preset") != "recurrent":
        with pytest.raises(ConfigError, match=message):
            model.stream(torch.zeros(1, 3, 6))


def test_input_of_another_shape():
    level = Level(LevelConfig(width=16, units=8, block=BlockOptions(causal=True)), 6)
    steps = Steps.of_frames(torch.zeros(2, 5, 6), torch.ones(2, 5, dtype=torch.bool))
    for wrong in (steps, replace(steps, y=torch.zeros(1, 5, 7))):
        with pytest.raises(ConfigError, match=r"must have shape \(1, steps, 6\).*one recording"):
            level.stream(wrong)
    with pytest.raises(ConfigError, match=r"model\.every\.block\.causal=true"):
        Level(LevelConfig(width=16, units=8), 6).stream(steps)
