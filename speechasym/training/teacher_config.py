"""The configuration of a teacher in a run."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from speechasym.config import check_range
from speechasym.errors import ConfigError

if TYPE_CHECKING:
    from speechasym.training.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class TeacherConfig:
    """A finished run whose posteriors a run learns from beside the labels, see docs/learning.md.

    `teacher: RUN` is short for `teacher: {run: RUN}`.
    """

    run: str | None = None  # folder of the finished run; default: labels only
    weight: float = 1.0  # of the teacher's loss of each head, relative to that of its labels
    temperature: float = 1.0  # by which the log-probabilities of both are divided
    # what the teacher hears: the same as the student, or the same without noise, room and masks
    hears: Literal["same", "clean"] = "same"
    heads: tuple[str, ...] = ()  # heads that learn from the teacher; default: all

    def __post_init__(self) -> None:
        check_range("weight", self.weight, "1", above=True)
        check_range("temperature", self.temperature, "1 or 2", above=True)

    @property
    def hears_clean(self) -> bool:
        """Whether batches must hold clean features too."""
        return self.run is not None and self.hears == "clean"

    def heads_of(self, config: "TrainConfig") -> tuple[str, ...]:
        """Return the heads of a run that learn from its teacher."""
        return self.heads or tuple(config.heads.used)

    def check(self, config: "TrainConfig") -> None:
        """Raise `ConfigError` where a run of this configuration cannot have a teacher."""
        if self.run is None:
            return
        used = config.heads.used
        if not used:
            problem = "a run without heads has nothing to learn from a teacher"
            raise ConfigError("teacher.run", problem, "Leave it out, or give heads a weight")
        if unknown := [head for head in self.heads if head not in used]:
            problem = f"{unknown[0]!r} is not a head in use"
            raise ConfigError("teacher.heads", problem, f"Use {', '.join(used)}")
        if config.model.kind == "custom":
            problem = "a custom model does not say when its steps are"
            raise ConfigError("teacher.run", problem, "Leave it out, or use a model of levels")
        if config.learning.divides:
            problem = f"cannot be combined with learning.rule={config.learning.rule}"
            if config.learning.rule.startswith("backprop"):
                problem = "cannot be combined with learning.inter or learning.recompute"
            remedy = "Use learning.rule=backprop or backprop+inter alone"
            raise ConfigError("teacher.run", problem, remedy)
        if self.hears == "clean" and config.data.features_on == "device":
            problem = "clean needs features of two kinds, which workers compute"
            raise ConfigError("teacher.hears", problem, "Use same, or data.features_on=workers")
