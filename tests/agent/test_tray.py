"""Whose reading it is: the consultation open in its own box when it was taken, or the tray's."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from agent import consultations, sink
from agent.board import Board, DeviceState
from agent.clock import Stamp
from agent.consultations import BoxBusy, close_consultation, open_boxes, open_consultation
from agent.sightings import Sightings
from agent.sink import DeviceSink
from drivers.base import Decoded, Device, Measurement, Value
from drivers.card import decoder
from tests.contract.cases import CAPTURES, load

from .unit import Unit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.store.store import Store

MORNING = datetime(2026, 11, 22, 9, tzinfo=UTC)


@dataclass
class Clock:
    """The unit's clock, set by hand; minutes since nine."""

    minute: float = 0.0

    def __call__(self) -> Stamp:
        wall = MORNING + timedelta(minutes=self.minute)
        return Stamp("boot", int(self.minute * 60e9), wall, "synchronised")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(consultations, "now", made)
    monkeypatch.setattr(sink, "now", made)
    return made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Unit(tmp_path / "unit").store()
    yield opened
    opened.close()


def cuff(store: Store, box: str | None, number: int = 1) -> DeviceSink:
    name = f"cuff-{number}"
    board = Board()
    board.devices[name] = DeviceState("blood-pressure", box, "at")
    device = Device(f"ble:F{number}", "blood-pressure", name)
    return DeviceSink(store, board, name, device, box, "1", Sightings(store, board, list))


def said(number: int, minute: float | None = None) -> Measurement:
    """A pressure; `minute` is the device's own time since nine, None where it knows none."""
    return Measurement(
        "blood-pressure",
        number.to_bytes(4, "big"),
        (Value("150021", Decimal(number), "mm[Hg]"),),
        device_time=(
            None
            if minute is None
            else MORNING.astimezone(UTC).replace(tzinfo=None) + timedelta(minutes=minute)
        ),
        clock_trusted=minute is not None,
    )


async def opened(store: Store, box: str, patient: str = "patient") -> str:
    return await store.writer.write(lambda c: open_consultation(c, box, patient, "nurse"))


async def closed(store: Store, box: str) -> bool:
    return await store.writer.write(lambda c: close_consultation(c, box))


def where(store: Store) -> list[tuple[str | None, str | None]]:
    """Each record's consultation, and why it is in the tray."""
    rows = store.reader.execute(
        "SELECT consultation, why FROM record LEFT JOIN tray USING (record_id) ORDER BY seq"
    )
    return [(row[0], row[1]) for row in rows]


def subjects(store: Store) -> list[set[str]]:
    """The patients that each record's resources name."""
    found = []
    for (line,) in store.reader.execute("SELECT line FROM record ORDER BY seq"):
        resources = [entry["resource"] for entry in json.loads(line)["entries"]]
        found.append({each["subject"]["reference"] for each in resources if "subject" in each})
    return found


@pytest.mark.usefixtures("clock")
async def test_box_without_a_consultation_gives_to_the_tray(store: Store) -> None:
    await cuff(store, "1").record(said(120))
    await cuff(store, None, 2).record(said(121))
    assert where(store) == [
        (None, "no consultation was open in this box"),
        (None, "the device is bound to no box"),
    ]
    assert subjects(store) == [set(), set()]


@pytest.mark.usefixtures("clock")
async def test_open_consultation_gets_the_readings_of_its_own_box_only(store: Store) -> None:
    second = await opened(store, "2", "second")
    await cuff(store, "1", 1).record(said(120))
    await cuff(store, "2", 2).record(said(121))
    first = await opened(store, "1", "first")
    await cuff(store, "1", 1).record(said(122))
    await cuff(store, "2", 2).record(said(123))
    assert [whose for whose, _ in where(store)] == [None, second, first, second]
    assert subjects(store) == [set(), {"Patient/second"}, {"Patient/first"}, {"Patient/second"}]


async def test_reading_older_than_the_open_consultation_goes_to_the_tray(
    store: Store, clock: Clock
) -> None:
    clock.minute = 30
    mine = await opened(store, "1")
    clock.minute = 31
    await cuff(store, "1").record(said(120, minute=10))
    await cuff(store, "1").record(said(121, minute=30.5))
    assert where(store) == [
        (None, "the reading is older than the open consultation"),
        (mine, None),
    ]


async def test_reading_of_a_closed_consultation_is_not_given_to_it(
    store: Store, clock: Clock
) -> None:
    await opened(store, "1")
    clock.minute = 5
    assert await closed(store, "1")
    assert not await closed(store, "1")
    await cuff(store, "1").record(said(120, minute=2))
    assert where(store) == [(None, "no consultation was open in this box")]


async def test_reading_of_the_patient_before_is_not_given_to_the_next(
    store: Store, clock: Clock
) -> None:
    """The nurse is quicker than the cuff: it measured the first and tells it to the second."""
    await opened(store, "1", "first")
    clock.minute = 5
    await closed(store, "1")
    clock.minute = 5.5
    await opened(store, "1", "second")
    clock.minute = 5.6
    await cuff(store, "1").record(said(120, minute=4.5))
    ((whose, why),) = where(store)
    assert (whose, subjects(store)) == (None, [set()])
    assert why


async def test_box_has_one_consultation_at_a_time(store: Store, clock: Clock) -> None:
    await opened(store, "1")
    with pytest.raises(BoxBusy, match="a consultation is open in box 1: close it first"):
        await opened(store, "1", "another")
    clock.minute = 1
    await closed(store, "1")
    await opened(store, "1", "another")
    await opened(store, "2")
    assert open_boxes(store.reader) == ["1", "2"]


async def test_in_a_busy_day_no_reading_ever_changes_its_box(store: Store, clock: Clock) -> None:
    chance = random.Random(7)
    boxes = ("1", "2", "3")
    cuffs = {box: cuff(store, box, int(box)) for box in boxes}
    state: dict[str, str | None] = dict.fromkeys(boxes)
    due: list[str | None] = []
    for step in range(300):
        clock.minute = 10.0 * step
        box = chance.choice(boxes)
        if chance.random() < 0.4:
            if state[box] is None:
                state[box] = await opened(store, box, f"patient-{step}")
            else:
                await closed(store, box)
                state[box] = None
        else:
            await cuffs[box].record(said(step, minute=clock.minute - 0.1))
            due.append(state[box])
    assert [whose for whose, _ in where(store)] == due
    lines = store.reader.execute("SELECT line FROM record ORDER BY seq").fetchall()
    assert [json.loads(line)["context"]["consultation"] for (line,) in lines] == due
    assert len(set(due)) > 20


@pytest.mark.usefixtures("clock")
async def test_reading_of_a_clock_that_can_not_be_believed_is_given_to_nobody(
    store: Store,
) -> None:
    """A cuff with a wrong year tells a stored reading and a new one alike."""
    await opened(store, "1")
    year = 365 * 24 * 60
    await cuff(store, "1").record(said(120, minute=-year))
    await cuff(store, "1").record(replace(said(121, minute=0.0), clock_trusted=False))
    why = "the device's clock can't be believed, and it may have lain in the device"
    assert where(store) == [(None, why), (None, why)]


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(
    "capture",
    [
        "glucose-meter/date-unknown",
        "microlife/answer-without-time",
        "omron-memory/derived-bp6-second-63",
    ],
)
async def test_reading_out_of_a_memory_that_tells_no_time_is_given_to_nobody(
    store: Store, capture: str
) -> None:
    """It may be of whoever sat here yesterday."""
    case = load(CAPTURES / capture)
    outcome = decoder(case.driver, case.source)(case.raw, name=case.device)
    assert isinstance(outcome, Decoded)
    await opened(store, "1")
    for reading in outcome.readings:
        assert reading.device_time is None
        await cuff(store, "1").record(reading)
    assert where(store) == [(None, "it lay in the device, and nobody can tell when it was taken")]


def test_spot_check_from_storage_is_said_to_lie_in_the_device() -> None:
    case = load(CAPTURES / "pulse-oximeter" / "qualified-from-storage")
    outcome = decoder(case.driver)(case.raw, name=None)
    assert isinstance(outcome, Decoded)
    assert [each.from_memory for each in outcome.readings] == [True]
