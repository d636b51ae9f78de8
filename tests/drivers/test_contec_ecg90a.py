"""ECG90A files: exact leads, nothing of the patient given on, valid objects of equal samples."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread

from drivers.base import readings_of
from drivers.contec_ecg90a.codec import decode, stored_form
from drivers.contec_ecg90a.recording import LONGEST_S, RATE_HZ, parse
from drivers.contec_ecg90a.simulator import UNSET_CLOCK, file_of, heart
from drivers.dicom.waveform import LONGEST
from drivers.errors import ProtocolFault

DCIODVFY = shutil.which("dciodvfy")
REAL = os.environ.get("QAFILA_ECG90A_FILE")
MORNING = datetime(2026, 3, 14, 9, 26, 53)  # noqa: DTZ001 - a device's clock knows no zone
TWELVE = ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"]
CODES = ["2:1", "2:2", "2:61", "2:62", "2:63", "2:64", *(f"2:{n}" for n in range(3, 9))]

number = st.one_of(st.none(), st.integers(-2047, 2047))
instants = st.lists(st.tuples(*[number] * 8), min_size=1, max_size=30)


def read(content: bytes) -> Any:
    return dcmread(BytesIO(content))


def microvolts(content: bytes) -> list[list[Fraction | None]]:
    """The traces from the file alone, exactly."""
    (group,) = read(content).WaveformSequence
    count = group.NumberOfWaveformChannels
    words = memoryview(group.WaveformData).cast("h")
    none = -0x8000 if "WaveformPaddingValue" in group else None
    return [
        [
            None
            if word == none
            else word * Fraction(str(c.ChannelSensitivity)) + Fraction(str(c.ChannelBaseline))
            for word in words[place::count]
        ]
        for place, c in enumerate(group.ChannelDefinitionSequence)
    ]


def joined(contents: list[bytes]) -> list[list[Fraction | None]]:
    parts = [microvolts(content) for content in contents]
    return [[uv for part in parts for uv in part[lead]] for lead in range(12)]


def twelve(instant: tuple[int | None, ...]) -> list[Fraction | None]:
    """The twelve leads in microvolts by the definitions of Einthoven and Goldberger."""
    ii, iii, *chest = (None if n is None else Fraction(5 * n) for n in instant)
    if ii is None or iii is None:
        return [None, ii, iii, None, None, None, *chest]
    i = ii - iii
    return [i, ii, iii, -(i + ii) / 2, (i - iii) / 2, (ii + iii) / 2, *chest]


@given(instants)
def test_stored_object_holds_every_lead_exactly(drawn: list[tuple[int | None, ...]]) -> None:
    contents = [blob.content for blob in stored_form(file_of(drawn, MORNING)).blobs]
    expected = [list(lane) for lane in zip(*map(twelve, drawn), strict=True)]
    assert joined(contents) == expected


def test_leads_are_named_by_the_standard_and_the_derived_ones_say_so() -> None:
    (blob,) = stored_form(file_of(heart(800), MORNING)).blobs
    (group,) = read(blob.content).WaveformSequence
    channels = group.ChannelDefinitionSequence
    sources = [channel.ChannelSourceSequence[0] for channel in channels]
    assert [source.CodeMeaning for source in sources] == [f"Lead {name}" for name in TWELVE]
    assert [source.CodeValue for source in sources] == CODES
    assert {source.CodingSchemeDesignator for source in sources} == {"MDC"}
    derived = [
        n for n, c in zip(TWELVE, channels, strict=True) if c.get("ChannelDerivationDescription")
    ]
    assert derived == ["I", "aVR", "aVL", "aVF"]


@pytest.mark.skipif(DCIODVFY is None, reason="dciodvfy (Debian package dicom3tools) is missing")
@pytest.mark.parametrize("gap", [False, True], ids=["whole", "gap"])
@pytest.mark.parametrize("samples", [400, LONGEST + 100], ids=["short", "split"])
def test_validator_finds_no_error(samples: int, gap: bool, tmp_path: Path) -> None:  # noqa: FBT001
    drawn: list[list[int | None]] = [list(instant) for instant in heart(samples)]
    if gap:
        drawn[7][0] = drawn[-3][4] = None
    for blob in stored_form(file_of(drawn, MORNING)).blobs:
        file = tmp_path / "ecg.dcm"
        file.write_bytes(blob.content)
        said = subprocess.run([str(DCIODVFY), file], capture_output=True, text=True, check=False)
        assert "TwelveLeadECG" in said.stderr
        assert "Error" not in said.stderr
        assert said.returncode == 0


def test_long_recording_becomes_several_instances_of_one_series_without_loss() -> None:
    drawn = heart(2 * LONGEST + 5)
    measurement = stored_form(file_of(drawn, MORNING))
    parts = [read(blob.content) for blob in measurement.blobs]
    assert [each.WaveformSequence[0].NumberOfWaveformSamples for each in parts] == [
        LONGEST,
        LONGEST,
        5,
    ]
    assert len({each.SOPInstanceUID for each in parts}) == 3
    assert len({each.SeriesInstanceUID for each in parts}) == 1
    assert [int(each.InstanceNumber) for each in parts] == [1, 2, 3]
    assert len({blob.role for blob in measurement.blobs}) == 3
    assert [each.AcquisitionDateTime for each in parts] == [
        "20260314092653.000000",
        "20260314092713.480000",
        "20260314092733.960000",
    ]
    ii = joined([blob.content for blob in measurement.blobs])[1]
    assert ii == [5 * instant[0] for instant in drawn]
    assert measurement.duration == Decimal(2 * LONGEST + 5) / RATE_HZ


def test_same_file_makes_the_same_objects_and_is_known_again() -> None:
    raw = file_of(heart(100), MORNING)
    once, again = stored_form(raw), stored_form(bytes(raw))
    assert once == again
    assert once.repeatable
    other = stored_form(file_of(heart(101), MORNING))
    first, second = (read(each.blobs[0].content).SOPInstanceUID for each in (once, other))
    assert first != second


def test_patient_of_the_header_is_neither_in_the_object_nor_in_the_reading() -> None:
    raw = file_of(heart(100), MORNING, case="CASE777", name="Aicha B.")
    measurement = stored_form(raw)
    (blob,) = measurement.blobs
    for secret in (b"Aicha", b"CASE777"):
        assert secret in raw
        assert secret not in blob.content
        assert secret.decode() not in repr(measurement)
    instance = read(blob.content)
    assert (instance.PatientName, instance.PatientSex) == ("", "")
    assert re.fullmatch(r"qafila-[0-9a-f]{32}", instance.PatientID)


def test_clock_that_says_no_date_is_flagged_and_never_repaired() -> None:
    (reading,) = readings_of(decode(file_of(heart(1), UNSET_CLOCK)))
    assert reading.device_time is None
    assert "clock-invalid" in reading.quality
    (reading,) = readings_of(decode(file_of(heart(1), "2000-01-01 00:00:09")))
    assert reading.device_time is not None
    assert not reading.clock_trusted
    (reading,) = readings_of(decode(file_of(heart(1), MORNING)))
    assert (reading.device_time, reading.clock_trusted) == (MORNING, True)


@pytest.mark.parametrize("lost", [1, 15, 16, 37, 53, 160])
def test_cut_file_is_refused(lost: int) -> None:
    raw = file_of([(1,) * 8] * 40, MORNING)
    parse(raw)
    with pytest.raises(ProtocolFault, match="cut off"):
        parse(raw[:-lost])


def test_huge_file_is_refused_before_it_is_looked_into() -> None:
    with pytest.raises(ProtocolFault, match="longer than"):
        parse(bytes(80 + 16 * (LONGEST_S * RATE_HZ + 1)))


@pytest.mark.parametrize("raw", [b"", b"\xff\xd8\xff", bytes(96), b"PK\x03\x04" * 40])
def test_foreign_file_is_refused(raw: bytes) -> None:
    with pytest.raises(ProtocolFault, match=r"not a recording of an ECG90A\.$"):
        parse(raw)


@pytest.mark.skipif(REAL is None, reason="QAFILA_ECG90A_FILE names no real recording")
def test_real_recording_is_read_whole(tmp_path: Path) -> None:
    measurement = stored_form(Path(str(REAL)).read_bytes())
    content = len(measurement.raw) - 80
    assert measurement.duration == Decimal(content // 16) / RATE_HZ
    lanes = joined([blob.content for blob in measurement.blobs])
    for i, ii, iii, avr, avl, avf in zip(*lanes[:6], strict=True):
        assert None not in {i, ii, iii, avr, avl, avf}
        assert i == ii - iii
        assert avr + avl + avf == 0
    for blob in measurement.blobs if DCIODVFY else ():
        file = tmp_path / "ecg.dcm"
        file.write_bytes(blob.content)
        said = subprocess.run([str(DCIODVFY), file], capture_output=True, text=True, check=False)
        assert "Error" not in said.stderr
