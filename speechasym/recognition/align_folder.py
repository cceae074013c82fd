"""Forced alignment of a folder of recordings with texts beside them, or of a table."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from speechasym import files
from speechasym.annotations.intervals import Interval
from speechasym.annotations.tier_files import FORMATS, paths_of, write_tiers
from speechasym.corpora.folder import read_utterances
from speechasym.corpora.manifests import Utterance
from speechasym.corpora.report import Problems
from speechasym.errors import AlignmentError, ConfigError, SpeechAsymError
from speechasym.progress import progress
from speechasym.recognition.alignment import Alignment
from speechasym.recognition.alignment_results import LOG, AlignedCuts, AlignmentLog, path_below
from speechasym.recognition.recogniser import Recogniser
from speechasym.recognition.text_fit import joined

Aligned = Callable[[Any, str, str], tuple[Alignment, list[str]]]  # samples, name, text
ORDER = ("phones", "words", "letters")


def align_folder(
    aligned: Aligned, recogniser: Recogniser, source: str | Path, out: Path,
    formats: Sequence[str], key: Mapping[str, Any], *, overwrite: bool, show_progress: bool,
) -> AlignedCuts:  # fmt: skip
    """Align all recordings of a folder or table; see `align_cuts`.

    Args:
        aligned: aligns samples of that name with a text; returns also the words that it guessed.
        key: what the alignments depend on, besides recordings and texts.
    """
    if out.resolve() == Path(source).resolve():
        remedy = "Give another folder, such as aligned"
        raise ConfigError("out", "is the folder of the recordings and their texts", remedy)
    problems = Problems()
    utterances = read_utterances(source, problems)
    result = AlignedCuts(folder=out, what="recordings")
    for severity, kind, place, detail in problems:
        listed = {"error": result.failed, "warning": result.warned}.get(severity, {})
        listed[place] = f"{place}: {kind}{': ' if detail else ''}{detail}"
    grouped = groupby(utterances, key=lambda utterance: utterance.path)
    recordings = [list(group) for _, group in grouped]
    with files.locked_folder(out), progress(len(recordings), "align", show_progress) as step:
        log = AlignmentLog(out / LOG, dict(key))
        for parts in recordings:
            name = parts[0].recording or parts[0].id
            try:
                if name in result.scores:
                    fault = f"has the name {name}, as another recording"
                    raise AlignmentError(str(parts[0].path), fault, "Rename it")
                entry = _align_recording(
                    aligned, recogniser, parts, name, out, formats, log, overwrite
                )
            except SpeechAsymError as error:
                result.failed[name] = str(error)
            else:
                result.kept += entry.pop("kept")
                result.scores[name], result.heads[name] = entry["score"], entry["by"]
                if entry["guessed"]:
                    result.guessed[name] = entry["guessed"]
                result.add_fit(name, entry.get("fit"))
                for tier, count in entry["symbols"].items():
                    result.symbols[tier] = result.symbols.get(tier, 0) + count
            step()
    result.failed, result.warned = (dict(sorted(d.items())) for d in (result.failed, result.warned))
    result.symbols = {tier: result.symbols[tier] for tier in ORDER if tier in result.symbols}
    result.write_report(key)
    return result


def _align_recording(
    aligned: Aligned, recogniser: Recogniser, parts: Sequence[Utterance], name: str, out: Path,
    formats: Sequence[str], log: AlignmentLog, overwrite: bool,
) -> dict[str, Any]:  # fmt: skip
    """Align the utterances of a recording, write and log it; return its entry in the log.

    What is up to date is kept. Raises `SpeechAsymError` if it cannot be aligned or written.
    """
    stem, path = path_below(out, name), parts[0].path
    texts = [(part.start, part.frames, part.speaker, part.text) for part in parts]
    inputs = [files.sha256(path), [list(text) for text in texts]]
    earlier = log.entries.get(name, {})
    outputs: dict[str, str] = earlier.get("outputs", {})
    wanted = {target.name for target in paths_of(stem, formats)}
    wanted -= {name for name, checksum in outputs.items() if checksum is None}
    # all formats that were asked for before, so that none of them is left out of date
    all_formats = [
        kind
        for kind in FORMATS
        if kind in formats or any(path.name in outputs for path in paths_of(stem, [kind]))
    ]
    targets = paths_of(stem, all_formats)
    unchanged = {
        target.name
        for target in targets
        if target.is_file() and outputs.get(target.name) == files.sha256(target)
    }
    if earlier.get("inputs") == inputs and unchanged.issuperset(wanted):
        return earlier | {"kept": 1}
    if not overwrite:
        files.check_replaceable(target for target in targets if target.name not in unchanged)
    samples = recogniser.samples(path)
    rate = recogniser.trained.feature_config.sample_rate
    several = len({part.speaker for part in parts}) > 1
    tiers: dict[str, list[Interval]] = defaultdict(list)
    entry: dict[str, Any] = {"id": name, "inputs": inputs, "guessed": []}
    scores, fits = [], []
    for part in parts:
        start = part.start / part.sample_rate
        first, last = (round(s * rate) for s in (start, start + part.seconds))
        one, words = aligned(samples[first:last], f"{part.place}", part.text)
        entry["guessed"] += words
        entry["by"] = one.head
        scores.append(one.score)
        if one.fit is not None:
            fits.append(one.fit.later(start))
        for kind, intervals in one.tiers.items():
            tier = f"{part.speaker} - {kind}" if several else kind
            tiers[tier] += [Interval(a + start, b + start, label) for a, b, label in intervals]
    seconds = len(samples) / rate
    order = sorted(tiers, key=lambda tier: ORDER.index(tier.rpartition(" - ")[2]))
    timed = {
        tier: [Interval(a, min(b, seconds), c) for a, b, c in sorted(tiers[tier])] for tier in order
    }
    score, fit = round(sum(scores) / len(scores), 4), joined(fits, seconds)
    about: dict[str, Any] = {"score": score}
    about |= {"misfit": fit.misfit} if fit else {}
    written = write_tiers(stem, timed, seconds, all_formats, name, parts[0].speaker, about)
    sums = {path.name: files.sha256(path) for path in written}
    symbols: dict[str, int] = defaultdict(int)
    for tier, intervals in timed.items():
        symbols[tier.rpartition(" - ")[2]] += len(intervals)
    entry |= {
        "score": score, "fit": fit,
        "symbols": symbols,
        # None: a file that the recording does not have, such as phones if it is aligned by letters
        "outputs": {target.name: sums.get(target.name) for target in targets},
    }  # fmt: skip
    log.write(entry)
    log.entries[name] = entry
    return entry | {"kept": 0}
