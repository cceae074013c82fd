"""A causal level that reads words, their sound or both, and predicts the next word.

Shapes: B chunks, F words, D channels of a word's sound, V classes (the commonest words, and other).
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from recipes.language import next_words, spoken_words
from recipes.language.next_words import Vocabulary
from recipes.language.spoken_words import Words
from speechasym.levels.config import BlockOptions, LevelConfig
from speechasym.levels.events import Steps
from speechasym.levels.level import Level, LevelOutput
from speechasym.training import optimiser

CHANNELS = 64  # of a word
LEVEL = LevelConfig(
    width=64, functions=("attention", "feedforward"), units=32, events="hysteresis", keep=0.3,
    block=BlockOptions(causal=True, dropout=0.2, window=64),
)  # fmt: skip
SHRINK = 3  # tokens of the usual sound of all words that count with those of a word
DROPOUT = 0.2  # share of a word's channels
CHUNK, BATCH = 64, 8  # words of a chunk, chunks of a step
STEPS, TEXT_STEPS, VALIDATIONS = 300, 2000, 12  # of speech, of texts; of each on dev
RATE, RATE_AFTER_TEXTS, DECAY, CLIP = 2e-3, 1.5e-3, 0.1, 1.0


@dataclass(frozen=True, kw_only=True)
class System:
    """What the level knows of the words so far."""

    name: str
    word: bool = True  # who it is
    sound: str = ""  # what levels below make of it: "sound", "ahead", or "other" of the same word
    level: int = -1  # which of them, counted from 0, the lowest; -1: the highest
    components: int = 0  # principal components of the sound; 0: all channels
    own: bool = False  # only how it differs from the usual sound of the word
    timing: bool = False  # how long it and the pause after it last
    by: str = "chapter"  # what the level reads on end: chapter or utterance
    text: bool = False  # trained on the words of texts first


class Stretch(NamedTuple):
    """A chapter, an utterance or a book: its beginning, and then its words."""

    number: NDArray[np.int64]  # (F - 1,) of the words among those of the cuts
    word: Tensor  # (F,) in the vocabulary
    sound: Tensor  # (F, D)
    timing: Tensor  # (F, 3)
    target: Tensor  # (F,) class of the next word, -1 after the last


class Phrases(nn.Module):
    """A causal level over words, and a head for the next one.

    Args:
        words: size of the vocabulary.
        sound: D.
        unigram: (V,) shares of the classes in training, where the head begins.
    """

    def __init__(self, words: int, sound: int, unigram: Tensor) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, CHANNELS)
        self.sound = nn.Linear(sound, CHANNELS, bias=False)
        self.timing = nn.Linear(3, CHANNELS, bias=False)
        self.level = Level(LEVEL, CHANNELS)
        self.head = nn.Linear(LEVEL.width, len(unigram))
        for start in (self.sound.weight, self.timing.weight, self.head.weight):
            nn.init.zeros_(start)
        self.head.bias.data = unigram.log()

    def read(self, inputs: Sequence[Tensor], mask: Tensor) -> Steps:
        """Return words (B, F) with their sound (B, F, D) and timing (B, F, 3) as steps."""
        word, sound, timing = inputs
        x = self.embed(word) + self.sound(sound) + self.timing(timing)
        return Steps.of_frames(F.dropout(x, DROPOUT, self.training), mask)

    def forward(self, steps: Steps) -> tuple[Tensor, LevelOutput]:
        """Return log p (B, F, V) of the word after each step, and the level's output."""
        output = self.level(steps)
        scores = self.head(F.rms_norm(output.y, output.y.shape[-1:], eps=1e-6))
        return scores.log_softmax(-1), output


class Inputs:
    """Turns words into stretches as a system reads them, scaled as the words of training are."""

    def __init__(self, train: Words, vocabulary: Vocabulary, system: System) -> None:
        self.vocabulary, self.system = vocabulary, system
        ends = np.cumsum([0, *train.widths])
        level = system.level % len(train.widths)
        self.columns = slice(int(ends[level]), int(ends[level + 1]))
        sound, timing = self._chosen(train), next_words.timing(train)
        self.scales = [(x.mean(0), x.std(0) + 1e-3) for x in (sound, timing)]
        sound = (sound - self.scales[0][0]) / self.scales[0][1]
        # the usual sound of a word is nearer to that of all, zero, the fewer tokens it has
        self.usual = {
            str(word): sound[train.text == word].sum(0) / (np.sum(train.text == word) + SHRINK)
            for word in (np.unique(train.text) if system.own else ())
        }
        self.channels = sound.shape[1]
        if system.components:
            _, size, rows = np.linalg.svd(sound - self._usual(train), full_matrices=False)
            self.channels = min(system.components, self.channels)
            deviation = size[: self.channels] / np.sqrt(len(sound)) + 1e-6
            self.projection = rows[: self.channels].T / deviation

    def _chosen(self, words: Words) -> NDArray[np.float32]:
        sound = words.ahead if self.system.sound == "ahead" else words.sound
        result: NDArray[np.float32] = sound[:, self.columns].astype(np.float32)
        if self.system.sound == "other":
            result = result[next_words.other_tokens(words.text)]
        return result

    def _usual(self, words: Words) -> NDArray[np.float32]:
        """Return the usual sound (N, D) of words, if that is left out, or else 0."""
        unknown = np.zeros(self.columns.stop - self.columns.start, np.float32)
        return np.stack([self.usual.get(word, unknown) for word in words.text.tolist()])

    def _sound(self, words: Words) -> NDArray[np.float32]:
        """Return the sound (N, D) of words as the system hears it."""
        mean, deviation = self.scales[0]
        sound: NDArray[np.float32] = (self._chosen(words) - mean) / deviation - self._usual(words)
        if self.system.components:
            sound = sound @ self.projection
        return sound if self.system.sound else np.zeros_like(sound)

    def stretches(self, words: Words) -> list[Stretch]:
        """Return the stretches of words that were said."""
        mean, deviation = self.scales[1]
        timing = (next_words.timing(words) - mean) / deviation * self.system.timing
        sound, timed = (torch.from_numpy(x).float() for x in (self._sound(words), timing))
        result = []
        for part in spoken_words.parts(words, self.system.by):
            text = words.text[part].tolist()
            result.append(self.of_text(text)._replace(
                number=part, sound=F.pad(sound[part], (0, 0, 1, 0)),
                timing=F.pad(timed[part], (0, 0, 1, 0)),
            ))  # fmt: skip
        return result

    def of_text(self, text: Sequence[str]) -> Stretch:
        """Return the sequence of words that are written: no sound, no timing."""
        word, target = self.vocabulary.numbers(text, self.system.word), self.vocabulary.of(text)
        count = len(word)
        return Stretch(
            np.arange(len(text)),
            torch.from_numpy(word),
            torch.zeros(1, self.channels).expand(count, -1),
            torch.zeros(1, 3).expand(count, -1),
            torch.from_numpy(np.append(target, -1)),
        )


Groups = Sequence[Sequence[Stretch]]


def draw(groups: Groups, seed: int, step: int) -> list[Tensor]:
    """Return word, sound, timing, target and mask of random chunks, as (B, F, ...).

    Each group of stretches has an equal part in them.
    """
    rng = np.random.default_rng((seed, step))
    chunks = []
    for number in range(BATCH):
        group = groups[number % len(groups)]
        sizes = np.array([len(s.word) for s in group], float)
        stretch = group[rng.choice(len(group), p=sizes / sizes.sum())]
        first = int(rng.integers(max(1, len(stretch.word) - CHUNK + 1)))
        chunks.append([x[first : first + CHUNK] for x in stretch[1:]])
    padded = [
        nn.utils.rnn.pad_sequence(list(x), batch_first=True) for x in zip(*chunks, strict=True)
    ]
    lengths = torch.tensor([len(chunk[0]) for chunk in chunks])
    mask = torch.arange(padded[0].shape[1]) < lengths[:, None]
    padded[3] = padded[3].masked_fill(~mask, -1)
    return [*padded, mask]


@torch.no_grad()
def evaluate(
    model: Phrases, stretches: Sequence[Stretch]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return log2 p (N, V) of each word given those before, and whether it (N,) begins an event."""
    model.eval()
    count = sum(len(s.number) for s in stretches)
    table, new = np.empty((count, len(model.head.bias)), np.float32), np.zeros(count, bool)
    for s in stretches:
        inputs = [x[None] for x in s[1:4]]
        log_probs, output = model(model.read(inputs, torch.ones_like(inputs[0], dtype=torch.bool)))
        table[s.number] = log_probs[0, :-1].numpy() / math.log(2)
        assert output.events is not None
        event = output.events.of_step[0]
        new[s.number] = (event[1:] != event[:-1]).numpy()
    return table, new


def fit(
    model: Phrases,
    train: Groups,
    error: Callable[[], float],
    seed: int,
    steps: int,
    rate: float,
) -> float:
    """Train a model; it gets the parameters with the least error, which is returned."""
    optim = optimiser.adamw(model, rate, DECAY)
    best, kept = math.inf, copy.deepcopy(model.state_dict())
    for step in range(steps):
        factor = optimiser.rate_factor(step / steps, 0.05, "cosine")
        for group in optim.param_groups:
            group["lr"] = rate * factor
        torch.manual_seed(seed * 1_000_003 + step)
        *inputs, target, mask = draw(train, seed, step)
        log_probs, output = model.train()(model.read(inputs, mask))
        loss = F.nll_loss(log_probs.flatten(0, 1), target.flatten(), ignore_index=-1)
        torch.stack([loss, *output.losses.values()]).sum().backward()
        optimiser.clip_gradients(model.parameters(), CLIP)
        optim.step()
        optim.zero_grad(set_to_none=True)
        if (step + 1) % max(1, steps // VALIDATIONS) == 0:
            now = error()
            if now < best:
                best, kept = now, copy.deepcopy(model.state_dict())
    model.load_state_dict(kept)
    return best


def learn(
    system: System, seed: int, train: Words, dev: Words, texts: Sequence[Sequence[str]] = (),
    begun: Phrases | None = None,
) -> tuple[Phrases, Inputs, float]:  # fmt: skip
    """Train a system; return its model, how it reads words, and bits per word on dev.

    Args:
        texts: whose words are known too.
        begun: a model of the same vocabulary that is trained further, such as `read_texts` returns.
    """
    vocabulary = Vocabulary.of_texts(train.text.tolist(), texts)
    inputs = Inputs(train, vocabulary, system)
    stretches = inputs.stretches(train)
    if begun is None:
        model = _untrained(inputs, stretches, seed)
        return model, inputs, fit(model, [stretches], _error(model, inputs, dev), seed, STEPS, RATE)
    model = copy.deepcopy(begun)
    if inputs.channels != model.sound.in_features:  # nothing has been heard yet
        model.sound = nn.Linear(inputs.channels, CHANNELS, bias=False)
        nn.init.zeros_(model.sound.weight)
    both = [stretches, [inputs.of_text(text) for text in texts]]
    dev_bits = _error(model, inputs, dev)  # so that the texts are not forgotten
    return model, inputs, fit(model, both, dev_bits, seed, STEPS, RATE_AFTER_TEXTS)


def read_texts(seed: int, train: Words, dev: Words, texts: Sequence[Sequence[str]]) -> Phrases:
    """Return a model that has learned to predict the words of texts, from words alone."""
    vocabulary = Vocabulary.of_texts(train.text.tolist(), texts)
    inputs = Inputs(train, vocabulary, System(name="texts"))
    stretches = [inputs.of_text(text) for text in texts]
    model = _untrained(inputs, stretches, seed)
    fit(model, [stretches], _error(model, inputs, dev), seed, TEXT_STEPS, RATE)
    return model


def _untrained(inputs: Inputs, stretches: Sequence[Stretch], seed: int) -> Phrases:
    torch.manual_seed(seed)
    model = Phrases(inputs.vocabulary.size, inputs.channels, inputs.vocabulary.unigram)
    *first, _, mask = draw([stretches], seed, 0)
    with torch.no_grad():
        model.eval().level.initialise([model.read(first, mask)])
    return model


def _error(model: Phrases, inputs: Inputs, dev: Words) -> Callable[[], float]:
    """Return a function that returns the bits per word on dev."""
    stretches, answers = inputs.stretches(dev), inputs.vocabulary.of(dev.text.tolist())[:, None]
    return lambda: -float(np.take_along_axis(evaluate(model, stretches)[0], answers, 1).mean())
