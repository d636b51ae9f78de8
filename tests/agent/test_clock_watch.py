"""The clock is put right: a record says so, the readings stay as they are."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import jsonschema
import pytest

from agent import clock_watch
from agent.capture import Capture
from agent.clock import Stamp
from agent.clock_steps import compare
from agent.clock_watch import ClockWatch, together
from agent.manual import BY_HAND, measure

from .unit import ROOT, Unit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.clock import Quality
    from agent.store.store import Store

NINE = datetime(2026, 11, 22, 9, tzinfo=UTC)
BORN = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Computer:
    """A computer whose clocks are set by hand."""

    wall: datetime = NINE
    clock: Quality = "synchronised"
    boot: str = "boot-a"
    mono: timedelta = timedelta(minutes=1)

    def __call__(self) -> Stamp:
        return Stamp(
            self.boot, self.mono // timedelta(microseconds=1) * 1000, self.wall, self.clock
        )

    def passes(self, **time: float) -> None:
        self.mono += timedelta(**time)
        self.wall += timedelta(**time)

    def reboots(self, boot: str) -> None:
        self.boot, self.mono = boot, timedelta(seconds=20)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Unit(tmp_path / "unit").store()) as opened:
        yield opened


async def read(store: Store, computer: Computer) -> None:
    """A reading is stored now."""
    said = measure("pulse", "72")
    await store.record(Capture(said, BY_HAND, computer(), "1", store.origin, "1", "nurse"))


def told(store: Store) -> list[dict[str, Any]]:
    rows = store.reader.execute(
        "SELECT line, lane FROM record WHERE kind = 'clock-adjusted' ORDER BY seq"
    ).fetchall()
    assert {lane for _, lane in rows} <= {"background"}
    return [json.loads(line)["clock-adjusted"] for line, _ in rows]


def times(store: Store) -> list[tuple[Any, ...]]:
    return store.reader.execute(
        "SELECT boot, mono_ns, wall, clock, line FROM record WHERE lane = 'clinical' ORDER BY seq"
    ).fetchall()


async def test_boot_in_1970_is_corrected_once_the_clock_is_known(store: Store) -> None:
    """T48: C-4.9: the time of an earlier reading of the boot follows from the record."""
    computer = Computer(BORN, "implausible")
    watch = ClockWatch(store, computer)
    assert await watch.look() is None
    computer.passes(minutes=5)
    await read(store, computer)
    taken, before = computer.mono, times(store)
    computer.passes(minutes=5)
    computer.wall, computer.clock = NINE, "synchronised"
    await watch.look()
    (said,) = told(store)
    schema = json.loads((ROOT / "docs/reference/schemas/record.json").read_text("utf-8"))
    (line,) = store.reader.execute("SELECT line FROM record WHERE lane = 'background'").fetchone()
    jsonschema.Draft202012Validator(schema).validate(json.loads(line))
    assert said == {
        "boot": "boot-a",
        "mono_ns": computer().mono_ns,
        "wall_before": "1970-01-01T00:10:00.000Z",
        "wall_after": "2026-11-22T09:00:00.000Z",
        "offset_ms": (NINE - BORN - timedelta(minutes=10)) // timedelta(milliseconds=1),
        "clock": "synchronised",
    }
    gap = timedelta(microseconds=(said["mono_ns"] - times(store)[0][1]) / 1000)
    assert datetime.fromisoformat(said["wall_after"]) - gap == NINE - (computer.mono - taken)
    assert times(store) == before, "nothing is rewritten"


@pytest.mark.parametrize("step", [timedelta(hours=9), timedelta(days=-365), timedelta(seconds=3)])
@pytest.mark.parametrize("clock", ["synchronised", "unsynchronised"])
async def test_step_is_said_once_whatever_the_kernel_thinks_of_it(
    store: Store, step: timedelta, clock: Quality
) -> None:
    computer = Computer(clock=clock)
    watch = ClockWatch(store, computer)
    for _ in range(4):
        await watch.look()
        computer.passes(seconds=5)
    computer.wall += step
    for _ in range(4):
        await watch.look()
        computer.passes(seconds=5)
    (said,) = told(store)
    assert said["offset_ms"] == step // timedelta(milliseconds=1)


async def test_hour_of_ramadan_is_no_adjustment(store: Store) -> None:
    """Morocco leaves UTC+1 for UTC during Ramadan: the zone's offset changes and UTC does not."""
    morocco = ZoneInfo("Africa/Casablanca")
    computer = Computer(datetime(2026, 2, 15, 1, 58, tzinfo=UTC))  # falls back at 02:00 UTC
    watch = ClockWatch(store, lambda: fixed(computer, morocco))
    offsets = set()
    for _ in range(20):
        await watch.look()
        offsets.add(fixed(computer, morocco).offset_min)
        computer.passes(seconds=15)
    assert offsets == {60, 0}
    assert told(store) == []
    before = fixed(computer, morocco, winter=True)
    assert compare(before, fixed(computer, morocco), doubted=False) is None


def fixed(computer: Computer, zone: ZoneInfo, *, winter: bool = False) -> Stamp:
    """As `now()` stamps it: a fixed offset, or with `winter` one hour east of UTC."""
    stamp = computer()
    offset = timedelta(hours=1) if winter else stamp.wall.astimezone(zone).utcoffset()
    assert offset is not None
    return Stamp(stamp.boot, stamp.mono_ns, stamp.wall.astimezone(timezone(offset)), stamp.clock)


async def test_small_steps_are_said_when_they_have_added_up(store: Store) -> None:
    computer = Computer()
    watch = ClockWatch(store, computer)
    await watch.look()
    for _ in range(3):
        computer.passes(seconds=5)
        computer.wall += timedelta(seconds=0.9)
        await watch.look()
    assert [each["offset_ms"] for each in told(store)] == [2700]


async def test_clock_that_proves_right_vouches_for_the_readings_before(store: Store) -> None:
    computer = Computer(clock="unsynchronised")
    watch = ClockWatch(store, computer)
    await watch.look()
    computer.passes(seconds=2)
    await read(store, computer)
    computer.passes(seconds=3)
    computer.clock = "synchronised"
    computer.wall += timedelta(milliseconds=250)
    await watch.look()
    (said,) = told(store)
    assert (said["offset_ms"], said["clock"]) == (250, "synchronised")
    for clock in ("unsynchronised", "synchronised"):  # no reading in between: nothing to vouch for
        computer.clock = clock
        computer.passes(seconds=5)
        await watch.look()
    assert len(told(store)) == 1


async def test_synchronised_clock_without_doubtful_readings_says_nothing(store: Store) -> None:
    computer = Computer(clock="unsynchronised")
    watch = ClockWatch(store, computer)
    await watch.look()
    computer.passes(seconds=5)
    computer.clock = "synchronised"
    await watch.look()
    await read(store, computer)
    computer.passes(seconds=5)
    await watch.look()
    assert told(store) == []


async def test_readings_before_an_unvouched_step_are_vouched_for_later(store: Store) -> None:
    computer = Computer(clock="unsynchronised")
    watch = ClockWatch(store, computer)
    await watch.look()
    await read(store, computer)
    computer.wall += timedelta(hours=9)
    await watch.look()
    computer.passes(seconds=5)
    computer.clock = "synchronised"
    await watch.look()
    assert [each["clock"] for each in told(store)] == ["unsynchronised", "synchronised"]


async def test_step_while_the_agent_was_down_is_found_at_its_start(store: Store) -> None:
    computer = Computer()
    await ClockWatch(store, computer).look()
    await read(store, computer)
    computer.passes(hours=1)
    await read(store, computer)
    computer.passes(minutes=1)
    computer.wall += timedelta(hours=9)
    await read(store, computer)  # stored between the step and the end, and not yet compared
    assert await ClockWatch(store, computer).look() is not None
    computer.passes(minutes=1)
    assert await ClockWatch(store, computer).look() is None, "known from the log"
    assert [each["offset_ms"] for each in told(store)] == [9 * 3600 * 1000]


async def test_step_under_an_unsynchronised_clock_is_not_said_again_after_a_restart(
    store: Store,
) -> None:
    computer = Computer(clock="unsynchronised")
    await read(store, computer)
    computer.wall += timedelta(hours=9)
    await ClockWatch(store, computer).look()
    computer.passes(minutes=1)
    await read(store, computer)
    assert await ClockWatch(store, computer).look() is None
    assert len(told(store)) == 1


async def test_restart_vouches_for_what_was_stored_in_doubt(store: Store) -> None:
    computer = Computer(clock="unsynchronised")
    await read(store, computer)
    computer.passes(minutes=1)
    computer.clock = "synchronised"
    await ClockWatch(store, computer).look()
    assert [each["offset_ms"] for each in told(store)] == [0]


async def test_boot_whose_time_lies_before_the_last_one_says_that_it_went_back(
    store: Store,
) -> None:
    computer = Computer()
    await read(store, computer)
    computer.reboots("boot-b")
    computer.wall -= timedelta(days=365)
    computer.clock = "unsynchronised"
    watch = ClockWatch(store, computer)
    await watch.look()
    computer.passes(seconds=5)
    await watch.look()
    (said,) = told(store)
    assert (said["boot"], said["offset_ms"]) == ("boot-b", None)
    assert said["wall_before"] == "2026-11-22T09:00:00.000Z"
    assert said["wall_after"] == "2025-11-22T09:00:00.000Z"


async def test_ordinary_reboot_says_nothing(store: Store) -> None:
    computer = Computer()
    await read(store, computer)
    computer.reboots("boot-b")
    computer.wall += timedelta(hours=14)
    watch = ClockWatch(store, computer)
    for _ in range(3):
        assert await watch.look() is None
        computer.passes(seconds=5)
    assert told(store) == []


async def test_watch_polls_by_monotonic_time_while_the_wall_clock_jumps(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T47."""
    monkeypatch.setattr(clock_watch, "EVERY", 0.01)
    computer = Computer()
    looks = 0
    enough = asyncio.Event()

    def jumping() -> Stamp:
        nonlocal looks
        looks += 1
        if len(told(store)) >= 5:
            enough.set()
        computer.wall += timedelta(days=-365 if looks % 2 else 365)
        return computer()

    task = asyncio.create_task(ClockWatch(store, jumping).run())
    async with asyncio.timeout(60):
        await enough.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert looks >= 6


def test_pause_between_the_two_clocks_is_no_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wall clock was read, the process stood still for 3 s, then the boot's clock was read."""
    computer = Computer()
    readings = iter([3.0, 0.0])

    def paused() -> Stamp:
        wall = computer.wall
        computer.passes(seconds=next(readings))
        return Stamp(computer.boot, computer().mono_ns, wall, "synchronised")

    monkeypatch.setattr(clock_watch, "now", paused)
    monkeypatch.setattr(time, "clock_gettime_ns", lambda _: computer().mono_ns)
    assert compare(Computer()(), together(), doubted=False) is None


def test_agent_says_in_its_own_log_that_the_log_of_another_boot_lies_ahead(tmp_path: Path) -> None:
    """The whole agent: its store holds a reading of a boot that ended ten years from now."""
    with Unit(tmp_path) as unit:
        computer = Computer(NINE + timedelta(days=3650))
        with closing(unit.store()) as store:
            asyncio.run(read(store, computer))
        unit.start()
        unit.until(
            lambda status: status["store"]["lanes"]["background"]["last"] == 1, "clock-adjusted"
        )
        assert '"background"' in unit.cli("pending", "--json").stdout
