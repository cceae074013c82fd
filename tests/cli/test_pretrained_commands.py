"""Commands without a run use the pretrained model, its lexicon and its language model."""

import json
import shutil
from pathlib import Path

import pytest
from helpers import ROOT, called, write_cuts
from toy import LEXICON

import speechasym
from speechasym.annotations.tiers import read_tiers
from speechasym.language import letter_to_sound
from speechasym.recognition.decoder import BY_LEXICON
from speechasym.recognition.trained_model import open_run

GOFORWARD = ROOT / "data" / "goforward.wav"
SAID = {GOFORWARD: "go forward ten meters", ROOT / "data" / "cards-001.wav": "ten of clubs"}


def cut_of(path: Path, text: str | None, phones=()):
    from lhotse import Recording, SupervisionSegment
    from lhotse.supervision import AlignmentItem

    recording = Recording.from_file(path, recording_id=path.stem)
    items = [AlignmentItem(phone, 0.1 * n, 0.1) for n, phone in enumerate(phones)]
    segment = SupervisionSegment(
        path.stem, path.stem, 0.0, recording.duration, text=text, speaker=path.stem,
        alignment={"phone": items} if items else None,
    )  # fmt: skip
    cut = recording.to_cut()
    cut.supervisions = [segment]
    return cut


@pytest.fixture(autouse=True, scope="module")
def learned_once():
    """To learn from the pretrained lexicon how words are pronounced takes seconds each time."""
    learn, learned = letter_to_sound.learn, {}

    def recall(lexicon, **options):
        key = repr((list(lexicon.items()), options))
        if key not in learned:
            learned[key] = learn(lexicon, **options)
        return learned[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(letter_to_sound, "learn", recall)
        yield


@pytest.fixture(scope="module")
def cuts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cuts")
    return write_cuts(folder / "said_cuts.jsonl", [cut_of(*pair) for pair in SAID.items()])


def test_evaluate(cuts, tmp_path, capsys):
    out = tmp_path / "x.json"
    code, said, _ = called(capsys, "evaluate", "--cuts", cuts, "--out", out)
    assert code == 0
    assert "1 of the 7 words (14.3%) are not there and were guessed" in said and "METERS" in said
    content = json.loads(out.read_text())
    assert set(content["scores"]) == {
        *("phones", "letters", "letters as words", "words", BY_LEXICON)
    }
    assert content["scores"]["phones"]["N"] == 26
    assert content["spelled_phones"]["guessed"] == ["METERS"]
    assert content["command"] == f"speechasym evaluate --cuts {cuts} --out {out}" + (
        " --batch-seconds 120.0 --device auto --seed 0"
    )


def test_phones_of_another_set_give_way_to_the_lexicon(tmp_path, capsys):
    """TIMIT's phones: scored against them, every phone would be an error."""
    path = ROOT / "data" / "cards-001.wav"
    timit = ["h#", "tcl", "t", "eh", "n", "ax", "v", "kcl", "k", "l", "ah", "b", "z", "h#"]
    cuts = write_cuts(tmp_path / "timit.jsonl", [cut_of(path, SAID[path], timit)])
    result = speechasym.evaluate(None, cuts, heads=["phones"], show_progress=False)
    assert "".join(result.references["phones"]["cards-001"]) == "TEHNAHVKLAHBZ"
    assert result.scores["phones"].rate < 1
    code, said, _ = called(capsys, "align", cuts, "--out", tmp_path / "out")
    assert code == 0 and "1 of 1 cuts aligned" in said
    phones = read_tiers(tmp_path / "out" / "cards-001.TextGrid")["phones"]
    assert "".join(i.label for i in phones if i.label) == "TEHNAHVKLAHBZ"


def test_align_cuts(cuts, tmp_path, capsys):
    code, said, _ = called(capsys, "align", cuts, "--out", tmp_path)
    assert code == 0 and "2 of 2 cuts aligned" in said and "cuts by letters" not in said
    assert "words guessed from the spelling" in said and "1: METERS" in said
    assert list(read_tiers(tmp_path / "goforward.TextGrid")) == ["phones", "words", "letters"]
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["guessed"] == {"goforward": ["METERS"]}


def test_align_a_recording(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("said.txt").write_text("Go forward,\nten meters!\n")
    for text in ("said.txt", SAID[GOFORWARD]):
        code, said, _ = called(capsys, "align", GOFORWARD, text, "--out", "out")
        assert code == 0 and "4 words" in said and said.endswith("out/goforward.TextGrid\n")
    words = read_tiers("out/goforward.TextGrid")["words"]
    assert [i.label for i in words if i.label] == ["GO", "FORWARD", "TEN", "METERS"]
    one = speechasym.Recogniser().align(GOFORWARD, SAID[GOFORWARD])
    assert one.tiers["words"] == [i for i in words if i.label]
    Path("out/goforward.TextGrid").write_text("corrected by hand")
    call = ("align", GOFORWARD, "said.txt", "--out", "out")
    code, _, err = called(capsys, *call)
    assert code == 2 and "--overwrite" in err
    assert called(capsys, *call, "--overwrite")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([GOFORWARD], "its text is missing"),
        ([GOFORWARD, "no.txt"], "no.txt: no such file"),
        ([GOFORWARD, "go 4 ward"], "'4' in 'go 4 ward' is not a letter"),
        (["no.wav", "go forward"], "no.wav: is neither the folder of a run nor a recording"),
        (["no", "cuts.jsonl"], "no: is neither the folder of a run nor a recording"),
        ([ROOT, "cuts.jsonl"], "is neither the folder of a run nor a recording"),
        (["no.jsonl"], "no.jsonl: no such manifest"),
        ([GOFORWARD, "go", "forward"], "Put a text in quotes"),
    ],
)
def test_align_what_cannot_be(tmp_path, capsys, arguments, says):
    code, _, err = called(capsys, "align", *arguments, "--out", tmp_path / "out")
    assert code == 2 and says in err and not (tmp_path / "out").exists()


def test_report(cuts, tmp_path, capsys):
    out = tmp_path / "report.html"
    code, said, _ = called(capsys, "report", "--cuts", cuts, "--out", out)
    assert (code, said) == (0, f"{out}\n")
    page = out.read_text()
    assert "<h1>pretrained model</h1>" in page and "Words by lexicon" in page
    assert "without the record of its training" in page and "METERS" in page
    code, _, err = called(capsys, "report", "--out", tmp_path / "y.html")
    assert code == 2 and "pretrained model comes without cuts. Give --cuts" in err


def test_plot(cuts, tmp_path, capsys):
    path = ROOT / "data" / "cards-001.wav"
    for what, *source in (
        ("units", path),
        ("levels", "--recording", path),
        ("confusion", "--cuts", cuts),
    ):
        out = tmp_path / f"{what}.png"
        code, said, _ = called(capsys, "plot", *source, "--what", what, "--out", out)
        assert (code, said) == (0, f"{out}\n") and out.stat().st_size > 10_000
    for arguments, says in (
        ((), "FILE|RUN: is missing"),
        (("--what", "units"), "Give --cuts or --recording"),
        (("--what", "curves"), "without the record of its training"),
        (("--recording", path), "--what: must be one figure of a run"),
    ):
        code, _, err = called(capsys, "plot", "--out", tmp_path / "y.png", *arguments)
        assert code == 2 and says in err and not (tmp_path / "y.png").exists()


def test_a_run_may_stand_after_options(toy, tmp_path, capsys):
    run, cuts = toy / "run", toy / "test_cuts.jsonl.gz"
    code, said, err = called(capsys, "evaluate", "--cuts", cuts, "--heads", "words", run)
    assert code == 0 and "7 cuts" in said, err
    code, said, err = called(capsys, "align", run, "--out", tmp_path, cuts)
    assert code == 0 and "7 of 7 cuts aligned" in said, err
    code, _, err = called(capsys, "evaluate", "--cuts", cuts, run, "--colour", "red")
    assert code == 2 and "usage: speechasym evaluate" in err and "--colour" in err


def test_a_lexicon_beside_a_run(toy, tmp_path, capsys):
    """Cuts without phones are spelled by it; so they are by --lexicon."""
    run, path = tmp_path / "run", next((toy / "test").glob("*.wav"))
    shutil.copytree(toy / "run", run)
    cuts = write_cuts(tmp_path / "cuts.jsonl", [cut_of(path, "mass am")])
    call = ("evaluate", run, "--cuts", cuts, "--heads", "phones")
    code, _, err = called(capsys, *call)
    assert code == 2 and "no lexicon is given to read them from. Give a lexicon (--lexicon)" in err
    lines = [f"{word}  {' '.join(row)}\n" for word, rows in LEXICON.items() for row in rows]
    (tmp_path / "words.txt").write_text("".join(lines))
    code, given, _ = called(capsys, *call, "--lexicon", tmp_path / "words.txt")
    assert code == 0 and "those of their words in" in given
    shutil.copy(tmp_path / "words.txt", run / "lexicon.txt")
    assert open_run(run).lexicon == run / "lexicon.txt"
    result = speechasym.evaluate(run, cuts, heads=["phones"], show_progress=False)
    assert result.references["phones"][path.stem] == ["m", "aa", "s", "aa", "s"]
    code, _, err = called(capsys, "evaluate", run, "--cuts", cuts, "--lexicon", "no.txt")
    assert code == 2 and "no.txt: cannot be read" in err


def test_a_run_that_has_just_begun_is_unfinished(tmp_path, cuts, capsys):
    (tmp_path / "config.json").write_text("{}")
    code, _, err = called(capsys, "evaluate", tmp_path, "--cuts", cuts)
    assert code == 2 and "holds an unfinished run" in err
