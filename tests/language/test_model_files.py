"""Language models in binary form hold what their ARPA files hold, and are checked when opened."""

import numpy as np
import pytest
from helpers import zipfian_sentences

from speechasym.errors import ArpaError, OutputError
from speechasym.language.kneser_ney import estimate
from speechasym.language.model_files import read_model, write_model
from speechasym.language.ngrams import rounded

ARRAYS = ("word", "first", "suffix", "probability", "backoff")


@pytest.fixture
def model():
    return estimate(zipfian_sentences(), 3, vocabulary=[f"W{n}" for n in range(30)], least=2)


@pytest.mark.parametrize("name", ["lm.npz", "lm.arpa", "lm.arpa.gz"])
def test_every_form_holds_the_same_bits(tmp_path, model, name):
    write_model(tmp_path / name, model)
    again = read_model(tmp_path / name)
    assert (again.words, again.sizes) == (model.words, model.sizes)
    for field in ARRAYS:
        np.testing.assert_array_equal(getattr(again, field), getattr(model, field), strict=True)
    content = (tmp_path / name).read_bytes()
    write_model(tmp_path / name, again)
    assert (tmp_path / name).read_bytes() == content  # equal models, equal bytes
    (tmp_path / name).rename(tmp_path / "model")  # the content decides
    assert read_model(tmp_path / "model").words == model.words


def test_rounded_models(tmp_path, model):
    texts, histories = zipfian_sentences(), {model.start, 0, *range(1, 60, 7)}
    for values, near in ((256, 0.001), (16, 0.01), (4, 0.2)):
        coarse = rounded(model, values)
        write_model(tmp_path / f"{values}.npz", coarse)
        again = read_model(tmp_path / f"{values}.npz")
        for field in ARRAYS:
            np.testing.assert_array_equal(getattr(again, field), getattr(coarse, field))
        unigrams, *others = model.by_order(coarse.probability)
        np.testing.assert_array_equal(unigrams, model.by_order(model.probability)[0])
        for found, exact in zip(others, model.by_order(model.probability)[1:], strict=True):
            assert len(np.unique(found)) <= values
            assert found.mean() == pytest.approx(exact.mean(), rel=2e-3)
        for history in histories:
            numbers = [number for number in range(len(model.words)) if number != 1]  # not <s>
            total = sum(10 ** coarse.step(history, number)[0] for number in numbers)
            assert total == pytest.approx(1, abs=2 * near + 0.02)
        perplexity = coarse.perplexity(texts).perplexity
        assert perplexity == pytest.approx(model.perplexity(texts).perplexity, rel=near)
    sizes = [(tmp_path / f"{values}.npz").stat().st_size for values in (4, 16, 256)]
    assert sizes == sorted(sizes)


def test_files_of_version_0_1_open(tmp_path, model):
    arrays = {name: getattr(model, name) for name in ARRAYS}
    words = np.frombuffer("\n".join(model.words).encode(), np.uint8)
    path = tmp_path / "old.npz"
    np.savez_compressed(path, format=1, words=words, sizes=np.array(model.sizes), **arrays)
    again = read_model(path)
    assert (again.words, again.sizes) == (model.words, model.sizes)
    for field in ARRAYS:
        np.testing.assert_array_equal(getattr(again, field), getattr(model, field), strict=True)


def test_damage_is_named(tmp_path, model):
    path = tmp_path / "lm.npz"
    write_model(path, model)
    content = path.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    for damaged in (content[:30], content[:-40], content[: len(content) // 2], flipped):
        path.write_bytes(damaged)
        with pytest.raises(ArpaError, match=r"lm\.npz.*not an undamaged.*lm --out"):
            read_model(path)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("format", lambda x: x + 1),
        ("words", lambda x: x[:-20]),
        ("sizes", lambda x: x + 1),
        ("word", lambda x: x + 1),
        ("word", lambda x: x.astype(np.int64)),
        ("word", lambda x: np.minimum(x, len(x) // 100)),
        ("children", lambda x: x[::-1].copy()),
        ("children", lambda x: x - 1),
        ("probability1", lambda x: x * np.nan),
        ("probability2", lambda x: x | 255),
        ("backoff1", lambda x: x[:-1]),
        ("probability2_values", lambda x: x.astype(np.float64)),
        ("backoff2", None),
    ],
)
def test_arrays_that_a_kernel_could_not_trust_are_refused(tmp_path, model, name, change):
    path = tmp_path / "lm.npz"
    write_model(path, rounded(model, 16))
    with np.load(path) as archive:
        arrays = dict(archive)
    if change is None:
        del arrays[name]
    else:
        arrays[name] = change(arrays[name])
    np.savez(path, **arrays)
    with pytest.raises(ArpaError, match="got format 3" if name == "format" else "undamaged"):
        read_model(path)


def test_files_that_are_not_there(tmp_path, model):
    with pytest.raises(ArpaError, match="cannot be read"):
        read_model(tmp_path / "none.npz")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        write_model(tmp_path / "file" / "lm.npz", model)
