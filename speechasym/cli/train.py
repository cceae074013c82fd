"""`speechasym train`: prepared cuts -> a trained run."""

import json
import os
import shlex
from argparse import Namespace
from pathlib import Path
from typing import Any

import speechasym
from speechasym.cli.options import SEVERAL, command_line, print_table
from speechasym.config import plural, to_yaml
from speechasym.errors import ConfigError
from speechasym.training.config import OWN


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "train",
        help="cuts -> a trained run",
        description="Train a recogniser of phones, letters and words on prepared cuts, or levels"
        " without any labels (docs/units.md). An interrupted run continues with --resume, to the"
        " bit.",
        epilog="Examples:\n"
        "  speechasym train --config mini.yaml --out runs/mini --set epochs=40 model.preset=small\n"
        "  speechasym train --config mini.yaml --out runs/local --set learning.rule=local+global\n"
        "  speechasym train --config mini.yaml --out runs/tiny --teacher runs/small\n"
        "  speechasym train --print-config    # every key, its default and its meaning",
    )
    add = parser.add_argument
    add("--config", metavar="FILE", help="YAML file: data, model, heads, ... (required)")
    add("--out", metavar="RUN", help="folder of the run (required)")
    add("--resume", action="store_true", help="continue the interrupted run in --out")
    add(
        "--set", **SEVERAL, metavar="KEY=VALUE",
        help="override values of the file by dotted keys: data.train=cuts.jsonl.gz,"
        " model.levels.0.units=48",
    )  # fmt: skip
    add(
        "--teacher", metavar="RUN",
        help="finished run whose posteriors the new one learns beside the labels; short for"
        " --set teacher.run=RUN (teacher.weight, temperature, hears and heads are keys too)",
    )  # fmt: skip
    text = "print the configuration as YAML, each key with its meaning, and exit"
    add("--print-config", action="store_true", help=text)


def run(options: Namespace) -> int:
    """Train, and print the outcome. Exit code 130 for an interrupted run."""
    teacher = [] if options.teacher is None else [f"teacher.run={json.dumps(options.teacher)}"]
    if options.print_config:
        overrides = [*options.set, *teacher]
        if options.config is None:  # keys without a default
            overrides = ["data.train=TRAIN_CUTS", "data.dev=DEV_CUTS", *overrides]
        print(to_yaml(speechasym.read_config(options.config, overrides)), end="")
        return 0
    for name in ("config", "out"):
        if getattr(options, name) is None:
            raise ConfigError(f"--{name}", "is required", "See `speechasym train --help`")
    result = speechasym.train(
        options.config, options.out, overrides=[*options.set, *teacher], resume=options.resume
    )
    if os.environ.get("RANK", "0") != "0":  # of several processes the first one reports
        return 0 if result["finished"] else 130
    rows = []
    for name, error in result["dev"].items():
        if head := name.partition("dev_error_")[2]:
            chosen = head == result["target"] and result["best"] is not None
            own = head == OWN  # a loss, of a run without heads
            shape = ".4f" if own else ".2%"
            best = f"; best {result['best']:{shape}}, step {result['best_step']}" if chosen else ""
            name = "dev loss" if own else f"dev error, {head}"
            rows.append((name, f"{error:{shape}}{best}"))
    if result["parameters"]:
        rows.append(("parameters", f"{result['parameters']:,}"))
    rows.append(("steps, epochs", f"{result['steps']:,}, {result['epochs']:,}"))
    rows.append(("time", f"{result['seconds']:,.0f} s"))
    for head, ids in result["left_out"].items():
        if ids:
            text = f"{plural(len(ids), 'cut')}, while the model had fewer steps than labels"
            rows.append((f"left out of {head}", text))
    rows.append(("ended", result["reason"]))
    print_table(f"Run {result['folder']}", rows)
    if not result["finished"]:
        options.resume = True
        print(f"Resume:  {command_line(options, ('config', 'out', 'resume', 'set', 'teacher'))}")
        return 130
    folder = shlex.quote(str(options.out))
    print(f"Model:   {Path(options.out, 'model.safetensors')}")
    if result["target"] == OWN:
        print(f"Next:    speechasym units RECORDING --run {folder} --out units")
    else:
        print(f"Next:    speechasym evaluate {folder} --cuts CUTS")
        print(f"         speechasym transcribe {folder} RECORDING --textgrid DIR")
    print(f"         speechasym plot {folder} --what curves --out curves.png")
    return 0
