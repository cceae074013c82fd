"""The recipe claims/block: it resumes and reports, and its task and measures are right."""

import numpy as np
import torch
from helpers import resumed

from recipes.claims.block import depth, task
from recipes.claims.block.lines import read


def test_it_resumes_and_reports(tmp_path, capsys):
    out = tmp_path / "depth.jsonl"
    options = "--depths 2 4 --steps 6 --seeds 2 --rates 0.01 1e9 --configs theory pre"
    arguments = ["--out", str(out), *options.split()]
    depth.main(arguments)
    assert capsys.readouterr().out.count("blocks, theory:") == 2
    lines = read(out)
    assert len(lines) == 2 * 2 * 2 * 2
    wild = [line for line in lines if line["rate"] == 1e9]
    assert not any(line["stable"] for line in wild)
    assert all(len(line["variance_start"]) == line["depth"] + 1 for line in lines)
    report = out.with_suffix(".md").read_text()
    assert "## 4 blocks, 6 steps, 2 seeds" in report and "| theory |" in report
    assert (tmp_path / "variance.png").stat().st_size > 5000

    printed = resumed(capsys, depth.main, arguments, out)
    assert "4 blocks, pre:" in printed and "4 blocks, theory:" not in printed
    again = {(n["config"], n["depth"], n["rate"], n["seed"]): n["end"] for n in read(out)}
    assert again == {(n["config"], n["depth"], n["rate"], n["seed"]): n["end"] for n in lines}


def test_it_counts_what_it_says():
    x, y = task.symbols(torch.Generator().manual_seed(0))
    ones = (x[..., 1] > x[..., 0]).int()
    clean = (x[..., 1] - x[..., 0]).abs() > 0.2  # noise seldom hides a symbol
    for row in range(len(ones)):
        for f in range(task.WINDOW - 1, task.FRAMES):
            seen = slice(f - task.WINDOW + 1, f + 1)
            if clean[row, seen].all():
                assert y[row, f] == ones[row, seen].sum() % 4
    curve = np.linspace(1.4, 0.4, 101)
    first = depth.reached(curve)
    assert curve[first - 5 : first].mean() < task.TARGET <= curve[first - 6 : first - 1].mean()
    assert depth.stable(curve) and not depth.stable(curve[::-1])
    curve[50] = np.nan
    assert not depth.stable(curve) and depth.reached(curve) is None
