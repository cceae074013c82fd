"""The recipe claims/ranks: its laws, its rules of division, its counts, and what it refuses."""

import math

import numpy as np
import pytest
from helpers import text_manifest
from stages import watched as metrics_of

from recipes.claims.ranks import circle, heads, laws, learned, units
from recipes.claims.ranks import watched as seen
from speechasym.errors import ConfigError
from speechasym.language.lexicon import Lexicon
from speechasym.ranks import fits
from speechasym.training.config import read_config


def sample(law: str, size: int = 20_000, ranks: int = 60) -> np.ndarray:
    i = np.arange(ranks)
    weight = {
        "geometric": np.exp(-i / 9),
        "power": (i + 1.0) ** -1.1,
        "Mandelbrot": (i + 6.0) ** -2.0,
        "broken stick": np.array([sum(1 / k for k in range(j + 1, ranks + 1)) for j in i]),
    }[law]
    draws = np.random.default_rng(0).multinomial(size, weight / weight.sum())
    return laws.ranked(draws)


@pytest.mark.parametrize("law", ["geometric", "power", "Mandelbrot", "broken stick"])
def test_the_law_of_a_sample_is_found(law):
    found = laws.fit_laws(sample(law))
    assert min(found.values(), key=lambda f: f.bic).name == law
    assert found[law].divergence < 2e-3
    for fitted in found.values():
        assert fitted.share.sum() == pytest.approx(1)
    if law == "Mandelbrot":
        assert found[law].offset == pytest.approx(6, rel=0.25)
        assert 1 / found[law].beta == pytest.approx(2, rel=0.1)


def test_laws_are_those_of_the_library():
    counts = sample("power")
    found, expected = laws.fit_laws(counts), fits.fit(counts)
    for law in (expected.geometric, expected.power):
        assert found[law.law].beta == pytest.approx(law.beta)
    gap = found["geometric"].bic - found["power"].bic
    assert gap == pytest.approx(expected.delta_bic)


def test_divergence_by_hand():
    counts = np.array([4.0, 2, 1, 1])
    p = counts / 8
    found = laws.fit_laws(counts)["broken stick"]
    stick = np.array([25, 13, 7, 3]) / 48
    np.testing.assert_allclose(found.share, stick)
    assert found.divergence == pytest.approx(sum(p * np.log(p / stick)))
    assert laws.flat(counts) == pytest.approx(math.log(4) + sum(p * np.log(p)))


@pytest.mark.parametrize("counts", [[], [1000] * 7, [60] * 8, [0] * 100])
def test_too_little_to_fit_a_law_is_refused(counts):
    with pytest.raises(ConfigError, match=r"my corpus: .* too few to fit a law.*larger corpus"):
        laws.ranked(np.array(counts), "my corpus")


@pytest.mark.parametrize("rule", circle.RULES)
def test_parts_of_a_circle(rule, monkeypatch):
    monkeypatch.setattr(circle, "CELLS", 1 << 10)
    outcome = circle.run(rule, 16, 2)
    assert outcome.sizes.shape == (2, 16) and (outcome.sizes > 0).all()
    np.testing.assert_allclose(outcome.sizes.sum(1), 1)
    assert (np.diff(outcome.sizes) <= 0).all()
    again = circle.run(rule, 16, 2)
    np.testing.assert_array_equal(again.sizes, outcome.sizes)


def test_laws_of_rules_that_are_known():
    rest = circle.run("rest, golden", 32, 1)
    beta = 1 / math.log(1 / circle.GOLDEN)
    assert rest.fits[0]["geometric"].beta == pytest.approx(beta, rel=0.01)
    assert rest.explained("geometric") > 0.999
    uniform = circle.run(circle.RIVAL, 64, 20)
    assert uniform.best()["broken stick"] >= 15  # of 20 seeds
    sizes = np.unique(np.round(circle.run("largest, golden", 64, 1).sizes, 12))
    assert len(sizes) == 3  # powers of the golden section


def test_a_part_is_cut_where_it_is_most_asymmetric():
    signal = np.array([0, 0, 0, 5, 5, 0, 0, 0, 0, 0.0])
    total = np.concatenate([[0], np.cumsum(signal)])
    gain, cut = circle.most_asymmetric(total, 0, 10)

    def explained(c):
        left, right = signal[:c], signal[c:]
        return len(left) * len(right) / 10 * (left.mean() - right.mean()) ** 2

    assert cut == max(range(1, 10), key=explained) == 5
    assert gain == pytest.approx(explained(5))
    # then 0 to 5 is cut at 3, and all parts are equal within
    parts = sorted(circle.by_asymmetry(3, signal, "greatest"))
    np.testing.assert_allclose(parts, [0.2, 0.3, 0.5])


def test_noise_has_its_slope():
    draw = np.random.default_rng(0)
    power = np.mean(
        [np.abs(np.fft.rfft(circle.noise(2, draw, 256)))[1:] ** 2 for _ in range(200)], 0
    )
    f = np.arange(1, len(power) + 1)
    assert np.polyfit(np.log(f[:100]), np.log(power[:100]), 1)[0] == pytest.approx(-2, abs=0.1)


def test_circle_writes_its_tables_and_figure(tmp_path, monkeypatch):
    monkeypatch.setattr(circle, "CELLS", 1 << 10)
    circle.main(["--out", str(tmp_path), "--parts", "8", "--seeds", "2"])
    text = (tmp_path / "circle.md").read_text()
    assert "### 8 parts, 2 seeds" in text
    assert all(f"| {rule} |" in text for rule in circle.RULES)
    assert (tmp_path / "circle.png").stat().st_size > 5000
    with pytest.raises(ConfigError, match="parts"):
        circle.main(["--out", str(tmp_path), "--parts", "4"])


def test_words_letters_and_phones_are_counted(tmp_path):
    path = text_manifest(tmp_path / "x_cuts.jsonl", ["the cat", "THE DOG'S"])
    lexicon = Lexicon({"THE": [("DH", "AH0")], "CAT": [("K", "AE1", "T")]})
    groups = units.count_cuts([path], lexicon)
    words = sum(groups["words"].values(), start=units.Counter())
    assert words == {"THE": 2, "CAT": 1, "DOG'S": 1}
    letters = sum(groups["letters"].values(), start=units.Counter())
    assert letters["T"] == 3 and letters["'"] == 1 and " " not in letters
    phones = sum(groups["phones"].values(), start=units.Counter())
    assert phones == {"DH": 2, "AH": 2, "K": 1, "AE": 1, "T": 1}
    assert not units.count_cuts([path], None)["phones"]  # not a corpus that is too small
    assert units.matrix({"a": units.Counter("xxy"), "b": units.Counter("y")}).tolist() == [
        [2, 1], [0, 1],
    ]  # fmt: skip


def test_a_finite_number_stays_and_an_open_one_grows():
    draw = np.random.default_rng(0)
    few = np.exp(-np.arange(30) / 8)
    finite = units.measure("few", draw.multinomial(4000, few / few.sum(), 6), 10)
    assert finite.seen[1] == finite.seen[2] == 30 and finite.fit[2].law == "geometric"
    many = 1 / np.arange(1.0, 5000)
    open_ = units.measure("many", draw.multinomial(500, many / many.sum(), 6), 5)
    assert open_.seen[2] > 1.8 * open_.seen[1] and open_.fit[2].law == "power"
    text = units.report([finite, open_])
    assert "| few | 24000 |" in text and "30 (30-30) (geometric)" in text


def test_units_of_texts(tmp_path):
    draw = np.random.default_rng(0)
    vocabulary = ["".join(draw.choice(list("abcdefghijklmnop"), 4)) for _ in range(60)]
    for name in "ab":
        text = " ".join(draw.choice(vocabulary, 400, p=np.arange(60, 0, -1) / 1830)) + "."
        (tmp_path / f"{name}.txt").write_text(text)
    options = ["--out", str(tmp_path), "--books", str(tmp_path), "--every", "1", "--rounds", "3"]
    units.main(options)
    assert "| books, words | 800 |" in (tmp_path / "units.md").read_text()
    assert (tmp_path / "units.png").stat().st_size > 5000
    (tmp_path / "a.txt").write_text("Only a few words.")
    (tmp_path / "b.txt").unlink()
    with pytest.raises(ConfigError, match=r"books, letters: 13 counts .* larger corpus"):
        units.main(options)
    with pytest.raises(ConfigError, match="nothing to count"):
        units.main(["--out", str(tmp_path)])
    with pytest.raises(ConfigError, match="NAME=CUTS"):
        units.main(["--cuts", "cuts.jsonl.gz"])


def test_units_that_levels_learned(toy, trained, tmp_path, monkeypatch):
    cuts = toy / "test_cuts.jsonl.gz"
    won = learned.wins(trained, cuts, 5.0)
    assert sorted(won) == [0, 1] and all(w.shape[1] == 8 and w.sum() > 0 for w in won.values())
    monkeypatch.setattr(laws, "LEAST_COUNTS", 2)
    monkeypatch.setattr(laws, "LEAST_UNITS", 2)
    word = f"toy={trained.folder}={cuts}"
    learned.main(["--out", str(tmp_path), "--run", word, "--seconds", "5", "--rounds", "2"])
    assert "| toy, level 0 of 8 |" in (tmp_path / "learned.md").read_text()
    assert (tmp_path / "learned.png").stat().st_size > 5000
    with pytest.raises(ConfigError, match="NAME=RUN=CUTS"):
        learned.main(["--run", "toy"])


def test_spreads_of_heads(tmp_path):
    """Two heads, 0.1 and 0.2 s: an octave, whose deviation over two is 1 / sqrt 2."""
    metrics_of(tmp_path, levels=0, blocks=2)
    seed = heads.read(tmp_path)
    assert len(seed) == 3 and seed[-1].error == 0.5
    assert (seed[-1].spread, seed[-1].ratio) == pytest.approx((0.5**0.5, 2))
    runs = {("equal", name): [seed, seed] for name in heads.WEIGHTS}
    table = heads.report(runs)
    assert "| equal | power | 50.0 | 0.10, 0.20 | 0.71 (0.71 to 0.71) | 0.71 | +0.00" in table
    heads.picture(runs, tmp_path / "x.png")


def test_slopes_begin_equal_or_spread():
    config = read_config(None, ["data.train=a", "data.dev=b", "model={preset: transformer}"])
    for slope in heads.SLOPES.values():
        model = heads.build(slope)(config.model, 5, {"phones": 3})
        slopes = [p for n, p in model.named_parameters() if n.endswith("log_slope")]
        assert len(slopes) == 4 and all(
            (len(p.unique()) == 1) == (slope is not None) for p in slopes
        )


def test_what_the_monitor_saw(tmp_path, capsys):
    for seed in range(2):
        (tmp_path / f"some-run-seed{seed}").mkdir()
        metrics_of(tmp_path / f"some-run-seed{seed}", levels=1)
    seen.main([str(path) for path in sorted(tmp_path.iterdir())])
    row = capsys.readouterr().out.splitlines()[2]
    assert row.startswith(
        "| some-run | level 0 | 2 | 62 | 62 (62-62) | 0.50 | 0.30 | 0.40 | 0.30 |"
    )
