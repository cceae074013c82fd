"""Other spectrograms, pitch, tracks of Praat, and how pictures are styled."""

import sys

import numpy as np
import pytest
from helpers import ROOT, called, contents, sine, tone
from matplotlib.image import imread

import speechasym
from speechasym.errors import AudioError, ConfigError
from speechasym.feature_extraction import praat
from speechasym.plots.spectrograms import praat_tracks

SPEECH = ROOT / "data" / "cards-001.wav"


def test_panels_of_spectrograms(tmp_path):
    """Axes: linear in Hz for an FFT; pitch in the reader's range; times of the part."""
    figure = speechasym.plot(SPEECH, what=["waveform", "spectrogram", "pitch"], start=0.3, end=0.8)
    spectrogram = figure.axes[1]
    assert spectrogram.get_ylim() == (0, 8000) and spectrogram.images[0].get_array().ndim == 2
    assert figure.axes[0].get_xlim() == pytest.approx((0.3, 0.8), abs=0.01)
    times, hz = figure.axes[2].lines[0].get_data()
    assert 0.29 < times.min() < times.max() < 0.82
    assert 90 < np.nanmedian(hz) < 130  # data/README.md: 111 Hz over the whole


def test_captions_and_styles(tmp_path):
    with_words = speechasym.plot(SPEECH, what="waveform", size=(6, 3), dpi=80, font_size=7)
    texts = [text.get_text() for text in with_words.texts]
    assert texts[-1].startswith("Waveform: the sound pressure")
    assert tuple(with_words.get_size_inches()) == (6, 3) and with_words.dpi == 80
    label = with_words.axes[0].xaxis.get_label()
    assert label.get_fontsize() == 7
    bare = speechasym.plot(SPEECH, tmp_path / "x.png", "waveform", caption=False, dpi=50)
    assert len(bare.texts) == 1 and imread(tmp_path / "x.png").shape[1] == 400
    for options, says in (
        ({"font_size": 0}, "font_size: must be >= 2"),
        ({"size": (8,)}, "a width and a height"),
        ({"size": (0, 3)}, "size: must be >= 1"),
        ({"size": (1, 1)}, "too small for the panels"),
        ({"dpi": 2400, "size": (99, 9)}, "more than 65,535 pixels"),
        ({"end": 0.0}, "end: must be after the start"),
        ({"end": 1.0, "duration": 1.0}, "cannot be combined with a duration"),
        ({"overlay": ["pitch"]}, "is drawn over a spectrogram"),
        ({"overlay": ["voice"], "what": "spectrogram"}, "overlay: must be one or more of form"),
    ):
        with pytest.raises(ConfigError, match=says):
            speechasym.plot(SPEECH, tmp_path / "y.png", **{"what": "waveform"} | options)
    assert not (tmp_path / "y.png").exists()


def test_several_files(tmp_path, capsys):
    """Bad ones, each in its own way, are reported together after the others are drawn."""
    bad, a, b, noted, short = (tmp_path / f"{n}.wav" for n in ("bad", "a", "b", "noted", "short"))
    bad.write_bytes(b"no sound")
    for path, seconds in ((a, 0.3), (b, 0.3), (noted, 0.3), (short, 0.05)):
        tone(path, sine(seconds))
    noted.with_suffix(".TextGrid").write_text("no tiers")
    out = tmp_path / "pictures"
    options = ["--what", "waveform", "--size", "4,2", "--format", "svg", "--from", "0.1"]
    call = ["plot", bad, noted, a, short, tmp_path / "x.csv", b, "--out", out, *options]
    code, said, err = called(capsys, *call)
    assert code == 1 and said.split() == [str(out / "a.svg"), str(out / "b.svg")]
    says = ["bad.wav: only 8", "TextGrid:1: not", "short.wav: ends after", "x.csv: no such file"]
    assert [words in line for words, line in zip(says, err.splitlines(), strict=True)] == [True] * 4
    assert contents(out).keys() == {"a.svg", "b.svg", ".speechasym.json"}
    (out / "a.svg").write_text("mine")
    code, _, err = called(capsys, *call)
    assert code == 2 and "a.svg: exists, and was not written by speechasym, or was changed" in err
    for wrong, says in (
        (["plot", a, b, "--out", tmp_path / "x.png"], "several pictures need a folder"),
        (["plot", a, b, "--out", out, "--format", "gif"], "must be png, pdf or svg"),
        (["plot", a, b, "--out", out, "--what", "colour"], "what: 'colour' is not known"),
        (["plot", a, b, "--out", out, "--tiers", bad], "bad.wav: not a known annotation"),
        (["plot", a, "--out", tmp_path / "x.png", "--format", "svg"], "applies to several"),
    ):
        code, _, err = called(capsys, *wrong)
        assert code == 2 and says in err, err


def test_tracks_of_praat(caplog):
    pytest.importorskip("parselmouth")
    x, rate = speechasym.load(SPEECH)
    found = praat_tracks(x, rate, ["formants", "intensity", "pitch"], "x")
    assert 90 < np.nanmedian(found["pitch"].values) < 130
    formants = found["formants"].values
    quiet = np.isnan(formants[:, 0]).mean()
    assert formants.shape[1] == 5 and 0.02 < quiet < 0.9
    first, second = np.nanmedian(formants[:, :2], 0)
    assert 200 < first < 1200 < second < 2500
    with pytest.raises(AudioError, match="x: Praat finds no intensity"):
        praat.track("intensity", x[:800], rate, "x")
    options = {"what": "spectrogram", "overlay": ["pitch", "intensity"]}
    short = speechasym.plot((x[:800], rate), **options)
    assert len(short.axes[0].lines) == 1  # pitch alone
    caption = " ".join(short.texts[-1].get_text().split())
    assert caption.endswith(
        "pitch (light blue). The recording is too short for intensity by Praat."
    )
    assert "Praat finds no intensity" in caplog.text
    figure = speechasym.plot(SPEECH, what=["spectrogram", "gammatone"], overlay=["pitch"])
    assert all(len(axes.lines) >= 1 for axes in figure.axes[:2])
    legends = [axes.get_legend() for axes in figure.axes[:2]]
    assert [legend is None for legend in legends] == [False, True]


def test_without_parselmouth(monkeypatch):
    monkeypatch.setitem(sys.modules, "parselmouth", None)
    with pytest.raises(ConfigError, match=r"pip install 'speechasym\[praat\]'"):
        praat.track("pitch", sine(0.1), 16000)
