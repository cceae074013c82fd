"""Make a folder of noises to train with: synthetic sounds, and babble of several readers.

    python scripts/make_noises.py --out out/noises --cuts train_cuts.jsonl.gz
    speechasym train ... --set data.augment.noise=out/noises

Synthetic sounds are those of `recognition.noises`. A babble is three to eight cuts of different
speakers at once, each repeated to its end, at one loudness.
"""

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from lhotse.cut import Cut
from numpy.typing import NDArray

from speechasym import files
from speechasym.corpora.manifests import stream_cuts
from speechasym.errors import ConfigError, SpeechAsymError
from speechasym.recognition.noises import sounds_without_speech
from speechasym.training.cuts import load_samples

RATE = 16000
PEAK = 0.5


def babble(
    by_speaker: dict[str, list[Cut]], size: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return (size,) samples of several speakers at once."""
    most = min(8, len(by_speaker))
    count = rng.integers(3, most + 1)
    x = np.zeros(size)
    for speaker in rng.permutation(sorted(by_speaker))[:count]:
        cuts = by_speaker[str(speaker)]
        voice = load_samples(cuts[rng.integers(len(cuts))], RATE).astype(np.float64)
        x += np.resize(np.roll(voice, rng.integers(len(voice))), size) / voice.std().clip(1e-6)
    return x


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    parser.add_argument("--cuts", help="manifest of training cuts, for babble (default: none)")
    parser.add_argument("--times", type=int, default=6, help="how often each kind (default: 6)")
    parser.add_argument("--seconds", type=float, default=20, help="of each (default: 20)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    try:
        if options.out.exists() and any(options.out.iterdir()):
            raise ConfigError(options.out, "is not empty", "Give a new folder")
        by_speaker: dict[str, list[Cut]] = defaultdict(list)
        for _, cut in stream_cuts(options.cuts) if options.cuts else ():
            by_speaker[cut.supervisions[0].speaker].append(cut)
        if options.cuts and len(by_speaker) < 3:
            raise ConfigError(options.cuts, "has fewer than three speakers", "Leave --cuts out")
        options.out.parent.mkdir(parents=True, exist_ok=True)
        size = round(options.seconds * RATE)
        # the folder appears when it is complete
        with tempfile.TemporaryDirectory(
            dir=options.out.parent, prefix=".noises", ignore_cleanup_errors=True
        ) as temporary:
            folder = Path(temporary) / options.out.name
            folder.mkdir()
            for turn in range(options.times):
                rng = np.random.default_rng([options.seed, turn])
                sounds: dict[str, NDArray] = dict(sounds_without_speech(options.seconds, RATE, rng))
                del sounds["dither"]  # too soft to be a noise
                if by_speaker:
                    sounds |= {f"babble{n}": babble(by_speaker, size, rng) for n in range(5)}
                for kind, x in sounds.items():
                    name = folder / f"{kind.replace(' ', '-')}-{turn:02d}.flac"
                    with files.atomic(name) as file:
                        soundfile.write(file, PEAK * x / np.abs(x).max(), RATE, format="FLAC")
            folder.rename(options.out)
    except SpeechAsymError as error:
        parser.exit(2, f"make_noises: {error}\n")
    print(f"{len(list(options.out.glob('*.flac')))} noises in {options.out}")


if __name__ == "__main__":
    main()
