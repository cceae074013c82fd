"""`recipes/claims/starvation`: nested shares, stitched nets, the best size."""

import json

import numpy as np
import pytest
import torch
from helpers import ROOT

from recipes.claims.starvation import report, shares, stitch
from recipes.compare.systems import read_systems
from speechasym.corpora.manifests import read_cuts
from speechasym.errors import ConfigError
from speechasym.levels.hierarchy import build_model
from speechasym.training.config import read_config

HERE = ROOT / "recipes" / "claims" / "starvation"
LEVELS = [{"width": 12, "stride": 3, "units": 4, "repeat": 2}, {"width": 10, "units": 4}]


def test_shares_are_nested_and_of_all_speakers(toy, tmp_path, capsys):
    words = [str(toy / "train_cuts.jsonl.gz"), "--out", str(tmp_path), "--sentences", "1,3,8"]
    assert shares.main(words) == 0
    assert "3 sentences, 0." in capsys.readouterr().out
    ids = {}
    for n in (1, 3, 8):
        cuts = list(read_cuts(tmp_path / f"sentences{n}_cuts.jsonl.gz"))
        speakers = [cut.supervisions[0].speaker for cut in cuts]
        assert {speakers.count(who) for who in ("s0", "s1", "s2")} == {n}
        ids[n] = {cut.id for cut in cuts}
    assert ids[1] < ids[3] < ids[8]
    lengths = json.loads((tmp_path / shares.SHARES).read_text())
    assert lengths["8"]["cuts"] == 24 and lengths["1"]["seconds"] < lengths["3"]["seconds"]
    assert shares.main([*words[:-1], "9"]) == 2
    assert "speaker s0 has 8 sentences, fewer than 9. Use at most 8" in capsys.readouterr().err
    assert shares.main([*words[:-1], "0"]) == 2
    assert "must be whole numbers >= 1, got '0'" in capsys.readouterr().err


def test_some_phones_are_wrong(toy):
    def phones(cuts):
        return [i.symbol for cut in cuts for i in cut.supervisions[0].alignment["phone"]]

    cuts = list(read_cuts(toy / "train_cuts.jsonl.gz"))
    right, wrong = phones(cuts), phones(shares.with_errors(cuts, 0.3))
    share = np.mean([a != b for a, b in zip(right, wrong, strict=True)])
    assert 0.2 < share < 0.4 and set(wrong) == set(right)
    assert phones(cuts) == right
    with pytest.raises(ConfigError, match=r"--wrong.*from 0 to 1, got 2"):
        shares.with_errors(cuts, 2)


def test_only_the_width_differs():
    words = ["data.train=a", "data.dev=b"]
    sizes = [
        {
            level.width
            for level in read_config(HERE / "starved.yaml", [*words, *s.words]).model.levels
        }
        for s in read_systems(HERE / "widths.yaml")
    ]
    assert sizes == [{64}, {12}, {28}, {144}, {288}]
    config = read_config(HERE / "starved.yaml", words)
    assert config.data.augment.speeds == (1.0,) and not config.weight_decay


def test_least_squares_finds_an_affine_map():
    x = torch.randn(200, 6, generator=torch.Generator().manual_seed(0))
    matrix, shift = torch.randn(6, 4), torch.randn(4)
    got = stitch.least_squares(x, x @ matrix + shift)
    torch.testing.assert_close(got[0], matrix, atol=2e-3, rtol=0)
    torch.testing.assert_close(got[1], shift, atol=2e-3, rtol=0)


@pytest.fixture
def nets(trained):
    """Two nets with random weights, whose heads read something."""

    def net(seed, width):
        torch.manual_seed(seed)
        levels = [LEVELS[0] | {"width": width}, LEVELS[1]]
        model = build_model(
            {"levels": levels, "heads": {"phones": {"level": 1}}}, trained.model.inputs,
            {"phones": len(trained.inventories["phones"])},
        ).eval()  # fmt: skip
        with torch.no_grad():
            model.heads["phones"].bias[0] = -1.0  # fewer blanks
        inventories = {"phones": trained.inventories["phones"]}
        return trained._replace(model=model, inventories=inventories)

    return net(0, 12), net(1, 12), net(2, 16)


def test_a_net_stitched_to_itself_is_itself(nets, toy):
    a, b, wide = nets
    test = stitch.sentences(a, toy / "test_cuts.jsonl.gz")
    x = test.rows[0]
    with torch.no_grad():
        log_probs, lengths = a.model(x, torch.tensor([x.shape[1]])).heads["phones"]
    best = log_probs[0, : lengths[0]].argmax(-1)
    want = [int(k) for k in torch.unique_consecutive(best) if k]
    assert len(want) > 3
    for depth in range(1, 6):
        assert stitch.read(a, a, depth, None, x) == want
        matrix, shift, explained = stitch.fit(a, a, depth, test.rows)
        assert explained > 0.999
        assert stitch.read(a, a, depth, (matrix, shift), x) == want
    rates = [
        c[..., 0].sum() / c[..., 1].sum() for c in (stitch.whole(a, test), stitch.whole(b, test))
    ]
    assert rates[0] != rates[1]
    lines = stitch.measure(wide, b, test, test)
    assert {line["kind"] for line in lines} == {"affine", "untrained below", "same net"}
    assert len(lines) == 3 * 5
    same = [np.array(line["counts"]) for line in lines if line["kind"] == "same net"]
    assert all(np.array_equal(counts, stitch.whole(b, test)) for counts in same)
    text = stitch.report(
        [{"a": "w", "b": "b", "own": stitch.whole(b, test).tolist(), "lines": lines}]
    )
    assert "| same net | " in text and "+0.0 [+0.0, +0.0]" in text


def test_nets_that_cannot_be_stitched_are_named(nets, trained):
    a, _, _ = nets
    with pytest.raises(ConfigError, match=r"steps differ.*Stitch hierarchies with events=none"):
        stitch.stages_of(trained)
    short = build_model({"levels": LEVELS[:1]}, a.model.inputs, {"phones": 3})
    sentences = stitch.Sentences([], {}, {})
    with pytest.raises(ConfigError, match=r"has 4 blocks, and .* 6"):
        stitch.measure(a._replace(model=short), a, sentences, sentences)


def line(system, seed, parameters, errors, dev):
    counts = {f"s{k}": [100, e, 0, 0] for k, e in enumerate(errors)}
    return {
        "system": system, "seed": seed, "parameters": parameters, "counts": {"PER": counts},
        "rates": {"PER": 0.5}, "dev": {"dev_error_phones": dev},
    }  # fmt: skip


def test_the_best_size_moves(tmp_path, capsys):
    errors = {1: {"s": 50, "l": 60}, 8: {"s": 40, "l": 20}}
    (tmp_path / "shares.json").write_text(
        json.dumps({n: {"cuts": 1, "seconds": 60.0 * n} for n in errors} | {"2": {"seconds": 120}})
    )
    for n, by in errors.items():
        (tmp_path / f"sentences{n}").mkdir()
        lines = [
            line(name, seed, 1000 if name == "s" else 8000, [e + seed, e + 2, e - 1], e / 200)
            for name, e in by.items() for seed in (0, 1)
        ]  # fmt: skip
        path = tmp_path / f"sentences{n}" / "results.jsonl"
        path.write_text("".join(json.dumps(x) + "\n" for x in lines))
    assert report.main([str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "| minutes | 1,000 | 8,000 | best size |" in text
    assert "| 1.0 | 50.5 (50.3 to 50.7); 25 | 60.5 (60.3 to 60.7); 30 | 1,000 (100 %) |" in text
    assert "moves by +3.0 (95 % interval +3.0 to +3.0) octaves" in text
    assert "| 1.0 | +10.0 [" in text and "| 8.0 | the largest is best |" in text
    assert (tmp_path / "starvation.png").stat().st_size > 5000
    (tmp_path / "shares.json").write_text("{}")
    assert report.main([str(tmp_path)]) == 2
    assert "has no results of a share" in capsys.readouterr().err
