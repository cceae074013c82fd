"""A folder of one's own recordings, with what is said in them (`folder_texts`), as a corpus."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

from speechasym.annotations.intervals import Interval, SampleInterval
from speechasym.audio.reading import AudioInfo
from speechasym.config import check_choice, check_count, plural
from speechasym.corpora import checks
from speechasym.corpora.folder_texts import Part, find_parts
from speechasym.corpora.manifests import Corpus, Tier, Utterance, corpus_of
from speechasym.corpora.report import PreparationReport, Problems
from speechasym.corpora.splits import split_names
from speechasym.errors import ConfigError, CorpusError
from speechasym.language.letters import normalise
from speechasym.language.lexicon import read_lexicon
from speechasym.progress import progress

SETS = ("train", "dev", "test")
SHARES = dict(zip(SETS, (0.8, 0.1, 0.1), strict=True))
CLIPPED_S = 0.02  # labels that end so little after the sound are clipped
LOW_HZ = 16000  # sample rates below lack frequencies that the models hear
MOST_LETTERS = 30  # a second; quick speech has 20

SplitBy = Literal["speakers", "recordings"]


def prepare(
    root: str | Path, *, speaker_characters: int | None = None, seed: int = 0,
    shares: Mapping[str, float] | Sequence[float] = SHARES, split_by: SplitBy = "speakers",
    lexicon: str | Path | None = None, keep_duplicates: bool = False, show_progress: bool = False,
) -> Corpus:  # fmt: skip
    """Return one's own recordings as lhotse manifests: the sets train, dev and test.

    Recordings may have any format, sample rate and number of channels. Texts are reduced to 28
    letters (`language.letters`).

    Args:
        root: a folder with a .txt, .lab or .TextGrid beside each recording, or with a table of
            paths and texts (.csv, .tsv); or such a table.
        speaker_characters: the first so many characters of a file's name are its speaker; default:
            the first sub-folder is. A column `speaker` or a TextGrid's tiers come before both.
        seed: of the random split.
        shares: of train, dev and test; 0 leaves a set out.
        split_by: speakers, or recordings: then sets share speakers, as they do if there are fewer
            speakers than sets.
        lexicon: report words that it lacks.
        keep_duplicates: keep utterances with the same samples as earlier ones.
        show_progress: show progress on stderr.

    Raises:
        CorpusError: no recordings, or no texts for any of them.
        ConfigError: an option out of its range.
        LexiconError: a lexicon that cannot be read.
    """
    check_choice("split_by", split_by, ("speakers", "recordings"))
    if speaker_characters is not None:
        check_count("speaker_characters", speaker_characters)
    wanted = _shares(shares)
    known = None if lexicon is None else read_lexicon(lexicon)
    problems = Problems()
    utterances = read_utterances(root, problems, speaker_characters, show_progress)
    if known is not None:
        first: dict[str, str] = {}
        for utterance in utterances:
            for word in utterance.text.split():
                first.setdefault(word, utterance.id)
        for word in sorted(first):
            if not known.pronounce(word):
                problems.add("note", "word outside the lexicon", word, first[word])
    sets, description = _split(utterances, wanted, seed, split_by, problems)
    shared = len({u.speaker for u in utterances}) < sum(
        len({u.speaker for u in part}) for part in sets.values()
    )
    sets = checks.check_sets(sets, problems, keep_duplicates, shared)
    return corpus_of("folder", description, sets, problems, {})


def read_utterances(
    root: str | Path, problems: Problems, speaker_characters: int | None = None,
    show_progress: bool = False,
) -> list[Utterance]:  # fmt: skip
    """Return the utterances of a folder or table, ordered by recording and time; see `prepare`.

    Raises `CorpusError` if there are none; it counts the problems, and names the first place.
    """
    root_of_places, parts = find_parts(root, problems)
    counts = Counter(part.recording for part in parts)
    headers = {}
    with progress(len(counts), "recordings", show_progress) as step:
        for place in counts:
            headers[place] = checks.usable_header(root_of_places / place, place, problems)
            step()
    utterances, numbers = [], Counter[str]()
    for part in parts:
        if (header := headers[part.recording]) is None:
            continue
        numbers[part.recording] += 1
        number = numbers[part.recording] if part.start or part.end is not None else 0
        speaker = part.speaker or _speaker(root_of_places, part.recording, speaker_characters)
        utterance = _utterance(root_of_places, part, number, speaker, header, problems)
        if utterance is not None:
            utterances.append(utterance)
    for place, header in headers.items():
        if header is not None and header.channels > 1:
            problems.add(
                "note", "several channels, mixed to one", place, f"{header.channels} channels"
            )
        if header is not None and header.sample_rate < LOW_HZ:
            detail = f"{header.sample_rate} Hz: nothing above {header.sample_rate // 2} Hz is heard"
            problems.add("warning", f"sample rate below {LOW_HZ} Hz", place, detail)
    if not utterances:
        report = PreparationReport("folder", "no utterances", {}, {}, problems)
        kinds = [f"{kind} ({len(places)})" for kind, places in report.kinds("error").items()]
        first = next(problem for problem in problems if problem.severity == "error")
        problem = f"no recording can be used: {', '.join(kinds)}; the first is {first.place}"
        raise CorpusError(root, problem, "Fix the files, see docs/corpora.md")
    return utterances


def _speaker(root: Path, place: str, characters: int | None) -> str:
    path = PurePosixPath(place)
    if characters is not None:
        return path.stem[:characters]
    parts = [part for part in path.parts[:-1] if part not in ("/", "..")]
    return parts[0] if parts else root.name


def name_of(place: str) -> str:
    """Return a recording's id: its path without suffix, `/`, `..` before it, and blanks."""
    path = PurePosixPath(place).with_suffix("")
    parts = [part for part in path.parts if part not in ("/", "..")]
    return "_".join("/".join(parts).split())


def _utterance(
    root: Path, part: Part, number: int, speaker: str, header: AudioInfo,
    problems: Problems,
) -> Utterance | None:  # fmt: skip
    """Return an utterance; None, and a problem, if it cannot be used."""
    rate, name = header.sample_rate, name_of(part.recording)
    seconds = header.frames / rate
    plain, unknown = normalise(part.text)
    if unknown:
        detail = f"{unknown[:20]!r}: write it out in letters"
        problems.add("error", "text beyond the 28 letters", part.where, detail)
        return None
    if not plain:
        problems.add("error", "text empty", part.where)
        return None
    last = max([part.end or 0.0, *(i.end for i in (*part.words, *part.phones) if i.label)])
    if last > seconds + CLIPPED_S or part.start >= seconds:
        detail = f"{max(last, part.start):.3f} s, of {seconds:.3f} s in {part.recording}"
        problems.add("error", "labels longer than the sound", part.where, detail)
        return None
    if last > seconds + 0.5 / rate:
        detail = f"by {1000 * (last - seconds):.0f} ms"
        problems.add("warning", "labels longer than the sound, clipped", part.where, detail)
    end = seconds if part.end is None else min(part.end, seconds)
    letters = len(plain.replace(" ", ""))
    if letters > MOST_LETTERS * (end - part.start):
        detail = f"{letters} letters in {end - part.start:.2f} s"
        problems.add("warning", "more text than fits into the sound", part.where, detail)
    first, stop = round(part.start * rate), round(end * rate)
    return Utterance(
        id=f"{name}-{number:04}" if number else name, path=root / part.recording,
        place=part.recording if not number else part.where, sample_rate=rate,
        frames=stop - first, text=plain, speaker="_".join(speaker.split()), start=first,
        words=_tier(part.words, rate, stop), phones=_tier(part.phones, rate, stop),
        recording=name if number else "", recording_frames=header.frames,
        channels=header.channels,
    )  # fmt: skip


def _tier(intervals: Sequence[Interval], rate: int, frames: int) -> Tier:
    times = ((min(round(i.start * rate), frames), min(round(i.end * rate), frames), i.label)
             for i in intervals)  # fmt: skip
    return tuple(SampleInterval(*row) for row in times)


def _shares(shares: Mapping[str, float] | Sequence[float]) -> dict[str, float]:
    """Return {set: share} without empty sets. Raises `ConfigError`."""
    if not isinstance(shares, Mapping):
        if len(shares) != len(SETS):
            problem = f"must be three numbers, of {', '.join(SETS)}, got {len(shares)}"
            raise ConfigError("shares", problem, "For example 0.8,0.1,0.1")
        shares = dict(zip(SETS, shares, strict=True))
    if not any(shares.values()):
        raise ConfigError("shares", "must not all be 0", "For example 0.8,0.1,0.1")
    kept = {name: share for name, share in shares.items() if share}
    split_names(map(str, range(len(kept))), kept, 0)  # checks them
    return kept


def _split(
    utterances: Sequence[Utterance], shares: Mapping[str, float], seed: int, by: SplitBy,
    problems: Problems,
) -> tuple[dict[str, list[Utterance]], str]:  # fmt: skip
    """Return {set: utterances}, and a description of the split."""
    keys = {
        "speakers": lambda u: u.speaker,
        "recordings": lambda u: u.recording or u.id,
        "utterances": lambda u: u.id,
    }
    counts = {kind: len({key(u) for u in utterances}) for kind, key in keys.items()}
    kinds = [kind for kind in list(keys)[by == "recordings" :] if counts[kind] >= len(shares)]
    number = plural(counts["speakers"], "speaker")
    if not kinds:
        name = next(iter(shares))
        detail = f"{counts['utterances']} of them, {len(shares)} sets"
        problems.add("warning", f"too few utterances to split, all are in {name}", "all", detail)
        return {name: list(utterances)}, "local split: one set"
    kind = kinds[0]
    if kind != by:
        text = f"fewer {by} than sets: split by {kind}"
        detail = f"{number}; errors on dev and test say nothing about unseen speakers"
        problems.add("warning", text, "all", detail)
    split = split_names(map(keys[kind], utterances), shares, seed)
    set_of = {name: key for key, names in split.items() for name in names}
    sets: dict[str, list[Utterance]] = {name: [] for name in shares}
    for utterance in utterances:
        sets[set_of[keys[kind](utterance)]].append(utterance)
    description = f"local split: {kind} by seed {seed}"
    if len(shares) == 1:
        description = "local split: one set"
    elif kind != "speakers" and counts["speakers"]:
        description += ", so that sets share speakers"
    return sets, description
