"""Do asymmetries behave like people's hearing? Runs all experiments and writes a report.

python recipes/claims/asymmetry/run.py --timit TIMIT --out out/claims/asymmetry
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[2])]  # the recipe's files, and an uninstalled package
os.environ.setdefault("OMP_NUM_THREADS", "1")  # read by torch: threads only wait on small tensors

import ramped  # noqa: E402
import reverberation  # noqa: E402
import reversal  # noqa: E402
from common import (  # noqa: E402
    COMPACT,
    CONTROLS,
    LEVELS,
    MEL,
    MFCC,
    POWER,
    SIGNED,
    Corpus,
    interval,
    said,
    say,
    table,
    timit,
)

MACHINE = "2 virtual cores of an AMD EPYC"
TITLES = {
    "A": "Ramped against damped",
    "B": "Locally reversed speech",
    "C": "Rooms forward and reversed",
    "D": "Is it power alone?",
}


def commit() -> str:
    """The checkout's short commit, with a plus if something is not in it."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(HERE), *words], capture_output=True, text=True)
        return done.stdout.strip()

    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("+" * bool(git("diff", "HEAD")))


def beside(results: dict[str, Any]) -> str:
    """D: each test on asymmetry and on power alone, in one table."""
    rows = []
    by = {(r["sound"], r["hearer"], r["response"]): r for r in results["A"]["rows"]}
    for sound, people in ramped.PEOPLE.items():
        hearers = ("level 1", "level 2", "level 3", "level 4", "power, 500 Hz", "log-mel")
        figures = [said(by[sound, h, "continuity"]["match"], 2) for h in hearers]
        best = "; ".join(f"{n}: {f}" for n, f in enumerate(figures[:4], 1))
        text = f"A. matched half-life ratio of continuity, {sound}"
        rows.append([text, f"{people:g}", f"by level {best}", f"log-mel {figures[5]}; "
                     f"gammatone level at 500 Hz {figures[4]}"])  # fmt: skip
    if b := results.get("B"):
        found, last = b["summary"], b["windows"][-1]
        for key, people in (("knee", "about 50"), ("half of loss", ""), ("half", "60 to 130")):
            ours, power, mel = (said(found[key][n], 0, limit=last) for n in (COMPACT, POWER, MEL))
            rows.append(
                [f"B. {key}, W in ms", people, f"compact {ours}",
                 f"its power columns {power}; log-mel {mel}"]
            )  # fmt: skip
        for n, level in enumerate(LEVELS, 1):
            names = f"asymmetry, level {n}", f"log-mel change, {level.time_ms:g} ms"
            figures = [said(found["similarity half"][x], 0, limit=last) for x in names]
            text = f"B. correlation halved, W in ms, time constant {level.time_ms:g} ms"
            rows.append([text, "", *figures])
    if c := results.get("C"):
        for r, title in enumerate(reverberation.ROWS):
            gap = reverberation.differences(c, r)
            said_of = {name: said(interval(each[-1]), 1, 100) for name, each in gap.items()}
            ours = "; ".join(f"{n}: {said_of[name]}" for n, name in enumerate(SIGNED, 1))
            power = "; ".join(f"{name} {said_of[name]}" for name in (POWER, MEL, *CONTROLS, MFCC))
            text = f"C. reversed - forward, points, {title}"
            rows.append([text, "> 0", f"compact {said_of[COMPACT]}; level {ours}", power])
    return table(["test", "people", "asymmetry", "power alone"], rows)


def measure(root: str | None, quick: bool) -> tuple[dict[str, Any], Corpus | None]:
    """Results of the experiments that can be run, by letter."""
    results: dict[str, Any] = {"A": ramped.run(quick)}
    if not root:
        return results, None
    corpus = timit(root, 2 if quick else None)
    say(f"TIMIT: {len(corpus.sounds)} sentences of {len(corpus.speakers)} speakers")
    if quick:
        results["B"] = reversal.run(corpus, (20, 200))
        results["C"] = reverberation.run(corpus, (0.6,), (0,))
    else:
        results["B"] = reversal.run(corpus)
        results["C"] = reverberation.run(corpus)
    return results, corpus


def written(
    results: dict[str, Any], corpus: Corpus | None, quick: bool, seconds: float, at: str
) -> str:
    """The report, Markdown; `at` is the commit when it began."""
    data = "none but made sounds" if corpus is None else (
        f"{len(corpus.sounds)} SI and SX sentences, {len(corpus.items)} phone tokens of "
        f"{len(corpus.speakers)} speakers ({', '.join(corpus.speakers)}) of the TIMIT folder given"
    )  # fmt: skip
    seeds = "noise carriers 0 to 7, rooms 0 to 2, places of windows 0, resampling 0"
    parts = [
        "# Asymmetry and hearing: measured" + (", quick run: figures mean nothing" * quick),
        "",
        f"- Command: `python recipes/claims/asymmetry/run.py{' --quick' * quick}"
        f"{' --timit TIMIT' * (corpus is not None)}`, {seconds / 60:.1f} minutes",
        f"- Commit: {at} (plus: with changes not committed then)",
        f"- Machine: {MACHINE}, one used",
        f"- Data: {data}",
        f"- Seeds: {seeds}",
        "- Intervals: 95 %, by resampling carriers, periods and seeds (A) or speakers (B, C)",
        "",
    ]
    made = {"A": ramped.report, "B": reversal.report, "C": reverberation.report}
    for letter, title in TITLES.items():
        parts += [f"## {letter}. {title}", ""]
        if letter == "D":
            parts += [beside(results), ""]
        elif letter in results:
            parts += [made[letter](results[letter])]
        else:
            parts += ["Skipped: no TIMIT folder was given (`--timit` or TIMIT_ROOT).", ""]
    return "\n".join(parts)


def main(arguments: list[str] | None = None) -> None:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--timit", default=os.environ.get("TIMIT_ROOT"), help="folder of TIMIT")
    parser.add_argument("--out", type=Path, default=Path("out/claims/asymmetry"))
    parser.add_argument("--quick", action="store_true", help="a taste, to see that it runs")
    options = parser.parse_args(arguments)
    began, at = time.monotonic(), commit()  # now: who else works here may commit meanwhile
    results, corpus = measure(options.timit, options.quick)
    drawn = {"A": ramped.figure, "B": reversal.figure, "C": reverberation.figure}
    for letter, result in results.items():
        drawn[letter](result, options.out)
    options.out.mkdir(parents=True, exist_ok=True)
    report = options.out / "report.md"
    seconds = time.monotonic() - began
    report.write_text(written(results, corpus, options.quick, seconds, at), "utf-8")
    say(f"wrote {report}")


if __name__ == "__main__":
    main()
