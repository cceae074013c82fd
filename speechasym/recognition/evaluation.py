"""How good a trained run is: error rates of its heads on cuts, and what they cost.

Everything is scored by `scoring`, on the symbols that the run was trained to write; the files of
hypotheses give the same figures by `speechasym score`. docs/scoring.md states every rule.

Shapes: B utterances, F steps of a level, U units.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from speechasym.annotations import transcripts
from speechasym.errors import ConfigError
from speechasym.language.letters import spell
from speechasym.levels import ctc
from speechasym.levels.level import LevelOutput
from speechasym.levels.output import ModelOutput
from speechasym.progress import progress
from speechasym.recognition.decoder import BY_LEXICON, Opened, unknown_rates
from speechasym.recognition.transcription import Trained, open_run
from speechasym.scoring import error_rates
from speechasym.scoring.error_rates import Counts, ErrorRate
from speechasym.training import dataset, environment, labels

FROM_LETTERS = "letters as words"
MEASURES = {
    "phones": "PER",
    "letters": "LER",
    "words": "WER",
    FROM_LETTERS: "WER",
    BY_LEXICON: "WER",
}


@dataclass(frozen=True, kw_only=True)
class Flow:
    """What goes through a level, on the average over all cuts."""

    level: int  # from 0, the lowest
    steps: float  # a second
    events: float  # a second, that go on; as many as steps where the level has none
    units: int  # 0: none
    selectivity: float | None  # 1 - H / log U of the units
    beta: float | None  # of the units' law, as learned
    resolution: float | None  # N, as learned; None: all units


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a run came to on a set of cuts."""

    trained: Trained
    cuts: Path
    cuts_sha256: str
    speakers: dict[str, str]  # {utterance: speaker}
    seconds: float  # of audio
    scores: dict[str, ErrorRate]  # by head; with letters also `FROM_LETTERS`; `BY_LEXICON`
    references: dict[str, dict[str, list[str]]]  # {phones, words: {utterance: tokens}}
    hypotheses: dict[str, dict[str, list[str]]]  # as scores; those of letters are their words
    flows: list[Flow]  # from the lowest level
    feature_seconds: float | None  # None: they may come from a cache
    model_seconds: float
    device: str
    decoding: dict[str, Any] | None = None  # of `BY_LEXICON`: settings, files, unknown words, time

    def by_speaker(self, name: str) -> dict[str, Counts]:
        """Counts of each speaker, by name, for one of the scores."""
        sums: dict[str, list[Counts]] = {}
        for utterance, counts in self.scores[name].utterances.items():
            sums.setdefault(self.speakers[utterance], []).append(counts)
        return {who: Counts(*map(sum, zip(*sums[who], strict=True))) for who in sorted(sums)}

    def as_json(self) -> dict[str, Any]:
        """Everything but the hypotheses; numbers that are not defined are null."""
        spent = {"model": self.model_seconds / self.seconds, "features": None}
        if self.feature_seconds is not None:
            spent["features"] = self.feature_seconds / self.seconds
        return {
            "run": str(self.trained.folder),
            "checkpoint_sha256": self.trained.fingerprint,
            "cuts": str(self.cuts),
            "cuts_sha256": self.cuts_sha256,
            "utterances": len(self.speakers),
            "audio_seconds": round(self.seconds, 3),
            "parameters": self.trained.parameters,
            "real_time_factor": spent,
            "device": self.device,
            "threads": torch.get_num_threads(),
            "versions": environment.versions(),
            "labels": asdict(self.trained.config.data.labels),
            "levels": [asdict(flow) for flow in self.flows],
            "decoding": self.decoding,
            "scores": {name: self._score(name) for name in self.scores},
        }

    def _score(self, name: str) -> dict[str, Any]:
        result = self.scores[name]
        low, high = (None if math.isnan(v) else v for v in (result.low, result.high))
        return {
            "measure": MEASURES[name],
            **_counted(result.counts),
            "interval_95": [low, high],
            "speakers": {who: _counted(c) for who, c in self.by_speaker(name).items()},
        }


def _counted(counts: Counts) -> dict[str, Any]:
    return {
        "rate": None if math.isnan(counts.rate) else counts.rate,
        "N": counts.length, "S": counts.substitutions, "D": counts.deletions,
        "I": counts.insertions,
    }  # fmt: skip


def evaluate(
    run: str | Path | Trained,
    cuts: str | Path,
    *,
    heads: Sequence[str] | None = None,
    batch_seconds: float = 120.0,
    device: str = "auto",
    seed: int = 0,
    shown: bool = True,
    words: Opened | None = None,
) -> Evaluation:
    """Recognise all cuts of a manifest by the best class of each step, and score them.

    Letters are scored as words joined by single spaces, of which their word error rate is made
    too. A word that training did not have often enough, <unk>, is an error wherever it is.

    Args:
        run: a finished run's folder, or what `open_run` gave.
        cuts: manifest, as `speechasym prepare` writes.
        heads: which to score; None: all that the run has.
        batch_seconds: of audio at a time, padding included.
        device: auto (CUDA where there is one), cpu, cuda.
        seed: of the intervals; shown: tell how far it is, on stderr.
        words: what `word_decoding.open_decoder` gave for this run, to find words by a lexicon and
            a language model too. That takes one thread, and its time is not that of the model.

    Raises:
        CheckpointError: see `open_run`. ConfigError: no such head, device or manifest.
        AudioError, LabelError: a cut without audio, or labels that the run does not know.
        ScoringError: the cuts have no labels at all.
    """
    trained = open_run(run)
    heads = list(trained.inventories) if heads is None else list(heads)
    trained.check_heads(heads, "heads")
    if not heads:
        raise ConfigError("heads", "none is given", f"Use {', '.join(trained.inventories)}")
    if not 0 < batch_seconds < math.inf:
        raise ConfigError(
            "batch_seconds", f"{batch_seconds:g} s are not above 0", "120 s are usual"
        )
    if seed < 0:
        raise ConfigError("seed", f"{seed} is less than 0", "Use 0, 1, 2")
    place = environment.select_device(device)
    # one process: whoever calls this from a script need not guard it against being run anew
    config, began = replace(trained.config.data, workers=1), time.monotonic()
    inventories = {head: trained.inventories[head] for head in heads}
    data = dataset.load(config, str(cuts), heads, inventories=inventories, show_progress=shown)
    feature_seconds = None if config.cache else time.monotonic() - began
    model = trained.model.to(place)
    too_much = ConfigError(
        "batch_seconds", f"{batch_seconds:g} s need more memory than {place} has", "Lower it"
    )
    rows: dict[str, dict[str, list[str]]] = {head: {} for head in heads}
    found: dict[str, list[str]] = {}
    decoding_seconds = 0.0
    tally = _Tally()
    began = time.monotonic()
    with torch.no_grad(), progress(len(data), "recognise", shown) as step:
        for batch in data.in_order(batch_seconds):
            with environment.memory_errors_as(too_much):
                output = model(batch.features.to(place), batch.lengths.to(place))
            for head in heads:
                for name, row in zip(batch.ids, ctc.greedy(*output.heads[head]), strict=True):
                    rows[head][name] = ctc.symbols(row, inventories[head])
            if words is not None:
                start = time.monotonic()
                found |= _words(words, batch.ids, output)
                decoding_seconds += time.monotonic() - start
            tally.add(output.levels)
            for _ in batch.ids:
                step()
    model_seconds = time.monotonic() - began - decoding_seconds
    trained.model.to("cpu")
    speakers = {
        name: who or error_rates.speaker_of(name)
        for name, who in zip(data.ids, data.speakers, strict=True)
    }
    spoken = {head: dict(zip(data.ids, data.references[head], strict=True)) for head in heads}
    references, hypotheses, scores = _scored(spoken, rows, data.ids, speakers, seed)
    seconds = sum(data.seconds)
    told = None
    if words is not None:
        said = {cut.id: labels.words_of(cut) for cut in data.cuts}
        references.setdefault("words", said)
        hypotheses[BY_LEXICON] = found
        scores[BY_LEXICON] = error_rates.error_rate(said, found, speakers=speakers, seed=seed)
        told = words.as_json() | {
            "unknown_words": unknown_rates(words, said.values()),
            "real_time_factor": decoding_seconds / seconds,
        }
    return Evaluation(
        trained=trained,
        cuts=Path(cuts),
        cuts_sha256=data.fingerprint,
        speakers=speakers,
        seconds=seconds,
        scores=scores,
        references=references,
        hypotheses=hypotheses,
        flows=tally.flows(trained, seconds),
        feature_seconds=feature_seconds,
        model_seconds=model_seconds,
        device=str(place),
        decoding=told,
    )


def _words(opened: Opened, ids: Sequence[str], output: ModelOutput) -> dict[str, list[str]]:
    """{utterance: words by the lexicon} of a batch."""
    found = {}
    needed = opened.decoder.config.heads
    given = {head: (output.heads[head][0].cpu(), output.heads[head][1]) for head in needed}
    for number, name in enumerate(ids):
        one = {head: probs[number, : int(steps[number])] for head, (probs, steps) in given.items()}
        found[name] = list(opened.decoder.decode(one)[0].words)
    return found


def _scored(
    spoken: Mapping[str, Mapping[str, list[str]]],
    rows: Mapping[str, Mapping[str, list[str]]],
    ids: Sequence[str],
    speakers: Mapping[str, str],
    seed: int,
) -> tuple[dict[str, dict[str, list[str]]], dict[str, dict[str, list[str]]], dict[str, ErrorRate]]:
    """References as phones and words, hypotheses as phones and words, and the scores."""
    references: dict[str, dict[str, list[str]]] = {}
    hypotheses: dict[str, dict[str, list[str]]] = {}
    scores: dict[str, ErrorRate] = {}

    def scored(name: str, reference: dict[str, list[str]], found: dict[str, list[str]]) -> None:
        scores[name] = error_rates.error_rate(reference, found, speakers=speakers, seed=seed)

    for head in rows:
        if head != "letters":
            references[head] = {name: spoken[head][name] for name in ids}
            hypotheses[head] = {name: rows[head][name] for name in ids}
            scored(head, references[head], hypotheses[head])
            continue
        words = {name: "".join(spoken[head][name]).split() for name in ids}
        references.setdefault("words", words)
        hypotheses[head] = {name: "".join(rows[head][name]).split() for name in ids}
        scored(
            head,
            {name: spell(words[name]) for name in ids},
            {name: spell(hypotheses[head][name]) for name in ids},
        )
        scored(FROM_LETTERS, words, hypotheses[head])
    return references, hypotheses, scores


class _Tally:
    """Sums over batches of what goes through the levels."""

    def __init__(self) -> None:
        self.sums: list[list[float]] = []  # by level: steps, events, selectivity

    def add(self, levels: Sequence[LevelOutput]) -> None:
        """What a batch gave."""
        self.sums = self.sums or [[0.0, 0.0, 0.0] for _ in levels]
        for sums, level in zip(self.sums, levels, strict=True):
            sums[0] += float(level.mask.sum())
            sums[1] += float(level.passed.mask.sum())
            if (selective := level.selectivity) is not None:
                sums[2] += float((selective * level.mask).sum())

    def flows(self, trained: Trained, seconds: float) -> list[Flow]:
        """Means over `seconds` of audio."""
        found = []
        for number, (steps, events, selective) in enumerate(self.sums):
            units, beta, resolution = law_of(trained, number)
            found.append(
                Flow(
                    level=number,
                    steps=steps / seconds,
                    events=events / seconds,
                    units=units,
                    selectivity=selective / max(1.0, steps) if units else None,
                    beta=beta,
                    resolution=resolution,
                )
            )
        return found


def law_of(trained: Trained, number: int) -> tuple[int, float | None, float | None]:
    """Units of a level, and beta and N of their law as learned; 0, None, None without units."""
    level: Any = trained.model.get_submodule(f"levels.{number}")
    if not level.config.units:
        return 0, None, None
    with torch.no_grad():
        beta, n = level.units.law.beta, level.units.law.resolution
        return level.config.units, float(beta.mean()), None if n is None else float(n.mean())


def write_hypotheses(folder: str | Path, found: Evaluation) -> list[Path]:
    """Write what was recognised, and what was said, for `speechasym score`; returns the paths.

    HEAD.txt (of letters: their words, for wer and ler), words-by-lexicon.txt, phones.ref.txt and
    words.ref.txt as far as there are such labels, and speakers.txt for --speakers.

    Raises `ScoringError` for ids that hold a space, `OutputError` where it cannot be written.
    """
    folder = Path(folder)
    tables = {f"{name.replace(' ', '-')}.txt": rows for name, rows in found.hypotheses.items()}
    tables |= {f"{unit}.ref.txt": rows for unit, rows in found.references.items()}
    tables["speakers.txt"] = {name: [who] for name, who in found.speakers.items()}
    for name, rows in tables.items():
        transcripts.write_text(folder / name, rows)
    return [folder / name for name in tables]
