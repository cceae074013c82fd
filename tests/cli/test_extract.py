"""What the help of `extract` says about the library's defaults."""

import argparse
import inspect
import re

import pytest

import speechasym
from speechasym.auditory.filterbank import FilterbankConfig
from speechasym.cli.main import build_parser
from speechasym.feature_extraction.sets import CEPSTRA, MEL_CHANNELS, SETS, feature_config

COMMANDS = next(a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
OPTIONS = {action.dest: action for action in COMMANDS.choices["extract"]._actions}
QUOTED = {
    name: quoted[1]
    for name, action in OPTIONS.items()
    if (quoted := re.search(r"\(default: ([^)]*)\)", action.help or ""))
    and name not in ("high_hz", "format")
}


@pytest.mark.parametrize("name", QUOTED)
def test_quoted_defaults_are_those_of_the_library(name):
    convert = OPTIONS[name].type or str
    having = [features for features in SETS.values() if name in features.__dataclass_fields__]
    assert having
    for features in having:
        assert convert(QUOTED[name]) == getattr(features, name)


def test_every_option_of_the_library_quotes_its_default():
    fields = {name for features in SETS.values() for name in features.__dataclass_fields__}
    switches = {name for name, action in OPTIONS.items() if action.nargs == 0}
    assert fields == QUOTED.keys() | (switches & fields) | {"features", "high_hz"}
    assert not any(
        getattr(features, name, False) for features in SETS.values() for name in switches
    )


def test_other_defaults_and_counts():
    assert "the lower of 7600 and 0.95 Nyquist" in OPTIONS["high_hz"].help
    assert FilterbankConfig(sample_rate=44100).highest == 7600
    assert FilterbankConfig(sample_rate=8000).highest == pytest.approx(0.95 * 4000)
    assert OPTIONS["features"].default == feature_config().features
    assert set(OPTIONS["features"].choices) == SETS.keys()
    assert f"{MEL_CHANNELS} bands" in OPTIONS["features"].help
    assert f"mfcc: {CEPSTRA} + delta" in OPTIONS["features"].help
    columns = len(feature_config(features="asymmetry", compact=True).columns())
    assert f"{columns} columns" in OPTIONS["compact"].help
    parameters = inspect.signature(speechasym.extract).parameters
    assert OPTIONS["workers"].default == parameters["workers"].default
