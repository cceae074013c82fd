"""Third-party material: every file that we pass on is named in NOTICE, with its terms."""

import subprocess
import tomllib
from fnmatch import fnmatch

import pytest
from helpers import ROOT

OURS = {".html", ".py", ".css", ".js", ".typed", ".md"}  # code and texts of the project
NOTICE = (ROOT / "NOTICE").read_text("utf-8")


def passed_on() -> list[str]:
    """Files of the repository that are not code or texts of the project, without tests."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    paths = [
        path
        for path in tracked.stdout.splitlines()
        if path.startswith(("speechasym/", "data/", "docs/report-"))
    ]
    return [p for p in paths if "." + p.rpartition(".")[2] not in OURS and "SHA256SUMS" not in p]


def unnamed(paths: list[str]) -> list[str]:
    """Those of the paths that no word of NOTICE names, by itself or as a pattern."""
    words = {word.rstrip(",:.").strip("()") for word in NOTICE.split()}
    return [
        path
        for path in paths
        if not any(fnmatch(path, word) for word in words if "/" in word)
        and path.rpartition("/")[2] not in words
    ]


def test_each_third_party_file_has_a_notice():
    paths = passed_on()
    assert "speechasym/recognition/pretrained/lexicon.txt" in paths
    assert unnamed(paths) == []
    assert unnamed(["speechasym/language/words.bin"]) == ["speechasym/language/words.bin"]


@pytest.mark.parametrize(
    "term",
    [
        "(C) 1993-2008 Carnegie Mellon University. All rights reserved.",
        "deemed to be source code", "the following disclaimer in", "AS IS", "SUCH DAMAGE.",
        "https://creativecommons.org/licenses/by/4.0/", "(c) 2014 Vassil Panayotov", "Changes:",
        "(c) 2014-2015 Alpha Cephei Inc.", "public domain",
    ],
)  # fmt: skip
def test_the_terms_are_kept(term):
    assert term in NOTICE


def test_the_metadata_name_the_licences():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["license"] == "Apache-2.0 AND BSD-2-Clause AND CC-BY-4.0"
    assert project["license-files"] == ["LICENSE", "NOTICE"]
