"""Corrected labels: checked, and saved as a TextGrid of a new name."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from speechasym.annotations.intervals import Interval
from speechasym.annotations.textgrid import write_textgrid
from speechasym.errors import AnnotationError, OutputError
from speechasym.explorer.recordings import CORRECTED

ROUNDING_S = 1e-3  # by which times of a page may pass a neighbour or the end


def tiers_from(body: bytes, name: str, seconds: float) -> dict[str, list[Interval]]:
    """Return the tiers that a page sends: {"tiers": [{"name", "intervals": [[from, to, text]]}]}.

    Raises `AnnotationError` unless they are tiers with times in order, within the recording.
    """
    try:
        content: Any = json.loads(body)
        sent = [
            (tier["name"], [(float(a), float(b), text) for a, b, text in tier["intervals"]])
            for tier in content["tiers"]
        ]
    except (ValueError, LookupError, TypeError) as error:
        problem = f"must be tiers with names and intervals ({error})"
        raise AnnotationError(name, problem, "Reload the page, and save again") from error
    tiers: dict[str, list[Interval]] = {}
    for tier, rows in sent:
        texts = [tier, *(text for _, _, text in rows)]
        if not all(isinstance(text, str) for text in texts) or not tier.strip() or tier in tiers:
            problem = f"tier {tier!r} must have a name of its own, and text in its intervals"
            raise AnnotationError(name, problem, "Rename it")
        if not all(math.isfinite(a + b) for a, b, _ in rows):
            raise AnnotationError(name, f"tier {tier!r} has times that are not numbers", "Fix them")
        tiers[tier], last = [], 0.0
        for start, end, text in sorted(rows):
            start = max(start, last) if start > last - ROUNDING_S else start
            end = min(end, seconds) if end < seconds + ROUNDING_S else end
            tiers[tier].append(Interval(start, end, text))
            last = end
    return tiers


def save(path: Path, tiers: Mapping[str, list[Interval]], seconds: float) -> Path:
    """Write STEM.corrected.TextGrid, or where that exists, -2, -3 ...; return the file's path.

    No file is replaced, even if two pages save at once. Raises `AnnotationError`, `OutputError`.
    """
    number = 1
    while True:
        mark = f"{CORRECTED}-{number}" if number > 1 else CORRECTED
        target = path.with_name(f"{path.stem}{mark}.TextGrid")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))  # it is ours now
            break
        except FileExistsError:
            number += 1
        except OSError as error:
            remedy = "Start speechasym explore with --out and a folder that you can write to"
            raise OutputError(target, f"cannot be written ({error.strerror})", remedy) from error
    try:
        write_textgrid(target, tiers, seconds)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return target
