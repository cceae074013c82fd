"""Recordings with phones: TIMIT's, made by hand, and cuts whose phones were aligned."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import speechasym
from speechasym.annotations import timit
from speechasym.annotations.intervals import Interval
from speechasym.annotations.textgrid import read_textgrid
from speechasym.corpora.manifests import stream_cuts
from speechasym.language import phones
from speechasym.scoring.abx_items import Item, timit_items
from speechasym.scoring.boundaries import inner_boundaries
from speechasym.training.cuts import load_samples

RATE = 16000  # Hz of all samples


class Corpus(NamedTuple):
    """Recordings by name, and what is known of them."""

    name: str
    sounds: dict[str, NDArray[np.float32]]  # samples at `RATE`
    phones: dict[str, list[Interval]]  # 39 classes, silence among them
    boundaries: dict[str, list[float]]  # s, of all phones (TIMIT: of its 61)
    words: dict[str, list[float]]  # s, of all words
    word_spans: dict[str, list[Interval]]
    speakers: dict[str, str]
    items: list[Item]  # of ABX; none for aligned phones

    def part(self, names: list[str], name: str) -> "Corpus":
        """Return some of the recordings."""
        kept = set(names)

        def some(table: dict[str, Any]) -> dict[str, Any]:
            return {k: v for k, v in table.items() if k in kept}

        items = [i for i in self.items if i.file in kept]
        tables = {field: some(getattr(self, field)) for field in self._fields[1:7]}
        return self._replace(name=name, items=items, **tables)


def of_timit(root: Path) -> Corpus:
    """Return TIMIT's recordings but SA1 and SA2, named by their paths without suffix."""
    corpus = Corpus("TIMIT", {}, {}, {}, {}, {}, {}, timit_items(root))
    for path in sorted(p for p in root.rglob("*") if p.suffix.upper() == ".PHN"):
        if path.stem.upper() in ("SA1", "SA2"):
            continue
        name = path.relative_to(root).with_suffix("").as_posix()
        audio = next(
            p for p in path.parent.iterdir() if p.name.upper() == f"{path.stem}.WAV".upper()
        )
        rows = timit.read_timit(path)
        corpus.sounds[name] = speechasym.load(audio, RATE)[0]
        corpus.phones[name] = [
            row._replace(label=phones.FOLD_39[row.label])
            for row in rows
            if row.label in phones.FOLD_39
        ]
        corpus.boundaries[name] = inner_boundaries(rows)
        words = next(
            p for p in path.parent.iterdir() if p.name.upper() == f"{path.stem}.WRD".upper()
        )
        _add_words(corpus, name, timit.read_timit(words))
        corpus.speakers[name] = path.parent.name
    return corpus


def of_cuts(manifest: Path, textgrids: Path, most: int) -> Corpus:
    """Return every n-th cut of a manifest, at most `most`, with phones and words of TextGrids."""
    corpus = Corpus("aligned", {}, {}, {}, {}, {}, {}, [])
    cuts = [cut for _, cut in stream_cuts(manifest)]
    for cut in cuts[:: max(1, -(-len(cuts) // most))]:
        tiers = read_textgrid(textgrids / f"{cut.id}.TextGrid")
        rows = [row for row in tiers["phones"] if row.label]
        corpus.sounds[cut.id] = load_samples(cut, RATE)
        filled: list[Interval] = []
        for row in rows:  # silence between phones
            end = filled[-1].end if filled else 0.0
            if row.start > end + 1e-6:
                filled.append(Interval(end, row.start, phones.SILENCE))
            filled.append(row)
        corpus.phones[cut.id] = filled
        corpus.boundaries[cut.id] = inner_boundaries(filled)
        _add_words(corpus, cut.id, [row for row in tiers["words"] if row.label])
        corpus.speakers[cut.id] = cut.supervisions[0].speaker
    return corpus


def _add_words(corpus: Corpus, name: str, words: list[Interval]) -> None:
    corpus.words[name] = sorted({time for word in words for time in (word.start, word.end)})
    corpus.word_spans[name] = words


def matrices(sounds: dict[str, NDArray[np.float32]], options: dict[str, Any]) -> dict[str, NDArray]:
    """Return {name: (F, D)}, each column normalised over its recording."""
    return {
        name: speechasym.features(x, RATE, normalise="utterance", **options)
        for name, x in sounds.items()
    }
