"""The configuration of a training run: frozen dataclasses from a YAML file and `key=value` words.

Every value has a default, except the manifests. Keys are written with dots:
`data.features.rate=50`, `model.levels.0.units=48`.
"""

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from speechasym.config import build, check_choice, check_range, override, read_yaml
from speechasym.errors import ConfigError
from speechasym.feature_extraction.sets import AsymmetryFeatures, FeatureConfig
from speechasym.levels import presets
from speechasym.levels.config import HierarchyConfig, RecurrentConfig
from speechasym.training.augment_config import AugmentConfig
from speechasym.training.grow_config import GrowConfig
from speechasym.training.teacher_config import TeacherConfig

HEADS = ("phones", "letters", "words")
IGNORED = ("function", "width", "depth", "dilation")  # keys of `block` in runs of version 0.1


@dataclass(frozen=True, kw_only=True)
class LabelConfig:
    """How symbols are read from the cuts."""

    # silences among the phones: drop, merge neighbours, or keep
    silence: Literal["drop", "merge", "keep"] = "drop"
    fold: Literal["none", "timit39"] = "none"  # timit39 folds TIMIT's 61 or 48 phones to 39
    lexicon: str | None = None  # lexicon that gives the phones of cuts without phones
    context: bool = False  # phones are learned in context, and all are those of the lexicon
    word_least: int = 2  # words seen fewer times are <unk>
    word_most: int = 10000  # largest number of words; rarer ones are <unk>

    def __post_init__(self) -> None:
        for name in ("word_least", "word_most"):
            check_range(name, getattr(self, name), "1 or more", low=1)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Manifests, features and labels."""

    train: str  # manifest of cuts to train on, as written by `speechasym prepare`
    dev: str  # manifest of cuts to validate on
    features: FeatureConfig = field(
        default_factory=lambda: AsymmetryFeatures(compact=True, normalise="utterance")
    )
    labels: LabelConfig = LabelConfig()
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    # folder that stores the features of recurring variants; default: compute them in each epoch
    cache: str | None = None
    workers: int = 0  # processes that read audio and compute features; 0: the training process
    # where features are computed; auto: on the training device if it is CUDA, else in the workers
    features_on: Literal["auto", "workers", "device"] = "auto"
    unreadable: Literal["stop", "skip"] = "stop"  # what to do at recordings that cannot be read

    def __post_init__(self) -> None:
        check_range("workers", self.workers, "0, 1, 2 ...")


@dataclass(frozen=True, kw_only=True)
class HeadWeights:
    """Weight of each head's CTC loss; a head with weight 0 is not built.

    Without any head nothing is learned from labels, see docs/units.md.
    """

    phones: float = 1.0
    letters: float = 0.0
    words: float = 0.0

    def __post_init__(self) -> None:
        values = [getattr(self, head) for head in HEADS]
        if not all(0 <= value < math.inf for value in values):
            raise ConfigError("heads", f"weights must be >= 0, got {values}", "Use 0 or 1")

    @property
    def used(self) -> dict[str, float]:
        """The heads with a weight above 0."""
        return {head: getattr(self, head) for head in HEADS if getattr(self, head)}


@dataclass(frozen=True, kw_only=True)
class CustomConfig:
    """A model of the caller's, built by the `build` of `train`."""

    kind: Literal["custom"] = "custom"
    options: Mapping[str, Any] = field(default_factory=dict)


ModelSettings = HierarchyConfig | RecurrentConfig | CustomConfig
UNLABELLED = ("predict", "next", "contrastive", "views")  # errors that need no labels
LOCAL_ERRORS = ("ctc", "framewise", *UNLABELLED)
OWN = "local"  # stands for the heads of a run that has none: the levels' own error


@dataclass(frozen=True, kw_only=True)
class LearningConfig:
    """Which error each part of the stack learns from, see docs/learning.md (C18).

    `learning: RULE` is short for `learning: {rule: RULE}`.
    """

    # backprop: the heads on top; backprop+inter: all heads; local: each stage its own error;
    # local+global: that and the error of the top, without the chain between
    rule: Literal["backprop", "backprop+inter", "local", "local+global"] = "backprop+inter"
    blocks: int | None = None  # residual blocks of a stage; default: stages are levels
    # weight of the stages' own errors with backprop+inter, beside those of the model's heads
    inter: float = 0.0
    # compute each stage again in backpropagation, so that the activations of one are held at a time
    recompute: bool = False
    # local error of a stage below the top: ctc or framewise (of the nearest head's symbols),
    # predict (its input), next (its input some steps later), contrastive (against other steps
    # later), views (the units of a cut at two speeds agree; without heads only)
    local: tuple[str, ...] = ("ctc",)
    # how the error above reaches a stage: imitation (a net beside it predicts the symbols of the
    # next heads), broadcast (feedback weights), correction (the true gradient now and then)
    feedback: Literal["imitation", "broadcast", "correction"] = "imitation"
    feedback_weights: Literal["fixed", "learned"] = "learned"  # of broadcast
    head_layers: int = 1  # layers of the nets of the stages' own heads; 0: heads are linear
    layers: int = 1  # 1 to 3 layers of the imitating net
    keep_input: float = 0.1  # weight of imitation's loss that keeps information about the input
    weight: float = 0.3  # weight of the global error
    # share of the steps that take the true gradient: 0 none, 1 all (backprop+inter); auto: by the
    # measured cosine between the local and the true gradient; default: 0, for correction 0.125
    mix: float | Literal["auto"] | None = None
    staleness: int = 0  # steps by which the broadcast error is late
    meter: bool = False  # measure each stage once an epoch, see `rules.meter`
    parts: int = 1  # processes that share the stages of the model, see `parallel`
    queue: int = 2  # messages on their way from one part to the next
    timeout_s: float = 60.0  # for all processes of a run to start

    def __post_init__(self) -> None:
        for name in self.local:
            check_choice("local", name, LOCAL_ERRORS)
        if not self.local:
            raise ConfigError("local", "is empty", "Give at least one error, such as ctc")
        check_range("blocks", self.blocks, "1, 2, 3 ...", low=1)
        check_range("parts", self.parts, "1, 2, 3 ...", low=1)
        check_range("queue", self.queue, "1, 2, 3 ...", low=1)
        check_range("timeout_s", self.timeout_s, "60", above=True)
        check_range("head_layers", self.head_layers, "0, 1, 2 or 3", high=3)
        check_range("layers", self.layers, "1, 2 or 3", low=1, high=3)
        check_range("keep_input", self.keep_input, "0.1")
        check_range("weight", self.weight, "1")
        check_range("inter", self.inter, "0.3")
        if self.inter and self.rule != "backprop+inter":
            raise ConfigError("inter", f"has no effect with {self.rule}", "Leave it out")
        if self.recompute and self.rule not in ("backprop", "backprop+inter"):
            problem = f"{self.rule} holds one stage at a time already"
            raise ConfigError("recompute", problem, "Leave it out")
        check_range("staleness", self.staleness, "0, 1, 2 ...")
        if self.mix not in (None, "auto"):
            check_range("mix", float(self.mix), "0, 0.125, 1 or auto", high=1)
        if self.rule != "local+global" and self.mix not in (None, 0):
            remedy = "Use learning.rule=local+global, or leave mix out"
            raise ConfigError("mix", f"has no effect with {self.rule}", remedy)
        if self.feedback == "correction" and self.mix == 0:
            raise ConfigError("mix", "correction without a true gradient is local", "Use 0.125")
        if self.staleness and (self.rule != "local+global" or self.feedback != "broadcast"):
            problem = "only the broadcast error can be late"
            raise ConfigError("staleness", problem, "Use 0, or feedback=broadcast")
        if self.parts > 1 and not self.by_stages:
            problem = f"{self.rule} learns all stages together, so parts cannot learn on their own"
            raise ConfigError("parts", problem, "Use 1, or learning.rule=local or local+global")
        if self.parts > 1 and self.meter:
            problem = "no process has the whole model, which is measured"
            raise ConfigError("meter", problem, "Leave it out, or use learning.parts=1")

    @property
    def by_stages(self) -> bool:
        """Whether gradients stop between stages, at least in some steps."""
        return self.rule in ("local", "local+global") and self.mix != 1

    @property
    def uses_nets(self) -> bool:
        """Whether stages have nets of their own in training (`rules.nets`)."""
        return self.by_stages or self.inter > 0

    @property
    def divides(self) -> bool:
        """Whether the stack is computed stage by stage."""
        return self.uses_nets or self.recompute

    @property
    def share(self) -> float | None:
        """Share of the steps that take the true gradient; None: auto."""
        if self.mix == "auto":
            return None
        if self.mix is None:
            return 0.125 if self.rule == "local+global" and self.feedback == "correction" else 0.0
        return float(self.mix)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A training run. It lasts `epochs`, or `steps`, `flops` or `minutes`, the last that is set."""

    data: DataConfig
    model: ModelSettings = field(default_factory=lambda: presets.model_config({}))
    heads: HeadWeights = HeadWeights()
    framewise: float = 0.0  # weight of the framewise loss of phones; needs phones with times
    mmi: float = 0.0  # weight of what else phones could have been, beside CTC, see `ctc.rivals`
    learning: LearningConfig = LearningConfig()
    grow: GrowConfig = field(default_factory=GrowConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    # how the model is set before training, see docs/hierarchy.md; drawn: weights by torch's
    # defaults, prototypes from steps drawn at random
    initialise: Literal["drawn", "asymmetry", "kaiming", "lsuv", "pca", "kmeans"] = "drawn"
    start: str | None = None  # finished run to take initial parameters from, where they fit
    epochs: int = 30
    steps: int | None = None  # length of the run in steps, instead of epochs
    flops: float | None = None  # length in FLOPs of training, instead of both, see docs/growth.md
    minutes: float | None = None  # length in minutes, instead of all; not repeatable to the bit
    batch_seconds: float = 60.0  # audio per batch in s, padding included, at original speed
    learning_rate: float = 2e-3  # highest learning rate
    warm_up: float = 0.05  # share of the run in which the learning rate rises
    schedule: Literal["cosine", "linear", "constant"] = "cosine"  # how the learning rate falls to 0
    weight_decay: float = 0.01
    clip: float = 5.0  # largest norm of the gradient
    averaging: float = 0.998  # decay per step of the averaged parameters; 0: no average
    validate_every: int | None = None  # steps between validations; default: once an epoch
    save_every: int = 500  # steps between checkpoints, besides those at validations
    target: str | None = None  # head whose dev error selects the best model; default: the first
    tensorboard: bool = False  # write metrics for TensorBoard too, if installed
    monitor: bool = True  # watch ranks of units and heads at each validation, see `monitor`
    patience: int | None = None  # validations without improvement before it stops; default: never
    seed: int = 0
    # auto: bfloat16 on CUDA, float32 on the CPU
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    device: str = "auto"
    threads: int | None = None  # torch's threads on the CPU; default: torch's default

    def __post_init__(self) -> None:
        for name in ("epochs", "steps", "validate_every", "save_every", "patience", "threads"):
            check_range(name, getattr(self, name), "1 or more", low=1)
        for name in ("flops", "minutes", "batch_seconds", "learning_rate", "clip"):
            check_range(name, getattr(self, name), "a positive number", above=True)
        check_range("warm_up", self.warm_up, "0.1", high=1, below=True)
        check_range("averaging", self.averaging, "0.998", high=1, below=True)
        check_range("weight_decay", self.weight_decay, "0.01")
        for name in ("framewise", "mmi"):
            check_range(name, getattr(self, name), "0 or 1")
            if getattr(self, name) and not self.heads.phones:
                raise ConfigError(name, "needs a head phones", "Set heads.phones to 1")
        check_range("seed", self.seed, "0, 1, 2 ...", high=2**31, below=True)
        if self.initialise != "drawn" and not isinstance(self.model, HierarchyConfig):
            problem = f"{self.initialise} needs a model of levels, got {self.model.kind}"
            raise ConfigError("initialise", problem, "Leave it out, or use a model of levels")
        plain = self.learning.rule == "backprop+inter" and not self.learning.divides
        if self.learning.meter and not isinstance(self.model, HierarchyConfig):
            problem = f"{self.model.kind} has no stages to measure"
            raise ConfigError("learning.meter", problem, "Leave it out, or use a model of levels")
        if not plain and not isinstance(self.model, HierarchyConfig):
            problem = f"{self.model.kind} cannot be divided, as {self.learning.rule} needs"
            remedy = "Use backprop+inter, or a model of levels"
            raise ConfigError("learning.rule", problem, remedy)
        if (not plain or self.learning.meter) and isinstance(self.model, HierarchyConfig):
            _check_stages(self.model)
        self._check_labels()
        self.grow.check(self.model, self.learning, self.monitor)
        self.teacher.check(self)
        if self.flops is not None and self.learning.parts > 1:
            problem = "cannot be counted where the model is divided (learning.parts)"
            raise ConfigError("flops", problem, "Use epochs or steps")
        if (
            self.learning.by_stages
            and "framewise" in self.learning.local
            and (not self.heads.phones)
        ):
            remedy = "Set heads.phones to 1"
            raise ConfigError("learning.local", "framewise needs a head phones", remedy)
        timed = self.framewise or self.data.augment.splice or "framewise" in self.learning.local
        if timed and self.data.labels.context:
            problem = "phones in context have no times, which framewise and splice need"
            raise ConfigError("data.labels.context", problem, "Set it to false")
        if self.data.augment.splice and list(self.heads.used) != ["phones"]:
            problem = f"only phones have times, but the heads are {', '.join(self.heads.used)}"
            remedy = "Set it to 0, or heads.letters and heads.words to 0"
            raise ConfigError("data.augment.splice", problem, remedy)
        if self.target is not None and self.target not in self.heads.used:
            known = ", ".join(self.heads.used)
            raise ConfigError("target", f"{self.target!r} is not a head in use", f"Use {known}")

    def _check_labels(self) -> None:
        """Raise `ConfigError` where a run without heads would need labels, or the reverse."""
        views = "views" in self.learning.local
        if self.heads.used:
            if views:
                remedy = "Set all weights to 0, or leave views out"
                raise ConfigError("learning.local", "views needs a run without heads", remedy)
            return
        labelled = set(self.learning.local) - set(UNLABELLED)
        if self.learning.rule != "local" or labelled or self.learning.parts > 1:
            problem = "all weights are 0, so that levels need errors of their own to learn from"
            learning = "learning={rule: local, local: [views, contrastive]}"
            remedy = f"Give a head a weight, or set {learning}, with any of {', '.join(UNLABELLED)}"
            raise ConfigError("heads", problem, remedy)
        if views and len(self.data.augment.speeds) < 2:
            problem = "views needs two speeds to hear each cut at"
            raise ConfigError("learning.local", problem, "Set data.augment.speeds=0.9,1,1.1")

    @property
    def counts_flops(self) -> bool:
        """Whether FLOPs are counted."""
        return self.flops is not None or self.grow.grows

    @property
    def loss_parts(self) -> list[str]:
        """Names of the parts of the loss of plain steps, in the order of the metrics."""
        more = {"frames": self.framewise > 0, "teacher": self.teacher.run is not None}
        return [*self.heads.used, "local", *(name for name, used in more.items() if used)]

    @property
    def timed(self) -> bool:
        """Whether phones need times."""
        framewise = self.learning.uses_nets and "framewise" in self.learning.local
        return self.framewise > 0 or self.data.augment.splice > 0 or framewise

    @property
    def target_head(self) -> str:
        """The head whose error on dev decides which parameters are best; `OWN` without heads."""
        return self.target or next(iter(self.heads.used), OWN)


def _check_stages(model: HierarchyConfig) -> None:
    """Raise `ConfigError` for a hierarchy that cannot be divided into stages."""

    def refuse(key: str, what: str, instead: str) -> None:
        remedy = f"Use backprop+inter without inter, recompute and meter, or {instead}"
        raise ConfigError(f"model.{key}", f"{what} cannot be divided into stages", remedy)

    if model.feedback.passes > 1:
        refuse("feedback.passes", "levels that correct those below", "1 pass")
    for number, level in enumerate(model.levels):
        if level.steers in ("both", "gain"):
            refuse(f"levels.{number}.steers", "a level that hears its input twice", "units")
        if level.block.levels:
            refuse(f"levels.{number}.functions", "blocks with levels inside", "other functions")


def read_config(path: str | Path | None, overrides: Iterable[str] = ()) -> TrainConfig:
    """Read a run's configuration from a YAML file, if any; `key=value` overrides take precedence.

    Raises:
        ConfigError: naming file and key: a file that cannot be read, an unknown key, a value of the
            wrong type or out of range.

    Example:
        >>> config = speechasym.read_config("run.yaml", ["epochs=10", "model.levels.0.units=48"])
        >>> config.epochs, config.model.levels[0].units
        (10, 48)
    """
    mapping = read_yaml(Path(path)) if path is not None else {}
    overridden = [override(mapping, word) for word in overrides]
    source = str(path) if path is not None else "command line"

    def name_of(key: str) -> str:
        full = f"{key}."
        if any(f"{n}.".startswith(full) or full.startswith(f"{n}.") for n in overridden):
            return f"{key} (key=value)"
        return f"{source}: {key}"

    return _build(mapping, name_of)


def config_from_dict(mapping: Any) -> TrainConfig:
    """Return the configuration of a saved run, the result of `config.to_dict`.

    Keys of blocks that version 0.1 accepted and ignored are ignored. Features that the mapping does
    not name are log-mel, as they once were by default. Raises `ConfigError`.
    """
    mapping = copy.deepcopy(mapping)
    with suppress(LookupError, TypeError, AttributeError):
        features = mapping["data"].setdefault("features", {})
        features.update({"features": "logmel", "normalise": "utterance"} | features)
    with suppress(LookupError, TypeError, AttributeError):  # `build` says what is wrong
        for level in mapping["model"]["levels"]:
            for key in IGNORED:
                level.get("block", {}).pop(key, None)
    return _build(mapping, str)


def _build(mapping: Any, name_of: Callable[[str], str]) -> TrainConfig:
    """Return a configuration; `name_of` maps a dotted key to the way a message names it."""
    if isinstance(mapping, Mapping) and "model" in mapping:
        mapping = {**mapping, "model": presets.merged(mapping["model"], name_of)}
    for key, short in (("learning", "rule"), ("grow", "rule"), ("teacher", "run")):
        if isinstance(mapping, Mapping) and isinstance(mapping.get(key), str):
            mapping = {**mapping, key: {short: mapping[key]}}
    return build(TrainConfig, mapping, name_of)
