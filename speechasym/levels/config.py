"""Configuration of blocks, levels, heads and whole models; nothing here needs torch to be read.

The field names are the keys of YAML files.

[1] R. Xiong et al., "On layer normalization in the transformer architecture", ICML, 2020.
[2] J. Kim et al., "Peri-LN: revisiting normalization layer in the transformer architecture",
    ICML, 2025.
[3] T. Bachlechner et al., "ReZero is all you need: fast convergence at large depth", UAI, 2021.
[4] H. Touvron et al., "Going deeper with image transformers", ICCV, 2021.
[5] J. Nozaki, T. Komatsu, "Relaxing the conditional independence assumption of CTC-based ASR by
    conditioning on intermediate predictions", Interspeech, 2021.
"""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

from speechasym.config import check_choice, check_count, check_range
from speechasym.errors import ConfigError

ACTIVATIONS = ("compress", "none")
NESTED = "levels"  # the function of a block that has levels of its own


class NormPlacement(NamedTuple):
    """Where a block has norms, and the learned gain of a branch without one."""

    before: bool = False
    branch: bool = False
    sum: bool = False
    gain: Literal["", "scalar", "channel"] = ""


NORMS = {
    "theory": NormPlacement(before=True, branch=True),
    "pre": NormPlacement(before=True),  # [1]
    "post": NormPlacement(sum=True),  # [1]
    "sandwich": NormPlacement(before=True, branch=True),  # [2]
    "rezero": NormPlacement(gain="scalar"),  # [3]
    "layerscale": NormPlacement(before=True, gain="channel"),  # [4]
    "none": NormPlacement(),
}


@dataclass(frozen=True, kw_only=True)
class BlockOptions:
    """Options of a block; those that its function does not take are ignored.

    Raises `ConfigError` for values that are out of range or contradict each other.
    """

    norm: str = "theory"  # theory, pre, post, sandwich, rezero, layerscale or none
    # activation in ScaleIn: compress (C5) or none; default: by the norm
    activation: str | None = None
    gain: float | None = None  # initial gain of the branch; default: by the norm
    dropout: float = 0.0  # share of the branch's values set to 0 in training
    causal: bool = False  # use no later frames
    kernel: int = 5  # kernel in frames, odd unless causal (convolution, statespace, gate)
    # inner width as a multiple of the width (feedforward, convolution, statespace, oscillator)
    expansion: int = 1
    heads: int = 4  # number of heads; divides the width (attention) or inner width (statespace)
    head_width: int | None = None  # channels of a head; default: width / heads (attention)
    states: int = 16  # states per channel (statespace)
    damped: bool = False  # lose energy at a learned rate (oscillator)
    window: int | None = None  # frames visible on either side; default: all (attention)
    # attention weights: softmax, or with a learned beta rank, scaled (beta falls with the number of
    # visible frames), entmax or scaled-entmax
    weights: str = "softmax"
    law: str = "geometric"  # law of weights rank and scaled: geometric, pareto or power
    levels: tuple["LevelConfig", ...] = ()  # levels inside the block (levels)

    def __post_init__(self) -> None:
        check_choice("norm", self.norm, NORMS)
        if self.activation is not None:
            check_choice("activation", self.activation, ACTIVATIONS)
        if self.gain is not None:
            if not math.isfinite(self.gain):
                raise ConfigError("gain", f"must be finite, got {self.gain}", "Use 1")
            if not (NORMS[self.norm].branch or NORMS[self.norm].gain):
                raise ConfigError("gain", f"norm {self.norm!r} has no gain", "Leave it out")
        check_range("dropout", self.dropout, "0.1", high=1, below=True)

    @property
    def compress(self) -> bool:
        """Whether ScaleIn ends with sign(x) log(1 + |x|) / log(N); default: for theory."""
        return (self.activation or ("compress" if self.norm == "theory" else "none")) == "compress"


@dataclass(frozen=True, kw_only=True)
class BlockConfig(BlockOptions):
    """A block: its options, and what its level sets."""

    function: str = "convolution"  # levels, or a name in `functions.FUNCTIONS`
    width: int = 128  # D
    depth: int = 1  # blocks in the stack, from which theory and layerscale derive their gain
    dilation: int = 1  # frames (convolution)

    def __post_init__(self) -> None:
        from speechasym.levels import functions

        super().__post_init__()
        check_choice("function", self.function, (*functions.FUNCTIONS, NESTED))
        check_count("depth", self.depth)
        if self.function != NESTED:
            functions.check(self)
        elif not self.levels:
            problem = "is empty, so that there is nothing inside the block"
            raise ConfigError("block.levels", problem, "Give at least one level")
        elif self.causal:
            problem = "levels inside a block wait for the end of an event"
            raise ConfigError("block.causal", problem, "Use false, or another function")

    @property
    def initial_gain(self) -> float:
        """Gain of the branch before training.

        Default: for theory 1 / sqrt(depth), so that all blocks together add as much variance as
        came in; for layerscale 0.1 up to 18 blocks, 1e-5 up to 24, 1e-6 beyond [4]; for rezero 0;
        for sandwich 1.
        """
        if self.gain is not None:
            return self.gain
        if self.norm == "theory":
            return 1 / math.sqrt(self.depth)
        if self.norm == "layerscale":
            return 0.1 if self.depth <= 18 else 1e-5 if self.depth <= 24 else 1e-6
        return 0.0 if self.norm == "rezero" else 1.0


@dataclass(frozen=True, kw_only=True)
class LevelConfig:
    """A level of the hierarchy."""

    width: int = 128  # channels D
    functions: tuple[str, ...] = ("convolution", "feedforward")  # functions of the blocks, in order
    repeat: int = 1  # times that this sequence of blocks is repeated; 0: no blocks
    dilations: tuple[int, ...] = (1,)  # dilations of the convolutions in each repeat, cycled
    block: BlockOptions = BlockOptions()  # options that all blocks share
    stride: int = 1  # input steps per step; above 1, neighbouring steps enter too
    context: int = 0  # channels of context from the level above; 0: none
    hears: bool = True  # whether it hears the level above, if there is feedback
    units: int = 64  # number of competing units; 0: none
    law: str = "geometric"  # rank law of the units, one of `RankActivation.LAWS`
    resolution: float | None = None  # initial N of the law; default: all units
    # distance by which each step of training brings units nearer that hardly ever win, so that they
    # do not die, and takes others back; 0: no such help
    conscience: float = 0.0
    # standard deviation of noise on the distances by which units compete, in training; 0: none
    fluctuation: float = 0.0
    draws: int = 0  # outside training, units are the mean over so many draws of it; 0: without it
    # give each unit a learned handicap, the logarithm of a factor of its share: where units split
    handicaps: bool = False
    # what is added to the blocks' output: both, units, error or none
    passes: Literal["both", "units", "error", "none"] = "both"
    # what the unit that held a step before steers: units, gain (of what enters), both or none
    steers: Literal["both", "units", "gain", "none"] = "none"
    # weight of the local losses: the units' prediction of the input, and what units are expected
    predict: float = 0.1
    # what steps are pooled over: events by hysteresis of the units (hysteresis), of how uncertain
    # the next unit is (entropy) or of how the input turns (change), strides, or none
    events: Literal["hysteresis", "entropy", "change", "stride", "none"] = "none"
    keep: float = 0.5  # target events per step; for stride: 1 / window length

    def __post_init__(self) -> None:
        from speechasym.ranks.activation import RankActivation

        for name in ("width", "stride"):
            check_count(name, getattr(self, name))
        for name in ("repeat", "context", "units"):
            check_count(name, getattr(self, name), 0)
        check_range("predict", self.predict, "0.1")
        check_range("conscience", self.conscience, "0.1")
        check_range("fluctuation", self.fluctuation, "1")
        check_count("draws", self.draws, 0)
        if self.draws and not self.fluctuation:
            raise ConfigError("draws", "has no effect without noise", "Use fluctuation > 0, or 0")
        check_range("keep", self.keep, "0.5", high=1, above=True)
        if not self.dilations or min(self.dilations) < 1:
            raise ConfigError("dilations", f"must all be >= 1, got {self.dilations}", "Use 1, 2")
        if self.units == 1:
            raise ConfigError("units", "a single unit has no rival", "Use 0, or 2 or more")
        if self.events in ("hysteresis", "entropy", "change") and not self.units:
            problem = f"{self.events} needs units"
            raise ConfigError("events", problem, "Use units > 0, or stride")
        if self.events == "entropy" and not self.predict:
            problem = "0 leaves what is expected untrained, and events by entropy need it"
            raise ConfigError("predict", problem, "Use predict=0.1, or other events")
        if self.steers != "none" and not self.units:
            problem = f"{self.steers} needs units, one of which holds"
            raise ConfigError("steers", problem, "Use units > 0, or none")
        if self.block.levels and NESTED not in self.functions:
            problem = f"no block has them, as functions are {', '.join(self.functions)}"
            raise ConfigError("block.levels", problem, f"Leave it out, or use {NESTED}")
        check_choice("law", self.law, RankActivation.LAWS)
        if self.units and self.law == "log":
            raise ConfigError("law", "log grows with distance", "Use another law for units")
        if not self.functions:
            raise ConfigError("functions", "is empty", "Give at least one")
        self.blocks()

    def blocks(self) -> tuple[BlockConfig, ...]:
        """Return the configurations of the blocks, in order. Raises `ConfigError` as they do."""
        return tuple(
            BlockConfig(
                **vars(self.block),
                function=name,
                width=self.width,
                depth=self.repeat * len(self.functions),
                dilation=self.dilations[i % len(self.dilations)],
            )
            for i in range(self.repeat)
            for name in self.functions
        )


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """Where a head reads."""

    level: int = 0  # counted from 0, the lowest
    slots: int = 1  # symbols that one step may stand for: letters outnumber events of phones
    tells: bool = False  # whether its posteriors enter the level above [5]

    def __post_init__(self) -> None:
        check_count("level", self.level, 0)
        check_count("slots", self.slots)


@dataclass(frozen=True, kw_only=True)
class HeadsConfig:
    """Where the heads read; those without labels in the training data are not built."""

    phones: HeadConfig = HeadConfig()
    letters: HeadConfig = HeadConfig()
    words: HeadConfig = HeadConfig()


@dataclass(frozen=True, kw_only=True)
class FeedbackConfig:
    """How levels above correct those below, see `feedback` (C13)."""

    passes: int = 1  # from the lowest level to the highest; 1: no feedback
    # outside training, stop when units have moved by less than this from pass to pass, 0 to 1
    settle: float = 0.0
    dropout: float = 0.2  # share of what is sent that an utterance does not hear in training
    predict: float = 0.1  # weight of the loss of what levels expect of those below
    # factor of the shares that are sent; at 1 a level learns to listen only slowly
    gain: float = 1.0
    vary: bool = False  # in training draw 1 to `passes` for each batch, so that every pass is read

    def __post_init__(self) -> None:
        check_count("passes", self.passes)
        check_range("settle", self.settle, "0.02", high=1)
        check_range("dropout", self.dropout, "0.2", high=1, below=True)
        check_range("predict", self.predict, "0.1")
        check_range("gain", self.gain, "1 or 8")


@dataclass(frozen=True, kw_only=True)
class HierarchyConfig:
    """Levels from the lowest to the highest, and heads."""

    kind: Literal["levels"] = "levels"
    levels: tuple[LevelConfig, ...]
    heads: HeadsConfig = HeadsConfig()
    feedback: FeedbackConfig = FeedbackConfig()

    def __post_init__(self) -> None:
        if not self.levels:
            raise ConfigError("levels", "is empty", "Give at least one")
        if self.feedback.passes == 1:
            return
        if len(self.levels) == 1:
            problem = "a single level has none above to hear from"
            raise ConfigError("feedback.passes", problem, "Use 1, or more levels")
        for number, level in enumerate(self.levels[:-1]):
            if not level.units:
                problem = "feedback predicts units, and the level has none"
                raise ConfigError(f"levels.{number}.units", problem, "Use 64, or feedback.passes=1")
            if level.context:
                problem = "is set by feedback"
                raise ConfigError(f"levels.{number}.context", problem, "Leave it out")
        if not any(level.hears for level in self.levels[:-1]):
            problem = "no level hears the one above"
            raise ConfigError("feedback.passes", problem, "Use 1, or hears: true at a level")


@dataclass(frozen=True, kw_only=True)
class RecurrentConfig:
    """The recurrent baseline, see `recurrent.Recurrent`."""

    kind: Literal["recurrent"] = "recurrent"
    width: int = 64  # channels of the convolution
    hidden: int = 96  # channels of each direction of each layer
    layers: int = 2
    stride: int = 3  # input steps per step; above 1, neighbouring steps enter too
    dropout: float = 0.2
    intermediate: bool = False  # read the heads at different depths, not all on top

    def __post_init__(self) -> None:
        for name in ("width", "hidden", "layers", "stride"):
            check_count(name, getattr(self, name))
        check_range("dropout", self.dropout, "0.2", high=1, below=True)


ModelConfig = HierarchyConfig | RecurrentConfig
