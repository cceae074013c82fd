"""Tables of what `measure` wrote: python -m recipes.claims.arbitration.report OUT/results."""

import json
import sys
from pathlib import Path
from typing import Any

from recipes.claims.arbitration.measure import AGAINST, GATE
from recipes.claims.arbitration.rules import RULES
from recipes.provenance import table


def rate(entry: dict[str, Any] | None) -> str:
    """Return a rate in % with its interval, and its difference in points."""
    if entry is None:
        return "-"
    low, high = (100 * value for value in entry["interval"])
    middle, least, most = (100 * value for value in entry["difference"])
    text = f"{100 * entry['rate']:.1f} ({low:.1f} to {high:.1f})"
    if not middle and not least:
        return text
    sure = "**" if least > 0 or most < 0 else ""
    return f"{text}; {sure}{middle:+.1f}{sure} ({least:+.1f} to {most:+.1f})"


def section(result: dict[str, Any]) -> str:
    """Return the tables of one head of one corpus."""
    conditions = result["conditions"]
    names = sorted(
        conditions, key=lambda name: (name != "clean", -float("0" + name.strip("clean")))
    )
    order = [*AGAINST[:1], *list(RULES)[:4], GATE, *list(RULES)[4:]]
    rules = sorted(conditions[names[0]], key=lambda r: order.index(r) if r in order else -1)
    head = ["rule", *(name if name == "clean" else f"{name} dB" for name in names)]
    body = [[rule, *(rate(conditions[name].get(rule)) for name in names)] for rule in rules]
    text = (
        f"### {result['corpus']}, {result['head']}: {len(result['nets'])} nets, {result['set']}\n\n"
    )
    text += table(head, body) + "\n"
    calibration = result["calibration"]
    body = []
    for name in names:
        entry = calibration.get(f"test-{name}")
        if entry is None:  # nothing was read
            continue
        errors = (f"{value:.3f}" for value in entry["ece"])
        share, correct = entry["kept"]
        body.append([
            name, str(entry["events"]), f"{entry['correct']:.1%}", *errors, f"{share:.0%}",
            f"{correct:.1%}",
        ])  # fmt: skip
    crossed = ", ".join(f"{value:.2f}" for value in calibration["crossed"])
    columns = [
        "condition", "events", "correct", "error at 1",
        f"at {calibration['temperature']:.2f}, from dev", f"crossed ({crossed})",
        "share with p >= 0.5", "correct of these",
    ]  # fmt: skip
    return text + table(columns, body) + "\n"


def main(arguments: list[str] | None = None) -> None:
    """Print the tables of all results in a folder."""
    (folder,) = sys.argv[1:] if arguments is None else arguments
    for path in sorted(Path(folder).glob("*.json")):
        print(section(json.loads(path.read_text("utf-8"))))


if __name__ == "__main__":
    main()
