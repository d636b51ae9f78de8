"""An ECG as a DICOM object, Explicit VR LE, with its gaps as padding.

General ECG Waveform Storage (PS3.3 A.34.4) for any leads, 12-Lead ECG Waveform Storage
(A.34.3) for the twelve. pydicom is loaded when the first object is made.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from math import ceil
from typing import TYPE_CHECKING, Final, Protocol

from drivers.dicom.instance import MEDIA_TYPE, Origin, begin, code, date_content, written
from drivers.dicom.leads import LEAD_I, LEAD_II, LEAD_V1, PLETH, Lead

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from pydicom.dataset import Dataset

    from drivers.base import Device

__all__ = [
    "GENERAL_ECG",
    "LEAD_I",
    "LEAD_II",
    "LEAD_V1",
    "MEDIA_TYPE",
    "PLETH",
    "TWELVE_LEAD_ECG",
    "EcgRecording",
    "Group",
    "Lead",
    "Scale",
    "Trace",
    "ecg_object",
    "twelve_lead_objects",
]

GENERAL_ECG: Final = "1.2.840.10008.5.1.4.1.1.9.1.2"
TWELVE_LEAD_ECG: Final = "1.2.840.10008.5.1.4.1.1.9.1.1"

LONGEST: Final = 16384
"""The most samples a channel of a 12-lead object has (PS3.3 A.34.3.4.5)."""

_PADDING = -0x8000
_PEAK = 0x7FFF
_ONE = Decimal(1)
MICROVOLT: Final = ("uV", "microvolt")
COUNT: Final = ("1", "no units")
"""Units by their UCUM code and its meaning; a count of a converter has none."""


@dataclass(frozen=True, slots=True)
class Trace:
    """One lead in steps of `step` of its `unit`, None where there is no sample.

    `doubtful`: the device said that an electrode of this lead was off at some time.
    `derivation` is the formula of a lead that was computed from others, empty where measured.
    `label` tells apart what is measured at one place (two colours of light).
    """

    lead: Lead
    samples: Sequence[int | None] = field(repr=False)
    doubtful: bool = False
    step: Decimal = _ONE
    derivation: str = ""
    unit: tuple[str, str] = MICROVOLT
    label: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Traces of one rate and one length, which begin together (a multiplex group)."""

    rate_hz: int
    traces: Sequence[Trace]


class EcgRecording(Protocol):
    """What an ECG object is made of. All traces are of one length; `raw` is what they say."""

    @property
    def raw(self) -> bytes:
        """The bytes the device said the recording in."""

    @property
    def rate_hz(self) -> int:
        """Samples per second, 200 to 1000."""

    @property
    def traces(self) -> Sequence[Trace]:
        """One trace a lead, 1 to 24."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How steps become 16 bits: steps = stored * sensitivity + baseline.

    Nothing clips. Up to 32 767 steps either side of zero the numbers are stored as they are. A
    trace beyond that (an electrode's offset can be 300 mV) is moved by a whole number to its
    middle, which loses nothing either; only one that spans more than 65 534 steps is divided,
    by the smallest whole number that fits, and then rounded to it.
    """

    sensitivity: int = 1
    baseline: int = 0

    @classmethod
    def of(cls, samples: Sequence[int | None]) -> Scale:
        """The scale that keeps most of a trace; 1 and 0 for a trace without samples."""
        present = [s for s in samples if s is not None] or [0]
        low, high = min(present), max(present)
        if low >= -_PEAK and high <= _PEAK:
            return cls()
        baseline = (low + high) // 2
        return cls(max(1, ceil((high - baseline) / _PEAK)), baseline)

    def stored(self, sample: int | None) -> int:
        """The 16-bit number of a sample; the padding value where there is none."""
        if sample is None:
            return _PADDING
        return round((sample - self.baseline) / self.sensitivity)


def ecg_object(
    recording: EcgRecording,
    *,
    acquired: datetime | None,
    device: Device,
    patient_id: str = "",
    beside: Sequence[Group] = (),
) -> bytes:
    """One ECG as a General ECG file: its leads, gaps as padding, an opaque patient or none.

    `beside` is what was recorded together with the leads, at most three groups that begin with
    them (PS3.3 A.34.4.4.2: one to four items).
    The same arguments make the same bytes; UIDs are derived from them. `acquired` is the time
    of the first sample; see `drivers.dicom.instance.Origin` for its forms.
    """
    origin = Origin(recording.raw, acquired, device, patient_id)
    instance = _part(recording, origin, GENERAL_ECG, 1, slice(None))
    instance.WaveformSequence += [_multiplex(group, slice(None)) for group in beside]
    return written(instance)


def twelve_lead_objects(
    recording: EcgRecording, *, acquired: datetime | None, device: Device, patient_id: str = ""
) -> tuple[bytes, ...]:
    """One ECG as 12-lead files, in order: several where it is longer than one may be.

    The parts are instances 1, 2, … of one series, whole and without overlap; each is dated by
    its own first sample. Otherwise as `ecg_object`.
    """
    origin = Origin(recording.raw, acquired, device, patient_id)
    length = len(recording.traces[0].samples)
    return tuple(
        written(_part(recording, origin, TWELVE_LEAD_ECG, number, slice(start, start + LONGEST)))
        for number, start in enumerate(range(0, length, LONGEST), start=1)
    )


def _part(
    recording: EcgRecording, origin: Origin, sop_class: str, number: int, part: slice
) -> Dataset:
    instance = begin(origin, sop_class, "ECG", number)
    late = timedelta(seconds=(part.start or 0) / recording.rate_hz)
    date_content(instance, origin.when + late if origin.when else None)
    instance.WaveformSequence = [_multiplex(Group(recording.rate_hz, recording.traces), part)]
    return instance


def _multiplex(said: Group, part: slice) -> Dataset:
    from pydicom.dataset import Dataset  # noqa: PLC0415 - loaded by those who make objects only

    traces = said.traces
    lanes = [trace.samples[part] for trace in traces]
    scales = [Scale.of(lane) for lane in lanes]
    group = Dataset()
    group.WaveformOriginality = "ORIGINAL"
    group.NumberOfWaveformChannels = len(lanes)
    group.NumberOfWaveformSamples = len(lanes[0])
    group.SamplingFrequency = str(said.rate_hz)
    group.ChannelDefinitionSequence = [
        _channel(trace, scale) for trace, scale in zip(traces, scales, strict=True)
    ]
    group.WaveformBitsAllocated = 16
    group.WaveformSampleInterpretation = "SS"
    if any(None in lane for lane in lanes):
        group.add_new("WaveformPaddingValue", "OW", struct.pack("<h", _PADDING))
    group.add_new("WaveformData", "OW", _interleaved(lanes, scales))
    return group


def _channel(trace: Trace, scale: Scale) -> Dataset:
    from pydicom.dataset import Dataset  # noqa: PLC0415

    channel = Dataset()
    if trace.label:
        channel.ChannelLabel = trace.label
    if trace.doubtful:
        channel.ChannelStatus = "QUESTIONABLE"
    channel.ChannelSourceSequence = [code(trace.lead.code, "MDC", trace.lead.meaning)]
    if trace.derivation:
        channel.ChannelDerivationDescription = trace.derivation
    channel.ChannelSensitivity = str(trace.step * scale.sensitivity)
    channel.ChannelSensitivityUnitsSequence = [code(trace.unit[0], "UCUM", trace.unit[1])]
    channel.ChannelSensitivityCorrectionFactor = "1"
    channel.ChannelBaseline = str(trace.step * scale.baseline)
    channel.ChannelSampleSkew = "0"
    channel.WaveformBitsStored = 16
    return channel


def _interleaved(lanes: Sequence[Sequence[int | None]], scales: Sequence[Scale]) -> bytes:
    """Sample by sample, channel by channel within it (PS3.3 C.10.9.1)."""
    stored = [
        [scale.stored(sample) for sample in lane] for lane, scale in zip(lanes, scales, strict=True)
    ]
    words = [word for instant in zip(*stored, strict=True) for word in instant]
    return struct.pack(f"<{len(words)}h", *words)
