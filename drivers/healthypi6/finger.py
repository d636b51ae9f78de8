"""The light of a finger, channel PPG: counts of red and infrared on the time of the ECG. Pure.

The stream does not say its rate, which the maker lets one set from 62 to 2000 Hz
(HP6_DATA_FORMAT.md, section 4). It is taken from the times of the blocks; any rate but the usual
250 Hz is left to the raw bytes.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from drivers.dicom.waveform import COUNT, PLETH, Group, Trace
from drivers.healthypi6.samples import PPG_RATE_HZ, PPG_STEP_MS, PpgSample, ppg_samples

if TYPE_CHECKING:
    from drivers.healthypi6.framing import Block

_JITTER = 2
"""Samples: a block is stamped with whole milliseconds, a few early or late."""
_TOLERANCE = 0.05
"""How far from 4 ms a sample may last, by the blocks' times, to be one of 250 Hz."""


class Finger:
    """The samples of one recording; its first instant is that of the ECG."""

    def __init__(self, begun_ms: int) -> None:
        self._begun_ms = begun_ms
        self._samples: list[PpgSample | None] = []
        self._steps: list[float] = []
        self._last: tuple[int, int] | None = None

    def add(self, block: Block) -> None:
        """Take a block of the channel; one of another layout says nothing."""
        samples = ppg_samples(block)
        if not samples:
            return
        if self._last is not None:
            before, count = self._last
            self._steps.append((block.t_ms - before) / count)
        self._last = (block.t_ms, len(samples))
        self._place(samples, round((block.t_ms - self._begun_ms) / PPG_STEP_MS))

    def groups(self) -> tuple[Group, ...]:
        """The two colours as one multiplex group; none where there is no curve of 250 Hz."""
        if not any(self._samples) or not self._is_usual():
            return ()
        doubtful = any(each.lead_off for each in self._samples if each)
        lanes = {
            "red": tuple(each.red if each else None for each in self._samples),
            "infrared": tuple(each.infrared if each else None for each in self._samples),
        }
        traces = [
            Trace(PLETH, lane, doubtful=doubtful, unit=COUNT, label=label)
            for label, lane in lanes.items()
        ]
        return (Group(PPG_RATE_HZ, traces),)

    def _place(self, samples: tuple[PpgSample, ...], at: int) -> None:
        if at < 0 and not self._samples:  # it began before the ECG
            samples = samples[-at:]
        elif at - len(self._samples) >= _JITTER:
            self._samples += [None] * (at - len(self._samples))
        self._samples += samples

    def _is_usual(self) -> bool:
        """By most of the blocks: those before a lost one seem to last longer."""
        if not self._steps:
            return False
        return abs(median(self._steps) / PPG_STEP_MS - 1) <= _TOLERANCE
