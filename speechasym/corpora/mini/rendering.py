"""Sound of the embedded corpus: a sentence spoken, placed in a room with noise, with its times.

What the times mean, and how they were checked: docs/mini.md.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechasym.annotations.intervals import SampleInterval
from speechasym.audio.reading import add_noise
from speechasym.audio.rooms import in_room
from speechasym.corpora import espeak
from speechasym.corpora.espeak import Phone, Spoken, Voice
from speechasym.corpora.mini.sentences import Line
from speechasym.corpora.mini.voices import LANGUAGE, LINK, PHONE_MAP, SPEAKERS, STOPS
from speechasym.errors import SynthesisError
from speechasym.language.phones import SILENCE

SAMPLE_RATE = 16000  # Hz
# of a stop: shorter silences are not closures; after a pause, what is longer belongs to the pause
CLOSURE_SECONDS = 0.005, 0.05


def render(line: Line, seed: int) -> tuple[NDArray[np.int16], dict[str, Any]]:
    """Return the samples (T,) of a line at 16 kHz, and its entry in utterances.jsonl."""
    import soxr

    rng = np.random.default_rng([seed, 1, line.number])
    speaker = SPEAKERS[line.speaker]
    voice = Voice(
        espeak=f"{LANGUAGE[speaker.accent]}+{speaker.variant}",
        pitch=speaker.pitch + int(rng.integers(-8, 9)),
        words_per_minute=speaker.rate + int(rng.integers(-12, 13)),
    )
    spoken = espeak.say(f"{line.text}.", voice)
    if spoken.words != line.text.split():
        raise SynthesisError(repr(line.text), f"was spoken as {spoken.words}", "Use other words")
    dry = spoken.samples.astype(np.float32) / 32768
    dry = soxr.resample(dry, spoken.sample_rate, SAMPLE_RATE, "HQ")  # no delay: tested
    lead, trail = (round(rng.uniform(0.1, 0.3) * SAMPLE_RATE) for _ in range(2))
    dry = np.pad(dry, (lead, trail))
    room = {"reverberation_s": rng.uniform(0.1, 0.3), "direct_db": rng.uniform(10, 20)}
    level_db, snr_db, tilt = rng.uniform(-30, -22), rng.uniform(20, 40), rng.uniform(0, 1)
    x = in_room(dry, SAMPLE_RATE, **room, rng=rng)
    x *= 10 ** (level_db / 20) / np.sqrt(np.mean(x**2))
    x = add_noise(x, _noise(len(x), tilt, rng), snr_db).astype(np.float64)
    x /= max(1.0, float(np.abs(x).max()) / 0.99)
    words, phones = intervals_of(spoken, speaker.accent, lead, len(x))
    entry = {
        **line._asdict(), "samples": len(x), "words": words, "phones": phones,
        "conditions": {
            "espeak": voice.espeak, "pitch": voice.pitch, "rate": voice.words_per_minute,
            "snr_db": round(snr_db, 2), **{key: round(value, 3) for key, value in room.items()},
        },
    }  # fmt: skip
    return np.round(x * 32767).astype(np.int16), entry


def _noise(length: int, tilt: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return noise (length,) whose power falls as frequency**-tilt: 0 is white, 1 pink."""
    size = 1 << length.bit_length()
    hertz = np.maximum(np.fft.rfftfreq(size, 1 / SAMPLE_RATE), 50)
    return np.fft.irfft(np.fft.rfft(rng.standard_normal(size)) * hertz ** (-tilt / 2))[:length]


def intervals_of(
    spoken: Spoken, accent: str, lead: int, length: int
) -> tuple[list[SampleInterval], list[SampleInterval]]:
    """Return words, and phones that tile the whole sound with pauses as `sil`, in samples.

    A phone starts at its event and ends at the next one's. A stop's event is its burst, so its
    closure, the digital silence before it, is added to it.

    Args:
        spoken: the output of espeak-ng.
        accent: a key of `PHONE_MAP`.
        lead: samples at 16 kHz added before it.
        length: samples at 16 kHz of the whole.

    Raises:
        SynthesisError: a phone is not in the map.
    """
    ratio = SAMPLE_RATE / spoken.sample_rate
    starts: list[tuple[str, int, int]] = [(SILENCE, 0, -1)]  # symbol, start, word
    for number, phone in enumerate(spoken.phones):
        if phone.mnemonic == LINK:
            continue
        symbol = _symbol(phone, accent)
        at = phone.sample - (_closure(spoken, number) if symbol in STOPS else 0)
        if symbol != SILENCE or starts[-1][0] != SILENCE:
            starts.append((symbol, lead + round(at * ratio), phone.word))
    if starts[1][1] == 0:  # no silence comes before the first phone
        del starts[0]
    ends = [start for _, start, _ in starts[1:]] + [length]
    rows = list(zip(starts, ends, strict=True))
    phones = [SampleInterval(at, end, symbol) for (symbol, at, _), end in rows]
    words = []
    for number, text in enumerate(spoken.words):
        parts = [p for p, (_, _, word) in zip(phones, starts, strict=True) if word == number]
        words.append(SampleInterval(parts[0].start, parts[-1].end, text))
    return words, phones


def _symbol(phone: Phone, accent: str) -> str:
    if phone.word < 0:
        return SILENCE
    if phone.mnemonic not in PHONE_MAP[accent]:
        raise SynthesisError(
            f"espeak-ng's phone {phone.mnemonic!r}", f"is not in the map of the accent {accent}",
            "Add it to PHONE_MAP in corpora/mini/voices.py, or leave the word out",
        )  # fmt: skip
    return PHONE_MAP[accent][phone.mnemonic]


def _closure(spoken: Spoken, number: int) -> int:
    """Return the samples of digital silence between the previous phone and this one's event."""
    end = spoken.phones[number].sample
    before = spoken.phones[number - 1] if number else None
    shortest, longest = (round(seconds * spoken.sample_rate) for seconds in CLOSURE_SECONDS)
    start = before.sample if before else 0
    if before is None or before.word < 0:
        start = max(start, end - longest)
    loud = np.flatnonzero(spoken.samples[start:end])
    silent = end - start - (int(loud[-1]) + 1 if loud.size else 0)
    return silent if silent >= shortest else 0
