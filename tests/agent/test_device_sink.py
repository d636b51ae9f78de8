"""What a device says of itself, its clock and its moment, on the way into a record."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from agent.board import Board, DeviceState
from agent.clock import now
from agent.recovery import recover
from agent.sightings import Sightings
from agent.sink import DeviceSink
from drivers.base import Device, Identity, Measurement, RawFrame, Value

from .unit import Unit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.store.store import Store

OXIMETER = Device("ble:F1:F1:F1:F1:F1:F1", "pulse-oximeter", "box1-oximeter")
SATURATION: tuple[Value, ...] = (Value("150456", Decimal(97), "%"),)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Unit(tmp_path / "unit").store()
    yield opened
    opened.close()


@pytest.fixture
def board() -> Board:
    made = Board()
    made.devices["box1-oximeter"] = DeviceState("pulse-oximeter", "1", OXIMETER.id)
    return made


@pytest.fixture
def sink(store: Store, board: Board) -> DeviceSink:
    sightings = Sightings(store, board, list)
    return DeviceSink(store, board, "box1-oximeter", OXIMETER, "1", "1", sightings)


def lines(store: Store) -> list[dict[str, Any]]:
    rows = store.reader.execute("SELECT line FROM record ORDER BY lane, seq")
    return [json.loads(row[0]) for row in rows]


async def test_record_says_who_made_the_device_and_how_its_clock_stood(
    sink: DeviceSink, store: Store
) -> None:
    time = datetime(2026, 11, 21, 8)  # noqa: DTZ001 - devices know no time zone
    said = Measurement("oximetry", b"a", SATURATION, device_time=time, clock_offset_ms=-600_000)
    await sink.record(said)
    sink.identify(Identity(manufacturer="Maker", model="Model 7", serial="SN-1"))
    sink.identify(Identity(firmware="1.2"))
    await sink.record(Measurement("oximetry", b"b", SATURATION))
    first, second = lines(store)
    assert first["clock_offset_ms"] == -600_000
    assert second["clock_offset_ms"] is None
    assert first["context"]["device"]["manufacturer"] is None
    assert second["context"]["device"] == {
        "id": OXIMETER.id,
        "name": "box1-oximeter",
        "manufacturer": "Maker",
        "model": "Model 7",
        "serial": "SN-1",
        "firmware": "1.2",
    }


async def test_interval_after_interval_is_an_observation_of_its_own(
    sink: DeviceSink, store: Store
) -> None:
    beats = tuple(Value("147240", Decimal(each), "s") for each in ("0.5", "0.75", "0.5"))
    rate = (Value("147842", Decimal(80), "/min"),)
    await sink.record(Measurement("heart-rate", b"a", rate + beats))
    (line,) = lines(store)
    resources = [entry["resource"] for entry in line["entries"]]
    assert [each["valueQuantity"]["value"] for each in resources] == [80, 0.5, 0.75, 0.5]
    assert len({each["id"] for each in resources}) == 4


async def test_report_of_a_failure_is_a_record_but_no_reading_and_waits_for_no_patient(
    sink: DeviceSink, store: Store, board: Board
) -> None:
    await sink.record(Measurement("oximetry", b"a", absent="not-a-number"))
    await sink.record(Measurement("oximetry", b"b", SATURATION))
    failed, read = lines(store)
    assert (failed["absent"], read["absent"]) == ("not-a-number", None)
    assert board.devices["box1-oximeter"].readings == 1
    summaries = store.reader.execute("SELECT summary FROM record ORDER BY seq").fetchall()
    assert summaries[0] == ("could not be measured",)
    waiting = store.reader.execute("SELECT record_id FROM tray").fetchall()
    assert waiting == [(read["record"],)]


def test_what_is_being_measured_is_on_the_board_and_never_in_the_status(
    sink: DeviceSink, board: Board
) -> None:
    sink.show(SATURATION)
    assert board.devices["box1-oximeter"].live == SATURATION
    assert "live" not in board.shown()["box1-oximeter"]
    assert "97" not in json.dumps(board.shown())
    sink.show(())
    assert board.devices["box1-oximeter"].live == ()


def test_frame_that_a_crash_left_is_decoded_by_the_codec_of_its_source(tmp_path: Path) -> None:
    unit = Unit(tmp_path / "unit")
    frames = (
        (RawFrame("2A5F", bytes.fromhex("0061006000")), OXIMETER),
        (RawFrame("2A9C", bytes.fromhex("0004F500B036")), Device("ble:2", "weight-scale", "s")),
        (RawFrame("2A34", bytes.fromhex("02100001")), Device("ble:3", "glucose-meter", "m")),
    )
    store = unit.store()
    try:
        for frame, device in frames:
            asyncio.run(store.keep(frame, device, "1", now()))
        assert asyncio.run(recover(store)) == len(frames)
        assert {line["kind"] for line in lines(store)} == {"oximetry", "body-weight"}
        rows = store.reader.execute("SELECT outcome FROM frame ORDER BY frame").fetchall()
        assert [row[0] for row in rows] == ["recorded", "recorded", "no-reading"]
    finally:
        store.close()
