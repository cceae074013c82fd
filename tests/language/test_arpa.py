"""ARPA files and their faults."""

import gzip

import numpy as np
import pytest
from helpers import zipfian_sentences

from speechasym.errors import ArpaError
from speechasym.language import ngrams
from speechasym.language.arpa import read_arpa, write_arpa
from speechasym.language.kneser_ney import estimate

ARRAYS = ("word", "first", "suffix", "probability", "backoff")


def same(a, b):
    assert (a.words, a.sizes) == (b.words, b.sizes)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


@pytest.mark.parametrize("order", [1, 2, 4])
@pytest.mark.parametrize("name", ["lm.arpa", "lm.arpa.gz"])
def test_a_file_holds_all(tmp_path, name, order):
    model = estimate(zipfian_sentences(), order, vocabulary=[f"W{n}" for n in range(30)], least=2)
    path = tmp_path / name
    write_arpa(path, model)
    again = read_arpa(path)
    same(model, again)
    first = path.read_bytes()
    write_arpa(path, again)
    assert path.read_bytes() == first  # equal models, equal bytes
    assert (first[:2] == b"\x1f\x8b") == name.endswith(".gz")


# p(A) = 0.5, p(</s>) = 0.25, p(B) = 0.25; p(B | A) = 0.5
SMALL = """made by hand
\\data\\
ngram 1=4
ngram 2=2

\\1-grams:
-0.30103 A -0.1
0 <s> -0.2
-0.60206 </s>
-0.60206 B -0.05

\\2-grams:
-0.30103 A B
-0.1 <s> A

\\end\\
"""


def test_a_file_of_others(tmp_path):
    path = tmp_path / "small.arpa"
    path.write_text(SMALL.replace("\n", "\r\n"), newline="")
    model = read_arpa(path)
    assert model.words == ("<unk>", "<s>", "</s>", "A", "B")
    assert model.log10("B", ["A"]) == pytest.approx(-0.30103)
    assert model.log10("A", ["A"]) == pytest.approx(-0.30103 - 0.1)
    assert model.log10("A", ["B", "<s>"]) == pytest.approx(-0.1)
    assert model.log10("B", ["<s>"]) == pytest.approx(-0.60206 - 0.2)
    assert model.log10("<s>") == model.log10("X") == ngrams.NEVER


@pytest.mark.parametrize("unknown", ["<unk>", "<UNK>", "<Unk>", "!!UNK", "[UNK]", "<OOV>"])
def test_the_unknown_word_of_others(tmp_path, unknown):
    text = SMALL.replace("1=4", "1=5").replace("2=2", "2=3")
    text = text.replace("-0.60206 B", f"-1 {unknown} -0.3\n-0.60206 B")
    text = text.replace("-0.1 <s> A", f"-0.1 <s> A\n-0.7 {unknown} A")
    path = tmp_path / "x.arpa"
    path.write_text(text)
    model = read_arpa(path)
    assert model.words == ("<unk>", "<s>", "</s>", "A", "B")
    assert model.log10("ZEBRA") == -1
    assert model.log10("A", ["ZEBRA"]) == pytest.approx(-0.7)
    assert model.log10("B", ["ZEBRA"]) == pytest.approx(-0.3 - 0.60206)
    write_arpa(path, model)
    same(model, read_arpa(path))


def test_a_word_beside_the_unknown_one(tmp_path):
    path = tmp_path / "x.arpa"
    path.write_text(SMALL.replace("1=4", "1=6").replace("0 <s>", "-1 <unk>\n-2 <UNK>\n0 <s>"))
    model = read_arpa(path)
    assert model.log10("ZEBRA") == -1 and model.log10("<UNK>") == -2
    path.write_text(path.read_text().replace("<unk>", "!!UNK"))
    with pytest.raises(ArpaError, match=r"x.arpa: !!UNK and <UNK> are both unigrams for unknown"):
        read_arpa(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("-0.30103 A B\n", "-0.30103 A B -0.1\n"),  # a back-off where none has a meaning
        ("-0.30103 A B\n", "-0.30103\tA B\t0\n"),
        ("0 <s> -0.2", "-inf <s> -0.2"),
    ],
)
def test_what_other_tools_write(tmp_path, old, new):
    assert old in SMALL
    models = []
    for text in (SMALL, SMALL.replace(old, new)):
        (tmp_path / "x.arpa").write_text(text)
        models.append(read_arpa(tmp_path / "x.arpa"))
    same(*models)


def test_a_probability_of_zero(tmp_path):
    (tmp_path / "x.arpa").write_text(SMALL.replace("-0.30103 A B", "-inf A B"))
    assert read_arpa(tmp_path / "x.arpa").log10("B", ["A"]) == ngrams.NEVER


def test_unicode_blanks_are_parts_of_words(tmp_path):
    words = ["A\u00a0B", "\u3000", "\u2009x\u0085"]
    text = SMALL.replace("1=4", "1=7")
    text = text.replace("0 <s>", "".join(f"-0.9 {word}\n" for word in words) + "0 <s>")
    (tmp_path / "x.arpa").write_text(text, "utf-8")
    model = read_arpa(tmp_path / "x.arpa")
    assert set(words) <= set(model.words)
    assert [model.log10(word) for word in words] == pytest.approx([-0.9] * 3)
    write_arpa(tmp_path / "x.arpa", model)
    same(model, read_arpa(tmp_path / "x.arpa"))


def test_an_ngram_whose_suffix_lacks(tmp_path):
    text = SMALL.replace("ngram 2=2\n", "ngram 2=2\nngram 3=1\n")
    text = text.replace("-0.1 <s> A\n", "-0.1 <s> A -0.7\n\n\\3-grams:\n-0.2 <s> A A\n")
    path = tmp_path / "x.arpa"
    path.write_text(text)  # A A is no bigram
    model = read_arpa(path)
    assert model.log10("A", ["<s>", "A"]) == pytest.approx(-0.2)
    assert model.log10("B", ["<s>", "A", "A"]) == pytest.approx(-0.30103)
    assert model.log10("</s>", ["<s>", "A"]) == pytest.approx(-0.7 - 0.1 - 0.60206)


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        (SMALL, "", None, "is empty"),
        (SMALL, " \n\n", None, "is empty"),
        ("\\data\\", "data", None, "no line `\\data\\`"),
        ("ngram 1=4\n", "", 3, "expected `ngram 1=COUNT`"),
        ("ngram 1=4\nngram 2=2\n", "", 4, "expected `ngram 1=COUNT`"),
        ("ngram 1=4", "ngram 1=5", 12, "expected 5 n-grams of order 1 by the header, got 4"),
        ("ngram 2=2", "ngram 2=1", 16, "expected 1 n-grams of order 2 by the header, got 2"),
        ("-0.30103 A -0.1", "0.3 A -0.1", 7, "log probability must be <= 0, got 0.3"),
        ("-0.30103 A -0.1", "x A -0.1", 7, "'x' is not a finite number"),
        ("-0.30103 A -0.1", "nan A -0.1", 7, "'nan' is not a finite number"),
        ("-0.30103 A -0.1", "-0.30103 A inf", 7, "'inf' is not a finite number"),
        ("-0.30103 A B", "-0.30103 A C", 13, "'C' is not a unigram"),
        ("-0.30103 A B", "-0.30103 A", 13, "expected a number, 2 words"),
        ("-0.30103 A B", "-0.30103 A B B", 13, "expected a number, 2 words"),
        ("-0.1 <s> A", "-0.1 A B", 14, "'A B' is a duplicate"),
        ("-0.60206 B -0.05", "-0.60206 A -0.05", 10, "'A' is a duplicate"),
        ("0 <s> -0.2", "0 <S> -0.2", None, "no unigram <s>"),
        ("\\2-grams:", "\\3-grams:", 12, "expected `\\2-grams:`"),
        ("\\end\\\n", "", 14, "the end of the file"),
        ("-0.1 <s> A\n\n\\end\\\n", "", 13, "Check whether the file is truncated"),
    ],
)  # fmt: skip
def test_faults_of_files(tmp_path, old, new, line, says):
    path = tmp_path / "faulty.arpa"
    assert old in SMALL
    path.write_text(SMALL.replace(old, new))
    with pytest.raises(ArpaError) as error:
        read_arpa(path)
    assert says in str(error.value)
    assert str(error.value).startswith(f"{path}:{line}: " if line else f"{path}: ")


def test_a_history_that_lacks(tmp_path):
    text = SMALL.replace("ngram 2=2\n", "ngram 2=2\nngram 3=1\n")
    path = tmp_path / "x.arpa"
    path.write_text(text.replace("\n\\end", "\n\\3-grams:\n-0.2 B A A\n\n\\end"))
    with pytest.raises(ArpaError, match=r"x.arpa:18: the history 'B A' is not an n-gram"):
        read_arpa(path)


def test_files_that_are_no_text(tmp_path):
    with pytest.raises(ArpaError, match=r"none.arpa: cannot be read"):
        read_arpa(tmp_path / "none.arpa")
    whole = gzip.compress(SMALL.encode())
    for name, raw, says in (
        ("cut", whole[:-9], "cannot be read"),
        ("spoilt", whole[:20] + b"\xff" * 9 + whole[29:], "cannot be read"),
        ("binary", b"\x93\xfe\x00", "is not UTF-8 text"),
    ):
        path = tmp_path / name
        path.write_bytes(raw)
        with pytest.raises(ArpaError, match=says):
            read_arpa(path)
