"""Named models as mappings, which a configuration may override.

`tiny`, `small` and `base` are hierarchies; `transformer` and `state-space` are the same code with
functions taken away (C11); `recurrent` is the usual baseline. The heads of the `-intermediate` ones
read at the depths of the hierarchy's, those of the others all on top.

`LEVELS` are presets of a single level.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from speechasym import config
from speechasym.errors import ConfigError
from speechasym.levels.config import ModelConfig


def _levels(widths: tuple[int, int, int], repeats: tuple[int, int, int]) -> dict[str, Any]:
    """Return three levels: a sensory one, and two associative ones on ever fewer events."""
    levels: list[dict[str, Any]] = [
        {
            "width": width, "repeat": repeat, "units": units,
            "functions": ["convolution", "feedforward"], "dilations": [1, 2],
        }
        for width, repeat, units in zip(widths, repeats, (64, 96, 128), strict=True)
    ]  # fmt: skip
    levels[0] |= {"stride": 3, "events": "hysteresis", "keep": 0.5}
    levels[1] |= {"events": "hysteresis", "keep": 0.5}
    heads = {"phones": {"level": 0}, "letters": {"level": 1, "slots": 2}, "words": {"level": 2}}
    return {"levels": levels, "heads": heads}


def _plain(function: str, width: int, repeats: tuple[int, ...]) -> dict[str, Any]:
    """Return a stack of one function and feed-forward blocks, without units and events."""
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


LEVELS: dict[str, dict[str, Any]] = {
    # driven by what comes in: looks a few steps around, hears no level above
    "sensory": {"functions": ["convolution", "feedforward"], "hears": False, "steers": "gain"},
    # driven by context: past, future and the level above, and what it has decided itself
    "associative": {"functions": ["statespace", "feedforward"], "hears": True, "steers": "units"},
}
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


def model_config(mapping: Mapping[str, Any]) -> ModelConfig:
    """Read the configuration of a model from a mapping, see `merged`. Raises `ConfigError`."""
    return config.build(_Keys, {"model": merged(mapping)}).model


@dataclass(frozen=True)
class _Keys:
    model: ModelConfig


def merged(mapping: Any, place: Callable[[str], str] = str) -> dict[str, Any]:
    """Return the keys of a preset with a configuration's own keys on top.

    Args:
        mapping: `preset` (default: tiny) and the keys that override it. `levels` is a whole list,
            or a mapping from a level's number to its keys; `every` holds keys for all levels, which
            override the preset and are overridden by those of a number. A level's `preset` is one
            of `LEVELS`, under its other keys. A mapping with a list of levels, or a `kind`, is a
            whole model without a preset.
        place: maps a dotted key to the way a message names it.

    Raises:
        ConfigError: an unknown preset, or a level that does not exist.
    """

    def checked(key: str, value: Any) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            raise ConfigError(place(key), f"must be a mapping, got {value!r}", "Write key: value")
        return value

    def level(base: Mapping[str, Any], keys: Mapping[str, Any], where: str) -> dict[str, Any]:
        keys = dict(keys)
        if (name := keys.pop("preset", None)) is not None:
            config.check_choice(place(f"model.{where}.preset"), str(name), LEVELS)
            base = _over(base, LEVELS[str(name)])
        return _over(base, keys)

    keys = dict(checked("model", mapping))
    whole = "kind" in keys or isinstance(keys.get("levels"), list)
    preset = keys.pop("preset", None if whole else "tiny")
    if preset is not None:
        config.check_choice(place("model.preset"), str(preset), PRESETS)
    full = copy.deepcopy(PRESETS.get(preset, {}))
    every = checked("model.every", keys.pop("every", {}))
    levels = keys.pop("levels", {})
    if isinstance(levels, list):
        full["levels"], levels = levels, {}
    levels = checked("model.levels", levels)
    if "levels" in full:
        rows = [checked(f"model.levels.{n}", row) for n, row in enumerate(full["levels"])]
        rows = [level({}, row, f"levels.{n}") for n, row in enumerate(rows)]
        full["levels"] = [level(row, every, "every") for row in rows]
    elif every or levels:
        subject = f"{place('model.every')}, {place('model.levels')}"
        raise ConfigError(subject, f"{preset} has no levels", "Leave them out")
    for number, options in levels.items():
        key, known = f"model.levels.{number}", len(full["levels"])
        if not str(number).isdecimal() or int(number) >= known:
            raise ConfigError(place(key), f"there are {known} levels", "Count from 0")
        row = full["levels"][int(number)]
        full["levels"][int(number)] = level(row, checked(key, options), f"levels.{number}")
    return _over(full, keys)


def _over(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """Merge nested mappings; `top` wins."""
    result = dict(base)
    for key, value in top.items():
        below = result.get(key)
        nested = isinstance(below, Mapping) and isinstance(value, Mapping)
        result[key] = _over(below, value) if nested else value  # type: ignore[arg-type]
    return result
