"""What a training step of a configuration costs: parameters, operations and memory per second.

    python benchmarks/step_cost.py CONFIG.yaml ...

Operations are those of products of matrices and of convolutions, forward and backward, as torch
counts them, for two utterances of noise; CTC, element-wise functions and AdamW are not counted.
Memory is what a step keeps for its gradients, in float32 on the CPU, from batches of two sizes.
"""

import resource
import sys

import torch
from torch.utils.flop_counter import FlopCounterMode

from speechasym.training import config, losses, models, on_device

SIZES = {"phones": 39, "letters": 28, "words": 10_001}
RATES = {"phones": 10.0, "letters": 13.0, "words": 2.7}  # per second
SECONDS = 12.5  # of an utterance


def step_of(settings: config.TrainConfig, model: torch.nn.Module, utterances: int) -> None:
    """Compute the gradients of a batch of noise."""
    columns, frames = len(settings.data.features.columns()), round(SECONDS * 100)
    features = torch.randn(utterances, frames, columns)
    counts = {head: round(rate * SECONDS) for head, rate in RATES.items()}
    targets = {
        head: (
            torch.randint(1, SIZES[head] + 1, (utterances, count)),
            torch.full((utterances,), count),
        )
        for head, count in counts.items()
    }
    batch = on_device.Batch(
        ["noise"] * utterances, features, torch.full((utterances,), frames), targets
    )
    totals = {head: utterances * count for head, count in counts.items()}
    losses.batch_loss(model, batch, settings, totals, 1.0, torch.device("cpu"))[0].backward()


def main(paths: list[str]) -> None:
    """Print a line for each configuration."""
    torch.manual_seed(0)
    for path in paths:
        settings = config.read_config(path)
        symbols = {head: tuple(map(str, range(size))) for head, size in SIZES.items()}
        model = models.build_model(settings, len(settings.data.features.columns()), symbols)
        parameters = sum(p.numel() for p in model.parameters())
        with FlopCounterMode(display=False) as counter:
            step_of(settings, model, 2)
        flops = counter.get_total_flops() / (2 * SECONDS)
        peaks = []
        for utterances in (4, 8):
            step_of(settings, model, utterances)
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
        memory = (peaks[1] - peaks[0]) / (4 * SECONDS)
        print(
            f"{path}: {parameters:,} parameters; {flops / 1e9:.2f} GFLOP and {memory / 1e6:.1f} MB"
            " for each second of audio"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
