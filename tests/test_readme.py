"""The README's example runs as written; links and commands of every page are valid."""

import re
import shlex

import pytest
from helpers import ROOT

README = (ROOT / "README.md").read_text()
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/*.md", "recipes/**/*.md")
    for page in ROOT.glob(pattern)
    if page.name not in ("RESULTS.md", "log.md")  # history: commands as they were
)


def run_example(first: str, folder, monkeypatch, capsys) -> tuple[dict[str, object], str]:
    """Run the Python block that contains `first`; return its names and what it printed."""
    (code,) = [
        block for block in re.findall(r"```python\n(.*?)```", README, re.S) if first in block
    ]
    (folder / "data").symlink_to(ROOT / "data")
    monkeypatch.chdir(folder)
    names: dict[str, object] = {}
    exec(compile("import speechasym\n" + code, "README.md", "exec"), names)
    return names, capsys.readouterr().out


def test_example_runs(tmp_path, monkeypatch, capsys):
    names, printed = run_example("transcribe(file)", tmp_path, monkeypatch, capsys)
    assert printed.startswith("HE WAS NOT AN ILL DISPOSED YOUNG MAN 0.")
    assert names["level"].shape == (299, 64) and names["asymmetry"].shape == (299, 33)
    assert (tmp_path / "first.png").exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_are_valid(page, capsys):
    from speechasym.cli.main import build_parser

    text = page.read_text().replace("\\\n", " ")
    for line in re.findall(r"^(?: {4}|\$ |)(?:\.venv/bin/)?speechasym (.+)$", text, re.M):
        words = shlex.split(line, comments=True)
        if not words or "..." in words or not words[0].islower() or words[0] not in COMMANDS:
            continue  # prose
        try:
            build_parser().parse_args(words)
        except SystemExit as end:
            assert not end.code, f"speechasym {line}\n{capsys.readouterr().err}"


COMMANDS = (
    "extract", "plot", "score", "prepare", "train", "evaluate", "transcribe", "align", "explore",
    "report", "lm", "lexicon", "models", "doctor",
)  # fmt: skip


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/claims.md", "docs/dataflow.md"])
def test_modules_named_in_pages_exist(page):
    """`levels/units`, `ops/ref.py`, `tests/levels`, `audio.reading.blocks` lead to a file."""
    text = (ROOT / page).read_text()
    named = re.findall(r"`((?:[a-z_]+/)+[a-z_]*(?:\.py|\.md)?)`", text)
    dotted = re.findall(r"`([a-z_]+\.[a-z_]+)\.\w+`", text)
    named += [name.replace(".", "/") for name in dotted]
    assert len(named) >= 10
    for name in set(named) - {"speechasym/features"}:
        places = [ROOT / name, ROOT / "speechasym" / name]
        assert any(p.exists() or p.with_suffix(".py").exists() for p in places), name
