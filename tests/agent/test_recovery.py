"""Recovery at start: what a crash left undecoded is decoded, or kept with its reason."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from agent import recovery
from agent.clock import now
from agent.consultations import open_consultation
from agent.recovery import recover
from agent.store.frames import undecoded
from drivers.base import Device, RawFrame
from drivers.blood_pressure import codec
from drivers.healthypi6.simulator import simulate

from .unit import Unit, end, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.store.store import Store
    from drivers.base import Outcome

PLAIN = bytes.fromhex("167c0056006100e807060f11111b33000000")
BEURER = bytes.fromhex("566a0047000000ea07080b121f00003f000000")
CUFF = Device("ble:F1:F1:F1:F1:F1:F1", "blood-pressure", "box1-cuff")
OTHER = Device("ble:F3:F3:F3:F3:F3:F3", "blood-pressure", "box2-cuff")


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[Unit]:
    with Unit(tmp_path / "unit") as unit:
        yield unit


@pytest.fixture
def store(unit: Unit) -> Iterator[Store]:
    opened = unit.store()
    yield opened
    opened.close()


def lines(store: Store) -> list[dict[str, Any]]:
    rows = store.reader.execute("SELECT line FROM record ORDER BY lane, seq")
    return [json.loads(row[0]) for row in rows]


def outcomes(store: Store) -> list[tuple[str | None, str | None]]:
    rows = store.reader.execute("SELECT outcome, reason FROM frame ORDER BY frame")
    return [(row[0], row[1]) for row in rows]


def keep_frames(unit: Unit, *frames: tuple[RawFrame, Device]) -> None:
    """Leave frames as a crash between «kept» and «recorded» does."""
    store = unit.store()
    try:
        for frame, device in frames:
            asyncio.run(store.keep(frame, device, "1", now()))
    finally:
        store.close()


def test_frames_that_a_crash_left_are_readings_after_the_start(unit: Unit) -> None:
    keep_frames(
        unit,
        (RawFrame("2A35", PLAIN, "Any cuff"), CUFF),
        (RawFrame("2A35", BEURER, "Beurer BM85"), OTHER),
        (RawFrame("2A35", BEURER, "Any cuff"), OTHER),
        (RawFrame("2A35", b"\x16", "Any cuff"), CUFF),
    )
    agent = unit.start()
    status = unit.until(lambda _: True, "the agent")
    assert (status["store"]["saved"], status["store"]["undecoded"]) == (2, 0)
    assert status["store"]["quarantined"]["frames"] == 2
    until(lambda: (unit.state / "status.json").exists() or None, "figures")
    told = unit.cli("status")
    assert told.returncode == 1
    for reason in status["store"]["quarantined"]["reasons"]:
        assert reason in told.stdout.splitlines()[1]
    assert "recovered=4" in unit.log.read_text()
    readings = json.loads(unit.cli("readings", "--json").stdout)
    shown = sorted(each["summary"] for each in readings)
    assert "Pulse rate 63 /min" in shown[0]  # big-endian: the quirk found its device by name
    assert "Pulse rate 51 /min" in shown[1]
    assert end(agent) == 0
    again = unit.start()
    assert unit.until(lambda _: True, "the agent")["store"]["saved"] == 2
    assert end(again) == 0
    assert "recovered=0" in unit.log.read_text()


def test_frame_that_came_again_after_the_crash_is_one_reading(unit: Unit) -> None:
    frame = RawFrame("2A35", PLAIN, "Any cuff")
    keep_frames(unit, (frame, CUFF), (frame, CUFF), (frame, OTHER))
    store = unit.store()
    try:
        assert asyncio.run(recover(store)) == 3
        devices = [line["context"]["device"]["id"] for line in lines(store)]
        assert sorted(devices) == [CUFF.id, OTHER.id]
        assert {outcome for outcome, _ in outcomes(store)} == {"recorded"}
    finally:
        store.close()


async def test_report_of_a_failure_that_a_crash_left_is_stored_as_such(store: Store) -> None:
    failed = bytes.fromhex("16ff07ff07ff07e807060f11111bff070200")
    await store.keep(RawFrame("2A35", PLAIN), CUFF, "1", now())
    await store.keep(RawFrame("2A35", failed), CUFF, "1", now())
    await recover(store)
    assert [line["absent"] for line in lines(store)] == [None, "not-a-number"]
    assert {outcome for outcome, _ in outcomes(store)} == {"recorded"}


async def test_recovered_reading_keeps_the_moment_and_the_box_of_its_arrival(store: Store) -> None:
    stamp = now()
    await store.keep(RawFrame("2A35", PLAIN), CUFF, "7", stamp)
    await recover(store)
    (line,) = lines(store)
    assert line["context"]["box"] == "7"
    assert line["context"]["mono_ns"] == stamp.mono_ns
    assert line["context"]["boot"] == stamp.boot


async def test_recovered_reading_waits_in_the_tray_where_its_consultation_is_over(
    store: Store,
) -> None:
    await store.keep(RawFrame("2A35", PLAIN), CUFF, "1", now())
    await recover(store)
    (line,) = lines(store)
    assert line["context"]["consultation"] is None
    (why,) = store.reader.execute("SELECT why FROM tray").fetchone()
    assert why == "no consultation was open in this box"


async def test_ecg_frames_of_a_crash_become_one_recording(store: Store) -> None:
    await keep_ecg(store)
    await recover(store)
    (line,) = lines(store)
    assert line["kind"] == "ecg"
    assert "cut-short" in line["quality"]
    assert {outcome for outcome, _ in outcomes(store)} == {"recorded"}
    assert undecoded(store.reader) == []


async def keep_ecg(store: Store) -> None:
    """Four seconds of an ECG that was cut, in four frames."""
    device = Device("port:/dev/ecg", "healthypi6", "box1-ecg")
    blocks = [raw for _, raw in simulate(4.0)]
    for second in range(4):
        part = blocks[second * len(blocks) // 4 : (second + 1) * len(blocks) // 4]
        await store.keep(RawFrame("healthypi6", b"".join(part)), device, "1", now())


async def test_bug_in_a_decoder_stops_neither_the_others_nor_the_start(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def buggy(raw: bytes, *, name: str | None = None) -> Outcome:
        if raw == BEURER:
            raise ZeroDivisionError
        return codec.decode(raw, name=name)

    monkeypatch.setattr(recovery, "decoder", lambda *_: buggy)
    await store.keep(RawFrame("2A35", BEURER, "Beurer BM85"), CUFF, "1", now())
    await store.keep(RawFrame("2A35", PLAIN), CUFF, "1", now())
    assert await recover(store) == 2
    assert outcomes(store) == [
        ("quarantined", "the program has a fault here: see the journal"),
        ("recorded", None),
    ]
    (content,) = store.reader.execute("SELECT content FROM frame WHERE frame = 1").fetchone()
    assert content == BEURER


async def test_bug_in_recording_keeps_the_frame_with_its_reason(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.store.log.record_line", lambda *_: 1 / 0)
    await store.keep(RawFrame("2A35", PLAIN), CUFF, "1", now())
    await recover(store)
    assert outcomes(store) == [("quarantined", "the program has a fault here: see the journal")]


async def test_frame_of_a_driver_that_is_gone_is_kept_and_shown(store: Store) -> None:
    await store.keep(RawFrame("2A99", PLAIN), Device("ble:F9", "telepathy"), "1", now())
    await recover(store)
    assert outcomes(store) == [("quarantined", "no driver is called telepathy any more")]


async def test_full_disk_puts_recovery_off_and_starts_all_the_same(store: Store) -> None:
    await keep_ecg(store)
    (pages,) = store.reader.execute("PRAGMA page_count").fetchone()
    await limit_pages(store, 1)
    await recover(store)
    assert outcomes(store) == [(None, None)] * 4
    assert lines(store) == []
    await limit_pages(store, 10 * pages)
    await recover(store)
    assert outcomes(store) == [("recorded", None)] * 4
    assert len(lines(store)) == 1


async def limit_pages(store: Store, pages: int) -> None:
    """The database may not grow beyond its size, or this: SQLite's own full disk."""
    await store.writer.write(
        lambda connection: connection.execute(f"PRAGMA max_page_count = {pages}").fetchone()
    )


async def test_conflict_in_recovery_is_quarantined(store: Store) -> None:
    def plant(connection: Any) -> None:
        connection.execute("UPDATE identity SET raw_sha256 = x'00'")

    await store.keep(RawFrame("2A35", PLAIN), CUFF, "1", now())
    await recover(store)
    await store.writer.write(plant)
    await store.keep(RawFrame("2A35", PLAIN), CUFF, "1", now())
    await recover(store)
    assert outcomes(store)[1] == ("quarantined", "the same reading came before with other bytes")


async def test_recovered_reading_of_an_open_consultation_belongs_to_it(store: Store) -> None:
    opened = await store.writer.write(
        lambda connection: open_consultation(connection, "1", "patient", "nurse")
    )
    thermometer = Device("ble:F2:F2:F2:F2:F2:F2", "thermometer", "box1-thermometer")
    await store.keep(RawFrame("2A1C", bytes.fromhex("04740100ff03")), thermometer, "1", now())
    await recover(store)
    (line,) = lines(store)
    assert line["context"]["consultation"] == opened
