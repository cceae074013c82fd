"""The phones that cuts are scored against, where a lexicon has to give them.

A cut without phones of its own, or with those of another set than the run's (TIMIT's instead of
ARPAbet's), is spelled by the run's lexicon, then by another one that is given. What both lack is
derived from other words or guessed from the spelling, and counted.
"""

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechasym import files
from speechasym.errors import LabelError, LexiconError
from speechasym.language import completion, letter_to_sound
from speechasym.language.lexicon import Lexicon, read_lexicon
from speechasym.recognition.recogniser import Recogniser
from speechasym.training import labels

if TYPE_CHECKING:
    from lhotse.cut import Cut


@dataclass(frozen=True, kw_only=True)
class ReferencePhones:
    """Where the phones of a manifest come from."""

    entries: Lexicon | None  # None: all cuts have phones of their own
    paths: tuple[Path, ...] = ()  # of the lexica
    cuts: int = 0  # number of cuts that are spelled
    words: int = 0  # in them,
    guessed: tuple[str, ...] = ()  # those that no lexicon has, sorted, each as often as it occurs

    def __str__(self) -> str:
        if not self.cuts:
            return ""
        lexica = " and ".join(map(str, self.paths))
        text = f"Phones of {self.cuts:,} cuts are those of their words in {lexica}"
        if not self.guessed:
            return text
        examples = ", ".join(dict.fromkeys(self.guessed[:: max(1, len(self.guessed) // 3)]))
        share = len(self.guessed) / self.words
        return (
            f"{text}; {len(self.guessed):,} of the {self.words:,} words ({share:.1%}) are not there"
            f" and were guessed from the spelling, such as {examples}"
        )

    def as_json(self) -> dict[str, Any]:
        """Return files with their checksums, and numbers of words."""
        lexica = {str(path): files.sha256(path) for path in self.paths}
        counts = {"cuts": self.cuts, "words": self.words, "guessed_words": len(self.guessed)}
        return {"lexica": lexica, **counts, "guessed": sorted(set(self.guessed))}


def reference_phones(recogniser: Recogniser, cuts: "Iterable[Cut]") -> ReferencePhones:
    """Return the pronunciations that the cuts need for their phones.

    Raises:
        LabelError: a cut without phones where no lexicon is given, or without text.
        LexiconError: a lexicon that cannot be read.
    """
    trained = recogniser.trained
    config, known = trained.config.data.labels, trained.inventories["phones"]
    given = None if recogniser.lexicon is None else Path(recogniser.lexicon)
    paths = tuple(dict.fromkeys(path for path in (trained.lexicon, given) if path is not None))
    spelled, words = 0, Counter[str]()
    for cut in cuts:
        own = [phone.label for phone in labels.timed_phones(cut, config)]
        if not own and not paths:
            problem = "it has no phones, and no lexicon is given to read them from"
            if config.lexicon is not None:
                problem = f"it has no phones, and the run's lexicon is not at {config.lexicon}"
            remedy = "Give a lexicon (--lexicon), or leave out the head phones"
            raise LabelError(f"cut {cut.id}", problem, remedy)
        if not own or (paths and not labels.mostly_known(own, known)):
            spelled += 1
            words.update(labels.words_of(cut))
    if not spelled:
        return ReferencePhones(entries=None)
    entries = Lexicon()
    for path in paths:  # the first one wins
        entries = Lexicon(read_lexicon(path) | entries)
    lacking = sorted(word for word in words.elements() if not entries.pronounce(word))
    if lacking:
        with suppress(LexiconError):  # nothing to learn from; the labels then name the word
            entries, _ = completion.complete(entries, lacking, letter_to_sound.learn(entries))
    return ReferencePhones(
        entries=entries, paths=paths, cuts=spelled, words=words.total(), guessed=tuple(lacking)
    )
