"""Read YAML files and `key=value` overrides into dataclasses, checking every key and type."""

import dataclasses
import difflib
import math
import re
import types
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TypeVar

from speechasym.errors import ConfigError

C = TypeVar("C")


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping. Raises `ConfigError` for anything else, and for duplicate keys."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            if twice := [key for key in keys if keys.count(key) > 1]:
                problem = f"duplicate key {twice[0]!r}"
                raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
            return super().construct_mapping(node, deep)

    try:
        content = yaml.load(path.read_text("utf-8"), Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(path, f"cannot be read ({error})", "Give a YAML file") from error
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise ConfigError(path, f"is not valid YAML ({problem})", "Fix the syntax") from error
    if not isinstance(content, dict | None):
        problem = f"holds a {type(content).__name__}, not a mapping"
        raise ConfigError(path, problem, "Write key: value")
    return content or {}


def names(text: str) -> tuple[str, ...]:
    """Split a comma-separated list."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def override(mapping: dict[str, Any], word: str) -> str:
    """Apply the override `a.b.0.c=value` to nested mappings and lists; return its key."""
    import yaml

    key, equals, text = word.partition("=")
    if not equals or not all(key.split(".")):
        example = "Write epochs=10 or data.features.rate=50"
        raise ConfigError(word, "is not of the form key=value", example)
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        problem = f"{text!r} is not a valid YAML value"
        raise ConfigError(word, problem, "Write it as in YAML") from error
    *steps, last = key.split(".")
    here: Any = mapping
    for step in steps:
        if isinstance(here, dict) and here.get(step) is None:
            here[step] = {}
        here = here[_index(key, here, step)]
    here[_index(key, here, last)] = value
    return key


def _index(key: str, here: Any, step: str) -> Any:
    """Return what indexes a mapping or a list."""
    if isinstance(here, dict):
        return step
    if not isinstance(here, list):
        raise ConfigError(key, f"{here!r} has no element {step!r}", "Fix the key")
    if not step.isdecimal() or int(step) >= len(here):
        problem = f"index {step!r} is out of range for a list of {len(here)}"
        raise ConfigError(key, problem, "Count from 0, or give the whole list")
    return int(step)


def build(cls: type[C], mapping: Any, place: Any = str, key: str = "", base: Any = None) -> C:
    """Build a dataclass from nested mappings, checking each value against its field's type.

    Args:
        place: maps a dotted key to the way a message names it.
        key: dotted key of `mapping` itself.
        base: an instance whose values are the defaults.
    """
    if not isinstance(mapping, Mapping):
        raise ConfigError(place(key), f"must be a mapping, got {mapping!r}", "Write key: value")
    prefix = f"{key}." if key else ""
    if hasattr(cls, "subclass_for"):  # an abstract class: the mapping names the subclass
        try:
            cls = cls.subclass_for(mapping, base)  # type: ignore[attr-defined]
        except ConfigError as error:
            raise ConfigError(place(prefix + error.args[0]), *error.args[1:]) from error
    known = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(cls)
    values = {}
    for name, entry in known.items():
        if hasattr(base, name):
            values[name] = getattr(base, name)
        elif entry.default_factory is not dataclasses.MISSING:
            values[name] = entry.default_factory()
        elif entry.default is not dataclasses.MISSING:
            values[name] = entry.default
    for name, value in mapping.items():
        if name not in known:
            raise ConfigError(place(f"{prefix}{name}"), "unknown key", suggest(name, known))
        values[name] = _value(hints[name], value, place, prefix + name, values.get(name))
    for name in known:
        if name not in values:
            if not dataclasses.is_dataclass(hints[name]):
                raise ConfigError(place(prefix + name), "is missing", f"Set {prefix}{name}")
            values[name] = build(hints[name], {}, place, prefix + name)  # names a key that it lacks
    try:
        return cls(**values)
    except ConfigError as error:
        subject = error.args[0]
        if all(part in known for part in subject.split(", ")):
            subject = place(prefix + subject)
        elif key:  # raised by a check of another class, called from this one
            subject = f"{place(key)}: {subject}"
        raise ConfigError(subject, *error.args[1:]) from error


def _value(hint: Any, value: Any, place: Any, key: str, default: Any) -> Any:
    """Convert a value to its field's type. Raises `ConfigError` where it does not fit."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return build(hint, value, place, key, default)  # type: ignore[arg-type]
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in args:
            return None
        if all(dataclasses.is_dataclass(arg) for arg in args):
            return build(_variant(args, value, place, key), value, place, key)
        errors = []
        for arg in (arg for arg in args if arg is not type(None)):
            try:
                return _value(arg, value, place, key, default)
            except ConfigError as error:
                errors.append(error)
        raise errors[0]
    if origin is Literal:
        if value in args:
            return value
        raise ConfigError(place(key), f"unknown value {value!r}", f"Use one of {', '.join(args)}")
    if origin is tuple:
        parts = names(value) or [value] if isinstance(value, str) else value
        parts = parts if isinstance(parts, list | tuple) else [parts]
        if args[-1] is not Ellipsis and len(parts) != len(args):
            problem = f"must have {len(args)} values, got {value!r}"
            raise ConfigError(place(key), problem, f"Give {len(args)} values")
        nested = dataclasses.is_dataclass(args[0])
        keys = [f"{key}.{number}" if nested else key for number in range(len(parts))]
        return tuple(_value(args[0], p, place, k, None) for p, k in zip(parts, keys, strict=True))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise ConfigError(place(key), f"must be a mapping, got {value!r}", "Write key: value")
        return dict(value)
    return _plain(hint, value, place, key)


def _variant(classes: Any, value: Any, place: Any, key: str) -> Any:
    """Return the class of a union that the key `kind` of a mapping names; default: the first."""
    kinds, kind = {cls.kind: cls for cls in classes}, classes[0].kind
    if isinstance(value, Mapping):
        kind = value.get("kind", kind)
    if str(kind) not in kinds:
        remedy = f"Use one of {', '.join(kinds)}"
        raise ConfigError(place(f"{key}.kind"), f"unknown value {kind!r}", remedy)
    return kinds[str(kind)]


def _plain(hint: Any, value: Any, place: Any, key: str) -> Any:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if hint is float and isinstance(value, str):  # 1e-3 is a string in YAML
        with suppress(ValueError):
            return float(value)
    if hint is float and (whole or isinstance(value, float)):
        return float(value)
    if hint is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if (hint is int and whole) or (hint in (bool, str) and isinstance(value, hint)):
        return value
    names = {int: "an integer", float: "a number", bool: "true or false", str: "a string"}
    problem = f"must be {names.get(hint, hint)}, got {value!r}"
    raise ConfigError(place(key), problem, "Fix the value")


def to_dict(config: Any) -> Any:
    """Convert a configuration to plain JSON and YAML types; `build` reads it back.

    Numbers that are not finite become None.
    """
    if isinstance(config, float) and not math.isfinite(config):
        return None
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {f.name: to_dict(getattr(config, f.name)) for f in dataclasses.fields(config)}
    if isinstance(config, Mapping):
        return {str(name): to_dict(value) for name, value in config.items()}
    if isinstance(config, tuple | list):
        return [to_dict(value) for value in config]
    return config


def leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested mappings and lists of mappings with their dotted keys."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from leaves(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list) and any(isinstance(v, Mapping) for v in value):
        for number, inner in enumerate(value):
            yield from leaves(inner, f"{key}.{number}")
    else:
        yield key, value


def suggest(key: object, known: Collection[str]) -> str:
    """Return the remedy for an unknown key: the known one that it resembles, or all of them."""
    near = difflib.get_close_matches(str(key), known, 1, 0.7)
    return f"Did you mean {near[0]}?" if near else f"Known keys: {', '.join(known)}"


def plural(count: int, noun: str) -> str:
    """Return a count with its noun: 1 cut, 1,794 steps."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def check_choice(name: str, value: Any, known: Collection[str]) -> None:
    """Raise `ConfigError` unless `value` is one of `known`."""
    if not isinstance(value, str) or value not in known:
        near = difflib.get_close_matches(str(value), known, 1, 0.5)
        remedy = f"Did you mean {near[0]!r}?" if near else "Choose one of them"
        raise ConfigError(name, f"must be one of {', '.join(known)}, got {value!r}", remedy)


def check_choices(name: str, chosen: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """Return `chosen` in the order of `known`. Raises `ConfigError` unless all are known, once."""
    once = len(set(chosen)) == len(chosen) > 0
    if isinstance(chosen, str) or not once or set(chosen) - set(known):
        problem = f"must be one or more of {', '.join(known)}, each at most once, got {chosen!r}"
        raise ConfigError(name, problem, f"Use for example {','.join(known[:2])}")
    return tuple(k for k in known if k in chosen)


def check_rising(name: str, values: Sequence[float], positive: bool = True) -> None:
    """Raise `ConfigError` unless values are finite and strictly rising (and positive)."""
    steps = pairwise([0.0, *values] if positive else values)
    if not len(values) or not all(map(math.isfinite, values)) or any(b <= a for a, b in steps):
        kind = "positive and strictly rising" if positive else "strictly rising"
        raise ConfigError(name, f"must be {kind}, got {list(values)}", "Use for example 1, 3, 10")


def check_count(name: str, value: int, least: int = 1) -> None:
    """Raise `ConfigError` unless value is an integer >= `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        problem = f"must be an integer >= {least}, got {value!r}"
        raise ConfigError(name, problem, f"Use {least} or more")


def check_range(
    name: str, value: float | None, example: str, low: float = 0, high: float = math.inf,
    *, above: bool = False, below: bool = False,
) -> None:  # fmt: skip
    """Raise `ConfigError` unless low <= value <= high, or < with `above`, `below`; None passes."""
    if value is None:
        return
    inside = low <= value <= high and not (above and value == low) and not (below and value == high)
    if not (inside and math.isfinite(value)):
        expected = f"{'>' if above else '>='} {low:.10g}"
        if high < math.inf:
            expected += f" and {'<' if below else '<='} {high:.10g}"
        raise ConfigError(name, f"must be {expected}, got {value:.10g}", f"Use {example}")


def to_yaml(config: Any, top: bool = True) -> str:
    """Write a configuration as YAML; the comment beside each field becomes its explanation."""
    import yaml

    meanings = _field_comments(type(config))
    rows = []
    for name, value in to_dict(config).items():
        if text := meanings.get(name):
            rows.append(f"# {text}")
        field = getattr(config, name, value)
        if dataclasses.is_dataclass(field):
            rows += [f"{name}:", _indented(to_yaml(field, False), "  ")]
        elif isinstance(field, tuple) and field and dataclasses.is_dataclass(field[0]):
            rows.append(f"{name}:")
            rows += [_indented(to_yaml(part, False), "  - ") for part in field]
        else:
            text = yaml.safe_dump(value, default_flow_style=True, width=1000, sort_keys=False)
            rows.append(f"{name}: " + text.removesuffix("...\n").strip())
        if top:
            rows.append("")
    return "\n".join(rows).rstrip() + "\n"


def _indented(text: str, first: str) -> str:
    """Indent lines; the first one begins with `first`, such as the dash of a list."""
    return first + text.rstrip("\n").replace("\n", "\n" + " " * len(first))


def _field_comments(cls: type) -> dict[str, str]:
    """Return {field: the comment beside its declaration, or on the lines above}."""
    import inspect

    comments: dict[str, str] = {}
    for parent in reversed(cls.__mro__):
        if dataclasses.is_dataclass(parent):
            source = inspect.getsource(parent)
            above = r"(?P<above>(?:^    # .+\n)+)    (?P<name>\w+): "
            beside = r"^    (?P<name>\w+): [^#\n]*# *(?P<beside>.+)$"
            for match in re.finditer(above, source, re.M):
                comments[match["name"]] = match["above"].strip("# \n").replace("\n    #", "\n#")
            for match in re.finditer(beside, source, re.M):
                comments[match["name"]] = match["beside"]
    return comments
