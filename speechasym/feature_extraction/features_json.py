"""A folder of features while it is filled: features.json, and the journal of a run.

features.json describes the folder once a run has ended; until then a journal lists the finished
recordings, so that an interrupted run can resume.
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
    """Read what earlier runs with the same head finished: {stem: record}.

    Raises `OutputError` where the folder has another configuration or is damaged, unless
    `overwrite`.
    """
    known: dict[str, dict[str, Any]] = {}
    try:
        if (out / INDEX).exists():
            index = json.loads((out / INDEX).read_text("utf-8"))
            known |= index["recordings"]
            if known:  # a folder without features may get any
                _check_same(out, index, head)
        if (out / JOURNAL).exists():
            lines = (out / JOURNAL).read_text("utf-8").splitlines()
            if len(lines) > 1:
                _check_same(out, json.loads(lines[0]), head)
            for line in lines[1:]:
                try:
                    entry = json.loads(line)
                except json.JSONDecodeError:
                    break  # the line that was being written when the run was interrupted
                known[entry["stem"]] = entry["record"]
    except OutputError:
        if not overwrite:
            raise
        return {}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        if overwrite or not (out / INDEX).exists():
            return {}
        remedy = "Choose another folder, or --overwrite"
        raise OutputError(out / INDEX, "does not describe features", remedy) from error
    return known


def _check_same(out: Path, old: dict[str, Any], head: dict[str, Any]) -> None:
    for part in ("config", "versions"):
        if old[part] != head[part]:
            names = [k for k in head[part] if old[part].get(k) != head[part][k]]
            changes = ", ".join(f"{k} {old[part].get(k)} -> {head[part][k]}" for k in names)
            problem = f"holds features of another run ({part}: {changes})"
            raise OutputError(out, problem, "Choose another folder, or --overwrite to replace them")


@contextmanager
def journal(
    out: Path, head: dict[str, Any], known: dict[str, dict[str, Any]]
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yield a function that writes the record of a finished recording into the journal.

    The journal is rewritten with what is known, so that it keeps nothing of another configuration
    and no incomplete line.
    """
    lines = [head, *({"stem": stem, "record": record} for stem, record in known.items())]
    with files.atomic(out / JOURNAL) as new:
        new.write("".join(json.dumps(line) + "\n" for line in lines).encode())
    if not known:
        (out / INDEX).unlink(missing_ok=True)  # it describes files that are about to be replaced
    try:
        with (out / JOURNAL).open("a") as file:

            def write(entry: dict[str, Any]) -> None:
                file.write(json.dumps(entry) + "\n")
                file.flush()

            yield write
    except OSError as error:
        problem = f"cannot be written ({error.strerror})"
        raise OutputError(out / JOURNAL, problem, "Free space, or check access") from error
