"""The test cuts of the toy run, and a lexicon and a language model of its language."""

import pytest

from speechasym.corpora import manifests

LEXICON = "AM  AA1 M\nMASS  M AA S\nA  AA0\nSAM  S AA M\n"


@pytest.fixture(scope="module")
def cuts(toy):
    return list(manifests.read_cuts(toy / "test_cuts.jsonl.gz"))


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """Options of a recogniser; the word SAM is never said."""
    from speechasym.language import kneser_ney
    from speechasym.language.arpa import write_arpa

    folder = tmp_path_factory.mktemp("words")
    (folder / "lexicon.txt").write_text(LEXICON)
    said = [["AM", "A"], ["MASS", "AM", "A"], ["A", "MASS"], ["AM", "AM"], ["SAM"], ["MASS", "A"]]
    write_arpa(folder / "lm.arpa", kneser_ney.estimate(said, 2))
    return {"lexicon": folder / "lexicon.txt", "lm": folder / "lm.arpa"}
