"""ECG objects: valid by an independent validator, equal to the samples that went in."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from io import BytesIO
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread

from drivers.base import Device
from drivers.dicom.waveform import LEAD_I, LEAD_II, LEAD_V1, Scale, Trace, ecg_object
from drivers.healthypi6.simulator import lead_values

if TYPE_CHECKING:
    from pathlib import Path

DCIODVFY = shutil.which("dciodvfy")
NOON = datetime(2026, 11, 22, 15, 0, 0, 250_000, tzinfo=timezone(timedelta(hours=3)))
DEVICE = Device(
    "usb:1", "healthypi6", manufacturer="ProtoCentral", model="HealthyPi 6", serial="0042"
)

lane = st.lists(st.one_of(st.none(), st.integers(-(2**31), 2**31 - 1)), min_size=1, max_size=50)


@dataclass(frozen=True)
class Short:
    traces: tuple[Trace, ...]
    raw: bytes = b"blocks"
    rate_hz: int = 500


def three_leads(*, gap: bool = False, lift: int = 0) -> Short:
    instants = [lead_values(n / 500) for n in range(1000)]
    lanes: list[list[int | None]] = [[lift + uv for uv in lane] for lane in zip(*instants)]  # noqa: B905
    if gap:
        for each in lanes:
            each[300:332] = [None] * 32
    leads = (LEAD_I, LEAD_II, LEAD_V1)
    return Short(tuple(Trace(lead, each) for lead, each in zip(leads, lanes, strict=True)))


def read(content: bytes) -> Any:
    return dcmread(BytesIO(content))


def microvolts(content: bytes) -> list[list[float | None]]:
    """The traces as any viewer would read them: from the file alone."""
    (group,) = read(content).WaveformSequence
    count = group.NumberOfWaveformChannels
    words = memoryview(group.WaveformData).cast("h")
    assert len(words) == count * group.NumberOfWaveformSamples
    padding = group.get("WaveformPaddingValue")
    none = int.from_bytes(padding, "little", signed=True) if padding else None
    return [
        [
            None
            if word == none
            else word * float(channel.ChannelSensitivity) + float(channel.ChannelBaseline)
            for word in words[n::count]
        ]
        for n, channel in enumerate(group.ChannelDefinitionSequence)
    ]


@pytest.mark.skipif(DCIODVFY is None, reason="dciodvfy (Debian package dicom3tools) is missing")
@pytest.mark.parametrize("patient_id", ["", "0198c6a1-opaque"])
@pytest.mark.parametrize(
    "recording",
    [
        three_leads(),
        three_leads(gap=True, lift=400_000),
        Short((Trace(LEAD_I, [0, 2**31 - 1]), Trace(LEAD_II, [0, -(2**31)], doubtful=True))),
    ],
    ids=["plain", "gap-and-offset", "extreme"],
)
def test_validator_finds_no_error(recording: Short, patient_id: str, tmp_path: Path) -> None:
    file = tmp_path / "ecg.dcm"
    file.write_bytes(ecg_object(recording, acquired=NOON, device=DEVICE, patient_id=patient_id))
    said = subprocess.run([str(DCIODVFY), file], capture_output=True, text=True, check=False)
    assert "GeneralECG" in said.stderr
    assert "Error" not in said.stderr
    assert said.returncode == 0


@pytest.mark.skipif(DCIODVFY is None, reason="dciodvfy (Debian package dicom3tools) is missing")
def test_validator_misses_only_the_time_where_none_is_known(tmp_path: Path) -> None:
    file = tmp_path / "ecg.dcm"
    file.write_bytes(ecg_object(three_leads(), acquired=None, device=DEVICE))
    said = subprocess.run([str(DCIODVFY), file], capture_output=True, text=True, check=False)
    errors = [line for line in said.stderr.splitlines() if line.startswith("Error")]
    missing = ["ContentDate", "ContentTime", "AcquisitionDateTime"]
    assert [name in line for name, line in zip(missing, errors, strict=True)] == [True] * 3


@pytest.mark.parametrize("lift", [0, 31_000, -400_000, 2**30])
def test_samples_come_back_equal(lift: int) -> None:
    recording = three_leads(gap=True, lift=lift)
    back = microvolts(ecg_object(recording, acquired=NOON, device=DEVICE))
    assert back == [list(trace.samples) for trace in recording.traces]


@given(lane)
def test_nothing_clips_and_rounding_stays_within_half_a_step(samples: list[int | None]) -> None:
    recording = Short((Trace(LEAD_I, samples),))
    (back,) = microvolts(ecg_object(recording, acquired=None, device=DEVICE))
    scale = Scale.of(samples)
    present = [s for s in samples if s is not None] or [0]
    assert (scale.sensitivity == 1) or max(present) - min(present) > 65_534
    for said, got in zip(samples, back, strict=True):
        assert (said is None) == (got is None)
        if said is not None and got is not None:
            assert abs(said - got) <= scale.sensitivity / 2


def test_padding_is_declared_only_where_there_are_gaps() -> None:
    for gap in (False, True):
        instance = read(ecg_object(three_leads(gap=gap), acquired=NOON, device=DEVICE))
        assert ("WaveformPaddingValue" in instance.WaveformSequence[0]) is gap


def test_only_measured_leads_are_named_and_a_doubtful_one_is_said() -> None:
    traces = (Trace(LEAD_I, [1]), Trace(LEAD_V1, [2], doubtful=True))
    instance = read(ecg_object(Short(traces), acquired=NOON, device=DEVICE))
    channels = instance.WaveformSequence[0].ChannelDefinitionSequence
    sources = [channel.ChannelSourceSequence[0] for channel in channels]
    assert [(s.CodeValue, s.CodingSchemeDesignator) for s in sources] == [
        ("2:1", "MDC"),
        ("2:3", "MDC"),
    ]
    assert [channel.get("ChannelStatus") for channel in channels] == [None, "QUESTIONABLE"]


def test_patient_is_opaque_and_has_no_name() -> None:
    named = read(ecg_object(three_leads(), acquired=NOON, device=DEVICE, patient_id="0198c6a1"))
    blank, again, later = (
        read(ecg_object(three_leads(), acquired=when, device=DEVICE)).PatientID
        for when in (NOON, NOON, NOON + timedelta(seconds=1))
    )
    assert named.PatientID == "0198c6a1"
    assert blank.startswith("qafila-")
    assert blank == again != later
    assert (named.PatientName, named.PatientBirthDate, named.PatientSex) == ("", "", "")


def test_time_is_written_in_utc_with_its_offset() -> None:
    instance = read(ecg_object(three_leads(), acquired=NOON, device=DEVICE))
    assert instance.AcquisitionDateTime == "20261122120000.250000+0000"
    assert (instance.ContentDate, instance.ContentTime) == ("20261122", "120000.250000")
    assert instance.TimezoneOffsetFromUTC == "+0000"


def test_same_recording_makes_the_same_bytes() -> None:
    def once() -> bytes:
        return ecg_object(three_leads(gap=True), acquired=NOON, device=DEVICE)

    assert once() == once()
    same_instant = ecg_object(three_leads(gap=True), acquired=NOON.astimezone(UTC), device=DEVICE)
    assert once() == same_instant


def test_other_bytes_time_or_device_make_another_instance() -> None:
    plain = three_leads()
    objects = [
        ecg_object(plain, acquired=NOON, device=DEVICE),
        ecg_object(plain, acquired=None, device=DEVICE),
        ecg_object(plain, acquired=NOON, device=Device("usb:2", "healthypi6")),
        ecg_object(Short(plain.traces, raw=b"others"), acquired=NOON, device=DEVICE),
    ]
    roles = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
    uids = [read(content)[role].value for content in objects for role in roles]
    assert len(set(uids)) == len(uids)
    assert all(uid.startswith("2.25.") and uid.is_valid for uid in uids)


def test_pydicom_is_loaded_only_when_an_object_is_made() -> None:
    code = "import sys, drivers.healthypi6.codec; sys.exit('pydicom' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
