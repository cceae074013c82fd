"""Sentences of the embedded corpus: a small seeded grammar, and who speaks which sentence."""

from typing import NamedTuple

import numpy as np

from speechasym.config import check_count, check_range
from speechasym.corpora.mini.voices import SPEAKERS

SETS = {"train": 0.72, "dev": 0.12, "test": 0.16}  # share of the sentences
LONGEST_MINUTES = 240.0
MEAN_SECONDS = 2.46  # of a sentence with its silences, measured; decides the size of the plan only

# No word has an l before a consonant or pause ("milk", "girl"): espeak-ng sounds such an l as the
# end of its vowel, and its event comes when it is over.
BEINGS = "boy lady man woman baby sister teacher king dog cat bird cow chicken"
THINGS = "lamp box book toy cake egg apple jug ship bridge thing"
FOODS = "bread soup juice coffee cheese"
PLACES = {
    "in": "kitchen house village river shop box",
    "on": "table beach mountain bridge path ship",
    "under": "table bridge window apple",
    "behind": "house shop box window",
}
QUALITIES = "little big good nice happy hungry young new clean thin"
COLOURS = "red blue green yellow white black brown"
SEEN = "sees likes finds watches follows loves catches saw found took"
DONE = "sees wants finds buys takes pushes carries washes measures saw found took made"
EATEN = "likes wants buys makes made"
TIMES = "today now again slowly quickly"


def sentence(rng: np.random.Generator) -> str:
    """Draw a sentence of the grammar: lower case, single spaces, no full stop."""
    form = rng.integers(4)
    subject = _pick(rng, "he she") if rng.random() < 0.3 else _noun(rng, BEINGS, QUALITIES)
    if form == 0:
        parts = [subject, _pick(rng, SEEN), _noun(rng, BEINGS, QUALITIES)]
    elif form == 1:
        parts = [subject, _pick(rng, DONE), _noun(rng, THINGS, f"{QUALITIES} {COLOURS}")]
    elif form == 2:
        food = f"{_pick(rng, 'the my his this')} {_pick(rng, FOODS)}"
        parts = [subject, _pick(rng, EATEN), food, "with", _noun(rng, BEINGS, QUALITIES)]
    else:
        verb = _pick(rng, "was is")
        parts = [subject, verb, _pick(rng, "very not"), _pick(rng, QUALITIES)]
    if form == 3 or rng.random() < 0.4:
        where = _pick(rng, " ".join(PLACES))
        parts += [where, "the", _pick(rng, PLACES[where])]
    if rng.random() < 0.25:
        parts.append(_pick(rng, TIMES))
    return " ".join(parts)


def _noun(rng: np.random.Generator, nouns: str, qualities: str) -> str:
    words = [_pick(rng, nouns)]
    if rng.random() < 0.6:
        words.insert(0, _pick(rng, qualities))
    first = _pick(rng, "the the a my his her this that")
    if first == "a" and words[0][0] in "aeiou":
        first = "an"
    return " ".join([first, *words])


def _pick(rng: np.random.Generator, words: str) -> str:
    choices = words.split()
    return choices[rng.integers(len(choices))]


class Line(NamedTuple):
    """A sentence to be spoken."""

    number: int  # in the whole corpus
    name: str
    set: str
    speaker: str
    text: str


def plan(seed: int, minutes: float) -> list[Line]:
    """Return the lines of a corpus of about so many minutes; no sentence occurs twice.

    Raises:
        ConfigError: seed or minutes out of range.
    """
    check_count("seed", seed, 0)
    check_range("minutes", minutes, "25", 0, LONGEST_MINUTES, above=True)
    rng = np.random.default_rng([seed, 0])
    lines: list[Line] = []
    texts: set[str] = set()
    for name, share in SETS.items():
        voices = [key for key, who in SPEAKERS.items() if who.held_out == (name == "test")]
        for i in range(max(1, round(share * minutes * 60 / MEAN_SECONDS))):
            while (text := sentence(rng)) in texts:
                pass
            texts.add(text)
            speaker = voices[i % len(voices)]
            lines.append(Line(len(lines), f"mini-{name}-{speaker}-{i:05d}", name, speaker, text))
    return lines
