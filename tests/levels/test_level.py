"""A level: its roles, events, masks, times, gradients, and invalid options."""

from operator import attrgetter

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from speechasym.errors import ConfigError
from speechasym.levels.config import BlockOptions, LevelConfig
from speechasym.levels.events import Steps
from speechasym.levels.level import Level

EVENTS = ["hysteresis", "stride", "none"]


def made(inputs=6, seed=0, **options):
    torch.manual_seed(seed)
    values = {"width": 16, "units": 8, "functions": ("convolution", "feedforward")}
    return Level(LevelConfig(**(values | options)), inputs).eval()


def run(level, x, mask, **more):
    return level(Steps.of_frames(x, mask), **more)


def batch(*lengths, inputs=6, seed=1):
    torch.manual_seed(seed)
    rows = [torch.randn(n, inputs) for n in lengths]
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return pad_sequence(rows, True), mask, rows


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("kind", EVENTS)
def test_a_row_is_the_same_alone_and_in_a_batch(kind, stride):
    level = made(events=kind, stride=stride)
    x, mask, rows = batch(31, 50, 17)
    x = x.masked_fill(~mask[..., None], torch.nan)  # padding may hold anything
    together = run(level, x, mask)
    for number, row in enumerate(rows):
        alone = run(level, row[None], torch.ones(1, len(row), dtype=torch.bool))
        steps, events = alone.y.shape[1], alone.passed.y.shape[1]
        for name, size in (("y", steps), ("passed.y", events), ("start", steps), ("end", steps)):
            mine, want = attrgetter(name)(together)[number], attrgetter(name)(alone)[0]
            torch.testing.assert_close(mine[:size], want, atol=1e-5, rtol=1e-4)
            assert not mine[size:].any() or name in ("start", "end")
        assert together.mask[number].sum() == steps == -(-len(row) // stride)
        assert together.passed.mask[number].sum() == events


@pytest.mark.parametrize("stride", [1, 4])
@pytest.mark.parametrize("kind", ["hysteresis", "stride"])
def test_events_tile_the_recording(kind, stride):
    level = made(events=kind, stride=stride)
    x, mask, _ = batch(47, 30)
    out = run(level, x, mask)
    for row, length in enumerate((47, 30)):
        events = int(out.passed.mask[row].sum())
        start, end = out.passed.start[row, :events], out.passed.end[row, :events]
        assert start[0] == 0 and end[-1] == length
        assert start[1:].tolist() == end[:-1].tolist()
        assert (end > start).all()


def test_a_second_level_keeps_the_times_of_the_first():
    first, second = made(events="hysteresis", stride=2), made(16, events="hysteresis")
    x, mask, _ = batch(40, 25)
    low = run(first, x, mask)
    high = second(low.passed)
    for row, length in enumerate((40, 25)):
        events = int(high.passed.mask[row].sum())
        assert high.passed.start[row, 0] == 0 and high.passed.end[row, events - 1] == length
        assert set(high.passed.start[row, :events].tolist()) <= set(low.passed.start[row].tolist())


def test_a_wider_hysteresis_gives_fewer_events():
    level = made(events="hysteresis")
    x, mask, _ = batch(60, 60)
    counts = []
    for width in (0.001, 0.2, 0.9):
        level.hold.log_width.fill_(width).log_()
        counts.append(int(run(level, x, mask).passed.mask.sum()))
    assert counts[0] > counts[1] > counts[2]


@pytest.mark.parametrize("kind", EVENTS)
@pytest.mark.parametrize("law", ["geometric", "power", "entmax", "gelu"])
def test_every_parameter_learns(kind, law):
    level = made(events=kind, law=law, resolution=4.0 if law == "geometric" else None).train()
    x, mask, _ = batch(30, 20)
    out = run(level, x, mask)
    (out.passed.y.square().sum() + sum(out.losses.values())).backward()
    dead = [n for n, p in level.named_parameters() if p.grad is None or not p.grad.any()]
    # pooled means do not change when all of an event's weights change alike
    assert set(dead) <= {"weigh.bias"} | ({"duration"} if kind == "stride" else set())


def test_units_learn_to_predict_the_input():
    # four sounds and noise: before learning the units explain nothing, after it most; like any
    # vector quantisation they may come to rest where two sounds share a unit
    torch.manual_seed(0)
    sounds = torch.randn(4, 6)
    sounds = sounds / sounds.square().mean(-1, keepdim=True).sqrt()
    which = torch.randint(4, (2, 50))
    x = sounds[which] + 0.1 * torch.randn(2, 50, 6)
    mask = torch.ones(2, 50, dtype=torch.bool)
    level = made(functions=("linear",), passes="none", predict=1.0).train()
    level.initialise([Steps.of_frames(x, mask)])
    before = run(level, x, mask).error.mean().item()
    optimiser = torch.optim.Adam(level.parameters(), 0.02)
    for _ in range(200):
        optimiser.zero_grad()
        run(level, x, mask).losses["predict"].backward()
        optimiser.step()
    after = run(level, x, mask)
    assert before > 0.8 and after.error.mean().item() < 0.35
    # and units are of one sound, or of one group of sounds
    best = after.activation.argmax(-1)
    assert len(best.unique()) >= 2
    for sound in range(4):
        assert len(best[which == sound].unique()) == 1


def test_a_causal_level_does_not_look_ahead():
    level = made(events="hysteresis", stride=2, block=BlockOptions(causal=True))
    x, mask, _ = batch(40)
    changed = x.clone()
    changed[:, 24:] += 1
    a, b = run(level, x, mask), run(level, changed, mask)
    torch.testing.assert_close(a.y[:, :12], b.y[:, :12])
    assert a.winner[:, :12].tolist() == b.winner[:, :12].tolist()
    assert not torch.allclose(a.y[:, 12:], b.y[:, 12:])


def test_context_is_added_once_its_map_is_learned():
    level = made(context=5)
    x, mask, _ = batch(20)
    context = torch.randn(1, 20, 5)
    # the map starts at 0
    torch.testing.assert_close(run(level, x, mask, context=context).y, run(level, x, mask).y)
    torch.nn.init.normal_(level.context.weight)
    assert not torch.allclose(run(level, x, mask, context=context).y, run(level, x, mask).y)
    with pytest.raises(ConfigError, match="takes no context"):
        run(made(), x, mask, context=context)


def test_passes_chooses_what_is_added():
    x, mask, _ = batch(20)
    for passes in ("both", "units", "error", "none"):
        level = made(passes=passes)
        names = {name.split(".")[1] for name, _ in level.named_parameters() if "units." in name}
        assert ("value" in names) == (passes in ("both", "units"))
        assert ("value_of_error" in names) == (passes in ("both", "error"))
        assert run(level, x, mask).y.shape == (1, 20, 16)


def test_selectivity_beta_and_resolution():
    level = made(resolution=5.0)
    out = run(level, *batch(20)[:2])
    assert ((out.selectivity >= 0) & (out.selectivity <= 1)).all()
    assert level.units.law.beta.item() == pytest.approx(1.0)
    assert level.units.law.resolution.item() == pytest.approx(5.0)
    assert run(made(units=0), *batch(20)[:2]).selectivity is None


@pytest.mark.parametrize(
    "options, name",
    [
        ({"width": 0}, "width"), ({"units": 1}, "units"), ({"keep": 0.0}, "keep"),
        ({"units": 0, "events": "hysteresis"}, "events"), ({"law": "log"}, "law"),
        ({"dilations": ()}, "dilations"), ({"functions": ()}, "functions"),
        ({"functions": ("convolutoin",)}, "function"), ({"predict": float("nan")}, "predict"),
        ({"functions": ("attention",), "width": 18}, "heads"),
    ],
)  # fmt: skip
def test_invalid_values_are_named(options, name):
    with pytest.raises(ConfigError, match=name):
        LevelConfig(**options)


def test_the_error_is_the_one_whose_mean_square_is_reported():
    level = made(stride=3)
    x, mask, _ = batch(31, 50)
    out = run(level, x, mask)
    inputs, missed = level.prediction_error(Steps.of_frames(x, mask), out.activation)
    torch.testing.assert_close(missed.square().mean(-1) * out.mask, out.error)
    torch.testing.assert_close(
        inputs[out.mask].square().mean(-1), torch.ones(int(out.mask.sum())), atol=1e-4, rtol=0
    )


def test_conscience_revives_a_unit_that_never_wins():
    """Keys are where seven of eight units are; training brings the other one nearer until it wins.

    Without conscience it never wins, and there is no lead to store.
    """
    h, mask = torch.eye(16)[torch.arange(80) % 7].view(4, 20, 16), torch.ones(4, 20).bool()
    for conscience in (0.0, 1.0):
        units = made(conscience=conscience).units.train()
        with torch.no_grad():
            units.key.weight.copy_(torch.eye(32, 16))
            units.prototypes.copy_(torch.eye(32)[[7, 0, 1, 2, 3, 4, 5, 6]])
            wins, leads = [], []
            for _ in range(60):
                wins.append(int((units(h, mask)[mask].argmax(1) == 0).sum()))
                leads.append(units.lead[0].item() if conscience else 0)
        assert ("lead" in units.state_dict()) == (conscience > 0)
        assert (sum(wins) > 0) == (conscience > 0) and wins[0] == 0
    assert 0 < leads[40] <= 20 and leads[-1] < max(leads) and not units.lead[1:].any()
    lead = units.lead.clone()
    units.eval()(h, mask)
    assert torch.equal(units.lead, lead)


def test_fluctuations_are_off_unless_asked_for():
    x, mask, _ = batch(40)
    plain, quiet = made(units=6), made(units=6, fluctuation=3.0)
    torch.testing.assert_close(run(quiet, x, mask).y, run(plain, x, mask).y, atol=0, rtol=0)
    torch.manual_seed(5)
    loud, again = (run(quiet.train(), x, mask).activation for _ in range(2))
    assert not torch.equal(loud, again)


def test_draws_are_the_same_for_each_row_and_length():
    level = made(units=6, fluctuation=3.0, draws=2)
    x, mask, rows = batch(40, 29)
    out = run(level, x, mask).activation
    for n, row in enumerate(rows):
        alone = run(level, row[None], torch.ones(1, len(row), dtype=torch.bool)).activation
        torch.testing.assert_close(out[n, : len(row)], alone[0])
    plain = run(made(units=6), x, mask).activation
    one, many = (run(made(units=6, fluctuation=3.0, draws=k), x, mask).activation for k in (1, 64))
    assert (many - plain).norm() < 0.7 * (one - plain).norm()  # what remains is the bias
    torch.testing.assert_close(out.sum(-1), torch.ones(2, 40))


def test_weak_units_win_now_and_then_by_fluctuations():
    x, mask, _ = batch(400)
    wins = {}
    for fluctuation in (0.0, 4.0):
        level = made(units=6, fluctuation=fluctuation, handicaps=True).train()
        with torch.no_grad():  # the last unit is always a little behind the first
            level.units.prototypes[-1] = level.units.prototypes[0]
            level.units.handicap[-1] = 1.0
        torch.manual_seed(0)
        wins[fluctuation] = int((run(level, x, mask).activation.argmax(-1) == 5).sum())
    assert wins[0.0] == 0 < wins[4.0]


def test_fluctuations_are_checked():
    with pytest.raises(ConfigError, match="fluctuation"):
        LevelConfig(fluctuation=-1.0)
    with pytest.raises(ConfigError, match="no effect without noise"):
        LevelConfig(draws=4)


def test_conscience_is_a_number():
    with pytest.raises(ConfigError, match="conscience"):
        LevelConfig(conscience=-1.0)
