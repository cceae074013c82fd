"""A process of a tiny training run, for torchrun: python elastic.py OUT CORPUS [STEP]

At STEP, the second process is killed once.
"""

import os
import signal
import sys
from pathlib import Path

import tiny

from speechasym.errors import SpeechAsymError
from speechasym.training import loop


def kill_once(step: int, mark: Path) -> None:
    """Kill the second process before a step, unless the mark says that it was done."""
    real = loop._step

    def step_or_die(run, state, *arguments):
        if run.group.rank == 1 and state.step == step and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return real(run, state, *arguments)

    loop._step = step_or_die


def train(words, out: Path) -> None:
    """Train the run, or resume it."""
    tiny.run(words, out, "save_every=3", "model.options.drop=0.1", resume=True)


def train_whole(rank: int, size: int, port: int, words, out: Path) -> None:
    """Train the same run in a process of a group without torchrun."""
    tiny.join_group(rank, size, port)
    train(words, out)


if __name__ == "__main__":
    out, folder = Path(sys.argv[1]), Path(sys.argv[2])
    if len(sys.argv) > 3:
        kill_once(int(sys.argv[3]), out.with_name("killed"))
    words = [f"data.{part}={folder / f'{part}.jsonl'}" for part in ("train", "dev")]
    try:
        train(words, out)
    except SpeechAsymError as error:
        sys.exit(f"speechasym: {error}")
    if threads := tiny.threads_of_groups():
        sys.exit(f"threads of a group are left: {threads}")
