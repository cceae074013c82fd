"""Examples in docs run as written, on recordings of `data/` in a folder of their own.

- Python blocks run page by page, in order; `speechasym`, `torch`, `nn`, `np` and samples `x` are
  known. A block after `<!-- not run by the tests: WHY -->` does not.
- Lines `speechasym ...` run, unless they name a run, or cuts of a corpus. All lines are parsed by
  `test_readme.py`.
"""

import re
import shlex
from pathlib import Path

import example_files
import numpy as np
import pytest
import torch
from helpers import ROOT

import speechasym
from speechasym.cli.main import main

NOT_RUN = re.compile(r"<!-- not run by the tests: (needs|trains) [\w ]+ -->")
NEEDS_MORE = re.compile(
    r"\bruns?\b|RUN|_cuts\.jsonl|\bout/|\bbooks\b|--live|LibriSpeech|^speechasym train|DIR"
)


def fenced(text: str) -> list[tuple[str, str, str]]:
    """Return the line before each block, its language, and what is in it."""
    blocks, before, kind, inside = [], "", None, []
    for line in text.splitlines(keepends=True):
        if line.startswith("```"):
            if kind is None:
                kind, inside = line[3:].strip(), []
            else:
                blocks.append((before, kind, "".join(inside)))
                kind, before = None, ""
        elif kind is not None:
            inside.append(line)
        elif line.strip():
            before = line.strip()
    return blocks


def examples(page: Path) -> tuple[list[str], list[str]]:
    """Return the Python blocks, and the shell lines, that can run here."""
    blocks, lines = [], []
    for before, kind, body in fenced(page.read_text()):
        if "not run" in before:
            assert NOT_RUN.fullmatch(before), before
        elif kind == "python":
            blocks.append(body)
        elif kind in ("", "sh"):
            every = re.findall(r"^speechasym .+$", body.replace("\\\n", " "), re.M)
            lines += [line for line in every if not NEEDS_MORE.search(line.split("#")[0])]
    return blocks, lines


PAGES = {page.name: examples(page) for page in sorted((ROOT / "docs").glob("*.md"))}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Recordings under the names that the pages use."""
    return example_files.make(tmp_path_factory.mktemp("docs"))


@pytest.mark.parametrize("page", [name for name, (blocks, _) in PAGES.items() if blocks])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_python(page, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    x = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    names = {"speechasym": speechasym, "torch": torch, "nn": torch.nn, "np": np, "x": x}
    for number, block in enumerate(PAGES[page][0]):
        problem = None
        try:
            exec(compile(block, page, "exec"), names)
        except Exception as error:
            problem = repr(error)
        assert problem is None, f"example {number} of {page}: {problem}\n{block}"


@pytest.mark.parametrize("page", [name for name, (_, lines) in PAGES.items() if lines])
def test_commands(page, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    out = 0
    for line in PAGES[page][1]:
        words = shlex.split(line, comments=True)[1:]
        if "--out" in words and "." not in words[words.index("--out") + 1]:
            words[words.index("--out") + 1] += f"-{page}-{(out := out + 1)}"
        words = [str(p) for w in words for p in (sorted(folder.glob(w)) if "*" in w else [w])]
        code = main(words)
        assert code == 0, f"{line}\n{capsys.readouterr().err}"
