"""TIMIT of tones: phones in their times, silences around words."""

from pathlib import Path

import numpy as np
from helpers import tone
from toy import RATE, utterance

SPEAKERS = ("TRAIN/DR1/FAAA0", "TRAIN/DR1/MBBB0", "TEST/DR1/FCCC0", "TEST/DR1/MDDD0")
SENTENCES = (["am", "mass"], ["mass", "am", "a"])


def write(root: Path, rng: np.random.Generator) -> None:
    """Write two sentences of each speaker, their phones, and one word for all that is said."""
    for speaker in SPEAKERS:
        for number, words in enumerate(SENTENCES):
            x, _, sounds = utterance(words, rng.uniform(0.2, 0.4))
            stem = root / speaker / f"SX{number}"
            tone(stem.with_suffix(".WAV"), x, RATE)
            lines, time = [], 0
            for start, end, phone in [*sounds, (len(x) / RATE, len(x) / RATE, "")]:
                begin = round(start * RATE)
                if begin > time:
                    lines.append(f"{time} {begin} h#")
                if phone:
                    time = round(end * RATE)
                    lines.append(f"{begin} {time} {phone}")
            stem.with_suffix(".PHN").write_text("\n".join(lines) + "\n")
            stem.with_suffix(".WRD").write_text(f"{lines[1].split()[0]} {time} word\n")
