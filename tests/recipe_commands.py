"""Run a recipe's script with its commands carried out in this process."""

import contextlib
import importlib.util
import io
import json
import os
import runpy
import subprocess
import sys
import threading
import traceback
from pathlib import Path

from helpers import ROOT, let_go

from speechasym.cli import main
from speechasym.corpora import manifests

SHIM = """#!/bin/sh
printf '%s\\n' {name} "$@" > {folder}/ask
read code < {folder}/answer
cat {folder}/said
exit "$code"
"""


class Commands:
    """Runs what a script asks of `speechasym` and of python; asked: the words of each command."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked = folder, []
        self.told: tuple[str, ...] = ()  # commands that are taken down, and not run
        for name in ("ask", "answer"):
            os.mkfifo(folder / name)
        for name in ("speechasym", "python"):
            shim = folder / name
            shim.write_text(SHIM.format(folder=folder, name=name))
            shim.chmod(0o755)

    def run(self, script: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess:
        """Run a script with these arguments and more of the environment."""
        self.asked, done = [], threading.Event()
        answers = threading.Thread(target=self._answer, args=(done,), daemon=True)
        answers.start()
        own = {name.upper(): str(self.folder / name) for name in ("speechasym", "python")}
        found = subprocess.run(
            ["bash", str(script), *map(str, arguments)], env=os.environ | own | more,
            capture_output=True, text=True, cwd=self.folder,
        )  # fmt: skip
        done.set()
        let_go(self.folder / "ask", answers)
        return found

    def _answer(self, done: threading.Event) -> None:
        while not done.is_set():
            words = (self.folder / "ask").read_text().splitlines()
            if not words:
                continue
            command, *words = words
            module = words[1] if words[0] == "-m" else None
            if module:
                words = [module.split(".")[-1], *words[2:]]
            self.asked.append(words)
            if words[0] in self.told:
                (self.folder / "said").write_text("")
                (self.folder / "answer").write_text("0\n")
                continue
            said, here = io.StringIO(), os.getcwd()
            os.chdir(ROOT)  # as the scripts do
            try:
                with contextlib.redirect_stdout(said):
                    code = main.main(words) if command == "speechasym" else _python(words, module)
            except SystemExit as left:
                code = int(left.code or 0)
            except Exception:  # or the script would wait forever for an answer
                traceback.print_exc()
                code = 1
            os.chdir(here)
            (self.folder / "said").write_text(said.getvalue())
            (self.folder / "answer").write_text(f"{code}\n")

    @property
    def names(self) -> list[str]:
        """The first word of each command; of a script or module, its name."""
        return [Path(words[0]).stem for words in self.asked]

    def of(self, name: str) -> list[list[str]]:
        """Those that begin so."""
        return [words for words in self.asked if Path(words[0]).stem == name]


def _python(words: list[str], module: str | None) -> int:
    before, sys.argv = sys.argv, list(words)
    try:
        spec = importlib.util.find_spec(module) if module else None
        runpy.run_path(spec.origin if spec else words[0], run_name="__main__")
    finally:
        sys.argv = before
    return 0


def after(words: list[str], option: str) -> str:
    """What stands behind an option."""
    return words[words.index(option) + 1]


def config_of(run: Path) -> dict:
    """A run's configuration."""
    return json.loads((run / "config.json").read_text())["config"]


def speakers_of(path: Path) -> set[str]:
    return {cut.supervisions[0].speaker for cut in manifests.read_cuts(Path(path))}
