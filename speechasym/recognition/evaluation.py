"""Error rates of a trained run on cuts, and what they cost.

Everything is scored by `scoring`, on the symbols that the run was trained on; the files of
hypotheses give the same figures by `speechasym score`. docs/scoring.md states every rule.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from speechasym import files
from speechasym.annotations import transcripts
from speechasym.config import check_count, check_range, plural
from speechasym.corpora.manifests import stream_cuts
from speechasym.errors import ConfigError
from speechasym.language.letters import spell
from speechasym.language.ngrams import UNKNOWN
from speechasym.progress import progress
from speechasym.recognition import confidence_fit
from speechasym.recognition.batches import (
    Evidence,
    Rows,
    recognise_cuts,
    recognise_cuts_on_cluster,
)
from speechasym.recognition.decoder import BY_LEXICON
from speechasym.recognition.ensemble import Runs
from speechasym.recognition.recogniser import Recogniser, recogniser_of
from speechasym.recognition.references import ReferencePhones, reference_phones
from speechasym.recognition.trained_model import TrainedModel
from speechasym.scoring import error_rates
from speechasym.scoring.error_rates import Counts, ErrorRate
from speechasym.training import dataset, environment, labels

FROM_LETTERS = "letters as words"
MEASURES = {"phones": "PER", "letters": "LER"}
MEASURES |= dict.fromkeys(("words", FROM_LETTERS, BY_LEXICON), "WER")


class LevelSummary(NamedTuple):
    """What passes through a level, averaged over all cuts."""

    level: int  # from 0, the lowest
    steps: float  # per second
    events: float  # per second, passed on; equal to steps for a level without events
    units: int  # 0: none
    selectivity: float | None  # 1 - H / log U of the units
    beta: float | None  # learned, of the units' law
    resolution: float | None  # N, learned; None: all units


@dataclass(frozen=True, kw_only=True, repr=False)
class Evaluation:
    """The results of a run on a set of cuts; as a string, its error rates."""

    trained: TrainedModel
    cuts: Path
    cuts_sha256: str
    speakers: dict[str, str]  # {utterance: speaker}
    seconds: float  # of audio
    scores: dict[str, ErrorRate]  # by head; with letters also `FROM_LETTERS`; `BY_LEXICON`
    references: dict[str, Rows]  # of phones and words
    hypotheses: dict[str, Rows]  # by the names of scores; those of letters are their words
    levels: list[LevelSummary]  # from the lowest
    feature_seconds: float | None  # None: they may come from a cache
    model_seconds: float
    device: str
    decoding: dict[str, Any] | None = None  # of `BY_LEXICON`: settings, files, unknown words, time
    spelled: ReferencePhones | None = None  # None: no phones are scored
    # expected calibration error of confidences by head: as they are; with `calibrate` also as
    # fitted on the other speakers, and the file that was written
    confidence: dict[str, float]
    crossed: dict[str, float] | None = None
    calibration: Path | None = None
    # of a model whose loop may settle: mean passes, most passes, utterances that settled
    feedback: dict[str, float] | None = None

    def __repr__(self) -> str:
        lines = [f"{self.trained.name}: {plural(len(self.speakers), 'cut')}, {self.seconds:.0f} s"]
        for name, score in self.scores.items():
            ends = f" ({score.low:.1%} to {score.high:.1%})" if score.speakers > 1 else ""
            said = f"{score.rate:6.1%}{ends} of {score.counts.length:,}"
            lines.append(f"{name:<16} {MEASURES[name]} {said}")
        return "\n".join(lines)

    def by_speaker(self, name: str) -> dict[str, Counts]:
        """Return the counts of each speaker, by name, for one of the scores."""
        sums: dict[str, list[Counts]] = {}
        for utterance, counts in self.scores[name].utterances.items():
            sums.setdefault(self.speakers[utterance], []).append(counts)
        return {who: Counts(*map(sum, zip(*sums[who], strict=True))) for who in sorted(sums)}

    def as_json(self) -> dict[str, Any]:
        """Return everything but the hypotheses; undefined numbers are null."""
        spent = {"model": self.model_seconds, "features": self.feature_seconds}
        factors = {what: None if s is None else s / self.seconds for what, s in spent.items()}
        return {
            "run": folders[0] if len(folders := self.trained.folders) == 1 else folders,
            "checkpoint_sha256": self.trained.fingerprint,
            "cuts": str(self.cuts),
            "cuts_sha256": self.cuts_sha256,
            "utterances": len(self.speakers),
            "audio_seconds": round(self.seconds, 3),
            "parameters": self.trained.parameters,
            "real_time_factor": factors,
            "device": self.device,
            "threads": torch.get_num_threads(),
            "versions": environment.versions(),
            "labels": asdict(self.trained.config.data.labels),
            "spelled_phones": None if self.spelled is None else self.spelled.as_json(),
            "levels": [level._asdict() for level in self.levels],
            "feedback": self.feedback,
            "decoding": self.decoding,
            "confidence": self._confidence(),
            "scores": {name: self._score(name) for name in self.scores},
        }

    def _confidence(self) -> dict[str, Any]:
        calibrated = self.calibration and str(self.calibration)
        errors = {head: _defined(value) for head, value in self.confidence.items()}
        return {"error": errors, "error_crossed": self.crossed, "calibration": calibrated}

    def _score(self, name: str) -> dict[str, Any]:
        result = self.scores[name]
        return {
            "measure": MEASURES[name],
            **_as_json(result.counts),
            "interval_95": [_defined(result.low), _defined(result.high)],
            "speakers": {who: _as_json(c) for who, c in self.by_speaker(name).items()},
        }


def _as_json(counts: Counts) -> dict[str, Any]:
    _, s, d, i, _ = counts
    return {"rate": _defined(counts.rate), "N": counts.length, "S": s, "D": d, "I": i}


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value


def evaluate(
    run: Runs | Recogniser,
    cuts: str | Path,
    *,
    heads: Sequence[str] | None = None,
    batch_seconds: float = 120.0,
    device: str = "auto",
    seed: int = 0,
    scheduler: str | None = None,
    out: str | Path | None = None,
    hypotheses_dir: str | Path | None = None,
    command: str | None = None,
    calibrate: bool = False,
    show_progress: bool = True,
    **options: Any,
) -> Evaluation:
    """Recognise all cuts of a manifest by the best path of each head, and score them.

    Letters are scored as words joined by single spaces, which give a word error rate too. A word
    that is rarer in the training cuts than the vocabulary's limit is read as <unk>, an error.
    Phones are the cuts' own, or come from a lexicon: see `reference_phones`.

    Args:
        run: folder of a finished run, or an open one; a list of several that read together; None:
            the pretrained model.
        cuts: manifest, as `speechasym prepare` writes.
        heads: which to score, `BY_LEXICON` included; default: all that the recogniser has.
        batch_seconds: audio per batch, padding included.
        device: auto (CUDA if available), cpu, cuda.
        seed: of the intervals.
        scheduler: of a dask cluster that recognises the cuts, tcp://HOST:PORT, or local:N; its
            workers must share the file system.
        out: JSON file to write all results to; default: none.
        hypotheses_dir: folder for `write_hypotheses`; default: none.
        command: command line, to be recorded in `out`.
        calibrate: fit confidences to what is correct here, and write them to the run's folder
            (`confidence_fit`). The cuts must be of readers that the run did not learn from.
        show_progress: show progress on stderr.
        options: of `Recogniser`: a lexicon and a language model, to find words by them too. The
            search uses one thread, and its time is not counted as that of the model.

    Raises:
        CheckpointError, LexiconError, ArpaError, DecodingError: see `Recogniser`.
        ConfigError: no such head, device or manifest; a cluster that cannot be used.
        AudioError, LabelError: a cut without audio, or labels that the run does not know.
        ScoringError: the cuts have no labels at all.

    Example:
        >>> result = speechasym.evaluate("run", "corpus/test_cuts.jsonl.gz")
        >>> phones = result.scores["phones"]
        >>> print(f"PER: {phones.rate:.1%} of {phones.counts.length}, speakers: {phones.speakers}")
        PER: ...% of 52, speakers: 3
    """
    recogniser = recogniser_of(run, **options)
    heads, decoder = recogniser.choose(heads)
    trained = recogniser.trained
    if not heads and decoder is None:
        raise ConfigError("heads", "none is given", f"Use {', '.join(trained.inventories)}")
    if calibrate:
        confidence_fit.check(recogniser)
    check_range("batch_seconds", batch_seconds, "120", above=True)
    check_count("seed", seed, 0)
    place = environment.select_device(device)
    # one process, so that scripts that call this need no `if __name__ == "__main__"`
    config = trained.config.data
    config = replace(config, workers=0, labels=replace(config.labels, lexicon=None, context=False))
    with dataset.naming(cuts):
        streamed = (cut for _, cut in stream_cuts(cuts))
        spelled = reference_phones(recogniser, streamed) if "phones" in heads else None
    data = dataset.load(
        config, str(cuts), heads, inventories=trained.inventories, show_progress=show_progress,
        pronunciations=None if spelled is None else spelled.entries,
    )  # fmt: skip
    of_all = [*heads, *([] if decoder is None else [BY_LEXICON])]
    if scheduler is None:
        results = recognise_cuts(recogniser, data, of_all, batch_seconds, place)
    else:
        results = recognise_cuts_on_cluster(
            run, options, str(cuts), data, of_all, batch_seconds, device, scheduler
        )
    rows: dict[str, Rows] = {head: {} for head in of_all}
    evidence: dict[str, Evidence] = {head: {} for head in of_all}
    recognised: set[str] = set()  # all but those that cannot be read
    sums, spent = np.zeros((1, 3)), np.zeros(3)
    loops: list[tuple[int, bool]] = []
    with progress(len(data), "recognise", show_progress) as step:
        for batch in results:
            recognised.update(batch.ids)
            for head, found in batch.rows.items():
                rows[head] |= found
                evidence[head] |= batch.evidence[head]
            sums, spent = sums + batch.sums, spent + batch.seconds
            loops += batch.loops
            for _ in batch.ids:
                step()
    feature_seconds, model_seconds, decoding_seconds = spent.tolist()
    numbers = {name: n for n, name in enumerate(data.ids) if name in recognised}
    speakers = {
        name: data.speakers[n] or error_rates.speaker_of(name) for name, n in numbers.items()
    }
    spoken = {
        head: {name: data.reference(head, n) for name, n in numbers.items()} for head in heads
    }
    if decoder is not None:
        spoken[BY_LEXICON] = {u: labels.words_of(data.index.cut(n)) for u, n in numbers.items()}
    references, hypotheses, scores = _scored(spoken, rows, speakers, seed)
    if "words" in spoken:  # <unk> is correct where an unknown word was said
        vocabulary = set(trained.inventories["words"])
        spoken["words"] = {
            name: [word if word in vocabulary else UNKNOWN for word in row]
            for name, row in spoken["words"].items()
        }
    judged = {
        head: confidence_fit.judge(evidence[head], found, spoken[head], speakers)
        for head, found in rows.items()
    }
    calibration = recogniser.confidence
    known = {} if calibration is None else calibration.calibrated(decoder)
    errors = {head: symbols.error(known.get(head)) for head, symbols in judged.items()}
    path, crossed = None, None
    if calibrate:
        path, crossed = confidence_fit.fit(recogniser, judged, spoken, speakers, data)
    seconds, decoding = float(data.seconds[list(numbers.values())].sum()), None
    if decoder is not None:
        decoding = decoder.as_json() | {
            "unknown_words": decoder.unknown_rates(spoken[BY_LEXICON].values()),
            "real_time_factor": decoding_seconds / seconds,
        }
    evaluation = Evaluation(
        trained=trained, cuts=Path(cuts), cuts_sha256=data.fingerprint, speakers=speakers,
        seconds=seconds, scores=scores, references=references, hypotheses=hypotheses,
        levels=_summaries(trained, sums, seconds),
        feature_seconds=None if config.cache else feature_seconds, model_seconds=model_seconds,
        device=str(place), decoding=decoding, spelled=spelled, feedback=_looped(loops),
        confidence=errors, crossed=crossed, calibration=path,
    )  # fmt: skip
    if hypotheses_dir is not None:
        write_hypotheses(hypotheses_dir, evaluation)
    if out is not None:
        recorded = {} if command is None else {"command": command}
        files.write_json(Path(out), recorded | evaluation.as_json())
    return evaluation


def _looped(loops: Sequence[tuple[int, bool]]) -> dict[str, float] | None:
    """Return mean passes, most passes, and how many utterances settled; None without loops."""
    if not loops:
        return None
    passes, settled = zip(*loops, strict=True)
    return {"passes": sum(passes) / len(passes), "most": max(passes), "settled": sum(settled)}


def _scored(
    spoken: Mapping[str, Rows], rows: Mapping[str, Rows], speakers: Mapping[str, str], seed: int
) -> tuple[dict[str, Rows], dict[str, Rows], dict[str, ErrorRate]]:
    """References and hypotheses as phones and words, and the scores."""
    references: dict[str, Rows] = {}
    hypotheses: dict[str, Rows] = {}
    pairs = {}
    for head, hypothesis in rows.items():
        tables, name = [spoken[head], hypothesis], head
        if head == "letters":  # as words, and as the letters of words joined by single spaces
            tables = [{u: "".join(row).split() for u, row in t.items()} for t in tables]
            pairs[head] = [{u: spell(row) for u, row in t.items()} for t in tables]
            name = FROM_LETTERS
        pairs[name] = tables
        references.setdefault("phones" if head == "phones" else "words", tables[0])
        hypotheses[head] = tables[1]
    scores = {
        name: error_rates.error_rate(*tables, speakers=speakers, seed=seed)
        for name, tables in pairs.items()
    }
    return references, hypotheses, scores


def _summaries(trained: TrainedModel, sums: NDArray, seconds: float) -> list[LevelSummary]:
    """What passes through each level, from sums over `seconds` of audio."""
    summaries = []
    for number, (steps, events, selective) in enumerate(sums.tolist()):
        units, *law = law_of(trained, number)
        selectivity = selective / max(1.0, steps) if units else None
        rates = steps / seconds, events / seconds
        summaries.append(LevelSummary(number, *rates, units, selectivity, *law))
    return summaries


def law_of(trained: TrainedModel, number: int) -> tuple[int, float | None, float | None]:
    """Return the units of a level, and beta and N of their learned law; 0, None, None if none."""
    level: Any = trained.model.get_submodule(f"levels.{number}")
    if not level.config.units:
        return 0, None, None
    with torch.no_grad():
        beta, n = level.units.law.beta, level.units.law.resolution
        return level.config.units, float(beta.mean()), None if n is None else float(n.mean())


def write_hypotheses(folder: str | Path, result: Evaluation) -> list[Path]:
    """Write hypotheses and references for `speechasym score`; return the paths.

    They are HEAD.txt (of letters the words, for wer and ler), words-by-lexicon.txt, phones.ref.txt,
    words.ref.txt, and speakers.txt for --speakers.

    Raises:
        ScoringError: ids that contain a space.
        OutputError: a file cannot be written.
    """
    folder = Path(folder)
    tables = {f"{name.replace(' ', '-')}.txt": rows for name, rows in result.hypotheses.items()}
    tables |= {f"{unit}.ref.txt": rows for unit, rows in result.references.items()}
    tables["speakers.txt"] = {name: [who] for name, who in result.speakers.items()}
    for name, rows in tables.items():
        transcripts.write_text(folder / name, rows)
    return [folder / name for name in tables]
