"""A folder of features while it is filled: its lock, its index, and the journal of a run.

features.json says what is there once a run has ended; until then a journal holds what is done, so
that a run that was cut goes on.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from speechasym import files
from speechasym.errors import OutputError

INDEX = "features.json"
JOURNAL = ".features.journal"


def known_records(out: Path, head: dict[str, Any], overwrite: bool) -> dict[str, dict[str, Any]]:
    """What an earlier run with the same head made: {stem: record}. Raises `OutputError`."""
    known: dict[str, dict[str, Any]] = {}
    try:
        if (out / INDEX).exists():
            index = json.loads((out / INDEX).read_text("utf-8"))
            known |= index["recordings"]
            if known:  # a folder where nothing was made is free
                _check_same(out, index, head)
        if (out / JOURNAL).exists():
            lines = (out / JOURNAL).read_text("utf-8").splitlines()
            if len(lines) > 1:
                _check_same(out, json.loads(lines[0]), head)
            for line in lines[1:]:
                try:
                    entry = json.loads(line)
                except json.JSONDecodeError:
                    break  # the line that was being written when the run was cut
                known[entry["stem"]] = entry["record"]
    except OutputError:
        if not overwrite:
            raise
        return {}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        if overwrite or not (out / INDEX).exists():
            return {}
        raise OutputError(
            out / INDEX, "not an index of features", "Choose another folder, or --overwrite"
        ) from error
    return known


def _check_same(out: Path, old: dict[str, Any], head: dict[str, Any]) -> None:
    for part in ("config", "versions"):
        if old[part] != head[part]:
            names = [k for k in head[part] if old[part].get(k) != head[part][k]]
            changes = ", ".join(f"{k} {old[part].get(k)} -> {head[part][k]}" for k in names)
            raise OutputError(
                out,
                f"holds features of another run ({part}: {changes})",
                "Choose another folder, or --overwrite to make them anew",
            )


@contextmanager
def journal(
    out: Path, head: dict[str, Any], known: dict[str, dict[str, Any]]
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yields a function that notes one finished recording, so that a cut run can go on.

    It is begun anew with what is known, so that nothing of another configuration, and no line that
    was cut, stays in it.
    """
    lines = [head, *({"stem": stem, "record": record} for stem, record in known.items())]
    with files.atomic(out / JOURNAL) as begun:
        begun.write("".join(json.dumps(line) + "\n" for line in lines).encode())
    if not known:
        (out / INDEX).unlink(missing_ok=True)  # it describes files that are about to be replaced
    try:
        with (out / JOURNAL).open("a") as file:

            def note(entry: dict[str, Any]) -> None:
                file.write(json.dumps(entry) + "\n")
                file.flush()

            yield note
    except OSError as error:
        raise OutputError(
            out / JOURNAL,
            f"cannot be written ({error.strerror})",
            "Free space, or check the folder",
        ) from error
