"""What results say: the checkout's commit, the processor, and tables."""

import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path


def commit() -> str:
    """Return the checkout's short commit, with a plus if there are uncommitted changes."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--exclude=*"]
    done = subprocess.run([*command, "--dirty=+"], capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def machine(device: str = "cpu") -> str:
    """Return the model of the processor, or of the GPU if that is the device."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or "unknown"


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, which ends with a line feed."""
    rows = [head, ["---"] * len(head), *body]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
