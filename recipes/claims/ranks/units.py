"""Which law do phones, letters and words follow, and is their number finite? (C16).

Shapes: G groups (speakers or books), U units.
"""

import argparse
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from recipes.claims.asymmetry.common import COLOURS, axes, log, save
from recipes.claims.ranks.laws import LAWS, Law, fit_laws, flat, ranked
from recipes.provenance import table
from speechasym.corpora.manifests import stream_cuts
from speechasym.errors import ConfigError
from speechasym.language.letters import spell
from speechasym.language.lexicon import Lexicon, read_lexicon
from speechasym.language.phones import strip_stress
from speechasym.language.texts import read_sentences
from speechasym.ranks import fits
from speechasym.training import labels
from speechasym.training.config import LabelConfig

KINDS = ("phones", "letters", "words")
SHARES = (1 / 16, 1 / 4, 1)  # of the tokens, for how N grows
ROUNDS = 100  # of resampling groups

Groups = dict[str, dict[str, Counter[str]]]  # {kind: {group: {unit: count}}}


def add_words(groups: Groups, group: str, words: Sequence[str], lexicon: Lexicon | None) -> None:
    """Count words and their letters; with a lexicon also phones, of the words that it has."""
    groups["words"][group].update(words)
    groups["letters"][group].update(letter for letter in spell(words) if letter != " ")
    for word in words:
        if lexicon and (pronunciations := lexicon.get(word)):
            groups["phones"][group].update(strip_stress(p) for p in pronunciations[0])


def count_cuts(paths: Iterable[str | Path], lexicon: Lexicon | None) -> Groups:
    """Count the units of cuts by speaker: phones as annotated, or else by the lexicon."""
    groups: Groups = {kind: defaultdict(Counter) for kind in KINDS}
    config = LabelConfig(fold="timit39", silence="drop")
    for path in paths:
        for _, cut in stream_cuts(path):
            speaker = str(cut.supervisions[0].speaker)
            phones = [i.label for i in labels.timed_phones(cut, config)]
            if phones:
                groups["phones"][speaker].update(phones)
            add_words(groups, speaker, labels.words_of(cut), None if phones else lexicon)
    return groups


def count_books(paths: Iterable[str | Path], lexicon: Lexicon | None) -> Groups:
    """Count the units of texts, each a group."""
    groups: Groups = {kind: defaultdict(Counter) for kind in KINDS}
    for path in paths:
        for words in read_sentences(path):
            add_words(groups, str(path), words, lexicon)
    return groups


def matrix(groups: dict[str, Counter[str]]) -> NDArray[np.float64]:
    """Return counts (G, U)."""
    units = sorted(set().union(*groups.values())) if groups else []
    return np.array([[group[u] for u in units] for group in groups.values()], float)


class Ranks(NamedTuple):
    """Units of a kind by rank, and the laws they follow."""

    name: str
    counts: NDArray[np.float64]  # (R,), falling
    laws: dict[str, Law]
    resampled: list[dict[str, Law]]  # groups drawn with replacement
    fit: list[fits.LawFit]  # the better of geometric and power, at each of SHARES
    seen: list[int]  # units at each of SHARES

    entropies: list[float]  # nats: of all, and then of the resampled


def entropy(counts: NDArray) -> float:
    """Return the entropy of counts in nats."""
    p = counts[counts > 0] / counts.sum()
    return -float(p @ np.log(p))


def measure(name: str, counts: NDArray, rounds: int = ROUNDS, seed: int = 0) -> Ranks:
    """Fit all laws to counts (G, U).

    Raises:
        ConfigError: too few counts or units for a law.
    """
    total = ranked(counts.sum(0) if counts.size else counts, name)
    draw = np.random.default_rng(seed)
    resampled, entropies = [], [entropy(total)]
    for _ in range(rounds):
        picks = draw.integers(0, len(counts), len(counts))
        sums = np.bincount(picks, minlength=len(counts)) @ counts
        resampled.append(fit_laws(np.sort(sums[sums > 0])[::-1]))
        entropies.append(entropy(sums))
    best, seen = [], []
    for share in SHARES:
        part = total if share == 1 else draw.binomial(total.astype(int), share)
        best.append(fits.fit(part).best)
        seen.append(int(np.count_nonzero(part)))
    return Ranks(name, total, fit_laws(total), resampled, best, seen, entropies)


def centred(values: Sequence[float], value: float, digits: int = 2) -> str:
    """Return a value with the 95 % spread of the resampled ones about their mean.

    Resampling loses rare units, which shifts all resampled values alike: only their spread counts.
    """
    low, high = value + np.quantile(np.array(values) - np.mean(values), [0.025, 0.975])
    join = " to " if low < 0 else "-"
    return f"{value:.{digits}f} ({low:.{digits}f}{join}{high:.{digits}f})"


def size_of(fit: fits.LawFit) -> str:
    """Return N and its interval."""
    if np.isinf(fit.resolution_high):
        return f"not bounded ({fit.law})"
    low, high = fit.resolution_low, fit.resolution_high
    return f"{fit.resolution:.0f} ({low:.0f}-{high:.0f}) ({fit.law})"


def report(rows: Sequence[Ranks]) -> str:
    """Return two tables in Markdown: laws, and numbers of units."""
    body, numbers = [], []
    for row in rows:
        n, level = row.counts.sum(), flat(row.counts)
        explained = [1 - row.laws[law].divergence / level for law in LAWS]
        gap = [1000 * (f["geometric"].divergence - f["power"].divergence) for f in row.resampled]
        here = 1000 * (row.laws["geometric"].divergence - row.laws["power"].divergence)
        best = min(row.laws.values(), key=lambda law: law.bic).name
        wins = Counter(min(f.values(), key=lambda law: law.bic).name for f in row.resampled)
        share = 100 * wins[best] / max(1, len(row.resampled))
        exponent = [1 / f["power"].beta for f in row.resampled]
        body.append(
            [
                row.name, f"{n:.0f}", *(f"{x:.3f}" for x in explained),
                centred(gap, here, 0), f"{best} ({share:.0f} %)",
                f"{row.laws['geometric'].beta:.1f}",
                centred(exponent, 1 / row.laws["power"].beta),
            ]
        )  # fmt: skip
        numbers.append(
            [
                row.name, *(f"{seen}" for seen in row.seen), *(size_of(f) for f in row.fit),
                centred([np.exp(h) for h in row.entropies[1:]], np.exp(row.entropies[0]), 1),
            ]
        )  # fmt: skip
    head = ["units", "counts", *LAWS, "geometric - power, mnat", "least BIC (of resampled)",
            "geometric: beta", "power: 1 / beta"]  # fmt: skip
    shares = ["1/16", "1/4", "all"]
    seen = [f"seen, {s}" for s in shares] + [f"N, {s}" for s in shares]
    return "\n".join([table(head, body), table(["units", *seen, "exp(entropy)"], numbers)])


def picture(rows: Sequence[Ranks], path: Path, kinds: Sequence[str]) -> None:
    """Plot shares by rank, one panel for each kind, with both laws of the last of its rows."""
    figure, row = axes(len(kinds), 4 * len(kinds), 3.8)
    for axis, kind in zip(row, kinds, strict=True):
        chosen = [r for r in rows if kind in r.name]
        for r, colour in zip(chosen, COLOURS, strict=False):
            rank = np.arange(1, len(r.counts) + 1)
            label = " ".join(r.name.replace(kind, "").replace(",", "").split())
            axis.plot(rank, r.counts / r.counts.sum(), ".", ms=3, color=colour, label=label)
        for law, style in (("geometric", "-"), ("power", "--")):
            axis.plot(rank, chosen[-1].laws[law].share, style, color="0.3", lw=1, label=law)
        low = min(r.counts[-1] / r.counts.sum() for r in chosen) / 2
        axis.set(yscale="log", xlabel="rank", title=kind, ylim=(low, 1))
        if len(rank) > 200:
            axis.set_xscale("log")
        axis.legend(frameon=False, fontsize=7)
    row[0].set_ylabel("share")
    save(figure, path)


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out/claims/ranks"))
    parser.add_argument("--cuts", action="append", default=[], metavar="NAME=CUTS[,CUTS]")
    parser.add_argument("--books", type=Path, default=os.environ.get("BOOKS"), help="folder")
    parser.add_argument(
        "--every",
        type=int,
        default=20,
        help="take every so many texts",
    )
    parser.add_argument("--lexicon", type=Path, default=os.environ.get("LEXICON"))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args(arguments)
    lexicon = read_lexicon(options.lexicon) if options.lexicon else None
    counted: dict[str, Groups] = {}
    for word in options.cuts:
        name, _, paths = word.partition("=")
        if not paths:
            raise ConfigError("cuts", f"must be NAME=CUTS[,CUTS], got {word!r}", "Name the corpus")
        counted[name] = count_cuts(paths.split(","), lexicon)
    if options.books:
        books = sorted(Path(options.books).glob("*.txt*"))[:: options.every]
        counted["books"] = count_books(books, lexicon)
    if not counted:
        raise ConfigError("cuts", "there is nothing to count", "Give --cuts or --books")
    rows = []
    for kind in KINDS:
        for name, groups in counted.items():
            if counts := groups[kind]:
                rows.append(measure(f"{name}, {kind}", matrix(counts), options.rounds))
                log(f"fitted {rows[-1].name}")
    kinds = [kind for kind in KINDS if any(row.name.endswith(kind) for row in rows)]
    picture(rows, options.out / "units.png", kinds)
    (options.out / "units.md").write_text(report(rows), "utf-8")
    print(report(rows))


if __name__ == "__main__":
    main()
