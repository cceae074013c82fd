"""
Language model and lexicon
==========================

**How much does it help to know what can be said?** The package's model hears phones. Which words
they are is decided by a lexicon and a language model, and those that come with it are of old
books. For people who play cards we make our own.
"""

import tempfile
from itertools import product
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import speechasym

data = Path("../data")
lines = (data / "transcripts.txt").read_text().splitlines()
said = {line.split(" ", 1)[0]: line.split(" ", 1)[1] for line in lines if line.startswith("cards")}


def recognise(recogniser):
    """Print what was said, and what is recognised by lexicon and language model."""
    wrong = 0
    for name, text in said.items():
        transcript = recogniser.transcribe(data / f"{name}.wav", heads=["words by lexicon"])
        words = transcript.text.lower()
        print(f"{text:<46} {'' if words == text else words}")
        wrong += words != text
    print(f"{wrong} of {len(said)} recordings wrong")


books = speechasym.Recogniser()
recognise(books)

# %%
# Now a language model of cards. It learns from sentences that a program writes: one to three
# cards in any order. Nothing of the recordings is used.

ranks = "ace two three four five six seven eight nine ten jack queen king".split()
suits = "clubs spades hearts diamonds".split()
cards = [f"{rank} of {suit}" for rank, suit in product(ranks, suits)] + ranks
rng = np.random.default_rng(0)
sentences = [" ".join(rng.choice(cards, rng.integers(1, 4))) for _ in range(2000)]
folder = Path(tempfile.mkdtemp())
(folder / "cards.txt").write_text("\n".join(sentences))
print(sentences[:2])

model = speechasym.estimate_lm(folder / "cards.txt", folder / "cards.arpa")
lexicon = speechasym.make_lexicon(books.lexicon, folder / "cards.txt", folder / "lexicon.txt")
print(f"{lexicon.words} words, {len(lexicon.missing)} of them without pronunciation")
print("n-grams of one, two and three words:", model.model.sizes)

# %%
# The same model of sounds with these words:

player = speechasym.Recogniser(lexicon=folder / "lexicon.txt", lm=folder / "cards.arpa")
recognise(player)

# %%
# Both hear the same phones. The picture shows how probable each is over time in "ten of clubs",
# and which words either makes of them.

file = data / "cards-001.wav"
log_probs, times, symbols = books.posteriors(file, head="phones")
probability = log_probs.exp().numpy()
shown = [
    n for n in np.argsort(probability.argmax(0)) if symbols[n] and probability[:, n].max() > 0.15
]
figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
image = axes.imshow(
    probability[:, shown].T, origin="lower", aspect="auto", cmap="Blues", vmin=0, vmax=1,
    extent=(times[0, 0], times[-1, 1], -0.5, len(shown) - 0.5),
)  # fmt: skip
axes.set_yticks(range(len(shown)), [symbols[n] for n in shown])
for place, (name, recogniser) in enumerate((("cards", player), ("books", books))):
    height = len(shown) + 0.2 + place
    axes.text(times[0, 0] + 0.01, height, name, color="0.4", va="center")
    for word in recogniser.transcribe(file, heads=["words by lexicon"]).words_by_lexicon:
        axes.text(word.middle, height, word.label.lower(), ha="center", va="center")
axes.set(xlabel="time (s)", ylabel="phone", ylim=(-0.5, len(shown) + 1.7))
figure.colorbar(image, label="probability")
plt.show()

# %%
# The end is not heard as "clubs": the vowel is taken for *OW*, between a *K* and an *S*. For
# someone who reads old books that is nearest to "course", for someone who plays cards it can only
# be "clubs". That is the use of a small language, and its danger: whatever is said, the player
# will hear cards.
#
# **What to try next.** ``lm_weight=`` and ``word_score=`` of `Recogniser` say how much the
# language counts; ``guess=True`` of `make_lexicon` pronounces words that the lexicon lacks.
# :doc:`/docs/decoding` describes the search. In the shell: ``speechasym lm cards.txt --out
# cards.arpa``.
