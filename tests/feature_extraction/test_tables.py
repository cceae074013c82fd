"""Feature files of every format hold the same, and are read back as tables."""

import json

import numpy as np
import pytest
from helpers import called, leftovers, sine, tone

import speechasym
from speechasym.feature_extraction import dataframes, tables
from speechasym.feature_extraction.functionals import STATISTICS, summarise

pytest.importorskip("pandas")
for package in ("pyarrow", "h5py"):
    pytest.importorskip(package)
OPTIONS = {"channels": 5, "tracks": ("level", "frequency"), "sample_rate": 22050}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A folder of features of two recordings in each format."""
    inputs = tmp_path_factory.mktemp("in")
    x = np.random.default_rng(0).normal(0, 0.1, 9000)
    tone(inputs / "b, c.wav", x, 16000)
    tone(inputs / "sub" / "a.wav", sine(0.8) * np.linspace(0, 1, 12800))
    outs = {}
    for kind in tables.ENDINGS:
        out = outs[kind] = tmp_path_factory.mktemp(kind)
        result = speechasym.extract(inputs, out, format=kind, **OPTIONS)
        assert result.written == ["b, c", "sub/a"] and not leftovers(out)
        assert speechasym.extract(inputs, out, format=kind, **OPTIONS).kept == result.written
    return inputs, outs


@pytest.mark.parametrize("kind", tables.ENDINGS)
def test_a_table_of_each_format(folders, kind):
    inputs, outs = folders
    expected = speechasym.features(inputs / "sub" / "a.wav", **OPTIONS)
    table = speechasym.read_features(outs[kind] / "sub" / f"a.{tables.ENDINGS[kind]}")
    np.testing.assert_allclose(table, expected, rtol=1e-6, atol=1e-6)
    assert table.shape == (80, 10) and set(table.dtypes) == {np.dtype("f4")}
    assert (table.columns[0], table.columns[-1]) == ("level_00", "frequency_04")
    assert table.attrs["units"]["frequency_04"] == "ERB" and table.attrs["rate"] == 22050 / 221
    assert table.index.name == "time" and table.index[79] == pytest.approx(79 * 221 / 22050)
    both = speechasym.read_features(outs[kind], columns=["frequency", "level_01"])
    assert both.shape == (136, 6) and list(both.index.names) == ["file", "time"]
    assert list(both.columns)[4:] == ["frequency_04", "level_01"]
    np.testing.assert_array_equal(both.loc["sub/a"]["level_01"], table["level_01"])


def test_other_programs_open_them(folders):
    import h5py
    import pandas as pd
    import pyarrow.parquet as pq

    inputs, outs = folders
    expected = speechasym.features(inputs / "sub" / "a.wav", **OPTIONS)
    time = np.arange(80) * 221 / 22050
    for table in (pd.read_csv(outs["csv"] / "sub" / "a.csv"),
                  pd.read_parquet(outs["parquet"] / "sub" / "a.parquet")):  # fmt: skip
        np.testing.assert_allclose(table["time"], time, atol=1e-6)
        np.testing.assert_allclose(table["level_03"], expected[:, 3], rtol=1e-6)
    schema = pq.read_schema(outs["parquet"] / "sub" / "a.parquet")
    assert schema.field("level_00").metadata == {b"unit": b"dB"}
    with h5py.File(outs["hdf5"] / "sub" / "a.h5") as file:
        np.testing.assert_array_equal(file["features"], expected)
        np.testing.assert_allclose(file["time"], time)
        assert file["column"].asstr()[9] == "frequency_04" and file["unit"].asstr()[0] == "dB"
        assert json.loads(file.attrs["config"])["channels"] == 5


def test_praat_opens_its_matrix(folders):
    parselmouth = pytest.importorskip("parselmouth")
    inputs, outs = folders
    matrix = parselmouth.read(str(outs["praat"] / "sub" / "a.Matrix"))
    values = matrix.values if hasattr(matrix, "values") else matrix.as_array()
    expected = speechasym.features(inputs / "sub" / "a.wav", **OPTIONS)
    np.testing.assert_allclose(values, expected.T, rtol=1e-6, atol=1e-6)
    call = parselmouth.praat.call
    assert call(matrix, "Get number of rows") == 10
    assert call(matrix, "Get column distance") == pytest.approx(221 / 22050)
    assert call(matrix, "Get x of column", 1) == pytest.approx(221 / 22050 / 2)


def test_xarray(folders):
    pytest.importorskip("xarray")
    _, outs = folders
    one = speechasym.read_features(outs["npy"] / "b, c.npy", form="xarray")
    assert one.dims == ("time", "column") and one.shape == (56, 10)
    assert one.sel(column="level_02").coords["unit"] == "dB"
    assert one.centre_hz[0] == 50 and one.attrs["rate"] == 22050 / 221
    both = speechasym.read_features(outs["npy"], form="xarray")
    assert both.dims == ("frame", "column") and both.sel(frame=both.file == "sub/a").shape[0] == 80


def test_functionals(folders, tmp_path, capsys):
    import pandas as pd

    inputs, outs = folders
    table = speechasym.functionals(outs["hdf5"])
    assert list(table.index) == ["b, c", "sub/a"] and len(table.columns) == 2 + 10 * len(STATISTICS)
    x = speechasym.features(inputs / "sub" / "a.wav", **OPTIONS)[:, 2].astype(float)
    time = np.arange(len(x)) * 221 / 22050
    row = table.loc["sub/a"]
    expected = {
        "mean": x.mean(), "sd": x.std(), "slope": np.polyfit(time, x, 1)[0],
        "p05": np.quantile(x, 0.05), "p50": np.median(x), "range": x.max() - x.min(),
    }  # fmt: skip
    for name, value in expected.items():
        assert row[f"level_02_{name}"] == pytest.approx(value, rel=1e-6)
    assert table.attrs["units"]["frequency_00_slope"] == "ERB/s"
    assert (row["frames"], row["seconds"]) == (80, 0.8)
    for ending, read in ((".csv", pd.read_csv), (".parquet", pd.read_parquet)):
        path = tmp_path / f"functionals{ending}"
        words = ["--out", outs["npy"], "--functionals", path, "--channels=5"]
        words += ["--tracks=level,frequency", "--sample-rate=22050"]
        for _ in range(2):  # the second time replaces its own file
            code, out, _ = called(capsys, "extract", inputs, *words)
            assert code == 0 and f"functionals -> {path}" in out
        written = read(path).set_index("file")
        pd.testing.assert_frame_equal(written, table, rtol=1e-6, check_dtype=False)
        path.write_text("mine")
        with pytest.raises(speechasym.OutputError, match="exists"):
            speechasym.extract(inputs, tmp_path / "new", functionals=path)
        assert path.read_text() == "mine" and not (tmp_path / "new").exists()


def test_functionals_of_one_frame_and_of_many_columns(monkeypatch):
    rows = np.random.default_rng(1).normal(size=(50, 7)).astype(np.float32)
    whole = summarise(rows, 100.0)
    monkeypatch.setattr("speechasym.feature_extraction.functionals.BLOCK", 100)
    np.testing.assert_allclose(summarise(rows, 100.0), whole)
    one = summarise(rows[:1], 100.0)
    assert np.isnan(one[:, STATISTICS.index("slope")]).all() and np.isnan(one).sum() == 7


def test_tables_that_are_too_large(folders, tmp_path, monkeypatch):
    inputs, outs = folders
    monkeypatch.setattr(dataframes, "free_memory", lambda: 4000.0)
    with pytest.raises(speechasym.ConfigError, match=r"4e-06 GB of memory are free\. Read some"):
        speechasym.read_features(outs["npy"])
    monkeypatch.setattr(tables, "MOST_IN_PRAAT", 700)
    result = speechasym.extract(inputs, tmp_path / "out", format="praat", **OPTIONS)
    assert result.written == ["b, c"] and "Use the format parquet" in result.failed["sub/a"]
    assert not leftovers(tmp_path)


def test_what_cannot_be_read_or_written(folders, tmp_path, monkeypatch):
    inputs, outs = folders
    with pytest.raises(speechasym.ConfigError, match="must be one of npy, csv"):
        speechasym.extract(inputs, tmp_path / "out", format="xlsx")
    with pytest.raises(speechasym.ConfigError, match=r"must end in \.csv or \.parquet"):
        speechasym.extract(inputs, tmp_path / "out", functionals="f.xlsx")
    with pytest.raises(speechasym.OutputError, match=r"another format \(npy -> csv\)"):
        speechasym.extract(inputs, outs["npy"], format="csv", **OPTIONS)
    mine = tmp_path / "mine" / "sub" / "a.csv"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(speechasym.OutputError, match="exists, and is not listed"):
        speechasym.extract(inputs, tmp_path / "mine", format="csv")
    assert mine.read_text() == "mine"
    for source, says in (
        (tmp_path / "nothing", "no such file or folder"),
        (mine, "no features.json beside or above"),
        (inputs, "no features.json in it"),
        (outs["csv"] / "features.json", "is not listed"),
    ):
        for read in (speechasym.read_features, speechasym.functionals):
            with pytest.raises(speechasym.ConfigError, match=says):
                read(source)
    with pytest.raises(speechasym.ConfigError, match=r"'pitch' is not a column, nor .* level"):
        speechasym.read_features(outs["csv"], columns=["pitch"])
    for kind, ending in tables.ENDINGS.items():
        path = outs[kind] / f"b, c.{ending}"
        whole = path.read_bytes()
        for part in (whole[: len(whole) // 2], b"", b"x,y\n1,2\n"):
            path.write_bytes(part)
            with pytest.raises(speechasym.ConfigError, match="b, c"):
                speechasym.read_features(path)
        path.write_bytes(whole)
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(speechasym.ConfigError, match=r"pip install 'speechasym\[tables\]'"):
        speechasym.extract(inputs, tmp_path / "out", format="parquet")
    assert not (tmp_path / "out").exists()
