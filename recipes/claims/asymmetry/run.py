"""Run all experiments on asymmetries and human hearing, and write a report.

python -m recipes.claims.asymmetry.run --timit TIMIT --out out/claims/asymmetry
"""

import argparse
import os
import time
from pathlib import Path
from typing import Any

import torch

from recipes.claims.asymmetry import ramped, reverberation, reversal
from recipes.claims.asymmetry.common import (
    COMPACT,
    CONTROLS,
    MEL,
    MFCC,
    POWER,
    SCALES,
    SIGNED,
    Corpus,
    formatted,
    interval,
    log,
    timit,
)
from recipes.provenance import commit, table

MACHINE = "2 virtual cores of an AMD EPYC"
TITLES = {
    "A": "Ramped against damped",
    "B": "Locally reversed speech",
    "C": "Rooms forward and reversed",
    "D": "Is it power alone?",
}


def comparison(results: dict[str, Any]) -> str:
    """D: return each test on asymmetry and on power alone, in one table."""
    rows = []
    by = {(r["sound"], r["hearer"], r["response"]): r for r in results["A"]["rows"]}
    for sound, people in ramped.PEOPLE.items():
        hearers = ("level 1", "level 2", "level 3", "level 4", "power, 500 Hz", "log-mel")
        figures = [formatted(by[sound, h, "continuity"]["match"], 2) for h in hearers]
        best = "; ".join(f"{n}: {f}" for n, f in enumerate(figures[:4], 1))
        text = f"A. matched half-life ratio of continuity, {sound}"
        rows.append([text, f"{people:g}", f"by level {best}", f"log-mel {figures[5]}; "
                     f"gammatone level at 500 Hz {figures[4]}"])  # fmt: skip
    if b := results.get("B"):
        summary, last = b["summary"], b["windows"][-1]
        for key, human in (("knee", "about 50"), ("half of loss", ""), ("half", "60 to 130")):
            ours, power, mel = (
                formatted(summary[key][n], 0, limit=last) for n in (COMPACT, POWER, MEL)
            )
            rows.append(
                [f"B. {key}, W in ms", human, f"compact {ours}",
                 f"its power columns {power}; log-mel {mel}"]
            )  # fmt: skip
        for n, level in enumerate(SCALES, 1):
            names = f"asymmetry, level {n}", f"log-mel change, {level.time_ms:g} ms"
            figures = [formatted(summary["similarity half"][x], 0, limit=last) for x in names]
            text = f"B. correlation halved, W in ms, time constant {level.time_ms:g} ms"
            rows.append([text, "", *figures])
    if c := results.get("C"):
        for r, title in enumerate(reverberation.ROWS):
            gap = reverberation.differences(c, r)
            texts = {name: formatted(interval(each[-1]), 1, 100) for name, each in gap.items()}
            ours = "; ".join(f"{n}: {texts[name]}" for n, name in enumerate(SIGNED, 1))
            power = "; ".join(f"{name} {texts[name]}" for name in (POWER, MEL, *CONTROLS, MFCC))
            text = f"C. reversed - forward, points, {title}"
            rows.append([text, "> 0", f"compact {texts[COMPACT]}; level {ours}", power])
    return table(["test", "people", "asymmetry", "power alone"], rows)


def measure(root: str | None, quick: bool) -> tuple[dict[str, Any], Corpus | None]:
    """Return the results of the experiments that can be run, by letter."""
    results: dict[str, Any] = {"A": ramped.run(quick)}
    if not root:
        return results, None
    corpus = timit(root, 2 if quick else None)
    log(f"TIMIT: {len(corpus.sounds)} sentences of {len(corpus.speakers)} speakers")
    if quick:
        results["B"] = reversal.run(corpus, (20, 200))
        results["C"] = reverberation.run(corpus, (0.6,), (0,))
    else:
        results["B"] = reversal.run(corpus)
        results["C"] = reverberation.run(corpus)
    return results, corpus


def written(
    results: dict[str, Any], corpus: Corpus | None, quick: bool, seconds: float, version: str
) -> str:
    """Return the report in Markdown; `version` is the commit at the start."""
    data = "synthetic sounds only" if corpus is None else (
        f"{len(corpus.sounds)} SI and SX sentences, {len(corpus.items)} phone tokens of "
        f"{len(corpus.speakers)} speakers ({', '.join(corpus.speakers)}) of the given TIMIT folder"
    )  # fmt: skip
    seeds = "noise carriers 0 to 7, rooms 0 to 2, places of windows 0, resampling 0"
    parts = [
        "# Asymmetry and hearing: measurements" + (", quick run: figures mean nothing" * quick),
        "",
        f"- Command: `python -m recipes.claims.asymmetry.run{' --quick' * quick}"
        f"{' --timit TIMIT' * (corpus is not None)}`, {seconds / 60:.1f} minutes",
        f"- Commit: {version} (plus: with uncommitted changes)",
        f"- Machine: {MACHINE}, one used",
        f"- Data: {data}",
        f"- Seeds: {seeds}",
        "- Intervals: 95 %, by resampling carriers, periods and seeds (A) or speakers (B, C)",
        "",
    ]
    reports = {"A": ramped.report, "B": reversal.report, "C": reverberation.report}
    for letter, title in TITLES.items():
        parts += [f"## {letter}. {title}", ""]
        if letter == "D":
            parts += [comparison(results)]
        elif letter in results:
            parts += [reports[letter](results[letter])]
        else:
            parts += ["Skipped: no TIMIT folder was given (`--timit` or TIMIT_ROOT).", ""]
    return "\n".join(parts)


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--timit", default=os.environ.get("TIMIT_ROOT"), help="folder of TIMIT")
    parser.add_argument("--out", type=Path, default=Path("out/claims/asymmetry"))
    parser.add_argument("--quick", action="store_true", help="a short run, to see that it works")
    options = parser.parse_args(arguments)
    start, version = time.monotonic(), commit()  # now, since the checkout may change meanwhile
    torch.set_num_threads(1)  # threads only wait for each other on small tensors
    results, corpus = measure(options.timit, options.quick)
    figures = {"A": ramped.figure, "B": reversal.figure, "C": reverberation.figure}
    for letter, result in results.items():
        figures[letter](result, options.out)
    options.out.mkdir(parents=True, exist_ok=True)
    report = options.out / "report.md"
    seconds = time.monotonic() - start
    report.write_text(written(results, corpus, options.quick, seconds, version), "utf-8")
    log(f"wrote {report}")


if __name__ == "__main__":
    main()
