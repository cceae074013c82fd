"""The report: what is on the page, on odd runs too, and what a real browser makes of it."""

import base64
import dataclasses
import gzip
import io
import json
import re
import shutil
from pathlib import Path

import browser
import numpy as np
import pytest
import soundfile as sf
from helpers import called, tone
from pages import Parsed
from PIL import Image
from toy import RATE, configuration, utterance

from speechasym import files
from speechasym.errors import AudioError, ConfigError, OutputError
from speechasym.levels.hierarchy import build_model
from speechasym.recognition import evaluation
from speechasym.recognition.trained_model import open_run
from speechasym.report import data
from speechasym.report.html import percent, percent_range
from speechasym.report.page import write_report
from speechasym.training import config, loop

CHROMIUM = browser.chromium()
PROBLEMS = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
SECTIONS = [
    "training", "watched", "errors", "confusions", "ranks", "listen", "configuration",
]  # fmt: skip


def written(folder: Path, run, **options) -> tuple[Parsed, str]:
    path = write_report(run, folder / "page.html", show_progress=False, **options)
    assert [p.name for p in folder.iterdir() if p.suffix == ".part"] == []
    text = path.read_text("utf-8")
    return Parsed(text), text


def decoded(uri: str) -> bytes:
    return base64.b64decode(uri.split(",", 1)[1])


@pytest.fixture(scope="module")
def page(toy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    return written(folder, toy / "run", cuts=toy / "test_cuts.jsonl.gz")


# --- the page ------------------------------------------------------------------------------------


def test_sections(page):
    parsed, _ = page
    assert [a["id"] for a in parsed.all("section")] == SECTIONS
    linked = [a["href"] for a in parsed.all("a") if a["href"].startswith("#")]
    assert set(linked) == {f"#{name}" for name in SECTIONS}
    assert len(parsed.all("h1")) == 1 and parsed.all("html", lang="en-GB")
    assert "toy0/run" in parsed.text or "/run" in parsed.text  # a folder called run says whose
    assert len(parsed.all("article")) == 3 and len(parsed.all("svg", role="img")) >= 3 + 1 + 2


def test_it_asks_for_nothing(page):
    parsed, text = page
    assert not re.search(r"https?://", text)
    for _, attributes in parsed.elements:
        for key in ("src", "href"):
            value = attributes.get(key)
            assert value is None or value.startswith(("data:", "#")), value
    policy = parsed.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    assert policy.startswith("default-src 'none';")
    assert "url(" not in text and "@import" not in text
    assert len(text) < 6e6


def test_pictures_and_sound_are_whole(page, toy):
    parsed, _ = page
    pictures = parsed.all("img")
    # of each recording: spectrogram, four levels of three tracks, two levels of units
    assert len(pictures) == 3 * (1 + 3 * 4 + 2)
    for attributes in pictures:
        picture = Image.open(io.BytesIO(decoded(attributes["src"])))
        assert attributes["alt"] and np.asarray(picture.convert("RGBA"))[..., 3].std() > 0
    sounds = [sf.read(io.BytesIO(decoded(a["src"]))) for a in parsed.all("audio")]
    lanes = [float(a["data-seconds"]) for a in parsed.all("div") if "data-seconds" in a]
    for (x, rate), seconds in zip(sounds, lanes, strict=True):
        assert rate == RATE and len(x) / rate == pytest.approx(seconds, abs=1e-4) and x.std() > 0.01


def test_its_figures_are_those_of_evaluate(page, toy):
    parsed, _ = page
    result = evaluation.evaluate(toy / "run", toy / "test_cuts.jsonl.gz", show_progress=False)
    for score in result.scores.values():
        assert parsed.shows(percent(score.rate))
        assert parsed.shows(percent_range(score.low, score.high))
    c = result.scores["phones"].counts
    assert f"Of {c.length:,} phones, {c.substitutions:,} were substituted" in parsed.text
    assert "7 cuts" in parsed.text and "3 speakers" in parsed.text and "24 cuts" in parsed.text
    assert result.trained.fingerprint in parsed.text and result.cuts_sha256 in parsed.text


def test_wins_are_those_of_the_pictures(toy):
    """The hook counts the same in padded batches as cut by cut."""
    from speechasym.plots.ranks import unit_use
    from speechasym.plots.recognised import recognise

    trained = open_run(toy / "run")
    cuts = toy / "test_cuts.jsonl.gz"
    with data.count_units(trained) as batched:
        evaluation.evaluate(trained, cuts, show_progress=False)
    first, others = recognise(trained, cuts, None, None, others=True)
    expected = unit_use(trained, [recording.output for recording in (first, *others)])
    for use, single in zip(batched.values(), expected, strict=True):
        assert (use.level, use.law) == (single.level, single.law)
        np.testing.assert_array_equal(use.wins, single.wins)
    assert not trained.model._forward_hooks


def test_the_same_run_gives_the_same_bytes(toy, page, tmp_path):
    _, again = written(tmp_path, toy / "run", cuts=toy / "test_cuts.jsonl.gz")
    assert again == page[1]


def test_configuration(page, toy):
    parsed, _ = page
    assert "model.levels.0.keep" in parsed.text and "0.7" in parsed.text
    assert f"{toy}/train_cuts.jsonl.gz" in parsed.text and "not recorded" in parsed.text


# --- odd runs and cuts ---------------------------------------------------------------------------


def cuts_changed(toy, folder, change) -> Path:
    """The test cuts, each manifest line changed."""
    with gzip.open(toy / "test_cuts.jsonl.gz", "rt") as file:
        lines = [json.loads(line) for line in file]
    for line in lines:
        change(line)
    path = folder / "cuts.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_names_are_escaped(toy, tmp_path):
    evil = '<script>alert("x")</script>&'

    def change(line):
        line["id"] = line["id"] + evil
        line["supervisions"][0]["speaker"] += evil

    cuts = cuts_changed(toy, tmp_path, change)
    run = tmp_path / "<b>&'run"
    shutil.copytree(toy / "run", run)
    figures = tmp_path / "<i>.json"
    result = evaluation.evaluate(run, cuts, show_progress=False).as_json()
    figures.write_text(json.dumps(result | {"command": evil}))
    baselines = {"<u>other</u>": figures}
    parsed, text = written(
        tmp_path, run, cuts=cuts, evaluation=figures, baselines=baselines, command=evil
    )
    assert len(parsed.all("script")) == 1 and not parsed.all("b", id="x") and not parsed.all("u")
    assert evil not in text and evil in parsed.text and "<b>&'run" in parsed.text
    assert "<u>other</u>" in parsed.text


def test_figures_and_baselines(toy, tmp_path):
    cuts = toy / "test_cuts.jsonl.gz"
    result = evaluation.evaluate(toy / "run", cuts, show_progress=False).as_json()
    figures, other = tmp_path / "test.json", tmp_path / "other.json"
    result["scores"]["phones"]["rate"] = 0.1234
    figures.write_text(json.dumps(result | {"command": "speechasym evaluate it"}))
    result["scores"]["phones"] |= {"rate": 0.4321, "interval_95": [0.3, 0.5]}
    other.write_text(json.dumps(result | {"cuts_sha256": "another"}))
    # without cuts: those that the figures are of
    parsed, _ = written(tmp_path, toy / "run", evaluation=figures, baselines={"gru": other})
    assert parsed.shows(percent(0.1234)) and parsed.shows(percent(0.4321))
    assert (
        parsed.shows(percent_range(0.3, 0.5)) and "gru was evaluated on other cuts" in parsed.text
    )
    assert "speechasym evaluate it" in parsed.text and "real-time factor" in parsed.text
    dev = toy / "dev_cuts.jsonl.gz"
    with pytest.raises(ConfigError, match="results are of other cuts"):
        write_report(
            toy / "run",
            tmp_path / "x.html",
            evaluation=figures,
            cuts=dev,
            show_progress=False,
        )
    figures.write_text(json.dumps(result | {"checkpoint_sha256": "another"}))
    with pytest.raises(ConfigError, match="of another model"):
        write_report(toy / "run", tmp_path / "x.html", evaluation=figures, show_progress=False)
    for content in ("{", "[]", "{}", '{"scores": {}}', '{"scores": {"phones": {"N": 1}}}'):
        other.write_text(content)
        with pytest.raises(ConfigError, match="no results of a run"):
            data.read_results(other)
    with pytest.raises(ConfigError, match="No such file"):
        data.read_results(tmp_path / "none.json")
    assert not (tmp_path / "x.html").exists()


def test_one_speaker_and_cuts_without_phones(toy, tmp_path):
    """No interval; what the cuts do not have is left out, and said."""

    def change(line):
        line["supervisions"][0]["speaker"] = "me"
        del line["supervisions"][0]["alignment"]["phone"]
        line["supervisions"][0]["alignment"]["word"] = []

    cuts = cuts_changed(toy, tmp_path, change)
    parsed, _ = written(tmp_path, toy / "run", cuts=cuts)
    assert "Without phones" in parsed.text and "it has no phones" in parsed.text
    assert "one speaker: no interval" in parsed.text and "at least two speakers" in parsed.text
    assert [a["id"] for a in parsed.all("section")] == SECTIONS
    rows = [a["class"] for a in parsed.all("div") if a.get("class", "").startswith("row tier")]
    assert "row tier words said" in rows and "row tier phones recognised" in rows
    assert "row tier phones said" not in rows


def small(toy, folder, more: str):
    path = folder / "run.yaml"
    path.write_text(configuration(toy, steps=3))
    out = folder / "odd"
    loop.train(config.read_config(path, more.split()), out, show_progress=False)
    return out


def test_a_single_head_without_units_or_events(toy, tmp_path):
    plain = "model.levels.0.units=0 model.levels.1.units=0 model.levels.0.events=none"
    run = small(toy, tmp_path, f"heads.phones=0 heads.words=0 {plain} start={toy / 'run'}")
    parsed, _ = written(tmp_path, run)  # on its own dev cuts
    assert "have no units" in parsed.text and "This level has no units." in parsed.text
    assert "letter error rate" in parsed.text.lower() and "Phone error rate" not in parsed.text
    assert "dev_cuts.jsonl.gz" in parsed.text and "6 cuts" in parsed.text
    assert "started from run and trained for" in parsed.text


def test_a_model_without_levels(toy, tmp_path):
    sizes = {head: len(symbols) for head, symbols in open_run(toy / "run").inventories.items()}
    model = build_model({"preset": "recurrent"}, 16, sizes).eval()
    trained = open_run(toy / "run")._replace(model=model)
    parsed, _ = written(tmp_path, trained, cuts=toy / "test_cuts.jsonl.gz")
    assert parsed.text.count("This model has no levels") == 1 + 3
    assert len(parsed.all("img")) == 3 * 13


def test_recordings_and_missing_sound(toy, tmp_path):
    x, said, sounds = utterance(["am", "mass"])
    path = tone(tmp_path / "mine.wav", x, RATE)
    for ending, rows in ((".WRD", said), (".PHN", sounds)):
        lines = (f"{round(a * RATE)} {round(b * RATE)} {w}\n" for a, b, w in rows)
        path.with_suffix(ending).write_text("".join(lines))
    bare = tone(tmp_path / "bare.wav", x, RATE)
    cuts = toy / "test_cuts.jsonl.gz"
    parsed, _ = written(tmp_path, toy / "run", cuts=cuts, recordings=[path, bare])
    assert len(parsed.all("article")) == 2 and "without a reference annotation" in parsed.text
    labels = [a["aria-label"] for a in parsed.all("button")]
    assert any(label.startswith("MASS: said and recognised") for label in labels)
    with pytest.raises(AudioError):
        write_report(
            toy / "run", tmp_path / "x.html", cuts=cuts, recordings=[tmp_path / "no.wav"],
            show_progress=False,
        )  # fmt: skip

    def change(line):
        line["recording"]["sources"][0]["source"] = str(tmp_path / "gone.wav")

    gone = cuts_changed(toy, tmp_path, change)
    with pytest.raises(AudioError, match="gone"):
        write_report(toy / "run", tmp_path / "x.html", cuts=gone, show_progress=False)
    figures = tmp_path / "test.json"
    result = evaluation.evaluate(toy / "run", cuts, show_progress=False).as_json()
    sha = files.sha256(gone)
    figures.write_text(json.dumps(result | {"cuts_sha256": sha}))
    parsed, _ = written(tmp_path, toy / "run", cuts=gone, evaluation=figures)
    assert "Nothing could be recognised for this page" in parsed.text and "gone.wav" in parsed.text
    assert parsed.shows(percent(result["scores"]["words"]["rate"])) and not parsed.all("article")


def test_bad_input_writes_nothing(toy, tmp_path):
    with pytest.raises(ConfigError, match=r"End it in \.html"):
        write_report(toy / "run", tmp_path / "x.pdf", show_progress=False)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        cuts = toy / "dev_cuts.jsonl.gz"
        write_report(toy / "run", tmp_path / "file" / "x.html", cuts=cuts, show_progress=False)
    trained = open_run(toy / "run")
    config_data = dataclasses.replace(trained.config.data, dev=str(tmp_path / "gone.jsonl.gz"))
    other = trained._replace(config=dataclasses.replace(trained.config, data=config_data))
    with pytest.raises(ConfigError, match="dev cuts are no longer at"):
        write_report(other, tmp_path / "x.html", show_progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_command(toy, tmp_path, capsys):
    out = tmp_path / "r.html"
    call = ["report", toy / "run", "--out", out, "--cuts", toy / "dev_cuts.jsonl.gz"]
    code, said, _ = called(capsys, *call)
    assert code == 0 and said.strip().endswith(str(out)) and out.stat().st_size > 50_000
    assert "speechasym report" in Parsed(out.read_text("utf-8")).text
    code, _, err = called(capsys, *call, "--baseline", "gru.json")
    assert code == 2 and "NAME=JSON" in err and err.startswith("speechasym: --baseline")
    code, _, err = called(capsys, "report", tmp_path / "none", "--out", out)
    assert code == 2 and "is not the folder of a run" in err


# --- a real browser ------------------------------------------------------------------------------

LOOK = """
(async () => {
  const sounds = [...document.querySelectorAll("audio")];
  await Promise.all(sounds.map((a) => a.readyState >= 1 ? 0 :
    new Promise((done) => { a.onloadedmetadata = done; a.onerror = done; })));
  const pictures = [...document.querySelectorAll("img")];
  await Promise.all(pictures.map((p) => p.decode().catch(() => 0)));
  const light = (colour) => {
    const c = colour.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
      .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * c[0] + 0.7152 * c[1] + 0.0722 * c[2];
  };
  const ground = (e) => {
    for (let n = e; n; n = n.parentElement) {
      const colour = getComputedStyle(n).backgroundColor;
      if (!/, 0\\)$|transparent/.test(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const ratio = (e) => {
    const style = getComputedStyle(e);
    const ink = light(e instanceof SVGElement ? style.fill : style.color);
    const paper = light(ground(e));
    return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
  };
  const texts = [...document.querySelectorAll(
    "p, h1, h2, h3, a, th, td, caption, small, dt, dd, summary, button, span, text:not(.share)")]
    .filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()));
  const root = document.documentElement;
  return {
    pictures: pictures.filter((p) => !(p.naturalWidth > 0)).length, all: pictures.length,
    sounds: sounds.map((a) => [a.readyState, a.duration]),
    over: root.scrollWidth - root.clientWidth, wide: root.clientWidth,
    inside: [...document.querySelectorAll(".scroll")].filter(
      (b) => b.scrollWidth > b.clientWidth + 1).length,
    pale: [...new Set(texts.filter((e) => ratio(e) < 4.5).map(
      (e) => `${e.tagName} ${e.getAttribute("class")} ${ratio(e).toFixed(2)}`))],
    paper: getComputedStyle(document.body).backgroundColor,
  };
})()
"""
needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium here: install Debian's chromium-headless-shell"
)


@pytest.fixture(scope="module")
def saved(page, tmp_path_factory):
    path = tmp_path_factory.mktemp("browser") / "page.html"
    path.write_text(page[1], "utf-8")
    return path


@needs_browser
def test_in_a_browser(saved):
    papers = set()
    with browser.Page(CHROMIUM) as tab:
        for width in (390, 1440):
            for dark in (False, True):
                tab.open(saved, width, dark)
                seen = tab.run(LOOK)
                assert seen["pictures"] == 0 and seen["all"] == 45
                assert len(seen["sounds"]) == 3
                assert all(state >= 1 and long > 0.3 for state, long in seen["sounds"])
                assert (seen["over"], seen["wide"]) == (0, width)
                assert seen["inside"] > 0 or width == 1440  # wide things scroll in their boxes
                assert seen["pale"] == []
                papers.add(seen["paper"])
        asked = {
            p["request"]["url"].split(",")[0][:40]
            for p in tab.named_events("Network.requestWillBeSent")
        }
        messages = tab.named_events(
            "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"
        )
    assert messages == [] and len(papers) == 2
    assert all(url.startswith(("data:", saved.as_uri()[:40])) for url in asked), asked


@needs_browser
def test_clicks_and_keys(saved):
    """A symbol plays itself and stops, the cursor follows, arrows move along a row."""
    with browser.Page(CHROMIUM) as tab:
        tab.open(saved, 1440)
        result = tab.run(
            """(async () => {
              const scene = document.querySelector(".hear");
              const sound = scene.querySelector("audio");
              const row = [...scene.querySelectorAll(".tier.phones.said button")];
              const seconds = Number(scene.querySelector(".lanes").dataset.seconds);
              const from = Number(row[1].style.getPropertyValue("--a")) * seconds / 100;
              const ended = new Promise((done) => sound.addEventListener("pause", done));
              row[1].click();
              await Promise.race([ended, new Promise((done) => setTimeout(done, 5000))]);
              const cursor = scene.querySelector(".cursor");
              row[0].focus();
              const key = {key: "ArrowRight", bubbles: true};
              row[0].dispatchEvent(new KeyboardEvent("keydown", key));
              const shown = () => [...scene.querySelectorAll(".kind")].filter(
                (r) => r.offsetHeight > 0).map((r) => r.className);
              const before = shown();
              scene.querySelector("input[value=lead]").click();
              return {at: sound.currentTime, from, paused: sound.paused,
                left: parseFloat(cursor.style.left), seconds,
                moved: document.activeElement === row[1] && row[0].tabIndex === -1,
                before, after: shown()};
            })()"""
        )
        messages = tab.named_events(
            "Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"
        )
    assert messages == [] and result["paused"] and result["moved"]
    assert result["from"] < result["at"] < result["from"] + 0.4
    assert result["left"] == pytest.approx(100 * result["at"] / result["seconds"], abs=8)
    assert len(result["before"]) == 4 == len(result["after"])
    assert all("amplitude" in name for name in result["before"])
    assert all("lead" in name for name in result["after"])
