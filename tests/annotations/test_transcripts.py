"""Transcripts from every format, and what is wrong with others."""

import gzip

import pytest

from speechasym.annotations import transcripts
from speechasym.annotations.intervals import Interval
from speechasym.annotations.textgrid import write_textgrid
from speechasym.errors import AnnotationError, ScoringError

SAID = {"b-1": ["x", "ŋ"], "a-1": [], "c-1": ["it's"]}


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def grid(path, rows, tier="phones"):
    write_textgrid(path, {tier: [Interval(*row) for row in rows]}, 1.0, short=True)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_text_goes_round(tmp_path, encoding, end):
    path = tmp_path / "a b.txt"
    transcripts.write_text(path, SAID)
    write(path, path.read_text("utf-8").replace("\n", end), encoding)
    found = transcripts.read_transcripts(path)
    assert found == SAID and list(found) == list(SAID)
    assert found.places["c-1"] == f"{path}:3"


@pytest.mark.parametrize("said", [{"a b": ["x"]}, {"a": ["x", ""]}, {"a": ["x\n"]}, {"": []}])
def test_text_that_would_not_come_back(tmp_path, said):
    with pytest.raises(ScoringError, match="is empty or contains spaces"):
        transcripts.write_text(tmp_path / "x.txt", said)
    with pytest.raises(ScoringError, match="reads as a comment"):
        transcripts.write_text(tmp_path / "x.txt", {";;a": ["x"]})
    assert not list(tmp_path.iterdir())


def test_ctm(tmp_path):
    """By start, whatever the order of lines; comments and confidences are passed over."""
    text = ";; made by\nu 1 0.5 0.1 a 0.9\n\nv 1 0 1 c\nu 1 0.10 0.2 c\nu 1 0.10 0 b\n"
    found = transcripts.read_transcripts(write(tmp_path / "x.CTM", text))
    assert found == {"u": ["c", "b", "a"], "v": ["c"]}


def test_textgrids_and_folders(tmp_path):
    grid(tmp_path / "in" / "s1" / "u.TextGrid", [(0, 0.2, "a"), (0.2, 0.3, "b"), (0.5, 1, "c")])
    grid(tmp_path / "in" / "s2" / "u.textgrid", [(0, 1, "b")])
    write(tmp_path / "in" / "s2" / "._u.TextGrid", "junk")
    found = transcripts.read_transcripts(tmp_path / "in")
    assert found == {"s1/u": ["a", "b", "c"], "s2/u": ["b"]}
    assert transcripts.read_transcripts(tmp_path / "in" / "s2" / "u.textgrid") == {"u": ["b"]}
    with pytest.raises(ScoringError, match=r"u.TextGrid: has no tier 'words'; it has 'phones'"):
        transcripts.read_transcripts(tmp_path / "in", "words")
    with pytest.raises(ScoringError, match=r"no \.textgrid or \.wrd files below this folder"):
        (tmp_path / "none").mkdir()
        transcripts.read_transcripts(tmp_path / "none", "words")


def test_timit_folder(tmp_path):
    write(tmp_path / "SI1.PHN", "0 10 h#\n10 20 aa\n20 30 h#\n")
    write(tmp_path / "SI1.WRD", "10 20 ah\n")
    assert transcripts.read_transcripts(tmp_path) == {"SI1": ["h#", "aa", "h#"]}
    assert transcripts.read_transcripts(tmp_path, "words") == {"SI1": ["ah"]}
    write(tmp_path / "SI1.TextGrid", "")
    with pytest.raises(Exception, match="is empty"):
        transcripts.read_transcripts(tmp_path)


@pytest.mark.parametrize(
    ("name", "raw", "says"),
    [
        ("x.txt", b"a x\nb y\na z\n", r"x.txt:3: utterance 'a' is a duplicate of the one at .*:1"),
        ("x.txt", b"a x\nb \xff\n", r"x.txt:2: byte 6 is not UTF-8 text"),
        ("x.txt", "a x\n".encode("utf-16"), r"x.txt:1: byte 0 is not UTF-8 text"),
        ("x.txt", "a x\n".encode("utf-16-le"), r"x.txt:1: byte 1 is not text"),
        ("x.txt", b" \n\n", r"x.txt: is empty. Check the file"),
        ("x.ctm", b"", r"x.ctm: is empty"),
        ("x.ctm", b"a 1 0 1 x\na 1 one 1 y\n", r"x.ctm:2: 'a 1 one 1 y' is not `recording"),
        ("x.ctm", b"a 1 0 1\n", r"x.ctm:1: 'a 1 0 1' is not"),
        ("x.ctm", b"a 1 -1 1 x\n", r"x.ctm:1: 'a 1 -1 1 x' is not"),
        ("x.ctm", b"a 1 nan 1 x\n", r"x.ctm:1: 'a 1 nan 1 x' is not"),
        ("x.ctm", b"a 1 0 inf x\n", r"x.ctm:1: 'a 1 0 inf x' is not"),
        ("x.ctm", b"a 1 0 1 x\na 2 0 1 y\n", "x.ctm:2: channel 2 of 'a', which has channel 1"),
    ],
)
def test_bad_transcripts(tmp_path, name, raw, says):
    path = tmp_path / name
    path.write_bytes(raw)
    error = AnnotationError if name == "x.ctm" and b"a 2" not in raw else ScoringError
    with pytest.raises(error, match=says):
        transcripts.read_transcripts(path)


def test_trn(tmp_path):
    """Ids at the end, with or without a space before them; an utterance may be empty."""
    text = ";; by hand\nTHE CAT SAT (s1-1)\n\n(s1-2)\nA DOG(s2-1) \r\n"
    found = transcripts.read_transcripts(write(tmp_path / "x.TRN", text, "utf-8-sig"))
    assert found == {"s1-1": ["THE", "CAT", "SAT"], "s1-2": [], "s2-1": ["A", "DOG"]}
    assert found.places["s2-1"] == f"{tmp_path / 'x.TRN'}:5"
    packed = tmp_path / "x.trn.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    assert transcripts.read_transcripts(packed) == found


def test_comments(tmp_path):
    found = transcripts.read_transcripts(write(tmp_path / "x.txt", ";; by hand\nu a b\n"))
    assert found == {"u": ["a", "b"]}


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("x.trn", "THE CAT\n", r"x.trn:1: 'THE CAT' does not end with the utterance's id"),
        ("x.trn", "THE { CAT / CAP } (u1)\n", r"x.trn:1: '{': alternatives and optional words"),
        ("x.trn", "THE (UH) CAT (u1)\n", r"x.trn:1: '\(UH\)': alternatives and optional words"),
        ("x.trn", "A (u1)\nB (u1)\n", r"x.trn:2: utterance 'u1' is a duplicate"),
        ("x.txt", "THE CAT (s1-1)\nA DOG (s2-1)\n", r"looks like sclite's.*Name it \.trn"),
        ("x.rttm", "SPEAKER u 1 0 1 <NA> <NA> a <NA>\n", r"x.rttm: is speaker turns \(RTTM\)"),
        ("x.txt", "SPEAKER u 1 0 1 <NA> <NA> a <NA> <NA>\n", r"looks like speaker turns"),
        ("x.stm", "u 1 a 0 1 <o,f0> the cat\n", r"is sclite's segment time marks"),
        ("x.lab", "0 100 a\n", r"is a label file"),
        ("x.mlf.gz", "x", r"is an HTK master label file"),
        ("x", '#!MLF!#\n"*/u.lab"\na\n.\n', r"looks like an HTK master label file"),
        ("x.Json", '{"u": "the cat"}\n', r"is JSON, which is not supported. Convert it"),
        ("x.txt", '[\n  {"u": "the cat"}\n]\n', r"looks like JSON"),
        ("x.txt", '{"u": "the cat"}\n', r"looks like JSON"),
        ("x.srt", "1\n00:00:00,000 --> 00:00:01,000\nThe cat\n", r"is subtitles"),
        ("x.txt", "1\n00:00:00,000 --> 00:00:01,000\nThe cat\n", r"looks like subtitles"),
        ("x.vtt", "WEBVTT\n", r"is subtitles"),
        ("x.csv", "u,the cat\n", r"is a table"),
        ("x.tsv", "u\t1\tthe cat\n", r"is a table of more than two columns"),
        ("x.txt", "u 1 0.50 0.10 cat\n", r"looks like a CTM file; name it \.ctm"),
        ("x.txt", "0.10\t0.52\tcat\n", r"looks like a label file"),
        ("x.eaf", "<a/>\n", r"is an ELAN file"),
        ("x.xhtml", "<?xml version='1.0'?>\n", r"looks like XML"),
    ],
)
def test_other_formats_are_refused_by_name(tmp_path, name, text, says):
    with pytest.raises(ScoringError, match=says):
        transcripts.read_transcripts(write(tmp_path / name, text))


@pytest.mark.parametrize(
    ("name", "text", "tokens"),
    [
        ("text", "u the (laughs) cat\n", ["the", "(laughs)", "cat"]),
        ("hyp.10.0", "u 1 2\n", ["1", "2"]),
        ("x.ref", "u [noise] {uh} <s>\n", ["[noise]", "{uh}", "<s>"]),
        ("x.tsv", "u\tthe cat\n", ["the", "cat"]),
        ("1.trans.txt", "u cat (laughs)\n", ["cat", "(laughs)"]),
    ],
)
def test_lines_of_any_other_name(tmp_path, name, text, tokens):
    assert transcripts.read_transcripts(write(tmp_path / name, text)) == {"u": tokens}


def test_not_there(tmp_path):
    with pytest.raises(ScoringError, match=r"nothing.txt: cannot be read"):
        transcripts.read_transcripts(tmp_path / "nothing.txt")
