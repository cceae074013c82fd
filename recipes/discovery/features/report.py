"""Tables in Markdown of results.json, with intervals by resampling speakers."""

import numpy as np

TASKS = ("within", "across", "same")
BASES = {"MFCC 39": "MFCC 39", "log-mel 80": "log-mel 80"}  # title -> set
LEVEL_BASES = {"MFCC 39": "MFCC 39", "compact 33": "compact 33"}
OWN_BASES = {"the untrained": "untrained {label}", "means": "{level}, means of features"}


def _mean(cells: dict, names: list[str], label: str, task: str) -> np.ndarray | None:
    """Return (1 + rounds,) the error and its resamplings, averaged over conditions.

    None if a condition is missing.
    """
    rows = []
    for name in names:
        cell = cells.get(f"{name} | {label}")
        if cell is None:
            return None
        abx = cell["abx"][task]
        rows.append([abx["error"], *abx["samples"]])
    return np.mean(rows, 0)


def _abx(
    cells: dict, names: list[str], labels: list[str], group: str, bases: dict[str, str] = BASES
) -> list[str]:
    """Return a row for each set, compared with bases.

    The names of bases may depend on that of the set or of its level.
    """
    lines = [
        "| features | columns | within | across | across, same context |"
        + "".join(f" against {title}, % |" for title in bases),
        "| --- | ---: | ---: | ---: | ---: |" + " ---: |" * len(bases),
    ]
    for label in labels:
        means = [_mean(cells, names, label, f"{group} {task}") for task in TASKS]
        rows = [mean for mean in means if mean is not None]
        if len(rows) < len(TASKS):
            continue
        columns = cells[f"{names[0]} | {label}"]["columns"]
        parts = []
        for row in rows:
            low, high = np.nanquantile(row[1:], [0.025, 0.975])
            parts.append(f"{100 * row[0]:.1f} ({100 * low:.1f}-{100 * high:.1f})")
        against = []
        for template in bases.values():
            base = template.format(label=label, level=label.split(",")[0])
            changes = []
            for task, row in zip(TASKS, rows, strict=True):
                other = _mean(cells, names, base, f"{group} {task}")
                if other is None or label == base or (other == 0).any():
                    continue  # nothing to divide by
                change = 100 * (row / other - 1)
                low, high = np.nanquantile(change[1:], [0.025, 0.975])
                changes.append(f"{change[0]:+.0f} ({low:+.0f} to {high:+.0f})")
            against.append(" / ".join(changes) or "-")
        lines.append(f"| {label} | {columns} | " + " | ".join(parts + against) + " |")
    return lines


def _linear(cells: dict, names: list[str], labels: list[str]) -> list[str]:
    lines = [
        "| features | columns | frames wrong, % | against MFCC 39, % |",
        "| --- | ---: | ---: | ---: |",
    ]
    draw = np.random.default_rng(0)
    base: dict | None = None
    for label in labels:
        results = [cells.get(f"{name} | {label}", {}).get("linear") for name in names]
        if any(result is None for result in results):
            continue
        speakers = sorted(results[0])
        counts = np.array([[r[s] for s in speakers] for r in results]).sum(0)  # (speakers, 2)
        if base is None:
            weights = draw.multinomial(
                len(speakers), np.full(len(speakers), 1 / len(speakers)), 2000
            )
            weights = np.concatenate([np.ones((1, len(speakers))), weights])
            base = {}
        rate = 100 * (weights @ counts[:, 0]) / (weights @ counts[:, 1])
        base[label] = rate
        low, high = np.quantile(rate[1:], [0.025, 0.975])
        change = "-"
        if label != "MFCC 39" and "MFCC 39" in base:
            ratio = 100 * (rate / base["MFCC 39"] - 1)
            a, b = np.quantile(ratio[1:], [0.025, 0.975])
            change = f"{ratio[0]:+.1f} ({a:+.1f} to {b:+.1f})"
        columns = cells[f"{names[0]} | {label}"]["columns"]
        lines.append(f"| {label} | {columns} | {rate[0]:.1f} ({low:.1f}-{high:.1f}) | {change} |")
    return lines


def tables(known: dict, noises: list[str], snrs: tuple[int, ...]) -> str:
    """Return all tables for which there are results."""
    cells = known["cells"]
    labels = list(dict.fromkeys(key.split(" | ")[1] for key in cells))
    first = [label for label in ("MFCC 39", "log-mel 80") if label in labels]
    labels = first + [label for label in labels if label not in first]
    out = [
        f"Commit {known['commit']}, {known['tokens']} tokens of {known['files']} recordings.",
        "",
    ]
    names = {"clean": ["clean"]} | {
        f"{snr} dB, mean of {len(noises)} noises": [f"{noise}-{snr}" for noise in noises]
        for snr in snrs
    }
    for group, title in (("all", "all speakers"), ("unseen", "speakers not chosen on (TEST)")):
        for condition, conditions in names.items():
            out += [f"### ABX error in %, {condition}, {title}", ""]
            out += [*_abx(cells, conditions, labels, group), ""]
    for noise in noises:
        out += [f"### ABX error in %, {noise} at 5 dB, all speakers", ""]
        out += [*_abx(cells, [f"{noise}-5"], [*first, "compact 33"], "all"), ""]
    for condition in ("clean", f"5 dB, mean of {len(noises)} noises"):
        out += [f"### Linear frame classifier, {condition}", ""]
        out += [*_linear(cells, names[condition], labels), ""]
    return "\n".join(out)


def level_tables(known: dict, noises: list[str]) -> str:
    """Return the tables of a run's levels, separately for chosen-on and unseen speakers."""
    cells = known["cells"]
    labels = sorted({key.split(" | ")[1] for key in cells})
    frozen = [label for label in labels if "level " not in label]
    trained = frozen + [label for label in labels if label.startswith("level ")]
    twins = [label for label in labels if label not in trained]
    out = [f"Commit {known['commit']}, run {known['run'][:8]}.", ""]
    out += ["Steps a second of each level, from the lowest:", ""]
    for name, steps in known["steps"].items():
        out += [f"- {name}: " + "; ".join(f"{k.strip()} {v}" for k, v in steps.items())]
    at_5 = f"5 dB, mean of {len(noises)} noises ({', '.join(noises)})"
    for condition, names in {"clean": ["clean"], at_5: [f"{n}-5" for n in noises]}.items():
        if not names:
            continue
        bases = LEVEL_BASES | (OWN_BASES if condition == "clean" else {})
        for group, title in (("chosen", "TRAIN, 8 speakers"), ("unseen", "TEST, 4 speakers")):
            out += ["", f"### Levels: ABX error in %, {condition}, {title}", ""]
            out += _abx(cells, names, trained + twins, group, bases)
    return "\n".join(out) + "\n"
