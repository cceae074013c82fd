"""Initialisations: what they set, from which data, and in which models (C17)."""

import math

import pytest
import torch

from speechasym.errors import ConfigError
from speechasym.levels import chain, directions
from speechasym.levels.config import (
    BlockOptions,
    HeadConfig,
    HeadsConfig,
    HierarchyConfig,
    LevelConfig,
)
from speechasym.levels.functions import FUNCTIONS
from speechasym.levels.hierarchy import Hierarchy, build_model
from speechasym.levels.initialise import DEVIATION, DIRECTED, METHODS, initialise_by
from speechasym.ranks.activation import RankActivation

SIZES = {"phones": 5}


def sawtooth(frames, seed=0, sources=6):
    """Sources (frames, sources): Gaussian, slow and large, but for a small sawtooth, the last."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.zeros(frames, sources)
    noise = torch.randn(frames, sources, generator=draw)
    for t in range(1, frames):
        x[t] = 0.9 * x[t - 1] + noise[t]
    height = 0.0
    for t in range(frames):
        height = 0.0 if height > 1 else height + 0.2 * float(torch.rand((), generator=draw))
        x[t, -1] = height
    return x


def mixed(frames=1500, columns=6, rows=3, seed=0):
    """Features (rows, frames, columns) of different lengths, mixed from a sawtooth and others."""
    draw = torch.Generator().manual_seed(100)
    mixing = torch.randn(6, columns, generator=draw)
    x = torch.stack([sawtooth(frames, seed + n) @ mixing for n in range(rows)])
    lengths = torch.tensor([frames - 37 * n for n in range(rows)])
    return x, lengths, mixing


X, LENGTHS, MIXING = mixed()
FEW, FEW_LENGTHS = X[:, :300], LENGTHS.clamp(max=300)  # where values alone must be finite


def model(functions=("convolution", "feedforward"), levels=2, norm="theory", inputs=6, **options):
    torch.manual_seed(0)
    values = {"width": 12, "units": 8, "stride": 2, "events": "hysteresis"}
    values |= {"functions": functions, "block": BlockOptions(norm=norm)} | options
    rows = [LevelConfig(**(values | ({"stride": 1} if n else {}))) for n in range(levels)]
    heads = HeadsConfig(phones=HeadConfig(level=levels - 1, tells=False))
    return Hierarchy(HierarchyConfig(levels=tuple(rows), heads=heads), inputs, SIZES)


def initialised(method, made, x=X, lengths=LENGTHS, seed=0):
    torch.manual_seed(seed)
    initialise_by(method, made, [(x, lengths), (x[:1], lengths[:1])])
    return made


def rows_of_blocks(made):
    """(input, output, mask) of the residual blocks of each level."""
    carry = chain.first_carry(made, X, LENGTHS)
    for stage in chain.stages(made.config):
        level = made.levels[stage.level]
        h, x = level.start(carry.x)
        yield h[x.mask], level.blocks(h, x.mask)[x.mask]
        carry = chain.run(made, stage, carry).carry


def test_a_known_asymmetric_direction_is_found_and_not_by_pca():
    x = X[0, :, :]
    moved, _ = directions.moves([(x[None], torch.ones(1, len(x), dtype=torch.bool))], 1)
    found, skew = directions.asymmetry(moved, 6)
    responses = (MIXING @ found.T).abs()  # (sources, directions)
    spread = torch.stack([sawtooth(1500)[:, n].diff().std() for n in range(6)])
    weights = responses[:, 0] * spread
    assert weights[-1] / weights.norm() > 0.97
    assert skew[0] > 1 > 3 * skew[1]
    principal = (MIXING @ directions.principal(x, 6).T).abs()[:, 0] * spread
    assert principal[-1] / principal.norm() < 0.3
    backwards, _ = directions.moves([(x.flip(0)[None], torch.ones(1, len(x), dtype=torch.bool))], 1)
    again, skew_backwards = directions.asymmetry(backwards, 6)
    torch.testing.assert_close(skew_backwards[0], skew[0], rtol=1e-3, atol=0)
    torch.testing.assert_close(again[0], -found[0], rtol=1e-2, atol=1e-3)  # falls are rises there


def test_gaussian_steps_have_no_asymmetric_direction():
    x = sawtooth(4000)[:, :5]
    moved, _ = directions.moves([(x[None], torch.ones(1, len(x), dtype=torch.bool))], 1)
    assert directions.asymmetry(moved, 5)[1].max() < 0.3


def test_directions_are_uncorrelated_over_moves():
    x = X[:, :, :]
    mask = torch.arange(x.shape[1]) < LENGTHS[:, None]
    moved, _ = directions.moves([(x, mask)], 2)
    found, skew = directions.asymmetry(moved, 4)
    along = moved @ found.T
    second = along.T @ along / len(along)
    torch.testing.assert_close(second, torch.eye(4), atol=1e-3, rtol=0)
    torch.testing.assert_close(directions.skewness(along), skew, atol=1e-3, rtol=1e-3)
    assert (skew.diff() <= 0).all()


def test_centres_are_those_of_clusters():
    torch.manual_seed(0)
    want = torch.tensor([[0.0, 9], [9, 0], [-9, -9]])
    x = (want[:, None] + 0.3 * torch.randn(3, 50, 2)).flatten(0, 1)
    found = directions.centres(x, 3)
    assert (torch.cdist(want, found).min(1).values < 0.2).all()
    assert len(directions.centres(x[:2], 5)) == 2  # no more than there are


@pytest.mark.parametrize("method", METHODS)
def test_the_seed_decides(method):
    one, two = (initialised(method, model(), FEW, FEW_LENGTHS).state_dict() for _ in range(2))
    for name, value in one.items():
        assert torch.equal(value, two[name]), name
    if method in ("drawn", "kaiming", "lsuv"):
        other = initialised(method, model(), FEW, FEW_LENGTHS, seed=1).state_dict()
        assert any(not torch.equal(value, other[name]) for name, value in one.items())


def test_drawn_is_what_a_model_does_by_itself():
    one, two = initialised("drawn", model()), model()
    torch.manual_seed(0)
    two.initialise([(X, LENGTHS), (X[:1], LENGTHS[:1])])
    for name, value in one.state_dict().items():
        assert torch.equal(value, two.state_dict()[name])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_function_is_initialised(method, name):
    made = initialised(method, model((name,)), FEW, FEW_LENGTHS)
    assert all(value.isfinite().all() for value in made.state_dict().values())
    output = made(FEW, FEW_LENGTHS)
    assert output.heads["phones"][0].isfinite().all()
    before, after = model((name,)).state_dict(), made.state_dict()
    first = "levels.1.blocks.blocks.0.function."
    changed = {k for k in after if k.startswith(first) and not torch.equal(before[k], after[k])}
    # `constant` has no first map, and its value is scaled with norm_out, as for all functions
    assert bool(changed) == (method != "drawn" and name != "constant")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("preset", ["tiny", "transformer", "transformer-intermediate"])
def test_presets_train_on_from_each(method, preset):
    torch.manual_seed(0)
    made = build_model({"preset": preset}, 6, SIZES | {"letters": 4, "words": 3})
    initialised(method, made, FEW, FEW_LENGTHS)
    output = made.train()(FEW, FEW_LENGTHS)
    sum(y.square().mean() for y, _ in output.heads.values()).backward()
    for name, value in made.named_parameters():
        assert value.grad is None or value.grad.isfinite().all(), name
    assert made.training


@torch.no_grad()
@pytest.mark.parametrize("norm", ["theory", "pre", "post", "sandwich", "rezero", "layerscale"])
def test_asymmetry_balances_the_branches(norm):
    made = initialised("asymmetry", model(("feedforward", "gate"), norm=norm, repeat=2))
    carry = chain.first_carry(made, X, LENGTHS)
    for stage in chain.stages(made.config, blocks=1):
        level = made.levels[stage.level]
        h, x = (carry.h, carry.x) if carry.h is not None else level.start(carry.x)
        if stage.enters:
            power = h[x.mask].square().mean()
        block = level.blocks.blocks[stage.first]
        branch = block.function(block.scale_in(h), x.mask)
        if block.norm_out is not None:
            branch = block.norm_out(branch)
        if block.gain is not None:
            branch = branch * block.gain
        share = float(branch[x.mask].square().mean() / power)
        assert share == pytest.approx(1 / stage.blocks, rel=0.1)
        carry = chain.run(made, stage, carry).carry


def test_a_gain_that_is_given_is_kept():
    block = BlockOptions(norm="layerscale", gain=0.3)
    made = initialised("asymmetry", model(block=block))
    assert all((b.gain == 0.3).all() for level in made.levels for b in level.blocks.blocks)


@torch.no_grad()
@pytest.mark.parametrize("method", DIRECTED)
def test_first_maps_have_the_same_variance(method):
    made = initialised(method, model())
    expected = DEVIATION**2 if method == "asymmetry" else 1.0
    for level, (h, _) in zip(made.levels, rows_of_blocks(made), strict=True):
        count = min(level.inputs * level.kernel, level.config.width)
        variance = h[:, :count].var(0)
        assert variance.median() == pytest.approx(expected, rel=0.1)
        scaled = level.blocks.blocks[0].scale_in(h)
        if method == "asymmetry":
            assert float(scaled.square().mean()) == pytest.approx(1, rel=0.1)
        value, gate = level.blocks.blocks[0].function.inside(scaled).chunk(2, 1)
        assert torch.equal(value, gate)
        assert value.var(0).median() == pytest.approx(expected, rel=0.15)
        assert float(value.mean(0).abs().median()) < 0.1


def test_lsuv_gives_all_maps_unit_variance():
    made = initialised("lsuv", model(events="none")).eval()
    deviations = {}

    def keep(name):
        return lambda module, args, y: deviations.__setitem__(name, float(y[0].detach().std()))

    for name, module in made.named_modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_hook(keep(name))
    made(X[:1], LENGTHS[:1])
    assert len(deviations) >= 15
    assert all(0.7 < value < 1.4 for value in deviations.values()), deviations


@torch.no_grad()
def test_kaiming_gives_weights_the_variance_of_their_inputs():
    made = initialised("kaiming", model(("feedforward", "linear"), width=200))
    block, linear = made.levels[0].blocks.blocks
    assert block.function.inside.weight.var() * 200 == pytest.approx(2, rel=0.05)
    assert block.function.out.weight.var() * 200 == pytest.approx(1, rel=0.05)
    assert linear.function.out.weight.var() * 200 == pytest.approx(1, rel=0.05)
    assert not block.function.inside.bias.any()


@pytest.mark.parametrize("method", ["asymmetry", "kmeans"])
def test_prototypes_differ(method):
    made = initialised(method, model(units=24))
    for level in made.levels:
        unit = torch.nn.functional.normalize(level.units.prototypes, dim=1)
        similarity = unit @ unit.T - 2 * torch.eye(24)
        assert similarity.max() < 0.9999
    random = initialised("drawn", model(units=24))
    for one, two in zip(made.levels, random.levels, strict=True):
        assert not torch.equal(one.units.prototypes, two.units.prototypes)


@torch.no_grad()
@pytest.mark.parametrize("law", [law for law in RankActivation.LAWS if law != "log"])
def test_the_law_is_set_from_the_rivals_that_win_next(law):
    made = initialised("asymmetry", model(law=law, levels=1))
    units, initial = made.levels[0].units, model(law=law, levels=1).levels[0].units
    if law == "softmax":
        assert units.law.raw_beta is None
    else:
        assert not torch.equal(units.law.beta, initial.law.beta)
    if law in ("geometric", "power"):
        limited = initialised("asymmetry", model(law=law, levels=1, resolution=7.0))
        assert 1.1 <= float(limited.levels[0].units.law.resolution) <= 8


@pytest.mark.parametrize("method", METHODS)
def test_levels_without_units_are_initialised(method):
    made = initialised(method, model(units=0, events="stride"), FEW, FEW_LENGTHS)
    assert made(FEW, FEW_LENGTHS).heads["phones"][0].isfinite().all()


@pytest.mark.parametrize("method", [m for m in METHODS if m not in ("drawn", "kaiming", "lsuv")])
def test_too_few_steps_are_named(method):
    message = "needs at least 8 steps at every level"
    with pytest.raises(ConfigError, match=message):
        initialised(method, model(), X[:, :3], LENGTHS.clamp(max=3))
    with pytest.raises(ConfigError, match=message):
        initialised(method, model(), X[:, :0], LENGTHS * 0)


def test_no_features_and_unknown_names_are_named():
    with pytest.raises(ConfigError, match="lsuv got no features"):
        initialise_by("lsuv", model(), [])
    with pytest.raises(ConfigError, match=r"initialise: .*'xavier'"):
        initialise_by("xavier", model(), [(X, LENGTHS)])


def test_silence_is_initialised_with_what_there_is():
    for method in METHODS:
        made = initialised(method, model(events="none"), torch.zeros_like(FEW), FEW_LENGTHS)
        assert all(value.isfinite().all() for value in made.state_dict().values()), method


@torch.no_grad()
def test_reset_keeps_to_the_bounds():
    law = RankActivation(8, "power", resolution=4.0)
    law.reset(beta=math.inf, resolution=100.0)
    assert float(law.beta[0]) > 80 and float(law.resolution[0]) > 7.5
    law.reset(beta=0.5)
    assert float(law.beta[0]) == pytest.approx(0.5, rel=1e-4) and float(law.resolution[0]) > 7.5


@pytest.mark.parametrize("events", ["entropy", "change"])
def test_lsuv_sets_levels_with_other_events(events):
    levels = {0: {"stride": 1, "events": events}}
    model = build_model({"every": {"width": 8, "units": 6}, "levels": levels}, 6, {})
    before = model.levels[0].enter.weight.clone()
    initialise_by("lsuv", model, [(torch.randn(3, 100, 6), torch.tensor([100, 90, 60]))])
    assert not torch.equal(before, model.levels[0].enter.weight)
