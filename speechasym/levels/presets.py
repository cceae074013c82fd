"""Named models, as mappings that a configuration may override.

`tiny`, `small` and `base` are hierarchies; `transformer` and `state-space` are the same code with
functions taken away (C11); the `-intermediate` ones have their heads at the depths of the
hierarchy's, the others all on top; `recurrent` is the usual baseline.
"""

import copy
import difflib
from collections.abc import Mapping
from typing import Any

from speechasym.errors import ConfigError


def _levels(widths: tuple[int, int, int], repeats: tuple[int, int, int]) -> dict[str, Any]:
    """Three levels: sensory, then two associative ones on fewer and fewer events."""
    sensory = {
        "width": widths[0], "repeat": repeats[0], "stride": 3, "units": 64,
        "functions": ["convolution", "feedforward"], "dilations": [1, 2],
        "events": "hysteresis", "keep": 0.5,
    }  # fmt: skip
    middle = {
        "width": widths[1], "repeat": repeats[1], "units": 96,
        "functions": ["convolution", "feedforward"], "dilations": [1, 2],
        "events": "hysteresis", "keep": 0.5,
    }  # fmt: skip
    upper = {
        "width": widths[2], "repeat": repeats[2], "units": 128,
        "functions": ["convolution", "feedforward"], "dilations": [1, 2],
    }  # fmt: skip
    heads = {
        "phones": {"level": 0},
        "letters": {"level": 1, "slots": 2},
        "words": {"level": 2},
    }
    return {"levels": [sensory, middle, upper], "heads": heads}


def _plain(function: str, width: int, repeats: tuple[int, ...]) -> dict[str, Any]:
    """A stack of one function and feed-forward blocks: no units, no events."""
    levels = [
        {
            "width": width, "repeat": repeat, "units": 0, "events": "none",
            "functions": [function, "feedforward"], "block": {"norm": "pre", "expansion": 2},
            "stride": 3 if number == 0 else 1,
        }
        for number, repeat in enumerate(repeats)
    ]  # fmt: skip
    depth = {"phones": 0, "letters": 1, "words": 2} if len(repeats) > 1 else {}
    return {"levels": levels, "heads": {name: {"level": at} for name, at in depth.items()}}


PRESETS: dict[str, dict[str, Any]] = {
    "tiny": _levels((76, 76, 76), (2, 2, 1)),
    "small": _levels((140, 140, 140), (3, 2, 2)),
    "base": _levels((376, 376, 376), (6, 3, 3)),
    "transformer": _plain("attention", 84, (4,)),
    "transformer-intermediate": _plain("attention", 84, (2, 1, 1)),
    "state-space": _plain("statespace", 72, (4,)),
    "state-space-intermediate": _plain("statespace", 72, (2, 1, 1)),
    "recurrent": {"kind": "recurrent"},
    "recurrent-intermediate": {"kind": "recurrent", "intermediate": True},
}


def merged(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """A preset with a configuration's own keys over it.

    `levels` may be a whole list, or a mapping from a level's number to its keys; `every` holds keys
    for all levels, over the preset's and under those by number.

    Raises `ConfigError` for an unknown preset or a level that does not exist.
    """
    own = copy.deepcopy(dict(mapping))
    # a whole model, as a run keeps it, stands on no preset
    whole = "kind" in own or isinstance(own.get("levels"), list)
    name = own.pop("preset", None if whole else "tiny")
    if name is not None and (not isinstance(name, str) or name not in PRESETS):
        near = difflib.get_close_matches(str(name), PRESETS, 1, 0.4)
        hint = f"Did you mean {near[0]}" if near else f"Use one of {', '.join(PRESETS)}"
        raise ConfigError("model.preset", f"{name!r} is unknown", hint)
    full = copy.deepcopy(PRESETS[name]) if name is not None else {}
    every = _mapping("every", own.pop("every", {}))
    levels = own.pop("levels", {})
    if isinstance(levels, list):
        full["levels"] = levels
        levels = {}
    levels = _mapping("levels", levels)
    if (every or levels) and "levels" not in full:
        raise ConfigError("model.every, model.levels", f"{name} has no levels", "Leave them out")
    if every:
        full["levels"] = [_over(_mapping("levels", level), every) for level in full["levels"]]
    for number, keys in levels.items():
        known = len(full.get("levels", ()))
        if not str(number).isdecimal() or int(number) >= known:
            raise ConfigError(f"model.levels.{number}", f"there are {known} levels", "Count from 0")
        base = full["levels"][int(number)]
        full["levels"][int(number)] = _over(base, _mapping(f"levels.{number}", keys))
    return _over(full, own)


def _mapping(key: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"model.{key}", f"{value!r} is not a mapping of keys", "Write key: value")
    return value


def _over(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings, `own` winning."""
    result = dict(base)
    for key, value in own.items():
        below = result.get(key)
        nested = isinstance(below, Mapping) and isinstance(value, Mapping)
        result[key] = _over(below, value) if nested else value  # type: ignore[arg-type]
    return result
