"""Scores of whole files: the printed table, its notes, and what cannot be scored."""

import os
import random
import re

import pytest
from helpers import ROOT, run_python

from speechasym.annotations import transcripts
from speechasym.errors import ScoringError
from speechasym.scoring import error_rates, tables, timit

REFERENCE = ["h#", "q", "ix", "n", "pcl", "p", "q", "tcl", "t", "h#"]
HYPOTHESIS = ["h#", "ih", "en", "p", "tcl", "t", "h#"]


def write(path, text):
    path.write_text(text, "utf-8")
    return path


def test_table_and_matrix_add_up():
    draw = random.Random(3)
    sentences = [
        [draw.choices(["a", "b", "c", "sil"], k=draw.randrange(12)) for _ in range(2)]
        for _ in range(50)
    ]
    references = {f"a-{i}": r for i, (r, _) in enumerate(sentences)}
    result = error_rates.error_rate(references, {f"a-{i}": h for i, (_, h) in enumerate(sentences)})
    rows = tables.token_rows(result)
    c = result.counts
    sums = [sum(row[i] for row in rows) for i in range(1, 6)]
    assert sums == [c.length, c.hits, c.substitutions, c.deletions, c.insertions]
    _, matrix = tables.confusion_matrix(result)
    assert matrix[:-1].sum() == c.length and matrix[-1].sum() == c.insertions


def test_unknown_phone_in_a_file(tmp_path):
    path = write(tmp_path / "hyp.txt", "u aa\n\nv aa xx\n")
    with pytest.raises(ScoringError, match=r"hyp.txt:3, utterance v: 'xx' is not one of"):
        tables.score(path, path, "per", "all")


def test_report(tmp_path):
    reference = write(tmp_path / "ref.txt", f"a_1 {' '.join(REFERENCE)}\nb_1 aa\nc_1\n")
    hypothesis = write(tmp_path / "hyp.txt", f"a_1 {' '.join(HYPOTHESIS)}\nc_1 aa\nd_1 aa\n")
    text = str(tables.score(reference, hypothesis, "per", "all", confusions=2))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "Phone error rate, 3 utterances, 3 speakers"
    assert [line.split()[0] for line in lines[3:7]] == list(timit.CONVENTIONS)
    # 8 + 1 phones: the closure and aa deleted, aa inserted. Speakers have 1 error of 8, of 1 and
    # of 0 phones: from a, a, a to b, c, c, in any order, which is 3 in 26 (c, c, c has no rate)
    assert " ".join(lines[3].split()) == "kaldi 33.33% 12.50% - 300.00% 9 0 2 1 0"
    assert "1 (b_1) without hypothesis, scored as empty" in lines
    assert "1 (d_1) without reference, left out" in lines
    assert "1 (c_1) with empty reference: insertions count" in lines
    assert "kaldi: most frequent errors" in lines and "strict: each token" in lines
    one = str(tables.score(reference, hypothesis, "per", "kaldi")).splitlines()
    assert one[3] == lines[3]
    assert str(tables.score(reference, hypothesis, "per", "all", confusions=2)) == text


def test_reports_notes_are_narrow(tmp_path):
    """Long names and large numbers do not widen them."""
    name = "speaker-" + "x" * 90
    reference = write(
        tmp_path / "ref", "".join(f"{name}{i} {'aa' if i % 2 else ''}\n" for i in range(3000))
    )
    hypothesis = write(tmp_path / "hyp", f"{name}0 aa\n{name} aa\n" + "other-1 aa\n")
    text = str(tables.score(reference, hypothesis, "per", "kaldi", confusions=3))
    assert max(map(len, text.splitlines())) <= 80
    assert "2999 (...xxx" in text and "2 (" in text and "1500 (" in text


def test_report_of_folded_hypotheses_says_why_strict_is_left_out(tmp_path):
    reference = write(tmp_path / "ref.txt", "a h# aa\n")
    text = str(tables.score(reference, write(tmp_path / "hyp.txt", "a sil aa\n"), "per", "all"))
    assert "strict is left out: sil is not one of TIMIT's 61 symbols" in text
    assert "no interval: it needs two speakers" in text


def test_report_of_words_and_letters(tmp_path):
    reference = write(tmp_path / "ref.txt", "1-a the cat\n2-a it is\n")
    hypothesis = write(tmp_path / "hyp.txt", "1-a the hat\n2-a itis\n")
    words = str(tables.score(reference, hypothesis, "wer")).splitlines()
    assert words[0] == "Word error rate, 2 utterances, 2 speakers"
    assert words[3].split()[:2] == ["-", "75.00%"]
    spoken = str(tables.score(reference, hypothesis, "ler", confusions=5)).splitlines()
    assert spoken[3].split()[1] == "16.67%"  # c taken for h, a space deleted, of 7 + 5 letters
    assert any(line.split() == ["(space)", "(none)", "1"] for line in spoken)
    speakers = write(tmp_path / "utt2spk", "1-a s\n2-a s\n")
    assert "1 speaker\n" in str(tables.score(reference, hypothesis, "wer", None, speakers))


@pytest.mark.parametrize(
    ("unit", "convention", "says"),
    [
        ("cer", None, "cer: unknown measure. Use one of per, wer, ler"),
        ("wer", "kaldi", "kaldi: is a convention for phones, not for words"),
        ("per", "sclite", "sclite: unknown convention"),
    ],
)
def test_report_of_what_there_is_not(tmp_path, unit, convention, says):
    path = write(tmp_path / "ref.txt", "a x\n")
    with pytest.raises(ScoringError, match=says):
        tables.score(path, path, unit, convention)


@pytest.mark.corpus("TIMIT_ROOT")
def test_the_documents_example(tmp_path):
    """docs/scoring.md shows what its code prints: four conventions on one hypothesis file."""
    text = (ROOT / "docs" / "scoring.md").read_text("utf-8")
    code, shown = re.search(r"```python\n(.*?)```\n+```\n(.*?)```", text, re.DOTALL).groups()
    root = os.path.abspath(os.environ["TIMIT_ROOT"])
    env = os.environ | {"TIMIT_ROOT": root, "PYTHONPATH": str(ROOT)}
    done = run_python("-c", code, cwd=tmp_path, env=env)
    assert (done.code, done.out) == (0, shown), done.err
    references = transcripts.read_transcripts(root)
    assert {r.rate for r in tables.score(references, references, "per", "all").rates.values()} == {
        0
    }
