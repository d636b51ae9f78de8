"""The supervisor: who is away is looked for again, who is wrong is left, who is broken is told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from sqlcipher3 import dbapi2 as sqlite

from agent import supervisor
from agent.errors import Conflict, StoreBroken, StoreDamaged, StoreFull
from agent.supervisor import keep
from drivers.errors import Misconfigured, ProtocolFault, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.simulated_time


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_AWAY", 0.001)
    monkeypatch.setattr(supervisor, "_STOOD", 0.05)
    monkeypatch.setattr(supervisor, "_FAULT_CEILING", 0.001)


@pytest.fixture
def log() -> Iterator[list[Any]]:
    with structlog.testing.capture_logs() as lines:
        yield lines


class Child:
    """Does what it is told, one thing a run; at the end of the list it hangs."""

    def __init__(self, *runs: BaseException | float | None) -> None:
        self.runs = list(runs)
        self.count = 0
        self.reports: list[tuple[str, str]] = []
        self.hung = asyncio.Event()

    async def __call__(self) -> None:
        self.count += 1
        if not self.runs:
            self.hung.set()
            await asyncio.Event().wait()
        what = self.runs.pop(0)
        if isinstance(what, BaseException):
            raise what
        if what is not None:
            await asyncio.sleep(what)

    def report(self, state: str, detail: str) -> None:
        self.reports.append((state, detail))


async def kept(child: Child, extra: float = 0.0) -> None:
    """Keep a child until it hangs, and for a while more."""
    keeping = asyncio.create_task(keep("cuff", child, child.report))
    async with asyncio.timeout(30):
        await asyncio.wait(
            {keeping, asyncio.create_task(child.hung.wait())},
            return_when=asyncio.FIRST_COMPLETED,
        )
    await asyncio.sleep(extra)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    if not keeping.cancelled():
        keeping.result()


def events(log: list[Any], name: str) -> list[Any]:
    return [line for line in log if line["event"] == name]


async def test_cancellation_that_a_child_leaves_does_not_reach_the_next_one() -> None:
    """Before Python 3.11.3 a task group leaves one, and the next time-out would end the task."""
    left: list[int] = []

    async def child() -> None:
        task = asyncio.current_task()
        assert task is not None
        left.append(task.cancelling())
        task.cancel()
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            raise Unavailable("it", "it is away") from None

    keeping = asyncio.create_task(keep("child", child, lambda *_: None))
    async with asyncio.timeout(30):
        while len(left) < 3:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.005)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    assert keeping.cancelled()
    assert left[:3] == [0, 0, 0]


async def test_absence_is_logged_once_and_the_return_once(log: list[Any]) -> None:
    gone = [Unavailable("cuff", "nothing is plugged in here") for _ in range(20)]
    child = Child(*gone)
    await kept(child, extra=0.2)
    assert child.count == 21
    assert len(events(log, "away")) == len(events(log, "back")) == 1
    assert [line["event"] for line in log] == ["away", "back"]
    assert events(log, "away")[0]["reason"] == "nothing is plugged in here"
    assert set(child.reports) == {("unavailable", "nothing is plugged in here")}


async def test_each_absence_after_a_time_that_stood_is_logged_anew(log: list[Any]) -> None:
    gone = Unavailable("cuff", "the device was unplugged")
    await kept(Child(gone, gone, 0.2, gone, gone), extra=0.2)
    assert [line["event"] for line in log] == ["away", "back", "away", "back"]


async def test_loose_plug_does_not_fill_the_log(log: list[Any]) -> None:
    reasons = ("the device was unplugged", "nothing is plugged in here") * 15
    await kept(Child(*(Unavailable("cuff", reason) for reason in reasons)))
    assert [line["event"] for line in log] == ["away"]


async def test_child_that_never_left_comes_back_to_nobody(log: list[Any]) -> None:
    await kept(Child(None, None), extra=0.2)
    assert log == []


async def test_misconfigured_child_is_told_once_and_left(log: list[Any]) -> None:
    child = Child(Misconfigured("cuff", "remove colour: this device has no settings"), None)
    await kept(child)
    assert child.count == 1
    assert child.reports == [("misconfigured", "remove colour: this device has no settings")]
    assert [line["event"] for line in log] == ["misconfigured"]


@pytest.mark.parametrize(
    "fault",
    [
        ProtocolFault("The frame is shorter than its flags say."),
        StoreFull("the disk is full: nothing was saved just now; free some space"),
        Conflict("the same reading came before with other bytes"),
        ExceptionGroup("", [ExceptionGroup("", [StoreFull("the disk is full")])]),
    ],
)
async def test_fault_of_others_is_told_without_a_traceback_and_tried_again(
    fault: Exception, log: list[Any]
) -> None:
    child = Child(fault, fault)
    await kept(child)
    assert child.count == 3
    assert {state for state, _ in child.reports} == {"faulty"}
    assert not any("exc_info" in line for line in log)


@pytest.mark.parametrize(
    "bug",
    [
        ZeroDivisionError("division by zero"),
        ExceptionGroup("", [StoreFull("full"), ZeroDivisionError("division by zero")]),
    ],
)
async def test_bug_is_logged_with_its_traceback_and_the_child_restarted(
    bug: Exception, log: list[Any]
) -> None:
    child = Child(bug, bug)
    await kept(child)
    assert child.count == 3
    assert set(child.reports) == {("failed", "the program has a fault here: see the journal")}
    assert [line["exc_info"] for line in log] == [True, True]


@pytest.mark.parametrize(
    "broken",
    [
        StoreBroken("the database failed: file is not a database"),
        ExceptionGroup("", [StoreBroken("the database failed: disk I/O error")]),
        ExceptionGroup("", [Unavailable("a", "b"), StoreBroken("the database failed: …")]),
    ],
)
async def test_broken_store_is_nothing_to_restart_for(broken: Exception) -> None:
    child = Child(broken, None)
    with pytest.raises(StoreBroken, match="the database failed"):
        await kept(child)
    assert child.count == 1


class _Malformed(sqlite.DatabaseError):  # type: ignore[misc] # sqlcipher3 carries no types
    """What SQLite raises for a page that can't be read."""

    sqlite_errorcode = sqlite.SQLITE_CORRUPT | 1 << 8


async def test_t06_damage_that_a_child_reads_is_nothing_to_restart_for() -> None:
    child = Child(_Malformed("database disk image is malformed"), None)
    with pytest.raises(StoreDamaged, match="malformed"):
        await kept(child)
    assert child.count == 1


async def test_end_of_the_agent_is_the_end_of_the_child() -> None:
    ended: list[str] = []

    async def child() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("yes")

    keeping = asyncio.create_task(keep("cuff", child, _silent))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    keeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeping
    assert ended == ["yes"]


async def test_waits_grow_and_are_forgotten_once_it_stood(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervisor, "_FAULT_CEILING", 30.0)
    record = supervisor._Record("cuff")
    waits = [record.failed() for _ in range(12)]
    for count, wait in enumerate(waits, 1):
        ceiling = min(30.0, 2.0**count)
        assert ceiling / 2 <= wait <= ceiling
    record.stood()
    assert record.failed() <= 2.0


def _silent(state: str, detail: str) -> None:
    del state, detail
