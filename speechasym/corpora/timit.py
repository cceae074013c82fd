"""TIMIT: the LDC disc and its usual re-packagings [1].

An utterance is a file SPEAKER/SENTENCE, its speaker's folder named FVMH0 or dr1-fvmh0, in any
letter case, with .PHN, .WRD and .TXT beside it. Only what lies below the given folder counts.

[1] J. S. Garofolo et al., "TIMIT Acoustic-Phonetic Continuous Speech Corpus", LDC93S1, 1993.
[2] A. K. Halberstadt, "Heterogeneous acoustic measurements and multiple classifiers for speech
    recognition", thesis, MIT, 1998: the development set of 50 speakers; the lists are Kaldi's.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from speechasym.corpora import checks
from speechasym.corpora.manifests import Corpus, Utterance, corpus_of
from speechasym.corpora.report import Problems
from speechasym.corpora.splits import split_names
from speechasym.corpora.timit_files import Sentence, find_sentences, read_sentence
from speechasym.errors import ConfigError
from speechasym.progress import progress

_CORE_TEST = """
    MDAB0 MWBT0 FELC0 MTAS1 MWEW0 FPAS0 MJMP0 MLNT0 FPKT0 MLLL0 MTLS0 FJLM0 MBPM0 MKLT0 FNLP0 MCMJ0
    MJDH0 FMGD0 MGRT0 MNJM0 FDHC0 MJLN0 MPAM0 FMLD0
"""
_DEVELOPMENT = """
    FAKS0 FDAC1 FJEM0 MGWT0 MJAR0 MMDB1 MMDM2 MPDF0 FCMH0 FKMS0 MBDG0 MBWM0 MCSH0 FADG0 FDMS0 FEDW0
    MGJF0 MGLB0 MRTK0 MTAA0 MTDT0 MTHC0 MWJG0 FNMR0 FREW0 FSEM0 MBNS0 MMJR0 MDLS0 MDLF0 MDVC0 MERS0
    FMAH0 FDRW0 MRCS0 MRJM4 FCAL1 MMWH0 FJSJ0 MAJC0 MJSW0 MREB0 FGJD0 FJMG0 MROA0 MTEB0 MJFC0 MRJR0
    FMML0 MRWS1
"""
CORE_TEST = frozenset(_CORE_TEST.split())
DEVELOPMENT = frozenset(_DEVELOPMENT.split())  # [2]
PUBLISHED = {"train": 462, "dev": 50, "test": 24}  # speakers
SHARES = {"train": 0.8, "dev": 0.1, "test": 0.1}
OFFICIAL = "official split: TRAIN, the 50 development and the 24 core-test speakers"

_Keys = set[tuple[str, str]]  # speakers and the part that they are in: "TRAIN", "TEST" or ""


def prepare(
    root: str | Path,
    *,
    sa: bool = False,
    seed: int | None = None,
    shares: Mapping[str, float] = SHARES,
    lists: Mapping[str, Iterable[str]] | None = None,
    keep_duplicates: bool = False,
    show_progress: bool = False,
) -> Corpus:
    """Return TIMIT as lhotse manifests, with the times of its words and its 61 phones.

    The sets are the first of these that applies: `lists`; the official train, dev and test if
    TEST has all 50 development and 24 core-test speakers (the other TEST speakers are left out);
    the folders TRAIN and TEST, and with a seed a dev set of some of TRAIN's speakers; with a seed,
    a split of all speakers by `shares`; otherwise one set, "all". All but the official one are
    local splits, whose figures cannot be compared with published ones.

    Args:
        root: a folder; TRAIN and TEST may lie anywhere below it, or be missing.
        sa: keep the sentences SA1 and SA2, which every speaker reads.
        seed: seed of a split by speakers, for folders without an official one.
        shares: {set: share of the speakers} of such a split.
        lists: {set: its speakers}, used instead.
        keep_duplicates: keep utterances with the same samples as earlier ones.
        show_progress: show progress on stderr.

    Raises:
        CorpusError: the folder contains no TIMIT.
        ConfigError: a speaker is in two lists, or the shares are invalid.
    """
    root, places = checks.files_below(root)
    problems = Problems()
    sentences = find_sentences(places, problems)
    if not any(sentence.audio for sentence in sentences):
        raise checks.nothing_found(root, places, "recordings such as TRAIN/DR1/FCJF0/SI648.WAV")
    description, split = _split(sentences, seed, shares, lists, problems)
    set_of = {key: name for name, keys in split.items() for key in keys}
    left_out = Counter[str]()
    selected = []
    for sentence in sentences:
        if not sa and sentence.name.startswith("SA"):
            left_out["SA sentences"] += 1
        elif (sentence.speaker, sentence.part) not in set_of:
            left_out["recordings of speakers in no set"] += 1
        else:
            selected.append(sentence)
    for kind, n in left_out.items():
        problems.add("note", "left out", f"{n} {kind}")
    complete = 10 if sa else 8  # 2 SA, 5 SX and 3 SI sentences
    read = Counter(speaker for speaker, _ in {(s.speaker, s.name) for s in selected})
    for speaker, n in sorted(read.items()):
        if n != complete:
            problems.add("warning", "number of sentences", speaker, f"{n}, not {complete}")
    sets: dict[str, list[Utterance]] = {name: [] for name in split}
    with progress(len(selected), "TIMIT", show_progress) as step:
        for sentence in selected:
            utterance = read_sentence(root, sentence, problems)
            if utterance is not None:
                sets[set_of[sentence.speaker, sentence.part]].append(utterance)
            step()
    published = {name: (speakers, speakers * complete) for name, speakers in PUBLISHED.items()}
    sets = checks.check_sets(sets, problems, keep_duplicates)
    corpus = corpus_of("timit", description, sets, problems, published)
    if description == OFFICIAL:
        for name, count in corpus.report.counts.items():
            if (count.speakers, count.sentences) != published[name]:
                detail = "{} speakers, {} sentences are published".format(*published[name])
                problems.add("warning", "counts that are not the published ones", name, detail)
    return corpus


def _split(
    sentences: list[Sentence],
    seed: int | None,
    shares: Mapping[str, float],
    lists: Mapping[str, Iterable[str]] | None,
    problems: Problems,
) -> tuple[str, dict[str, _Keys]]:
    """Return a description of the split and its sets; see `prepare`."""
    keys = {(sentence.speaker, sentence.part) for sentence in sentences}
    if lists is not None:
        return "local split: speakers by given lists", _listed(keys, lists, problems)
    train, test = ({key for key in keys if key[1] == part} for part in ("TRAIN", "TEST"))
    dev, core = ({(name, "TEST") for name in names} for names in (DEVELOPMENT, CORE_TEST))
    if test >= dev | core:
        return OFFICIAL, {"train": train, "dev": dev, "test": core}
    if train or test:
        sets = {"train": train, "dev": set(), "test": test}
        description = "local split: the folders TRAIN and TEST as they are"
        if seed is not None and train:
            share = shares.get("dev", SHARES["dev"])
            sets |= _drawn(train, {"train": 1 - share, "dev": share}, seed)
            description += f", a dev set of TRAIN's speakers by seed {seed}"
        sets = {name: part for name, part in sets.items() if part}
    elif seed is None:
        sets = {"all": keys}
        description = "local split: no TRAIN or TEST folder, all speakers in one set"
    else:
        sets = _drawn(keys, shares, seed)
        description = f"local split: speakers by seed {seed}"
    return f"{description}; no figure of the core test can be claimed", sets


def _drawn(keys: _Keys, shares: Mapping[str, float], seed: int) -> dict[str, _Keys]:
    """Return a random split of speakers of one part."""
    drawn = split_names((speaker for speaker, _ in keys), shares, seed)
    return {name: {key for key in keys if key[0] in group} for name, group in drawn.items()}


def _listed(
    keys: _Keys, lists: Mapping[str, Iterable[str]], problems: Problems
) -> dict[str, _Keys]:
    """Return the speakers of each list, in any part."""
    set_of: dict[str, str] = {}
    for name, speakers in lists.items():
        for speaker in speakers:
            if set_of.setdefault(speaker.upper(), name) != name:
                problem = f"{speaker} is in {set_of[speaker.upper()]} and {name}"
                raise ConfigError("lists", problem, "Use one")
    for speaker in sorted(set(set_of) - {speaker for speaker, _ in keys}):
        problems.add("warning", "speaker of a list not there", speaker)
    return {name: {key for key in keys if set_of.get(key[0]) == name} for name in lists}
