"""Progress on stderr: the time left never comes from a step that compiles, which is announced."""

from types import SimpleNamespace

import pytest
from helpers import environment, run_cli

from speechasym import progress, workers
from speechasym.ops import compile_events

COMPILE = "__import__('speechasym.ops.compile_events', fromlist=['x']).compiling()"


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the test moves; nothing was compiled yet."""
    now = [0.0]
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(progress._Announcement, "done", False)

    def wait(seconds):
        now[0] += seconds

    return wait


def test_the_time_left_is_that_of_the_steps_after_compiling(clock, capsys):
    with progress.progress(1000, "work") as step:
        for seconds, compiles in ((60, True), (20, True), (1, False), (9, False), (15, False)):
            if compiles:
                compile_events.compiling()
            clock(seconds)
            step()
    assert capsys.readouterr().err.splitlines() == [
        "compiling (once)",
        "work: 0%, 1/1000",
        "work: 0%, 2/1000",
        "work: 0%, 4/1000".replace("4/", "4980 s left, 4/"),
        "work: 0%, 8292 s left, 5/1000",
    ]


def test_without_compiling_every_line_has_the_time_left(clock, capsys):
    with progress.progress(4, "work") as step:
        for _ in range(4):
            clock(10)
            step()
    assert capsys.readouterr().err.splitlines()[0] == "work: 25%, 30 s left, 1/4"


def test_a_bar_survives_the_announcement(clock, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with progress.progress(3, "work") as step:
        compile_events.compiling()
        for _ in range(3):
            clock(10)
            step()
    err = capsys.readouterr().err
    assert err.count("compiling (once)") == 1 and "100%" in err and "3/3" in err


def test_nothing_is_said_unless_progress_is_shown(clock, capsys):
    with progress.announce_compiling(), progress.progress(1, "work", show_progress=False) as step:
        compile_events.compiling()
        step()
    compile_events.compiling()  # as a library
    assert capsys.readouterr().err == ""


def test_workers_tell_that_they_compile(clock, capsys):
    with progress.announce_compiling():
        assert list(workers.run_tasks(eval, [COMPILE] * 3, 2)) == [None] * 3
    assert capsys.readouterr().err == "speechasym: compiling (once)\n"


def test_a_command_compiles_once(tmp_path):
    (tmp_path / "book.txt").write_text("To be or not to be, that is the question.\n" * 9)
    env = environment() | {"NUMBA_CACHE_DIR": str(tmp_path / "kernels")}
    options = {"env": env, "cwd": tmp_path, "timeout": 300}
    first = run_cli("lm", "book.txt", "--out", "a.arpa", "--test", "book.txt", **options)
    again = run_cli("lm", "book.txt", "--out", "b.arpa", "--test", "book.txt", **options)
    assert first.code == again.code == 0
    assert first.err.count("speechasym: compiling (once)") == 1
    assert "compiling" not in again.err
