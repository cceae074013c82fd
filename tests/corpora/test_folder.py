"""A folder of one's own: texts, TextGrids and tables, and one report of what is wrong."""

import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import contents, tone

from speechasym import prepare
from speechasym.annotations.intervals import Interval
from speechasym.annotations.textgrid import write_textgrid
from speechasym.cli.main import main
from speechasym.errors import ConfigError, CorpusError, OutputError
from speechasym.training.cuts import load_samples


def noise(path: Path, seconds: float = 1.0, rate: int = 16000, channels: int = 1) -> Path:
    """A recording of noise that differs with its path."""
    rng = np.random.default_rng(zlib.crc32(str(path).encode()))
    x = 0.1 * rng.standard_normal((round(seconds * rate), channels))
    return tone(path, x, rate)


def say(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


@pytest.fixture
def folder(tmp_path):
    """Four speakers with two recordings each."""
    root = tmp_path / "own"
    for speaker in ("anna", "ben", "carl", "dora"):
        for number, text in enumerate(("She had", "your dark suit")):
            noise(root / speaker / f"take {number}.wav", 1 + number)
            say(root / speaker / f"take {number}.{('txt', 'lab')[number]}", f"{text}, {speaker}!")
    return root


def utterances(prepared) -> dict[str, str]:
    """{id: text} of all sets."""
    sets = prepared.corpus.sets.values()
    return {cut.id: cut.supervisions[0].text for part in sets for cut in part.cuts}


def places(prepared, severity: str) -> dict[str, list[str]]:
    """{kind: places} of the report."""
    kinds = prepared.corpus.report.kinds(severity)
    return {kind: [problem.place for problem in rows] for kind, rows in kinds.items()}


def test_speakers_are_folders_and_sets_share_none(folder, tmp_path):
    prepared = prepare("folder", folder, tmp_path / "out")
    assert prepared.corpus.report.problems == []
    counts = prepared.corpus.report.counts
    assert {name: count.speakers for name, count in counts.items()} == {
        "train": 2, "dev": 1, "test": 1,
    }  # fmt: skip
    assert utterances(prepared)["ben/take_1"] == "YOUR DARK SUIT BEN"
    assert {path.name for path in prepared.files} == {
        *(f"{name}_{part}.jsonl.gz" for name in counts
          for part in ("recordings", "supervisions", "cuts")),
        "report.txt", "report.json",
    }  # fmt: skip
    before = contents(tmp_path / "out")
    prepare("folder", folder, tmp_path / "out")
    assert contents(tmp_path / "out") == before
    other = prepare("folder", folder, tmp_path / "seed", seed=1)
    assert set(utterances(other)) == set(utterances(prepared))
    # results below the recordings are not taken for texts of them
    assert prepare("folder", folder, folder / "out").corpus.report.problems == []
    assert prepare("folder", folder, folder / "out").corpus.report.problems == []


def test_speakers_are_characters_of_the_name(folder, tmp_path):
    for path in [*folder.rglob("take *")]:
        path.rename(folder / f"{path.parent.name[:2]}{path.name}")
    prepared = prepare("folder", folder, tmp_path / "out", speaker_characters=2)
    sets = prepared.corpus.sets.values()
    assert {s.speaker for part in sets for s in part.supervisions} == {"an", "be", "ca", "do"}


def test_one_speaker_is_split_by_recordings(folder, tmp_path):
    prepared = prepare("folder", folder / "anna", tmp_path / "out", shares=(0.5, 0, 0.5))
    assert list(places(prepared, "warning")) == ["fewer speakers than sets: split by recordings"]
    assert places(prepared, "error") == {}
    assert "share speakers" in prepared.text
    assert [count.sentences for count in prepared.corpus.report.counts.values()] == [1, 1]
    prepared = prepare("folder", folder / "anna", tmp_path / "out2")
    assert list(places(prepared, "warning")) == ["too few utterances to split, all are in train"]
    prepared = prepare("folder", folder, tmp_path / "out3", split_by="recordings")
    assert places(prepared, "error") == places(prepared, "warning") == {}


def test_textgrids(tmp_path):
    root = tmp_path / "own"
    for name in ("said", "two", "timed", "long"):
        noise(root / f"{name}.wav", 3.0, 8000)
    hello, anna = Interval(0.1, 1, "hello there"), Interval(1.25, 2, "hi Anna")
    write_textgrid(root / "said.TextGrid", {"text": [hello, anna]}, 3)
    write_textgrid(root / "two.TextGrid", {"Anna": [hello], "Ben": [anna]}, 3)
    words = [Interval(0.1, 0.5, "hello"), Interval(1, 3.005, "you")]
    phones = [Interval(0.1, 0.5, "AH0"), Interval(1, 3.005, "sil")]
    write_textgrid(root / "timed.TextGrid", {"words": words, "phones": phones}, 3.005)
    write_textgrid(root / "long.TextGrid", {"words": [Interval(0, 3.1, "long")]}, 3.1)
    prepared = prepare("folder", root, tmp_path / "out", shares=(1, 0, 0))
    assert utterances(prepared) == {
        "said-0001": "HELLO THERE", "said-0002": "HI ANNA", "two-0001": "HELLO THERE",
        "two-0002": "HI ANNA", "timed": "HELLO YOU",
    }  # fmt: skip
    assert list(places(prepared, "error")) == ["labels longer than the sound"]
    kinds = list(places(prepared, "warning"))
    assert kinds == ["labels longer than the sound, clipped", "sample rate below 16000 Hz"]
    train = prepared.corpus.sets["train"]
    speakers = {s.id: s.speaker for s in train.supervisions}
    assert speakers["two-0002"] == "Ben" and speakers["said-0001"] == "own"
    cut = train.cuts["said-0002"]
    assert (cut.start, cut.duration, cut.supervisions[0].start) == (1.25, 0.75, 0)
    assert len(load_samples(cut, 16000)) == 12000 and len(train.recordings) == 3
    assert train.cuts["timed"].supervisions[0].alignment["word"][1].symbol == "you"
    assert train.cuts["timed"].supervisions[0].alignment["word"][1].end == 3.0


def test_one_report_of_everything_found(folder, tmp_path, capsys):
    anna, ben = folder / "anna", folder / "ben"
    say(anna / "take 0.lab", "she had ANNA")  # agrees
    say(anna / "take 1.txt", "Something else")
    noise(ben / "silent.wav")
    say(ben / "unheard.txt", "hello")
    for name, text, encoding in (
        ("blank", " \n", "utf-8"), ("latin", "na\xefve caf\xe9", "latin-1"),
        ("wide", "wide text", "utf-16"), ("unmarked", "no mark", "utf-16-le"),
        ("digits", "3 dogs", "utf-8"), ("much", "more text than a second holds " * 2, "utf-8"),
    ):  # fmt: skip
        noise(ben / f"{name}.flac", 1 + len(name) / 100)
        say(ben / f"{name}.txt", text, encoding)
    say(ben / "take 1.TextGrid", "not one")
    noise(folder / "carl" / "two.wav", 1.5, 44100, 2)
    say(folder / "carl" / "two.txt", "two channels")
    whole = (folder / "dora" / "take 0.wav").read_bytes()
    for name, raw in (("cut", whole[:9000]), ("same", whole)):
        (folder / "dora" / f"{name}.wav").write_bytes(raw)
        say(folder / "dora" / f"{name}.txt", f"{name} bytes")
    lexicon = say(tmp_path / "lexicon.txt", "SHE  SH IY\nHAD  HH AE D\n")
    out = tmp_path / "out"
    command = ["prepare", "folder", str(folder), "--out", str(out), "--lexicon", str(lexicon)]
    assert main([*command, "--strict"]) == 2 and not out.exists()
    assert "two texts for one recording (1)" in capsys.readouterr().err
    assert main(command) == 1
    prepared = prepare("folder", folder, out, lexicon=lexicon)
    assert places(prepared, "error") == {
        "text empty": ["ben/blank.txt"],
        "audio without text": ["ben/silent.wav"],
        "TextGrid that cannot be read": ["ben/take 1.TextGrid"],
        "text that cannot be read": ["ben/unmarked.txt"],
        "text without audio": ["ben/unheard.txt"],
        "two texts for one recording": ["anna/take 1.wav"],
        "audio that cannot be read": ["dora/cut.wav"],
        "text beyond the 28 letters": ["ben/digits.txt"],
        "same audio under two ids": ["dora/take 0.wav"],
    }
    assert places(prepared, "warning") == {
        "text not UTF-8, read as Latin-1": ["ben/latin.txt"],
        "more text than fits into the sound": ["ben/much.txt"],
    }
    notes = places(prepared, "note")
    assert notes.pop("word outside the lexicon")[:2] == ["A", "ANNA"]
    assert notes == {
        "several texts that agree, the first one is used": ["anna/take 0.lab"],
        "several channels, mixed to one": ["carl/two.wav"],
    }
    texts = utterances(prepared)
    assert texts["ben/latin"] == "NAIVE CAFE" and texts["ben/wide"] == "WIDE TEXT"
    assert texts["ben/take_1"] == "YOUR DARK SUIT BEN"  # the text beside the broken TextGrid


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_samples_that_are_not_finite(folder, tmp_path, subtype, monkeypatch):
    from speechasym.audio import reading

    for number, bad in enumerate((np.nan, np.inf, 0.0)):
        x = np.full(32000, 0.01 * number)
        x[20000] = bad
        soundfile.write(folder / "ben" / f"{number}.wav", x, 16000, subtype)
        say(folder / "ben" / f"{number}.txt", f"bad {['nan', 'inf', 'zero'][number]}")
    scanned, blocks = [], reading.blocks
    monkeypatch.setattr(reading, "blocks", lambda path: scanned.append(path.name) or blocks(path))
    prepared = prepare("folder", folder, tmp_path / "out", keep_duplicates=True)
    assert sorted(scanned) == ["0.wav", "1.wav", "2.wav"]  # integers cannot be NaN
    kinds = prepared.corpus.report.kinds("error")
    details = {problem.place: problem.detail for problem in kinds["samples that are not finite"]}
    assert details == {
        f"ben/{number}.wav": f"sample 20000 (at 1.250000 s) must be finite, got {value}"
        for number, value in enumerate(("nan", "inf"))
    }
    assert "ben/2" in utterances(prepared) and "ben/0" not in utterances(prepared)


def test_tables(folder, tmp_path):
    table = say(
        folder / "all.csv",
        "Path;Sentence;speaker;Start;End\nanna/take 0.wav;She said;a;;\n"
        "anna/take 0.wav;she said.;a;;\nanna\\take 1.wav;hello you;b;0,25;1\n"
        "anna/take 1.wav;hello me;b;1,25;9\nmissing.wav;x;c;;\n;no path;c;;\n"
        "ben/take 0.wav;;c;;\nben/take 1.wav;times;c;1;0\ncarl/take 0.wav;one;d;;\n"
        'carl/take 0.wav;two;d;;\ndora/take 0.wav;"two\nlines; here";e;;\n',
    )
    prepared = prepare("folder", table, tmp_path / "out", shares=(1, 0, 0))
    assert utterances(prepared) == {
        "anna/take_0": "SHE SAID", "anna/take_1-0001": "HELLO YOU", "dora/take_0": "TWO LINES HERE",
    }  # fmt: skip
    assert places(prepared, "error") == {
        "row without path": ["all.csv:7"],
        "text empty": ["all.csv:8"],
        "row with impossible times": ["all.csv:9"],
        "recording of a table not found": ["all.csv:6"],
        "two texts for one recording": ["carl/take 0.wav"],
        "labels longer than the sound": ["all.csv:5"],
    }
    assert list(places(prepared, "warning")) == ["duplicate row, the first one is kept"]
    # in the folder the table and the texts beside the recordings say different things
    inside = prepare("folder", folder, tmp_path / "in")
    assert len(places(inside, "error")["two texts for one recording"]) == 4
    assert utterances(inside)["ben/take_0"] == "SHE HAD BEN"
    tabs = say(tmp_path / "t.tsv", f'path\tsentence\n{folder}/ben/take 0.wav\t"quoted", she said\n')
    assert list(utterances(prepare("folder", tabs, tmp_path / "t")).values()) == ["QUOTED SHE SAID"]


def test_a_list_of_names_and_texts(folder, tmp_path):
    for path in [*folder.rglob("*.txt"), *folder.rglob("*.lab")]:
        path.unlink()
    for path in folder.rglob("take *.wav"):
        path.rename(path.with_name(path.name.replace(" ", "")))
    say(folder / "anna" / "text.txt", "take0 she had\ntake1.wav  your dark suit\n")
    say(folder / "ben" / "list.txt", "take0 he had\ntake1\n\ntake2 nothing\n")
    say(folder / "carl" / "notes.txt", "nothing of take0\n")
    prepared = prepare("folder", folder, tmp_path / "out", shares=(1, 0, 0))
    assert utterances(prepared) == {
        "anna/take0": "SHE HAD", "anna/take1": "YOUR DARK SUIT", "ben/take0": "HE HAD",
    }  # fmt: skip
    errors = places(prepared, "error")
    assert errors["text empty"] == ["ben/list.txt:2"]
    assert errors["recording of a table not found"] == ["ben/list.txt:4"]
    assert errors["text without audio"] == ["carl/notes.txt"]
    assert "ben/take1.wav" in errors["audio without text"]


def test_nothing_to_prepare(folder, tmp_path):
    out = tmp_path / "out"
    say(folder / "bad.csv", "name,words\na,b\n")
    say(folder / "none.csv", "path,text\n")
    for source, problem in (
        (folder / "bad.csv", "no column path or text; it has name, words"),
        (folder / "none.csv", "no rows"),
        (folder / "missing", "no such folder"),
        (folder / "missing.csv", "no such file"),
    ):
        with pytest.raises(CorpusError, match=problem):
            prepare("folder", source, out)
    for path in [*folder.rglob("*.txt"), *folder.rglob("*.lab")]:
        path.unlink()
    with pytest.raises(CorpusError, match="8 recordings, but no texts"):
        prepare("folder", folder, out)
    say(folder / "anna" / "take 0.txt", "12")
    with pytest.raises(CorpusError, match=r"audio without text \(7\), text beyond"):
        prepare("folder", folder, out)
    for options in ({"shares": (1, 1)}, {"shares": (0, 0, 0)}, {"split_by": "x"},
                    {"speaker_characters": 0}, {"shares": (0.5, 0, 0)}):  # fmt: skip
        with pytest.raises(ConfigError):
            prepare("folder", folder, out, **options)
    assert not out.exists()


def test_files_of_others_are_kept(folder, tmp_path):
    noise(folder / "report.wav")
    said = say(folder / "report.txt", "a report")
    with pytest.raises(OutputError, match=r"report.txt: exists, .* Choose another folder"):
        prepare("folder", folder, folder)
    assert said.read_text() == "a report" and not list(folder.glob("*.gz"))
    out = tmp_path / "out"
    prepare("folder", folder, out)
    (out / "report.json").unlink()  # as after an interruption
    prepare("folder", folder, out)
    assert (out / "report.json").is_file()
