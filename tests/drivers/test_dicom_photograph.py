"""Photographs as DICOM: valid, and the JPEG inside equal to the camera's byte for byte."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from pydicom import dcmread
from pydicom.encaps import generate_frames

from drivers.base import Device
from drivers.dermatoscope.picture import Form, develop
from drivers.dermatoscope.simulator import lesion, without_tables
from drivers.dicom.instance import Origin
from drivers.dicom.photograph import Photograph, Picture, photograph_object
from drivers.lab.camera import encode
from drivers.links.camera import check

if TYPE_CHECKING:
    from pathlib import Path

DCIODVFY = shutil.which("dciodvfy")
NOON = datetime(2026, 11, 22, 12, 0, 0, 250_000, tzinfo=UTC)
JPEG = encode(lesion(1, 64, 48))
NAMED = Device("a", "dermatoscope", None, "Firefly", "DE300", "77", "1.2")


def picture(components: int = 3) -> Picture:
    return Picture(JPEG, 64, 48, components)


def read(content: bytes) -> Any:
    return dcmread(BytesIO(content))


def jpeg_in(content: bytes) -> bytes:
    (frame,) = generate_frames(read(content).PixelData, number_of_frames=1)
    return frame


@pytest.mark.skipif(DCIODVFY is None, reason="dciodvfy (Debian package dicom3tools) is missing")
@pytest.mark.parametrize("device", [Device("", "dermatoscope"), NAMED], ids=["unknown", "named"])
@pytest.mark.parametrize("form", Photograph)
def test_validator_finds_no_error(form: Photograph, device: Device, tmp_path: Path) -> None:
    file = tmp_path / "picture.dcm"
    file.write_bytes(photograph_object(picture(), Origin(JPEG, NOON, device), form))
    said = subprocess.run([str(DCIODVFY), file], capture_output=True, text=True, check=False)
    named = {"VL_PHOTOGRAPHIC": "VLPhotographic", "DERMOSCOPIC": "DermoscopicPhotography"}
    assert named[form.name] in said.stderr
    assert "Error" not in said.stderr
    assert said.returncode == 0


@pytest.mark.parametrize("form", [Form.VL_PHOTOGRAPHIC, Form.DERMOSCOPIC])
@pytest.mark.parametrize("odd", [False, True])
def test_jpeg_inside_is_the_cameras_own(form: Form, odd: bool) -> None:  # noqa: FBT001
    jpeg = JPEG if (len(JPEG) % 2 == 1) is odd else JPEG[:2] + b"\xff\xfe\x00\x03x" + JPEG[2:]
    measurement = develop(jpeg, form, NOON)
    (blob,) = measurement.blobs
    assert measurement.raw == jpeg
    assert blob.media_type == "application/dicom"
    assert jpeg_in(blob.content).rstrip(b"\x00") == jpeg
    instance = read(blob.content)
    assert (instance.Rows, instance.Columns, instance.SamplesPerPixel) == (48, 64, 3)
    assert instance.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.50"
    check(jpeg_in(blob.content))


def test_jpeg_without_tables_is_whole_inside_the_object() -> None:
    measurement = develop(without_tables(JPEG), Form.VL_PHOTOGRAPHIC, NOON)
    (inside,) = (jpeg_in(blob.content) for blob in measurement.blobs)
    (outside,) = develop(without_tables(JPEG), Form.JPEG, NOON).blobs
    assert inside.rstrip(b"\x00") == outside.content


def test_jpeg_form_holds_the_jpeg_alone() -> None:
    (blob,) = develop(JPEG, Form.JPEG, NOON).blobs
    assert (blob.content, blob.media_type) == (JPEG, "image/jpeg")


def test_uids_are_fixed_by_what_was_taken_and_when() -> None:
    def made(raw: bytes, when: datetime) -> bytes:
        return photograph_object(picture(), Origin(raw, when, NAMED), Photograph.DERMOSCOPIC)

    assert made(JPEG, NOON) == made(JPEG, NOON)
    others = [made(JPEG, NOON), made(JPEG + b"x", NOON), made(JPEG, NOON.replace(second=1))]
    uids = {read(content).SOPInstanceUID for content in others}
    assert len(uids) == 3
    assert all(uid.is_valid and uid.startswith("2.25.") for uid in uids)


def test_grey_picture_has_no_dermoscopic_form() -> None:
    content = photograph_object(picture(1), Origin(JPEG, NOON, NAMED), Photograph.DERMOSCOPIC)
    instance = read(content)
    assert instance.SOPClassUID == "1.2.840.10008.5.1.4.1.1.77.1.4"
    assert instance.PhotometricInterpretation == "MONOCHROME2"


def test_no_name_and_an_opaque_patient() -> None:
    origin = Origin(JPEG, NOON, NAMED, "0198c6a1-opaque")
    instance = read(photograph_object(picture(), origin, Photograph.VL_PHOTOGRAPHIC))
    assert (instance.PatientID, instance.PatientName) == ("0198c6a1-opaque", "")
    assert instance.AcquisitionDateTime == "20261122120000.250000+0000"
