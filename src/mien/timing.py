"""Where an analysis spends its time. Imports the standard library only."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass
class StageTimes:
    """Seconds spent in each stage so far, for `--profile`."""

    seconds: dict[str, float] = field(default_factory=dict)
    frames: int = 0

    def add(self, stage: str, since: float) -> float:
        """Book the time since `since` (of `time.perf_counter`) and return the time now."""
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - since
        return now

    def clear(self) -> None:
        """Begin anew."""
        self.seconds.clear()
        self.frames = 0
