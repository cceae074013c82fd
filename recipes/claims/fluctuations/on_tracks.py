"""Noise on tracks of amplitude before their play, in the compact set (C22).

    python -m recipes.claims.fluctuations.on_tracks CONFIG --strength 1 --set data.cache=FOLDER ...

Fills FOLDER with features for training, so that `recipes.compare` with the same configuration reads
those instead of clean ones; those of dev only with `--dev`. Use a folder of its own for each
strength.
Each utterance has other noise at each speed.

Shapes: T inner samples, C channels, K scales, N draws.
"""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from speechasym.errors import ConfigError
from speechasym.ops import cpu_asymmetry
from speechasym.training import dataset
from speechasym.training.config import read_config


@contextmanager
def fluctuating(strength: float, draws: int = 1) -> Iterator[None]:
    """Within it, hysteresis of features hears each track with white normal noise of its own.

    Args:
        strength: standard deviation of the noise, in half-widths of the first scale.
        draws: of the noise, whose outputs are averaged; 0: hysteresis passes on nothing at all.
    """
    plain = cpu_asymmetry.stop_pooled

    def noisy(
        step: NDArray, weight: NDArray, width: NDArray, decay: NDArray, hop: int, state: Any = None
    ) -> tuple[Any, ...]:
        if not draws:
            *outputs, after = plain(step, weight, width, decay, hop, state)
            return *(0 * part for part in outputs), after
        if isinstance(state, tuple):
            rng, last, states = state
        else:  # what is heard first decides the draws, so that they can be repeated
            rng, last = np.random.default_rng(crc32(step.tobytes())), 0.0
            states = [state] * draws
        own = rng.standard_normal((len(step), draws, step.shape[1])) * (strength * width[0])
        moves = np.diff(own, axis=0, prepend=np.broadcast_to(last, (1, *own.shape[1:])))
        heard = (step[:, None] + moves).astype(step.dtype)
        parts = [
            plain(np.ascontiguousarray(heard[:, n]), weight, width, decay, hop, states[n])
            for n in range(draws)
        ]
        *outputs, after = zip(*parts, strict=True)
        last = own[-1] if len(own) else last
        return *(np.mean(part, 0) for part in outputs), (rng, last, list(after))

    cpu_asymmetry.stop_pooled = noisy if strength or not draws else plain
    try:
        yield
    finally:
        cpu_asymmetry.stop_pooled = plain


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("config", type=Path, help="YAML file of the configuration")
    add("--strength", type=float, required=True, help="of the noise, in half-widths")
    add("--draws", type=int, default=1, help="of the noise, whose outputs are averaged")
    add("--dev", action="store_true", help="noise in dev too")
    add("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE")
    options = parser.parse_args(arguments)
    # other processes would not hear of the noise
    config = read_config(options.config, [*options.set, "data.workers=0"])
    if config.data.cache is None:
        raise ConfigError("data.cache", "is missing", "Give a folder for these features alone")
    heads = list(config.heads.used)
    with fluctuating(options.strength, options.draws):
        dataset.load(
            config.data, config.data.train, heads, augment=config.data.augment, seed=config.seed
        )
        if options.dev:
            dataset.load(config.data, config.data.dev, heads)


if __name__ == "__main__":
    main()
