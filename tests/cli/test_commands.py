"""`prepare` and `score` as a person calls them."""

import json

import make_stub_corpora as stubs
import pytest
from helpers import called

from speechasym.corpora.mini import preparation


def test_prepare_timit(tmp_path, capsys):
    root = stubs.timit(tmp_path / "train of thought" / "TIMIT")
    out = tmp_path / "out"
    code, said, _ = called(capsys, "prepare", "timit", root, "--out", out)
    assert code == 0
    assert "local split" in said and said.endswith(f"Manifests: {out}\n")
    made = sorted(path.name for path in out.iterdir() if not path.name.startswith("."))
    assert {"train_cuts.jsonl.gz", "test_supervisions.jsonl.gz", "report.txt"} <= set(made)
    counts = json.loads((out / "report.json").read_text())["sets"]
    assert counts["train"]["speakers"] == 2 and counts["train"]["sentences"] == 16
    code, said, _ = called(capsys, "prepare", "timit", root, "--out", out, "--sa", "--seed", 1)
    assert code == 0 and "dev" in said


def test_prepare_librispeech_and_its_errors(tmp_path, capsys):
    root = stubs.librispeech(tmp_path / "Libri")
    subsets = sorted(path.name for path in root.iterdir() if path.is_dir())
    out = tmp_path / "out"
    call = ("prepare", "librispeech", root, "--out", out)
    code, said, _ = called(capsys, *call, "--subsets", subsets[0])
    assert code == 0 and subsets[0] in said and subsets[1] not in said
    code, _, err = called(capsys, *call, "--subsets", "no-such-subset")
    assert code == 2 and "no-such-subset" in err
    next(root.rglob("*.trans.txt")).write_bytes(b"\xff\xfe broken")
    code, said, _ = called(capsys, *call)
    assert code == 1 and "error: " in said
    strict = tmp_path / "strict"
    code, said, err = called(capsys, "prepare", "librispeech", root, "--out", strict, "--strict")
    assert code == 2 and "strict" in err and not strict.exists()


@pytest.mark.parametrize("corpus", ["timit", "librispeech"])
def test_prepare_nothing(tmp_path, capsys, corpus):
    for root in (tmp_path, tmp_path / "missing"):
        code, _, err = called(capsys, "prepare", corpus, root, "--out", tmp_path / "out")
        assert code == 2 and str(root) in err and not (tmp_path / "out").exists()


def test_prepare_mini(tmp_path, capsys):
    pytest.importorskip("espeakng_loader", reason="espeakng-loader is not installed")
    out = tmp_path / "mini"
    code, said, _ = called(
        capsys, "prepare", "mini", "--out", out, "--minutes", 0.3, "--workers", 1, "--seed", 3
    )
    assert code == 0 and "train" in said
    assert (out / "train_cuts.jsonl.gz").exists() and preparation.read(out).sets["train"].cuts


def test_scores(tmp_path, capsys):
    ref, hyp = tmp_path / "ref.txt", tmp_path / "hyp.txt"
    ref.write_text("s1_a h# sh iy q h#\ns2_a h# ax iy h#\n")
    hyp.write_text("s1_a h# sh ih h#\ns2_a h# ah iy h#\n")
    code, said, _ = called(capsys, "score", "per", ref, hyp, "--convention", "all")
    assert code == 0
    rows = {line.split()[0]: line for line in said.splitlines() if line}
    # ax and ah are one phone of 39, iy and ih two; q is dropped but in strict
    assert "12.50%" in rows["kaldi"] and "33.33%" in rows["strict"]
    ref.write_text("s1_a the cat sat\ns2_a a dog\n")
    hyp.write_text("s1_a the cat\ns2_a a dog\n")
    code, said, _ = called(capsys, "score", "wer", ref, hyp, "--confusions", 3)
    assert code == 0 and "20.00%" in said
    code, said, _ = called(capsys, "score", "ler", ref, hyp)
    assert code == 0 and "Letter error rate" in said
    hyp.write_text("s1_a the cat\n")
    code, _, err = called(capsys, "score", "wer", ref, hyp, "--strict")
    assert code == 2 and "s2_a" in err
    code, _, err = called(capsys, "score", "per", tmp_path / "none.txt", hyp)
    assert code == 2 and "none.txt" in err
