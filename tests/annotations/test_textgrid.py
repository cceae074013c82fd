"""TextGrids in every form that Praat writes, Praat itself as the oracle, and what is wrong."""

import random
import re

import pytest

from speechasym.annotations.intervals import Interval
from speechasym.annotations.textgrid import read_textgrid, write_textgrid
from speechasym.errors import AnnotationError

WORDS = [Interval(0, 0.5, 'he "said"'), Interval(0.5, 0.6, ""), Interval(0.6, 1.5, "ə $x^$")]
PHONES = [Interval(0, 0.25, "a"), Interval(0.25, 1.5, "b")]
HEAD = 'File type = "ooTextFile"\nObject class = "TextGrid"\n\n'
POINTS = """    item [2]:
        class = "TextTier"
        name = "clicks"
        xmin = 0
        xmax = 1.5
        points: size = 1
        points [1]:
            number = 0.2
            mark = "item [2]:"
"""


def long_form(tiers, end):
    """A TextGrid as Praat writes it, from {tier: rows of strings}; a tier of None is of points."""
    text = f"{HEAD}xmin = 0 \nxmax = {end} \ntiers? <exists> \nsize = {len(tiers)} \nitem []: \n"
    for k, (name, rows) in enumerate(tiers.items(), 1):
        if rows is None:
            text += POINTS
            continue
        text += f'    item [{k}]:\n        class = "IntervalTier" \n        name = "{name}" \n'
        text += (
            f"        xmin = 0 \n        xmax = {end} \n        intervals: size = {len(rows)} \n"
        )
        for i, (a, b, label) in enumerate(rows, 1):
            label = label.replace('"', '""')
            text += f"        intervals [{i}]:\n            xmin = {a} \n            xmax = {b} \n"
            text += f'            text = "{label}" \n'
    return text


def short_form(text):
    """The same without what comes before values."""
    text = re.sub(r"^ *(item|intervals|points) ?\[.*\n", "", text.removeprefix(HEAD), flags=re.M)
    text = re.sub(r'^ *(\w+|\w+: size) = (?=["\d-])', "", text, flags=re.M)
    return HEAD + text.replace("tiers? ", "").replace(" \n", "\n")


@pytest.fixture(params=["long", "short"])
def grid(tmp_path, request):
    """A TextGrid's path, with two tiers of intervals and one of points between them."""
    text = long_form({"words": WORDS, "clicks": None, "phones": PHONES}, "1.5")
    path = tmp_path / "x.TextGrid"
    path.write_text(text if request.param == "long" else short_form(text), "utf-8")
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_textgrid(grid, encoding, end):
    """Both forms, in each encoding and with each end of line: tiers of intervals, in order."""
    text = grid.read_text("utf-8").replace("\n", end)
    grid.write_bytes(("\ufeff" * (encoding == "utf-16-be") + text).encode(encoding))
    found = read_textgrid(str(grid))
    assert found == {"words": WORDS, "phones": PHONES}
    assert list(found) == ["words", "phones"]


# rows, end, and what Praat 6.1.38 reads
FIELD = {
    "exponents": ([("0", "5e-05", ""), ("5e-05", "1", "cat")], "1"),
    "plus": ([("0", "0.5", "a"), ("0.5", "1e+2", "b")], "1e+2"),
    "lines": ([("0", "0.5", "x\n-5\ny"), ("0.5", "1", "b")], "1"),
    "item": ([("0", "0.5", "item [2]: a"), ("0.5", "1", "b")], "1"),
    "size": ([("0", "0.5", '"IntervalTier" "w" 0 1 7'), ("0.5", "1", "! <exists>")], "1"),
}


@pytest.mark.parametrize("form", [str, short_form])
@pytest.mark.parametrize("case", FIELD)
def test_field(tmp_path, case, form):
    rows, end = FIELD[case]
    (tmp_path / "x.TextGrid").write_text(form(long_form({"w": rows}, end)))
    wanted = [Interval(float(a), float(b), label) for a, b, label in rows]
    assert read_textgrid(tmp_path / "x.TextGrid") == {"w": wanted}


def test_points_with_times(tmp_path):
    """Praat before 5.3 wrote `time`, later `number`."""
    text = long_form({"w": [("0", "1.5", "a")], "clicks": None}, "1.5").replace("number", "time")
    (tmp_path / "x.TextGrid").write_text(text)
    assert read_textgrid(tmp_path / "x.TextGrid") == {"w": [Interval(0, 1.5, "a")]}


@pytest.mark.parametrize(
    ("tiers", "wanted"),
    [
        ('0 1 <exists> 1 "IntervalTier" "w" 0 1 2 0 1/2 "a" 50% 1 "b" ! 3',
         [(0, 0.5, "a"), (0.5, 1, "b")]),
        ('0 --undefined-- <exists> 1 "IntervalTier" "w" 0 1 1 0 1 "\\ae\tx "',
         [(0, 1, "\\ae\tx ")]),
        ('xmin=7 0 1 ! <absent> 3\n<exists>1 "IntervalTier" "w" + 0 1 1 0 1 "a"', [(0, 1, "a")]),
        ('0 1 <exists> 1 "IntervalTier" "w" 0 1 2 0.5 1 "a" 0 0.5 "b"',
         [(0, 0.5, "b"), (0.5, 1, "a")]),
        ('0 1 <exists> 1 "IntervalTier" "w" 0 1 0', [(0, 1, "")]),
    ],
)  # fmt: skip
def test_grammar(tmp_path, tiers, wanted):
    """Comments, fractions, shares, disorder, empty tiers: as Praat 6.1.38."""
    (tmp_path / "x.TextGrid").write_text(HEAD + tiers)
    assert read_textgrid(tmp_path / "x.TextGrid") == {"w": wanted}


def test_latin1_and_no_tiers(tmp_path):
    path = tmp_path / "x.TextGrid"
    path.write_text(long_form({"é": [("0", "1", "ä")]}, "1"), "latin-1")
    assert read_textgrid(path) == {"é": [Interval(0, 1, "ä")]}
    for tiers in ("<absent>", "<exists> 0"):
        path.write_text(HEAD + "0 1 " + tiers)
        assert read_textgrid(path) == {}


def test_more_than_declared(tmp_path, caplog):
    path = tmp_path / "x.TextGrid"
    path.write_text(HEAD + '0 1 <exists> 1 "IntervalTier" "w" 0 1 1 0 1 "a"\n1 2 "b"')
    assert read_textgrid(path) == {"w": [Interval(0, 1, "a")]}
    assert f"{path}:5: ignored, as Praat does: more than the tiers" in caplog.text


def test_truncated_anywhere(grid):
    text = grid.read_text("utf-8")
    for size in range(1, len(text.rstrip()) - 1, 3):
        grid.write_text(text[:size], "utf-8")
        with pytest.raises(AnnotationError, match=r"truncated|not a TextGrid|not a valid"):
            read_textgrid(grid)


def test_tiers_of_one_name(grid):
    grid.write_text(grid.read_text("utf-8").replace('"phones"', '"words"'), "utf-8")
    assert read_textgrid(grid) == {"words": WORDS, "words 2": PHONES}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (r"\b0\.5\b", "-0.5", r"x.TextGrid:\d+: end -0.5 s is before the start at 0"),
        (r"0\.25\b", "1.75", r"x.TextGrid:\d+: end 1.5 s is before the start at 1.75"),
        (r"0\.6\b", "0.4", r"x.TextGrid:\d+: end 0.4 s is before the start at 0.5"),
        (r"0\.6(?=\s)(?s:(?!.*0\.6\s))", "0.4", r"'ə \$x\^\$' in tier 'words' starts at 0.4 s, be"),
        (r"0\.25\b", "0,25", r"x.TextGrid:\d+: '0,25' is not a number. Write it like 0.25"),
        (r"0\.25\b", "--undefined--", r"x.TextGrid:\d+: 0 to nan s are not times"),
        ("ə", 'a"ə', r"x.TextGrid:\d+: not a valid TextGrid: expected a text.*no valid end"),
        ("IntervalTier", "PitchTier", r"x.TextGrid:\d+: expected an IntervalTier or a TextTier"),
        (r"<exists>", '"exists"', r"x.TextGrid:\d+: not a valid TextGrid: expected a flag"),
        ("ooTextFile", "ooFile", "x.TextGrid:1: not a TextGrid; the first line should be"),
        ("TextGrid", "Collection", "x.TextGrid:2: not a TextGrid but a 'Collection' of Praat"),
    ],
)  # fmt: skip
def test_bad_textgrid(grid, old, new, says):
    grid.write_text(re.sub(old, new, grid.read_text("utf-8")), "utf-8")
    with pytest.raises(AnnotationError, match=says):
        read_textgrid(grid)


def test_negative_start(tmp_path):
    (tmp_path / "x.TextGrid").write_text(long_form({"w": [("-1", "1", "a")]}, "1"))
    with pytest.raises(AnnotationError, match=r"x.TextGrid:16: start must be >= 0, got -1 s"):
        read_textgrid(tmp_path / "x.TextGrid")


def test_line_of_a_reversed_interval(grid):
    lines = re.sub(r"0\.25\b", "1.75", grid.read_text("utf-8")).split("\n")
    grid.write_text("\n".join(lines), "utf-8")
    with pytest.raises(AnnotationError) as caught:
        read_textgrid(grid)
    number = int(str(caught.value.args[0]).rsplit(":", 1)[1])
    assert "1.75" in lines[number - 1] and "1.5" in lines[number]


# as Praat 6.1.38 saves them: "w" from 0 to 1 s with a boundary at 0.5 s, and a point
BINARY = (
    b"ooBinaryFile\x08TextGrid" + bytes(8) + b"\x3f\xf0" + bytes(6) + b"\x01\0\0\0\x02"
    b"\x0cIntervalTier\0\x01w" + bytes(8) + b"\x3f\xf0" + bytes(6) + b"\0\0\0\x02"
    + bytes(8) + b"\x3f\xe0" + bytes(6) + b"\0\x02a\""
    + b"\x3f\xe0" + bytes(6) + b"\x3f\xf0" + bytes(6) + b"\xff\xff\0\x02\x02\x59\xd8\x3d\xde\0"
    b"\x08TextTier\0\x01p" + bytes(8) + b"\x3f\xf0" + bytes(6)
    + b"\0\0\0\x01\x3f\xe0" + bytes(6) + b"\0\x01x"
)  # fmt: skip
CHRONOLOGICAL = """"Praat chronological TextGrid text file"
0 1   ! Time domain.
2   ! Number of tiers.
"IntervalTier" "w" 0 1
"TextTier" "p" 0 1

! w:
1 0 0.5
"a""\"

! p:
2 0.5
"x"

! w:
1 0.5 1
"ə😀"
"""


@pytest.mark.parametrize("raw", [BINARY, CHRONOLOGICAL.encode(), CHRONOLOGICAL.encode("utf-16")])
def test_other_forms(tmp_path, raw):
    path = tmp_path / "x.TextGrid"
    path.write_bytes(raw)
    assert read_textgrid(path) == {"w": [Interval(0, 0.5, 'a"'), Interval(0.5, 1, "ə😀")]}
    for size in range(20, len(raw) - 6, 2):
        path.write_bytes(raw[:size])
        with pytest.raises(AnnotationError):
            read_textgrid(path)


def test_bad_tier_number(tmp_path):
    (tmp_path / "x.TextGrid").write_text(CHRONOLOGICAL.replace("\n2 0.5", "\n3 0.5"))
    with pytest.raises(AnnotationError, match=r"x.TextGrid:12: tier 3 is missing; the file has 2"):
        read_textgrid(tmp_path / "x.TextGrid")


def tier(seed=0, count=40, seconds=30):
    """Intervals with gaps, at sample times."""
    times = sorted(random.Random(seed).sample(range(16000 * seconds), 2 * count))
    return [
        Interval(a / 16000, b / 16000, f"p{k}" if k % 7 else 'ə"')
        for k, (a, b) in enumerate(zip(times[::2], times[1::2], strict=True))
    ]


@pytest.mark.parametrize("short", [False, True])
def test_textgrid_goes_round(tmp_path, short):
    path = tmp_path / "a b.TextGrid"
    wanted = {'words "1"': tier(1), "phones": tier(2, 100), "": []}
    write_textgrid(path, wanted, 30.0, short)
    got = read_textgrid(path)
    assert list(got) == list(wanted)
    for name, intervals in wanted.items():
        assert [i for i in got[name] if i.label] == intervals
        assert got[name][0].start == 0 and got[name][-1].end == 30
        assert all(a.end == b.start for a, b in zip(got[name], got[name][1:], strict=False))
    wide = tmp_path / "wide.TextGrid"
    wide.write_text(path.read_text("utf-8"), "utf-16")
    assert read_textgrid(wide) == got


def test_gaps_of_rounding(tmp_path):
    """0.1 + 0.2 s is not 0.3 s; no interval of 5e-17 s between them."""
    rows = [Interval(0, 0.3, "a"), Interval(0.1 + 0.2, 1 - 1e-12, "b")]
    write_textgrid(tmp_path / "x.TextGrid", {"w": rows}, 1)
    assert read_textgrid(tmp_path / "x.TextGrid") == {"w": [(0, 0.3, "a"), (0.3, 1 - 1e-12, "b")]}


def by_praat(grid):
    """{tier: intervals} of Praat's object; point tiers left out."""
    call = pytest.importorskip("parselmouth").praat.call
    tiers = {}
    for k in range(1, call(grid, "Get number of tiers") + 1):
        if call(grid, "Is interval tier", k):
            tiers[call(grid, "Get tier name", k)] = [
                Interval(
                    call(grid, "Get starting point", k, n),
                    call(grid, "Get end point", k, n),
                    call(grid, "Get label of interval", k, n),
                )
                for n in range(1, call(grid, "Get number of intervals", k) + 1)
            ]
    return tiers


ALPHABET = "ab ə\"'\\!<>-+5[]:=\n\té😀"


def labels(rng, alphabet=ALPHABET):
    return ["".join(rng.choices(alphabet, k=rng.randrange(12))) for _ in range(30)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("form", ["text", "short text", "binary", "chronological text"])
def test_reads_what_praat_writes(tmp_path, form, seed):
    praat = pytest.importorskip("parselmouth", reason="praat-parselmouth is not installed").praat
    rng = random.Random(seed)
    end = rng.choice([1, 1e-3, 7.25, 1e5])
    made = praat.call("Create TextGrid", 0, end, "w é p q", "p")
    for k in (1, 2, 4):
        for time in {rng.random() ** 4 * end for _ in range(rng.randrange(20))}:
            praat.call(made, "Insert boundary", k, time)
        for n, label in enumerate(labels(rng), 1):
            if n <= praat.call(made, "Get number of intervals", k):
                praat.call(made, "Set interval text", k, n, label)
    for time in {rng.random() * end for _ in range(5)}:
        praat.call(made, "Insert point", 3, time, rng.choice(labels(rng)))
    path = tmp_path / "x.TextGrid"
    praat.call(made, f"Save as {form} file", str(path))
    assert (
        read_textgrid(path) == by_praat(made) == by_praat(praat.call("Read from file", str(path)))
    )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("short", [False, True])
def test_praat_reads_what_is_written(tmp_path, short, seed):
    parselmouth = pytest.importorskip("parselmouth", reason="praat-parselmouth is not installed")
    rng = random.Random(seed)
    texts = labels(rng)
    tiers = {
        name: [Interval(i.start, i.end, rng.choice(texts)) for i in tier(seed + len(name))]
        for name in ('w "1"', "é item [2]:")
    }
    write_textgrid(tmp_path / "x.TextGrid", tiers, 30.0, short)
    got = by_praat(parselmouth.read(str(tmp_path / "x.TextGrid")))
    assert got == read_textgrid(tmp_path / "x.TextGrid")
    for name, rows in tiers.items():
        said = [(i.start, i.end, " ".join(i.label.split())) for i in rows]
        assert [i for i in got[name] if i.label] == [i for i in said if i[2]]


@pytest.mark.parametrize(
    "intervals",
    [
        [Interval(0.0, 1.0, "a"), Interval(0.5, 2.0, "b")],
        [Interval(1.0, 0.5, "a")],
        [Interval(0.0, 31.0, "a")],
        [Interval(-1.0, 1.0, "a")],
    ],
)
def test_bad_intervals_leave_nothing(tmp_path, intervals):
    with pytest.raises(AnnotationError, match="in order"):
        write_textgrid(tmp_path / "x.TextGrid", {"phones": intervals}, 30.0)
    assert not list(tmp_path.iterdir())


def test_no_tiers(tmp_path):
    with pytest.raises(AnnotationError, match="no tiers"):
        write_textgrid(tmp_path / "x.TextGrid", {}, 1.0)
