"""How training recordings are varied, as a configuration."""

import math
from dataclasses import dataclass

from speechasym.config import check_range
from speechasym.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How training recordings are varied; by default not at all.

    All is drawn from the seed, the epoch and the cut's id alone; each epoch uses the next speed.
    """

    copies: int = 0  # variants of each cut, in turn; 0: speeds in turn, other noise in each epoch
    speeds: tuple[float, ...] = (1.0,)  # factors of speed; 1.1 is faster and higher
    noise: str | None = None  # folder of recordings, or manifest of cuts, to add as noise
    noise_share: float = 0.5  # share of the variants with noise
    snr_db: tuple[float, float] = (5.0, 30.0)  # range of the signal-to-noise ratio
    room_share: float = 0.0  # share of the variants in a simulated room
    reverberation_s: tuple[float, float] = (0.1, 0.6)  # range of its reverberation time
    direct_db: tuple[float, float] = (0.0, 15.0)  # range of direct sound over reverberation
    telephone_share: float = 0.0  # share of the variants by telephone: 300 to 3400 Hz, mu-law
    time_masks: int = 0  # number of stretches of frames set to 0
    time_mask_s: float = 0.1  # longest masked stretch, s
    column_masks: int = 0  # number of ranges of neighbouring columns set to 0
    column_mask_share: float = 0.15  # widest masked range, as a share of the columns
    gain: float = 0.0  # standard deviation of log gain, by utterance and column
    shift: float = 0.0  # standard deviation of an offset, by utterance and column
    jitter: float = 0.0  # standard deviation of white normal noise on each value
    splice: float = 0.0  # share of cuts replaced by joined stretches of two or three

    def __post_init__(self) -> None:
        for name in ("copies", "time_masks", "column_masks"):
            check_range(name, getattr(self, name), "0, 1, 2 ...")
        if not self.speeds or len(set(self.speeds)) < len(self.speeds):
            problem = f"must be different values, got {self.speeds}"
            raise ConfigError("speeds", problem, "Use 0.9, 1.0, 1.1")
        for speed in self.speeds:
            check_range("speeds", speed, "0.9, 1.0, 1.1", 0.5, 2)
        ranges = {"snr_db": "5, 30", "reverberation_s": "0.1, 0.6", "direct_db": "0, 15"}
        for name, example in ranges.items():
            low, high = getattr(self, name)
            if not (math.isfinite(low) and math.isfinite(high) and low <= high):
                raise ConfigError(name, f"must be a range, got {(low, high)}", f"Use {example}")
        check_range("reverberation_s", self.reverberation_s[0], "0.1, 0.6", 0.01)
        for name in ("noise_share", "room_share", "telephone_share", "column_mask_share", "splice"):
            check_range(name, getattr(self, name), "0.1", high=1)
        check_range("time_mask_s", self.time_mask_s, "0.1", above=True)
        for name in ("gain", "shift", "jitter"):
            check_range(name, getattr(self, name), "0 or 0.1")

    @property
    def fresh(self) -> bool:
        """Whether noise, rooms or telephones differ in each epoch and cannot be stored."""
        return bool(self.noise or self.room_share or self.telephone_share) and not self.copies
