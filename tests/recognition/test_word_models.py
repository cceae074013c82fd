"""Language models and lexica from folders of texts, gzipped or not."""

import gc
import gzip

import pytest
import tiny
from lhotse.cut import MonoCut

from speechasym.errors import ConfigError, TextError
from speechasym.language.arpa import read_arpa
from speechasym.language.lexicon import read_lexicon
from speechasym.recognition.word_models import estimate_lm, make_lexicon, read_sentences

ONE = "The cat sat. The cat ran to the cat."
TWO = "A dog sat, and the cat sat on it."


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "books" / "b").mkdir(parents=True)
    (tmp_path / "books" / "one.TXT").write_text(ONE)
    (tmp_path / "books" / "b" / "two.txt.gz").write_bytes(gzip.compress(TWO.encode()))
    (tmp_path / "books" / "notes.md").write_text("Zebras.")
    (tmp_path / "books" / "._one.txt").write_bytes(b"\0junk")
    (tmp_path / "link").symlink_to(tmp_path / "books" / "b")
    return tmp_path


def test_folder_is_its_files(folder):
    """In the order of their paths; other files are left out."""
    files = [folder / "books" / "b" / "two.txt.gz", folder / "books" / "one.TXT"]
    found = estimate_lm(folder / "books", folder / "a.arpa", test=[folder / "link"])
    expected = estimate_lm(files, folder / "b.arpa", test=[files[0]])
    assert (folder / "a.arpa").read_bytes() == (folder / "b.arpa").read_bytes()
    assert (found.sentences, found.words, found.unknown) == (3, 18, 0) == expected[1:4]
    assert "ZEBRAS" not in read_arpa(folder / "a.arpa").words
    assert list(found.tests.values()) == list(expected.tests.values())


def test_unknown_words_are_counted(folder):
    found = estimate_lm([folder / "link", folder / "books"], folder / "a.arpa", least=3)
    assert found.model.words[3:] == ("CAT", "SAT", "THE") and found.words == 27
    assert found.unknown == 27 - 5 - 5 - 5


def test_lexicon_of_a_folder(folder, capsys):
    (folder / "d.txt").write_text("CAT K AE1 T\nDOG D AO1 G\nRAN R AE1 N\n")
    found = make_lexicon(folder / "d.txt", folder / "books", folder / "l.txt", show_progress=True)
    assert (found.words, found.tokens) == (10, 18) and found.missing[0] == "THE"
    assert set(read_lexicon(folder / "l.txt")) == {"CAT", "DOG", "RAN"}
    assert "2/2" in capsys.readouterr().err


def test_bits(folder):
    exact = estimate_lm(folder / "books", folder / "a.npz")
    coarse = estimate_lm(folder / "books", folder / "b.npz", bits=2)
    pairs = slice(1 + exact.model.sizes[0], 1 + sum(exact.model.sizes[:2]))
    many, few = (len(set(one.model.probability[pairs])) for one in (exact, coarse))
    assert many > 4 >= few > 1
    with pytest.raises(ConfigError, match=r"bits: must be .* 2 .* 8, got 1"):
        estimate_lm(folder / "books", folder / "c.npz", bits=1)


def test_folder_without_texts(tmp_path):
    with pytest.raises(TextError, match=r"no \.txt or \.txt\.gz below this folder"):
        estimate_lm(tmp_path, tmp_path / "a.arpa")


def test_a_manifest_is_read_cut_by_cut(tmp_path):
    def cuts_in_memory():
        return sum(type(thing) is MonoCut for thing in gc.get_objects())

    tiny.corpus(tmp_path, 9)
    gc.collect()
    before = cuts_in_memory()
    sentences = read_sentences([tmp_path / "train.jsonl"])
    next(sentences)
    assert cuts_in_memory() <= before + 2
    assert len(list(sentences)) == 8
