"""Blocks become recordings. Pure: time is handed in, nothing is filled in.

A recording is a run of ECG blocks on one timeline of 500 Hz. What is missing on it stays
missing. It ends where the device restarts, falls silent for two seconds of its own time, or
after thirty seconds; the caller ends it where the link does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from drivers.dicom.waveform import LEAD_I, LEAD_II, LEAD_V1, Group, Trace
from drivers.healthypi6.finger import Finger
from drivers.healthypi6.samples import (
    ECG_RATE_HZ,
    ECG_STEP_MS,
    Channel,
    EcgSample,
    Electrode,
    Sign,
    Vitals,
    ecg_samples,
    vitals,
)
from drivers.tape import Ending

if TYPE_CHECKING:
    from drivers.healthypi6.drift import Drift
    from drivers.healthypi6.framing import Block

__all__ = ["LONGEST_S", "Ending", "Recorder", "Recording"]

LONGEST_S = 30
QUIET_MS = 2000

# The device stamps a block with whole milliseconds of a clock other than the converter's;
# single blocks come a few early or late. A lost block is 32 ms.
_JITTER_MS = 8
_ELECTRODES = {
    LEAD_I: Electrode.RA | Electrode.LA,
    LEAD_II: Electrode.RA | Electrode.LL,
    LEAD_V1: Electrode.RA | Electrode.LA | Electrode.LL | Electrode.V1,
}
_SIGNS = {
    Sign.ECG_LEAD_OFF: "lead-off",
    Sign.PPG_WEAK: "ppg-weak",
    Sign.MOTION: "motion",
}
_COMPUTED = ("heart_rate", "pulse_rate", "saturation", "respiratory_rate")


@dataclass(frozen=True, slots=True)
class Recording:
    """One ECG, whole as far as it arrived.

    `raw` is the exact blocks of every channel from the first ECG block on, in order (`seq` runs
    over all channels, so that raw alone shows what is missing). A sample is None where none
    arrived. `started` is the caller's clock at the first sample. Of what the device computed it
    holds the last of each. `drift_ppm` is how much faster than the host's its clock runs, in
    millionths, None while that can't be told. `beside` is the curve of the finger, if any.
    """

    raw: bytes = field(repr=False)
    started: float
    samples: tuple[EcgSample | None, ...] = field(repr=False)
    quality: tuple[str, ...]
    electrodes_off: Electrode
    heart_rate: int | None
    rate_hz: int = ECG_RATE_HZ
    pulse_rate: int | None = None
    saturation: Decimal | None = None
    respiratory_rate: int | None = None
    drift_ppm: int | None = None
    beside: tuple[Group, ...] = field(default=(), repr=False)

    @property
    def duration(self) -> Decimal:
        """Seconds from the first sample to the end of the last, gaps included."""
        return Decimal(len(self.samples)) / self.rate_hz

    @property
    def traces(self) -> tuple[Trace, ...]:
        """The three measured leads in microvolts; derived ones are left to who shows them."""
        lanes = {
            LEAD_I: tuple(s.i if s else None for s in self.samples),
            LEAD_II: tuple(s.ii if s else None for s in self.samples),
            LEAD_V1: tuple(s.v1 if s else None for s in self.samples),
        }
        return tuple(
            Trace(lead, lane, doubtful=bool(self.electrodes_off & _ELECTRODES[lead]))
            for lead, lane in lanes.items()
        )


class Recorder:
    """Holds at most one open recording of one device.

    With `drift` it compares the device's clock with the caller's, which then must be monotonic.
    """

    def __init__(self, drift: Drift | None = None) -> None:
        self._open: _Open | None = None
        self._seq: int | None = None
        self._drift = drift

    @property
    def recording(self) -> bool:
        """Whether a recording is open; the block last taken then belongs to it."""
        return self._open is not None

    def take(self, block: Block, now: float) -> list[Recording]:
        """Take the next block; give the recording that ended before it.

        `now` is seconds of any clock. Raises `ProtocolFault` as `ecg_samples` does, with the
        open recording untouched.
        """
        samples = ecg_samples(block) if block.channel == Channel.ECG else ()
        ending = self._ending_before(block, len(samples))
        closed = self.close(ending) if ending else []
        lost = self._seq is not None and block.seq > self._seq + 1
        self._seq = block.seq
        if samples and self._drift:
            self._drift.note(block.t_ms, now)
        if samples and self._open is None:
            self._open = _Open(now - len(samples) / ECG_RATE_HZ, block.t_ms)
        if self._open:
            self._open.add(block, samples, lost=lost)
        return closed

    def close(self, ending: Ending) -> list[Recording]:
        """End the open recording, if there is one."""
        if self._open is None:
            return []
        closed = self._open.closed(ending, self._drift.ppm if self._drift else None)
        self._open = None
        if ending is not Ending.FULL:
            self._seq = None
        return [closed]

    def _ending_before(self, block: Block, count: int) -> Ending | None:
        if self._open is None or self._seq is None:
            return None
        is_ecg = block.channel == Channel.ECG
        if block.seq <= self._seq or (is_ecg and block.t_ms < self._open.block_ms):
            return Ending.RESTARTED
        if block.t_ms - self._open.end_ms > QUIET_MS:
            return Ending.QUIET
        if count and self._open.length_with(block, count) > LONGEST_S * ECG_RATE_HZ:
            return Ending.FULL
        return None


class _Open:
    """A recording that still grows."""

    def __init__(self, started: float, t_ms: int) -> None:
        self.block_ms = t_ms
        self.end_ms = t_ms
        self._started = started
        self._raw = bytearray()
        self._samples: list[EcgSample | None] = []
        self._off = Electrode(0)
        self._computed: dict[str, Any] = {}
        self._marks: dict[str, None] = {}
        self._finger = Finger(t_ms)

    def length_with(self, block: Block, count: int) -> int:
        return len(self._samples) + self._missing_before(block) + count

    def add(self, block: Block, samples: tuple[EcgSample, ...], *, lost: bool) -> None:
        self._raw += block.raw
        if lost:
            self._mark("blocks-missing")
        if block.channel == Channel.PPG:
            self._finger.add(block)
        if block.channel == Channel.VITALS and (said := vitals(block)):
            self._note(said)
        if samples:
            self._append(block, samples)

    def closed(self, ending: Ending, drift_ppm: int | None) -> Recording:
        if self._off:
            self._mark(_SIGNS[Sign.ECG_LEAD_OFF])
        if ending.value:
            self._mark(ending.value)
        return Recording(
            raw=bytes(self._raw),
            started=self._started,
            samples=tuple(self._samples),
            quality=tuple(self._marks),
            electrodes_off=self._off,
            heart_rate=self._computed.get("heart_rate"),
            pulse_rate=self._computed.get("pulse_rate"),
            saturation=self._computed.get("saturation"),
            respiratory_rate=self._computed.get("respiratory_rate"),
            drift_ppm=drift_ppm,
            beside=self._finger.groups(),
        )

    def _append(self, block: Block, samples: tuple[EcgSample, ...]) -> None:
        if missing := self._missing_before(block):
            self._mark("gaps")
            self._samples += [None] * missing
        elif block.t_ms - self.end_ms <= -_JITTER_MS:
            self._mark("timing-uneven")
        self._samples += samples
        for each in samples:
            self._off |= Electrode(each.lead_off & sum(Electrode))
        self.block_ms = block.t_ms
        self.end_ms = block.t_ms + len(samples) * ECG_STEP_MS

    def _missing_before(self, block: Block) -> int:
        late = block.t_ms - self.end_ms
        return late // ECG_STEP_MS if late >= _JITTER_MS else 0

    def _note(self, said: Vitals) -> None:
        for what in _COMPUTED:
            self._computed[what] = getattr(said, what) or self._computed.get(what)
        for sign, quality in _SIGNS.items():
            if said.signs & sign:
                self._mark(quality)

    def _mark(self, quality: str) -> None:
        self._marks[quality] = None
