"""The roles of a level: each on, off and by its definition, and a level without them."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from helpers import ROOT
from torch.nn.utils.rnn import pad_sequence

from speechasym.errors import ConfigError
from speechasym.levels import chain, growth, initialise
from speechasym.levels.config import BlockOptions, LevelConfig
from speechasym.levels.events import Steps
from speechasym.levels.hierarchy import build_model
from speechasym.levels.level import Level
from speechasym.ops import ref
from speechasym.training.config import read_config

SIZES = {"phones": 5, "letters": 4, "words": 3}
LENGTHS = (31, 50, 17)


def made(seed=0, inputs=6, **options):
    torch.manual_seed(seed)
    return Level(LevelConfig(**({"width": 16, "units": 8} | options)), inputs).eval()


def steps(*lengths, inputs=6, seed=1):
    torch.manual_seed(seed)
    rows = [torch.randn(n, inputs) for n in lengths]
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return Steps.of_frames(pad_sequence(rows, True), mask)


def steered(seed=0, strength=2.0, **options):
    """A level with strong random tables of what follows a unit, and a gain for each."""
    level = made(seed, **({"steers": "both", "events": "hysteresis"} | options))
    level.initialise([steps(40, 60, seed=2)])
    for name in ("units.following", "gain_of_state"):
        if hasattr(level.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2]):
            torch.nn.init.normal_(level.get_parameter(name), std=strength)
    return level


def hierarchy(seed=0, passes=1, **keys):
    torch.manual_seed(seed)
    small = {"width": 16, "units": 8, "block": {"heads": 2}}
    keys = {"feedback": {"passes": passes}, "every": small} | keys
    model = build_model({"preset": "tiny"} | keys, 6, SIZES).eval()
    return model


# roles off --------------------------------------------------------------------------------------


@pytest.mark.parametrize("steers", ["units", "gain", "both"])
def test_an_untrained_role_changes_neither_draws_nor_output(steers):
    with_role, plain = made(steers=steers), made()
    assert {"units.following", "gain_of_state"} & set(with_role.state_dict())
    for name, value in plain.state_dict().items():
        assert torch.equal(with_role.state_dict()[name], value), name
    x = steps(*LENGTHS)
    assert torch.equal(with_role(x).y, plain(x).y)


@pytest.mark.parametrize(
    ("keys", "gone"),
    [
        ({"repeat": 0}, "blocks."),
        ({"units": 0, "steers": "none", "events": "stride"}, "units."),
        ({"events": "stride"}, "hold."),
        ({"events": "none"}, "weigh."),
        ({"steers": "gain"}, "units.following"),
        ({"steers": "units"}, "gain_of_state"),
        ({"context": 0}, "context."),
        ({"passes": "units"}, "units.value_of_error."),
        ({"passes": "error"}, "units.value."),
    ],
)
def test_each_role_and_path_is_switched_off_by_a_key(keys, gone):
    full = {"steers": "both", "events": "hysteresis", "context": 3}
    x, names = steps(*LENGTHS), []
    for options in (full, full | keys):
        level = made(**options)
        level(x, torch.zeros(3, 50, 3) if level.config.context else None)
        names.append([name for name in level.state_dict() if name.startswith(gone)])
    assert names[0] and not names[1]


def test_without_roles_a_level_is_the_pre_norm_transformer():
    """x + attention(norm(x)), then x + feed-forward(norm(x)), written out from the weights."""
    block = BlockOptions(norm="pre", heads=4, expansion=2)
    level = made(functions=("attention", "feedforward"), units=0, block=block)
    x = steps(23)
    one, two = level.blocks.blocks
    h = x.y @ level.enter.weight[:, :, 0].T + level.enter.bias
    q, k, v = one.function.inside(F.layer_norm(h, (16,), one.norm_in.weight)).chunk(3, 2)
    distance = torch.arange(23)[:, None] - torch.arange(23)
    mixed = []
    for head in range(4):
        own = slice(4 * head, 4 * head + 4)
        past, future = one.function.log_slope[:, head].exp()
        bias = torch.where(distance > 0, -past * distance, future * distance)
        scores = q[..., own] @ k[..., own].mT / 2 + bias
        mixed.append(scores.softmax(-1) @ v[..., own])
    h = h + one.function.out(torch.cat(mixed, 2))
    inner = F.silu(two.function.inside(F.layer_norm(h, (16,), two.norm_in.weight)))
    torch.testing.assert_close(level(x).y, h + two.function.out(inner), atol=1e-5, rtol=1e-5)
    assert level(x).passed.y.shape == h.shape and level(x).losses == {}


def test_without_roles_a_level_is_the_state_space_block():
    """A gated selective state space in a pre-norm residual block, by the plain recurrence."""
    block = BlockOptions(norm="pre", heads=4, states=3, kernel=3, causal=True)
    level = made(functions=("statespace",), units=0, block=block)
    x = steps(20)
    (one,) = level.blocks.blocks
    space = one.function
    h = x.y @ level.enter.weight[:, :, 0].T + level.enter.bias
    entered = F.layer_norm(h, (16,), one.norm_in.weight) @ space.inside.weight.T
    gate, mixed, step = entered[0].split((16, 22, 4), 1)
    before = F.pad(mixed, (0, 0, 2, 0))
    taps = sum(before[k : k + 20] * space.taps.weight[k] for k in range(3)) + space.taps.bias
    u, b, c = F.silu(taps).split((16, 3, 3), 1)
    step = F.softplus(step + space.step_bias)
    state, rows = torch.zeros(4, 4, 3), []
    for t in range(20):
        inside = u[t].view(4, 4)
        decay = (-step[t] * space.log_rate.exp()).exp()[:, None, None]
        state = decay * state + step[t][:, None, None] * inside[..., None] * b[t]
        rows.append((state @ c[t] + space.skip[:, None] * inside).flatten())
    want = h + space.out(torch.stack(rows) * F.silu(gate))
    torch.testing.assert_close(level(x).y, want, atol=1e-5, rtol=1e-5)


def test_a_level_without_features_passes_what_enters_to_its_units():
    level = made(repeat=0, passes="none")
    x = steps(*LENGTHS)
    entered = level.enter(x.y.mT).mT * x.mask[..., None]
    assert torch.equal(level(x).y, entered)
    model = hierarchy(every={"width": 16, "units": 8, "repeat": 0})
    features, lengths = torch.randn(2, 150, 6), torch.tensor([150, 90])
    want = model(features, lengths)
    carry = chain.first_carry(model, features, lengths)
    for stage in chain.stages(model.config, blocks=1):
        output = chain.run(model, stage, carry)
        carry = output.carry
        for head, (scores, _) in output.heads.items():
            assert torch.equal(scores, want.heads[head][0])
    names = [name for name, _ in model.named_parameters() if name.startswith("levels")]
    chained = chain.stages(model.config)
    assert all(chain.stage_of(n, chained, model.config) == int(n.split(".")[1]) for n in names)
    initialise.initialise_by("asymmetry", model, [(features, lengths)])


# the decision steers ----------------------------------------------------------------------------


def states(level, h, mask):
    """The unit that held a step before, by the plain definition, from unsteered activations."""
    activation = level.units(h, mask).detach()
    rows = []
    for row, real in zip(activation, mask, strict=True):
        winner = row.argmax(1).tolist()
        if level.config.events == "hysteresis":
            winner = ref.hold(row[real].numpy(), float(level.hold.scale))[0].tolist()
        rows.append([-1, *winner, *[0] * len(real)][: len(real)])
    return torch.tensor(rows)


@pytest.mark.parametrize("events", ["hysteresis", "none"])
def test_the_decision_steers_which_units_compete(events):
    level = steered(steers="units", events=events)
    x = steps(40, 25)
    h = level.blocks(level.start(x)[0], x.mask)
    before = states(level, h, x.mask)
    assert len(before.unique()) > 3
    plain = level.units.distances(level.units.key(h))
    out = level(x)
    for row, t in np.argwhere(x.mask.numpy()):
        scores = -plain[row, t] / level.units.law.beta
        if before[row, t] >= 0:
            scores = scores + level.units.following[before[row, t]]
        torch.testing.assert_close(out.activation[row, t], scores.softmax(0))


def test_the_decision_steers_the_gain_on_what_enters():
    level = steered(steers="gain", context=3)
    torch.nn.init.normal_(level.context.weight)
    x, context = steps(40, 25), torch.randn(2, 40, 3)
    h, _ = level.start(x, context)
    before = states(level, level.blocks(h, x.mask), x.mask)
    gain = torch.ones(2, 40, 16)
    for row, t in np.argwhere((before >= 0).numpy()):
        gain[row, t] = 2 * torch.sigmoid(level.gain_of_state[before[row, t]])
    entered = level.enter(x.y.mT).mT
    want = level.blocks(entered * gain + level.context(context), x.mask)
    units = replace(level.config, steers="none")
    rest = Level(units, 6).eval()
    rest.load_state_dict(level.state_dict(), strict=False)
    torch.testing.assert_close(level(x, context).y, rest.finish(want, x).y)
    assert not torch.allclose(level(x, context).y, rest(x, context).y, atol=1e-3)


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("events", ["hysteresis", "stride"])
def test_a_row_is_the_same_alone_and_in_a_batch(events, stride):
    level = steered(events=events, stride=stride)
    x = steps(*LENGTHS)
    x = replace(x, y=x.y.masked_fill(~x.mask[..., None], torch.nan))  # padding may hold anything
    together = level(x)
    for row, length in enumerate(LENGTHS):
        alone = level(Steps(*(t[row : row + 1, :length] for t in vars(x).values())))
        size = alone.y.shape[1]
        torch.testing.assert_close(together.y[row, :size], alone.y[0], atol=1e-5, rtol=1e-4)
        assert together.passed.mask[row].sum() == alone.passed.mask.sum()


def test_a_steered_level_may_be_causal():
    level = steered(block=BlockOptions(causal=True))
    x = steps(40)
    later = replace(x, y=torch.cat([x.y[:, :24], x.y[:, 24:] + 1], 1))
    torch.testing.assert_close(level(x).y[:, :24], level(later).y[:, :24])


@pytest.mark.parametrize("law", ["geometric", "power", "pareto", "entmax", "relu"])
def test_both_tables_learn_under_any_law(law):
    level = made(steers="both", events="hysteresis", law=law).train()
    x = steps(40, 30)
    level.initialise([x])
    out = level(x)
    (out.y.square().sum() + sum(out.losses.values())).backward()
    for name in ("units.following", "gain_of_state"):
        assert level.get_parameter(name).grad.isfinite().all(), name
        assert level.get_parameter(name).grad.any(), name


def test_steering_keeps_to_one_update_of_running_means():
    level, plain = made(steers="both", conscience=0.1).train(), made(conscience=0.1).train()
    for one in (level, plain):
        one(steps(40))
    assert torch.equal(level.units.centre, plain.units.centre)
    assert torch.equal(level.units.lead, plain.units.lead)


# context ----------------------------------------------------------------------------------------


def test_a_level_that_does_not_hear_is_that_of_one_pass():
    model = hierarchy(passes=3, levels={"0": {"hears": False}})
    x, lengths = torch.randn(2, 60, 6), torch.tensor([60, 43])
    model.initialise([(x, lengths)])
    assert not hasattr(model.levels[0], "context") and model.levels[1].config.context
    torch.nn.init.normal_(model.levels[1].context.weight)
    output = model(x, lengths)
    model.config = replace(model.config, feedback=replace(model.config.feedback, passes=1))
    plain = model(x, lengths)
    assert torch.equal(output.heads["phones"][0], plain.heads["phones"][0])
    assert not torch.equal(output.heads["letters"][0], plain.heads["letters"][0])


def test_sensory_and_associative_levels():
    """A sensory level hears what is near, an associative one what is far, and from above."""
    keys = {"0": {"preset": "sensory"},
            "1": {"preset": "associative", "units": 6, "block": {"heads": 4}}}  # fmt: skip
    model = hierarchy(passes=2, levels=keys)
    low, high = model.levels[0], model.levels[1]
    assert (low.config.steers, high.config.steers) == ("gain", "units")
    assert (low.config.context, high.config.context) == (0, 2 * 6 + 2)  # of its units
    assert high.config.units == 6 and high.config.functions[0] == "statespace"
    for level, reaches in ((low, False), (high, True)):
        x = steps(200, inputs=level.inputs)
        y = x.y.clone()
        y[:, :3] += 1
        moved = (level(x).y - level(replace(x, y=y)).y).abs()[0, -level(x).y.shape[1] // 4 :]
        assert bool((moved > 1e-7).any()) == reaches
    every = build_model({"every": {"preset": "sensory", "block": {"heads": 2}}}, 6, SIZES)
    assert not any(level.config.hears for level in every.levels)


# nesting ----------------------------------------------------------------------------------------

NEURONS = {"width": 4, "units": 3, "functions": ["linear"]}
LAYERS = {"width": 6, "units": 4, "functions": ["levels"], "block": {"levels": [NEURONS]}}
AREAS = [
    {"width": 8, "units": 5, "functions": ["convolution"], "events": "hysteresis"},
    {**LAYERS, "units": 4},
]
ZONE = {"1": {"functions": ["convolution", "levels"], "block": {"levels": AREAS}}}


def test_neuron_layer_area_and_zone_are_the_same_automaton():
    model = hierarchy(levels=ZONE)
    x, lengths = torch.randn(2, 60, 6), torch.tensor([60, 37])
    model.initialise([(x, lengths)])
    (zone, *_) = model.levels[1].nested
    layer = zone.levels[1]
    assert [type(level) for level in (model.levels[1], layer, layer.nested[0].levels[0])] == (
        [Level] * 3
    )
    # each was set by what reaches it: all have another scale, centre and prototypes than drawn
    for level in (zone.levels[0], layer, layer.nested[0].levels[0]):
        assert level.units.centre.any()
    output = model.train()(x, lengths)
    assert {"predict0", "inside1", "predict1"} <= set(output.losses)
    (sum(s.square().mean() for s, _ in output.heads.values()) + output.losses["inside1"]).backward()
    inner = layer.nested[0].levels[0]
    assert inner.enter.weight.grad.any() and inner.units.prototypes.grad.any()
    model.eval()
    together = model(x, lengths).heads["words"]
    alone = model(x[1:, :37], lengths[1:]).heads["words"]
    size = int(alone[1][0])
    torch.testing.assert_close(together[0][1, :size], alone[0][0, :size], atol=1e-4, rtol=1e-4)


def test_the_models_of_the_documentation_run():
    text = (ROOT / "docs" / "roles.md").read_text()
    models = [
        yaml.safe_load(part)["model"] for part in re.findall(r"```yaml\n(.+?)```", text, re.S)
    ]
    assert len(models) == 2
    for keys in models:
        model = build_model(keys, 6, {"phones": 5})
        assert model(torch.randn(1, 60, 6), torch.tensor([60])).heads["phones"][0].isfinite().all()


def test_each_step_hears_the_event_around_it():
    level = made(functions=("levels",), block=BlockOptions(norm="none", levels=(
        LevelConfig(width=8, units=5, events="hysteresis"), LevelConfig(width=4, units=0)
    )))  # fmt: skip
    x = steps(30)
    level.initialise([x])
    h, _ = level.start(x)
    (nested,) = level.nested
    low = nested.levels[0](Steps.of_frames(h, x.mask))
    high = nested.levels[1](low.passed)
    assert 1 < high.y.shape[1] < 30
    want = h[0] + nested.out(high.y[0, low.events.of_step[0]])
    torch.testing.assert_close(level.blocks(h, x.mask)[0], want)
    assert level(x).losses.keys() == {"predict", "inside"}
    assert nested.take_losses() == []


# bad input --------------------------------------------------------------------------------------


def test_what_does_not_fit_is_named():
    level, x = made(context=5), steps(20)
    with pytest.raises(ConfigError, match=r"context: must have shape \(1, 20, 5\), got \(1, 20, 4"):
        level(x, torch.zeros(1, 20, 4))
    with pytest.raises(ConfigError, match=r"context: must have shape \(1, 20, 5\), got \(1, 7, 5"):
        level(x, torch.zeros(1, 7, 5))
    with pytest.raises(ConfigError, match="must have 6 channels, got 4"):
        level(replace(x, y=x.y[..., :4]))
    with pytest.raises(ConfigError, match="takes no context"):
        made()(x, torch.zeros(1, 20, 4))
    with pytest.raises(ConfigError, match=r"levels\.0\.steers: units depends on which unit holds"):
        growth.split_units(hierarchy(levels={"0": {"steers": "units"}}), 0, 1)
    with pytest.raises(ConfigError, match="cannot set levels inside blocks"):
        initialise.initialise_by("pca", hierarchy(levels=ZONE), [])


@pytest.mark.parametrize(
    ("keys", "match"),
    [
        (["model.every.units=0", "model.every.events=none", "model.levels.1.steers=gain"],
         "levels.1.steers.*gain needs units"),
        (["model.levels.1.steers=decision"], "levels.1.steers.*Use one of both, units"),
        (["model.feedback.passes=2", "model.every.hears=false"], "passes.*no level hears"),
        (["model.levels.0.functions=[levels]"], "block.levels.*is empty"),
        (["model.levels.0.block.levels=[{width: 8}]"], "block.levels.*no block has them"),
        (["model.levels.0={functions: [levels], block: {causal: true, levels: [{width: 8}]}}"],
         "block.causal.*end of an event"),
        (["model.levels.0={functions: [levels], block: {levels: [{units: 1}]}}"],
         "levels.0.block.levels.0.units.*no rival"),
        (["model.levels.0.preset=sensori"], "levels.0.preset.*Did you mean 'sensory'"),
        (["model.levels.2.steers=both", "learning=local"], "levels.2.steers.*stages"),
        (["model.levels.0={functions: [levels], block: {levels: [{width: 8}]}}",
          "learning.meter=true"], "levels.0.functions.*stages"),
    ],
)  # fmt: skip
def test_impossible_roles(keys, match):
    with pytest.raises(ConfigError, match=match):
        read_config(None, ["data.train=a", "data.dev=b", *keys])


def test_a_rule_by_stages_may_have_units_steered():
    config = read_config(
        None, ["data.train=a", "data.dev=b", "model.every.steers=units", "learning=local"]
    )
    assert all(level.steers == "units" for level in config.model.levels)
