"""The tape of one HealthyPi 6: blocks in, frames to keep and recordings out."""

from __future__ import annotations

from drivers.healthypi6.drift import Drift
from drivers.healthypi6.framing import LONGEST, Block, Framer
from drivers.healthypi6.recording import Recorder, Recording
from drivers.tape import SPOILED, STRANGE, Finish, Keep, SetAside
from drivers.tape import Tape as AnyTape

__all__ = ["SPOILED", "STRANGE", "Finish", "Keep", "SetAside", "Tape"]


class Tape(AnyTape[Block, Recording]):
    """`drivers.tape.Tape` of blocks, timed by one monotonic clock in seconds."""

    def __init__(self, now: float) -> None:
        super().__init__(
            now,
            Framer(),
            Recorder(Drift()),
            "What is plugged into this port is not a HealthyPi 6.",
            LONGEST,
        )
