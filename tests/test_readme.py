"""The README's example runs as written, its links lead somewhere, and its figures are true."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def example() -> str:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    return code


def test_example_is_ten_lines_and_runs(tmp_path, monkeypatch, capsys):
    code = example()
    statements = [line for line in code.splitlines() if line and not line.startswith("import")]
    assert len(statements) <= 10
    (tmp_path / "data").symlink_to(ROOT / "data")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    said = capsys.readouterr().out
    assert re.search(r"Loudest channel: \d+ Hz, -\d+\.\d dB", said)
    assert "12 recordings extracted" in said
    assert names["level"].shape == names["deviation"].shape == (64, 299)
    assert names["matrix"].shape == (279, 39)


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", README))
def test_links_lead_somewhere(target):
    assert (ROOT / target).stat().st_size > 0


def test_every_command_in_the_readme_exists():
    from speechasym.cli.main import build_parser

    for line in re.findall(r"^speechasym (.+?)(?:\s{2,}#.*)?$", README, re.M):
        arguments = line.replace("'", "").split()
        assert build_parser().parse_args(arguments).command == arguments[0]
