"""What every object of ours has: fixed UIDs, an opaque patient, its time, its device.

UIDs are fixed before an object is written: they follow from what the device said, so that a
retry makes the same object and the platform takes it once (PS3.5 B.2, UUID-derived UIDs).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from io import BytesIO
from typing import TYPE_CHECKING
from uuid import UUID, uuid5

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from drivers.base import Device

MEDIA_TYPE = "application/dicom"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"

_UIDS = UUID("5a2f3a2b-466e-43b4-a366-68d922971512")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an object is from: what the device said, when it began, and which device.

    `acquired` is aware and then written in UTC; a naive one is the device's own clock, whose
    zone nobody knows, and is written without an offset. Without any time ContentDate,
    ContentTime and AcquisitionDateTime are left empty, which a validator will say.
    `patient_id` is opaque; no name ever enters an object. Where it is not known yet, the object
    has an id of its own: archives put those with an empty one together as one patient.
    """

    raw: bytes = field(repr=False)
    acquired: datetime | None
    device: Device
    patient_id: str = ""

    @property
    def when(self) -> datetime | None:
        """The time as it is written."""
        aware = self.acquired is not None and self.acquired.tzinfo is not None
        return self.acquired.astimezone(UTC) if self.acquired and aware else self.acquired

    @property
    def seed(self) -> str:
        """Two runs of a simulator say the same bytes: place and time tell them apart."""
        when = self.when.isoformat() if self.when else ""
        return f"{self.device.id} {when} {sha256(self.raw).hexdigest()}"


def uid(role: str, seed: str) -> str:
    """A UID that follows from its role and what it stands for."""
    return f"2.25.{uuid5(_UIDS, f'{role} {seed}').int}"


def nobody(seed: str) -> str:
    """The PatientID of whoever is not known: it stands for this one recording or picture."""
    return f"qafila-{uuid5(_UIDS, f'patient {seed}').hex}"


def begin(origin: Origin, sop_class: str, modality: str, number: int = 1) -> Dataset:
    """An object with patient, study, series, equipment and SOP common (PS3.3 C.7.1 to C.7.5).

    `number` is its place in the series, from 1.
    """
    from pydicom.dataset import Dataset  # noqa: PLC0415 - loaded by those who make objects only

    instance = Dataset()
    role = "instance" if number == 1 else f"instance {number}"
    instance.SOPClassUID = sop_class
    instance.SOPInstanceUID = uid(role, origin.seed)
    instance.SeriesInstanceUID = uid("series", origin.seed)
    instance.StudyInstanceUID = uid("study", origin.seed)
    instance.StudyID = instance.AccessionNumber = instance.ReferringPhysicianName = ""
    instance.SeriesNumber = "1"
    instance.InstanceNumber = str(number)
    instance.StudyDate, instance.StudyTime = _day_and_time(origin.when)
    instance.PatientName = instance.PatientBirthDate = instance.PatientSex = ""
    instance.PatientID = origin.patient_id or nobody(origin.seed)
    instance.Modality = modality
    instance.AcquisitionContextSequence = []
    _describe(instance, origin.device)
    return instance


def date_content(instance: Dataset, when: datetime | None) -> None:
    """Date what the object holds: `when` is aware in UTC, or naive, or unknown."""
    day, time = _day_and_time(when)
    offset = "+0000" if when and when.tzinfo else ""
    if offset:
        instance.TimezoneOffsetFromUTC = offset
    instance.ContentDate, instance.ContentTime = day, time
    instance.AcquisitionDateTime = f"{day}{time}{offset}"


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """One item of a code sequence (PS3.3 8.8)."""
    from pydicom.dataset import Dataset  # noqa: PLC0415

    item = Dataset()
    item.CodeValue = value
    item.CodingSchemeDesignator = scheme
    item.CodeMeaning = meaning
    return item


def written(instance: Dataset, transfer_syntax: str = EXPLICIT_LITTLE_ENDIAN) -> bytes:
    """The object as a file (PS3.10)."""
    from pydicom.dataset import FileMetaDataset  # noqa: PLC0415
    from pydicom.uid import UID  # noqa: PLC0415

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = instance.SOPClassUID
    meta.MediaStorageSOPInstanceUID = instance.SOPInstanceUID
    meta.TransferSyntaxUID = UID(transfer_syntax)
    meta.ImplementationClassUID = UID(uid("implementation", "qafila"))
    meta.ImplementationVersionName = "QAFILA"
    instance.file_meta = meta
    content = BytesIO()
    instance.save_as(content, enforce_file_format=True)
    return content.getvalue()


def _day_and_time(when: datetime | None) -> tuple[str, str]:
    if when is None:
        return "", ""
    return when.strftime("%Y%m%d"), when.strftime("%H%M%S.%f")


def _describe(instance: Dataset, device: Device) -> None:
    instance.Manufacturer = device.manufacturer or ""
    if device.model:
        instance.ManufacturerModelName = device.model
    if device.serial:
        instance.DeviceSerialNumber = device.serial
    if device.firmware:
        instance.SoftwareVersions = device.firmware
