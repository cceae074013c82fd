"""The report's last section: where the results come from, and the whole configuration."""

import json
from collections.abc import Mapping
from typing import Any

from speechasym.config import leaves
from speechasym.report import html
from speechasym.report.data import ReportData
from speechasym.report.html import Html, definitions, joined, number, table, tag
from speechasym.training import checkpoints, environment

MOST_SYMBOLS = 400  # listed of a head


def model_json(data: ReportData) -> dict[str, Any]:
    """Read what the run's folder records about its model."""
    path = data.trained.folder / checkpoints.MODEL_META
    content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return content


def configuration(data: ReportData) -> Html:
    """Show commands, checksums, versions, the configuration, and the symbols of the heads."""
    model = model_json(data)
    results = data.results.content if data.results is not None else {}
    manifests, paths = model.get("manifests", {}), data.trained.config.data
    entries: dict[str, object] = {"run": data.trained.folder}
    commands = {"evaluated by": results.get("command"), "page written by": data.command}
    entries |= {name: tag("code", command) for name, command in commands.items() if command}
    entries["model, sha256 of its tensors"] = tag("code", data.trained.fingerprint)
    for name, path, sha256 in (
        ("train cuts", paths.train, manifests.get("train", "unknown")),
        ("dev cuts", paths.dev, manifests.get("dev", "unknown")),
        ("evaluated on", data.manifest, data.cuts_sha256),
    ):
        entries[name] = joined([path, ", sha256 ", tag("code", sha256)])
    if isinstance(results.get("decoding"), Mapping):
        pairs = leaves(results["decoding"])
        entries["words by lexicon"] = "; ".join(f"{k} {html.config_value(v)}" for k, v in pairs)
    entries["commit"] = str(results.get("commit") or model.get("commit") or "not recorded")
    for name, versions in (
        ("trained with", model.get("versions", {})),
        ("page written with", environment.versions()),
    ):
        entries[name] = ", ".join(f"{k} {v}" for k, v in versions.items())
    if results.get("device"):
        threads = f", {results['threads']} threads" if results.get("threads") else ""
        entries["device of the evaluation"] = f"{results['device']}{threads}"
        factors = results.get("real_time_factor")
        factor = factors.get("model") if isinstance(factors, Mapping) else None
        if isinstance(factor, float):
            entries["real-time factor of the model"] = number(factor)
    rows = [[key, html.config_value(v)] for key, v in sorted(leaves(model.get("config", {})))]
    symbols = {
        f"{head} ({len(names):,})": " ".join(map(html.symbol, names[:MOST_SYMBOLS]))
        + (" ..." if len(names) > MOST_SYMBOLS else "")
        for head, names in data.trained.inventories.items()
    }
    values = table(["key", "value"], rows, "The configuration as used", 2)
    values = html.collapsible(f"All {len(rows)} values of the configuration", values)
    heads = html.collapsible("The symbols of each head", definitions(symbols))
    return joined([definitions(entries), values, heads])
