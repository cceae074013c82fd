"""Runs whose model is divided among processes end as if there was one process, to the bit."""

import shutil
import signal

import processes
import pytest
import tiny

from speechasym.errors import ConfigError
from speechasym.training import loop

GLOBAL = "learning.rule=local+global"
RULES = {
    "local": ["learning.rule=local"],
    "imitation": [GLOBAL],
    "broadcast": [GLOBAL, "learning.feedback=broadcast", "learning.staleness=2"],
    "broadcast at once": [GLOBAL, "learning.feedback=broadcast"],
    "correction": [GLOBAL, "learning.feedback=correction", "learning.mix=0.4"],
    "auto": [GLOBAL, "learning.mix=auto", "learning.feedback=broadcast", "learning.staleness=1"],
}


def train(words, out, rule, parts, end=None, codes=None):
    more = [*RULES[rule], f"learning.parts={parts}"]
    return processes.run(processes.train, parts, words, out, more, end, codes=codes)


@pytest.fixture(scope="module")
def alone(few_words, tmp_path_factory):
    """Runs of one process by rule, made when they are needed."""
    folders = {}

    def run(rule):
        if rule not in folders:
            folders[rule] = tmp_path_factory.mktemp("alone") / "run"
            assert train(few_words, folders[rule], rule, 1) == {0: (8, True)}
        return folders[rule]

    return run


@pytest.mark.parametrize(
    "rule, parts",
    [("local", 3), ("imitation", 2), ("imitation", 3), ("broadcast", 3), ("broadcast at once", 2),
     ("correction", 3), ("auto", 3)],
)  # fmt: skip
def test_parts_train_as_one_process(few_words, tmp_path, alone, rule, parts):
    found = train(few_words, tmp_path / "run", rule, parts)
    assert found == dict.fromkeys(range(parts), (8, True))
    tiny.same(alone(rule), tmp_path / "run")


def test_a_run_with_a_killed_part_resumes_with_other_parts(few_words, tmp_path, alone):
    rule = "broadcast"
    killed = train(few_words, tmp_path / "run", rule, 3, (1, 6, signal.SIGKILL), [0, -9, 0])
    for text in (killed[0], killed[2]):
        assert "process 1 (part 1, replica 0) has ended, or cannot be reached" in text
    for parts in (2, 1):
        out = shutil.copytree(tmp_path / "run", tmp_path / f"with {parts}")
        assert train(few_words, out, rule, parts)[0] == (8, True)
        tiny.same(alone(rule), out)


def test_all_parts_stop_after_the_same_step(few_words, tmp_path, alone):
    out = tmp_path / "run"
    stopped = train(few_words, out, "local", 2, (0, 2, signal.SIGTERM))
    assert stopped[0] == stopped[1] and stopped[0][0] < 8 and not stopped[0][1]
    assert train(few_words, out, "local", 2) == dict.fromkeys(range(2), (8, True))
    tiny.same(alone("local"), out)


def test_replicas_of_parts_train_as_replicas(few_words, tmp_path):
    more = RULES["imitation"]
    one = processes.run(processes.train, 2, few_words, tmp_path / "one", more)
    more = [*more, "learning.parts=2"]
    two = processes.run(processes.train, 4, few_words, tmp_path / "two", more)
    assert one[0] == two[0] == (8, True)
    tiny.same_parameters(tmp_path / "one", tmp_path / "two")


def test_more_parts_than_stages_are_refused(few_words, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "5")
    more = ("learning.rule=local", "learning.parts=5")
    with pytest.raises(ConfigError, match="5 parts are more than the 3 blocks of the model"):
        loop.train(tiny.config(few_words, *more), tmp_path / "run")


def test_an_error_of_a_part_ends_the_run(few_words, tmp_path):
    more = ["learning.rule=local", "learning.parts=2", "learning_rate=1e30"]
    found = processes.run(processes.train, 2, few_words, tmp_path / "run", more)
    assert any("is not finite" in text for text in found.values()), found


@pytest.mark.parametrize(
    "word, message",
    [("learning.rule=backprop+inter", "parts.*learns all stages together"),
     ("learning.meter=true", "meter.*no process has the whole model")],
)  # fmt: skip
def test_what_parts_cannot_do_is_refused(word, message):
    words = ("data.train=a", "data.dev=b")
    with pytest.raises(ConfigError, match=message):
        tiny.config(words, "learning.rule=local", "learning.parts=2", word)
