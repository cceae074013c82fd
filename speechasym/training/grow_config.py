"""The configuration of growth in a run."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from speechasym.config import check_range
from speechasym.errors import ConfigError
from speechasym.levels.config import HierarchyConfig

if TYPE_CHECKING:
    from speechasym.training.config import LearningConfig


@dataclass(frozen=True, kw_only=True)
class GrowConfig:
    """How a run begins with a small model that grows up to the configured one, see docs/growth.md.

    `grow: RULE` is short for `grow: {rule: RULE}`.
    """

    # none; periodic:K, every K epochs; asymmetry: where and when a level is exhausted (C9)
    rule: str = "none"
    # what grows: repetitions of a level's blocks, levels on top, attention heads, or units
    what: Literal["blocks", "levels", "heads", "units"] = "blocks"
    where: Literal["top", "bottom"] = "top"  # where new blocks are put in their level
    start: float = 0.25  # share of the configured number at the start, rounded down to at least 1
    # asymmetry: what shows that a level is exhausted: the dev loss, or the structure of its error
    evidence: Literal["loss", "structure"] = "loss"
    # loss: share of the largest exponent of the loss, as a power of the FLOPs, below which it slows
    slope: float = 0.5
    window: int = 3  # loss: validations over which an exponent is taken
    # structure: share of that at the validation before, from which on it persists
    persists: float = 0.95

    def __post_init__(self) -> None:
        kind, colon, number = self.rule.partition(":")
        if (kind, colon) not in (("none", ""), ("asymmetry", ""), ("periodic", ":")):
            problem = f"must be asymmetry, periodic:K or none, got {self.rule!r}"
            raise ConfigError("rule", problem, "Use asymmetry, or periodic:2")
        if colon and (not number.isdecimal() or int(number) < 1):
            problem = f"K of periodic:K must be an integer >= 1, got {number!r}"
            raise ConfigError("rule", problem, "Use periodic:2, to grow every second epoch")
        check_range("start", self.start, "0.25", high=1)
        check_range("slope", self.slope, "0.5", high=1, above=True)
        check_range("persists", self.persists, "0.95", above=True)
        check_range("window", self.window, "3", low=1)
        if self.what != "blocks" and self.where != "top":
            raise ConfigError("where", f"has no effect on {self.what}", "Leave it out")

    @property
    def grows(self) -> bool:
        """Whether the model grows."""
        return self.rule != "none"

    @property
    def period(self) -> int | None:
        """Epochs between growths, if the rule is periodic."""
        return int(self.rule.partition(":")[2]) if ":" in self.rule else None

    def check(self, model: object, learning: "LearningConfig", monitor: bool) -> None:
        """Raise `ConfigError` where a run of this model, learning rule and monitor cannot grow."""
        if not self.grows:
            return
        if not isinstance(model, HierarchyConfig):
            problem = f"{self.rule} needs a model of levels"
            raise ConfigError("grow.rule", problem, "Use none, or a model of levels")
        if learning.uses_nets or learning.parts > 1:
            problem = f"{self.rule} cannot be combined with learning.rule={learning.rule}"
            remedy = "Use learning.rule=backprop+inter without inter, or grow=none"
            raise ConfigError("grow.rule", f"{problem} and its nets beside the stages", remedy)
        units = [level.units for level in model.levels]
        if self.rule == "asymmetry" and self.evidence == "structure" and not any(units):
            problem = "asymmetry needs levels with units, whose error has structure or not"
            raise ConfigError("grow.rule", problem, "Use grow.evidence=loss, or units")
        if self.rule == "asymmetry" and not monitor:
            remedy = "Use monitor=true, or grow=periodic:2"
            raise ConfigError("grow.rule", "asymmetry needs what monitor sees", remedy)
