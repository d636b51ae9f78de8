"""An ECG as a DICOM object: General ECG Waveform Storage, PS3.3 A.34.4, Explicit VR LE.

pydicom is loaded when the first object is made, not when this module is.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from io import BytesIO
from math import ceil
from typing import TYPE_CHECKING, Protocol
from uuid import UUID, uuid5

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydicom.dataset import Dataset

    from drivers.base import Device

MEDIA_TYPE = "application/dicom"
GENERAL_ECG = "1.2.840.10008.5.1.4.1.1.9.1.2"

_EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
_UIDS = UUID("5a2f3a2b-466e-43b4-a366-68d922971512")
_PADDING = -0x8000
_PEAK = 0x7FFF


@dataclass(frozen=True, slots=True)
class Lead:
    """An ECG lead in the MDC coding scheme (IEEE 11073-10101, DICOM CID 3001)."""

    code: str
    meaning: str


LEAD_I = Lead("2:1", "Lead I")
LEAD_II = Lead("2:2", "Lead II")
LEAD_V1 = Lead("2:3", "Lead V1")


@dataclass(frozen=True, slots=True)
class Trace:
    """One measured lead in microvolts, None where no sample arrived.

    `doubtful`: the device said that an electrode of this lead was off at some time.
    """

    lead: Lead
    samples: Sequence[int | None] = field(repr=False)
    doubtful: bool = False


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
        """One trace a measured lead, 1 to 24."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How microvolts become 16 bits: microvolts = stored * sensitivity + baseline.

    Nothing clips. Up to 32 767 uV either side of zero the numbers are stored as they are. A
    trace beyond that (an electrode's offset can be 300 mV) is moved by a whole number to its
    middle, which loses nothing either; only one that spans more than 65 534 uV is divided, by
    the smallest whole number that fits, and then rounded to it.
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
    recording: EcgRecording, *, acquired: datetime | None, device: Device, patient_id: str = ""
) -> bytes:
    """One ECG as a DICOM file: its measured leads, gaps as padding, an opaque patient or none.

    The same arguments make the same bytes; UIDs are derived from them. `acquired` is aware and
    is the time of the first sample; without it ContentDate, ContentTime and
    AcquisitionDateTime (type 1) are left empty, which a validator will say.
    """
    from pydicom.dataset import Dataset  # noqa: PLC0415 - loaded by those who make objects only

    when = acquired.astimezone(UTC) if acquired else None
    instance = Dataset()
    _identify(instance, _seed(recording.raw, when, device))
    _date(instance, when)
    instance.PatientName = ""
    instance.PatientID = patient_id
    instance.PatientBirthDate = ""
    instance.PatientSex = ""
    instance.Modality = "ECG"
    instance.Manufacturer = device.manufacturer or ""
    _describe(instance, device)
    instance.AcquisitionContextSequence = []
    instance.WaveformSequence = [_multiplex(recording)]
    return _written(instance)


def _identify(instance: Dataset, seed: str) -> None:
    instance.SOPClassUID = GENERAL_ECG
    instance.SOPInstanceUID = _uid("instance", seed)
    instance.SeriesInstanceUID = _uid("series", seed)
    instance.StudyInstanceUID = _uid("study", seed)
    instance.StudyID = ""
    instance.AccessionNumber = ""
    instance.ReferringPhysicianName = ""
    instance.SeriesNumber = "1"
    instance.InstanceNumber = "1"


def _seed(raw: bytes, when: datetime | None, device: Device) -> str:
    """Two runs of a simulator say the same bytes: place and time tell them apart."""
    return f"{device.id} {when.isoformat() if when else ''} {sha256(raw).hexdigest()}"


def _uid(role: str, seed: str) -> str:
    return f"2.25.{uuid5(_UIDS, f'{role} {seed}').int}"


def _date(instance: Dataset, when: datetime | None) -> None:
    day, time = when.strftime("%Y%m%d %H%M%S.%f").split() if when else ("", "")
    if when:
        instance.TimezoneOffsetFromUTC = "+0000"
    instance.StudyDate = instance.ContentDate = day
    instance.StudyTime = instance.ContentTime = time
    instance.AcquisitionDateTime = f"{day}{time}+0000" if when else ""


def _describe(instance: Dataset, device: Device) -> None:
    if device.model:
        instance.ManufacturerModelName = device.model
    if device.serial:
        instance.DeviceSerialNumber = device.serial
    if device.firmware:
        instance.SoftwareVersions = device.firmware


def _multiplex(recording: EcgRecording) -> Dataset:
    from pydicom.dataset import Dataset  # noqa: PLC0415

    traces = recording.traces
    scales = [Scale.of(trace.samples) for trace in traces]
    group = Dataset()
    group.WaveformOriginality = "ORIGINAL"
    group.NumberOfWaveformChannels = len(traces)
    group.NumberOfWaveformSamples = len(traces[0].samples)
    group.SamplingFrequency = str(recording.rate_hz)
    group.ChannelDefinitionSequence = [
        _channel(trace, scale) for trace, scale in zip(traces, scales, strict=True)
    ]
    group.WaveformBitsAllocated = 16
    group.WaveformSampleInterpretation = "SS"
    if any(None in trace.samples for trace in traces):
        group.add_new("WaveformPaddingValue", "OW", struct.pack("<h", _PADDING))
    group.add_new("WaveformData", "OW", _interleaved(traces, scales))
    return group


def _channel(trace: Trace, scale: Scale) -> Dataset:
    from pydicom.dataset import Dataset  # noqa: PLC0415

    channel = Dataset()
    if trace.doubtful:
        channel.ChannelStatus = "QUESTIONABLE"
    channel.ChannelSourceSequence = [_code(trace.lead.code, "MDC", trace.lead.meaning)]
    channel.ChannelSensitivity = str(scale.sensitivity)
    channel.ChannelSensitivityUnitsSequence = [_code("uV", "UCUM", "microvolt")]
    channel.ChannelSensitivityCorrectionFactor = "1"
    channel.ChannelBaseline = str(scale.baseline)
    channel.ChannelSampleSkew = "0"
    channel.WaveformBitsStored = 16
    return channel


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    from pydicom.dataset import Dataset  # noqa: PLC0415

    code = Dataset()
    code.CodeValue = value
    code.CodingSchemeDesignator = scheme
    code.CodeMeaning = meaning
    return code


def _interleaved(traces: Sequence[Trace], scales: Sequence[Scale]) -> bytes:
    """Sample by sample, channel by channel within it (PS3.3 C.10.9.1)."""
    lanes = [
        [scale.stored(sample) for sample in trace.samples]
        for trace, scale in zip(traces, scales, strict=True)
    ]
    words = [word for instant in zip(*lanes, strict=True) for word in instant]
    return struct.pack(f"<{len(words)}h", *words)


def _written(instance: Dataset) -> bytes:
    from pydicom.dataset import FileMetaDataset  # noqa: PLC0415
    from pydicom.uid import UID  # noqa: PLC0415

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = instance.SOPClassUID
    meta.MediaStorageSOPInstanceUID = instance.SOPInstanceUID
    meta.TransferSyntaxUID = UID(_EXPLICIT_LITTLE_ENDIAN)
    meta.ImplementationClassUID = UID(_uid("implementation", "qafila"))
    meta.ImplementationVersionName = "QAFILA"
    instance.file_meta = meta
    content = BytesIO()
    instance.save_as(content, enforce_file_format=True)
    return content.getvalue()
