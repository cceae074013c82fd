"""Parsers and option types that the commands share."""

import argparse
import re
import shlex
import sys
import textwrap
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NoReturn

from speechasym.config import names, read_yaml, suggest
from speechasym.errors import ConfigError

WIDTH = 80
SEVERAL: Any = {"nargs": "+", "action": "extend", "default": []}  # an option that takes words


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Show defaults that help does not name itself; keep line breaks of examples."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26)

    def _format_args(self, action: argparse.Action, default_metavar: str) -> str:
        usage = isinstance(action.metavar, str) and " " in action.metavar  # says all by itself
        return str(action.metavar) if usage else super()._format_args(action, default_metavar)

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        silent = action.default in (None, False, argparse.SUPPRESS) or action.default == []
        return text if silent or "(default" in text else f"{text} (default: %(default)s)"


class CommandParser(argparse.ArgumentParser):
    """An argument parser whose options may also come from a YAML file (`--config`)."""

    def __init__(self, *, description: str = "", **options: Any) -> None:
        super().__init__(
            description=textwrap.fill(description, WIDTH), formatter_class=Formatter,
            allow_abbrev=False, **options,
        )  # fmt: skip
        self._reads_config = False
        self._intermixed = False

    def add_config(self) -> None:
        """Add `--config` and `--print-config`."""
        self._reads_config = True
        add = self.add_argument
        add("--config", metavar="FILE", help="YAML file with any of these options")
        add("--print-config", action="store_true", help="print the options as YAML, and exit")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse; options of the configuration file become defaults first.

        Options may stand anywhere among the positionals: RUN --out DIR FILE.
        """
        if not self._reads_config:
            return self._parse(args, namespace)
        words = sys.argv[1:] if args is None else list(args)
        first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        first.error = self.error  # type: ignore[method-assign]
        first.add_argument("--config")
        first.add_argument("--print-config", action="store_true")
        early, _ = first.parse_known_args(words)
        if early.config is not None:
            self._read_config(early.config)
        if early.print_config:
            for action in self._actions:
                _make_optional(action)
        options, rest = self._parse(words, namespace)
        if early.print_config:
            self._print_config(options)
        return options, rest

    def _parse(self, words: Any, namespace: Any) -> Any:
        options, rest = super().parse_known_args(words, namespace)
        nested = any(isinstance(a, argparse._SubParsersAction) for a in self._actions)
        if not rest or nested or self._intermixed:
            return options, rest
        self._intermixed = True  # Python 3.11's intermixed parsing comes here again
        try:
            options, rest = self.parse_known_intermixed_args(words, namespace)
        finally:
            self._intermixed = False
        if rest:  # here, so that the usage shown is that of the command
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return options, rest

    def _read_config(self, path: str) -> None:
        known = {action.dest: action for action in self._options()}
        for key, value in read_yaml(Path(path)).items():
            name = str(key).replace("-", "_")
            if name not in known:
                raise ConfigError(f"{path}: {key}", "unknown key", suggest(name, known))
            action = known[name]
            action.default = _value(action, value, f"{path}: {key}")
            _make_optional(action)

    def _options(self) -> list[argparse.Action]:
        skip = ("help", "config", "print_config")
        return [action for action in self._actions if action.dest not in skip]

    def _print_config(self, options: argparse.Namespace) -> NoReturn:
        import yaml

        for action in self._options():
            text = (self._get_formatter()._expand_help(action)).replace("\n", " ")
            print(textwrap.fill(text, WIDTH, initial_indent="# ", subsequent_indent="# "))
            value = getattr(options, action.dest, None)
            if value is None or value == []:
                default = re.search(r"\(default: ([^)]*)\)", action.help or "")
                print(f"# {action.dest}: {default[1] if default else ''}".rstrip() + "\n")
            else:
                value = list(value) if isinstance(value, tuple) else value
                print(yaml.safe_dump({action.dest: value}, allow_unicode=True, sort_keys=False))
        self.exit()


def _make_optional(action: argparse.Action) -> None:
    action.required = False
    if not action.option_strings and action.nargs in ("+", None):
        action.nargs = "*" if action.nargs == "+" else "?"


def _value(action: argparse.Action, value: Any, where: str) -> Any:
    """Convert a value of a YAML file as the command line would."""
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise ConfigError(where, f"must be true or false, got {value!r}", "Fix the value")
        return value
    if action.nargs == "+":
        return [str(part) for part in (value if isinstance(value, list) else [value])]
    if value is None:
        return action.default
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    try:
        converted = action.type(text) if callable(action.type) else text
    except (ValueError, argparse.ArgumentTypeError) as error:
        kind = getattr(action.type, "__name__", "value")
        raise ConfigError(where, f"must be a {kind}, got {value!r}", "Fix the value") from error
    if action.choices is not None and converted not in action.choices:
        raise ConfigError(
            where, f"unknown value {value!r}", f"Use one of {', '.join(map(str, action.choices))}"
        )
    return converted


def optional(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return an option type that also accepts `none` and `null`."""

    def convert(text: str) -> Any:
        return None if text.lower() in ("none", "null") else kind(text)

    convert.__name__ = kind.__name__
    return convert


def numbers(text: str) -> tuple[float, ...]:
    """Convert a comma-separated list of numbers."""
    try:
        return tuple(float(part) for part in names(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a list of numbers such as 1,3,10"
        ) from error


def add_overwrite(add: Callable[..., Any]) -> None:
    """Add `--overwrite`, which `replacing` obeys."""
    text = "replace files that this command did not write, or that were changed since"
    add("--overwrite", action="store_true", default=False, help=text)


def replacing(options: argparse.Namespace, *names: str) -> AbstractContextManager[None]:
    """Return `files.replacing` for the files that the options of these names give."""
    from speechasym import files

    paths = [getattr(options, name) for name in names]
    return files.replacing(*paths, overwrite=options.overwrite)


def add_run(add: Callable[..., Any], several: bool = False) -> None:
    """Add a run, or several, as the only positional, which may be missing."""
    text = "folder of a finished run (default: the pretrained model, for English read aloud)"
    text += "; several read together" * several
    add("run", nargs="*" if several else "?", metavar="RUN", help=text)


def split_runs(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the runs with which positionals begin, and the others."""
    from speechasym.recognition.trained_model import is_run

    count = next((n for n, word in enumerate(words) if not is_run(word)), len(words))
    return list(words[:count]), list(words[count:])


def split_all(words: Iterable[str]) -> list[str]:
    """Split each word at its commas: options that take several words accept lists too."""
    return [part for word in words for part in names(word)]


def command_line(options: argparse.Namespace, names: Iterable[str]) -> str:
    """Return the command with the options of these names, as far as they are set."""
    words = ["speechasym", options.command]
    for name in names:
        value, option = getattr(options, name), f"--{name.replace('_', '-')}"
        if name == "run":
            words += value if isinstance(value, list) else [] if value is None else [value]
        elif value is True:
            words.append(option)
        elif isinstance(value, list):
            words += [word for part in value for word in (option, part)]
        elif value is not None and value is not False:
            words += [option, ",".join(value) if isinstance(value, tuple) else value]
    return shlex.join(map(str, words))


def print_table(
    title: str, rows: Iterable[Sequence[str]], columns: Sequence[str] = (), words: int = 1,
    **style: Any,
) -> None:  # fmt: skip
    """Print a table; without columns, rows of a bold name and its value.

    Args:
        columns: their names; the first `words` are aligned left, the others right.
        style: passed to `rich.table.Table`.
    """
    from rich.table import Table

    table = Table(title=title, show_header=bool(columns), title_justify="left", **style)
    for n, name in enumerate(columns):
        table.add_column(name, justify="left" if n < words else "right", no_wrap=True)
    if not columns:
        table.add_column(style="bold")
        table.add_column()
    for row in rows:
        table.add_row(*row)
    print_rich(table)


def print_rich(table: Any) -> None:
    """Print a rich table without markup."""
    from rich.console import Console

    Console(soft_wrap=False, highlight=False).print(table, markup=False)


def warn(message: object) -> None:
    """Print a warning on stderr."""
    print(f"speechasym: {message}", file=sys.stderr)
