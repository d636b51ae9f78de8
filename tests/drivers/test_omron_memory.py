"""An Omron cuff's memory: how it is opened, asked for and told, over a link and on the air."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from drivers.card import build
from drivers.dialogue import Dialogue, Limits
from drivers.errors import Misconfigured, ProtocolFault, Unavailable
from drivers.lab.dialogue_peripheral import DialoguePeripheral, Station
from drivers.links.gatt import Bound
from drivers.omron_memory import simulator, talk, wire
from drivers.omron_memory.driver import LISTEN, LOCK, SPEAK, profile
from drivers.omron_memory.models import MEMORIES, Lock
from drivers.omron_memory.simulator import Cuff
from tests.contract.sinks import MemorySink
from tests.drivers.ble_room import furnished_room, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from drivers.omron_memory.models import Memory

pytestmark = pytest.mark.simulated_time
NOON = datetime(2026, 6, 15, 12)  # noqa: DTZ001 - devices know no time zone
NEW, OLD, SINGLE = MEMORIES["memory-7142"], MEMORIES["memory-7322"], MEMORIES["memory-7600"]
NEW_RECORDS = [
    simulator.little_endian((110 + n, 70, 60), NOON + timedelta(minutes=n)) for n in range(14)
]
OLD_RECORDS = [
    simulator.bit_packed((100 + n, 60, 60), NOON + timedelta(minutes=n)) for n in range(100)
]
SECOND_USERS = OLD_RECORDS[:3]
LIMITS = Limits(answer=0.5, idle=0.5, visit=60.0, drain=30.0)


class Link:
    """A `GattLink` to a cuff; `garble` may spoil what it says, one whole answer at a time."""

    companies = (0x020E,)
    name = "BLESmart_0000048000"

    def __init__(self, cuff: Cuff, model: str, sink: MemorySink) -> None:
        self.cuff = cuff
        self.model = model
        self.sink = sink
        self.garble: Callable[[bytes], bytes] = lambda answer: answer
        self.said: list[tuple[str, bytes, int]] = []
        self.listened: list[str] = []
        self._hear: Callable[[bytes], None] = lambda _: None
        self._gone = asyncio.Event()

    @property
    def words(self) -> list[bytes]:
        return [word for _, word, _ in self.said]

    def has(self, characteristic: str) -> bool:
        return characteristic in {"2A24", LOCK, *self._channels()}

    def _channels(self) -> tuple[str, ...]:
        return LISTEN if self.cuff.memory.lock is Lock.KEY else LISTEN[:1]

    async def subscribe(self, characteristic: str, hear: Callable[[bytes], None]) -> None:
        self.listened.append(characteristic)
        self._hear = hear

    async def read(self, characteristic: str) -> bytes:
        assert characteristic == "2A24"
        return self.model.encode()

    async def write(self, characteristic: str, content: bytes) -> None:
        await asyncio.sleep(0)
        if self._gone.is_set():
            raise Unavailable("cuff", "it is gone")
        self.said.append((characteristic, content, len(self.sink.recorded)))
        answer = self.garble(self.cuff.answers(content))
        cut = characteristic == SPEAK and len(self._channels()) > 1
        for piece in wire.pieces(answer) if cut else [answer]:
            self._hear(piece)

    async def wait_closed(self) -> None:
        await self._gone.wait()

    def hang_up(self) -> None:
        self._gone.set()

    async def close(self) -> None:
        self._gone.set()


async def visit(
    cuff: Cuff, model: str, driver: Dialogue | None = None, sink: MemorySink | None = None
) -> Link:
    link = Link(cuff, model, sink or MemorySink())
    await (driver or dialogue()).run(link, link.sink)
    return link


def dialogue(limits: Limits = LIMITS) -> Dialogue:
    return Dialogue("omron-memory-answer", profile(settle=0.0), limits=limits)


def raws(sink: MemorySink) -> list[bytes]:
    return [reading.raw for reading in sink.recorded]


async def test_whole_memory_is_read_and_the_farewell_waits_for_the_store() -> None:
    link = await visit(Cuff(NEW, NEW_RECORDS), "HEM-7142T2-AP")
    assert raws(link.sink) == NEW_RECORDS
    assert all(each.from_memory and each.repeatable for each in link.sink.recorded)
    addresses = [word[3:6].hex() for word in link.words if word[1:3] == wire.READ]
    assert addresses == ["02e82a", "03122a", "033c2a", "03662a", "03901c"]
    assert link.words[:2] == [talk.TOKEN, wire.START]
    assert link.said[-1] == (SPEAK, wire.END, len(NEW_RECORDS))
    assert link.listened == [LISTEN[0], LOCK]
    assert link.sink.quarantined == []


async def test_two_users_of_an_older_cuff_are_told_apart() -> None:
    cuff = Cuff(OLD, OLD_RECORDS, SECOND_USERS)
    link = await visit(cuff, "HEM-7322T-E")
    slots = [each.user_slot for each in link.sink.recorded]
    assert slots == [1] * 100 + [2] * 3
    assert raws(link.sink) == [*OLD_RECORDS, *SECOND_USERS]
    assert link.listened == [LISTEN[0], LOCK, *LISTEN[1:]]
    assert link.words[:4] == [talk.OPEN, talk.TEACH, talk.LEARN, wire.START]
    again = await visit(cuff, "HEM-7322T-E")
    assert again.words[:2] == [talk.OPEN, wire.START]


@pytest.mark.parametrize(("memory", "model"), [(NEW, "HEM-7142T2"), (OLD, "HEM-7280T")])
async def test_nothing_is_ever_written_into_a_memory(memory: Memory, model: str) -> None:
    cuff = Cuff(memory, NEW_RECORDS)
    link = await visit(cuff, model)
    assert cuff.written == 0
    kinds = {word[1:3] for where, word, _ in link.said if where == SPEAK}
    assert kinds == {wire.START[1:3], wire.READ, wire.END[1:3]}


async def test_cuff_that_knows_another_key_says_what_to_do_and_is_left_alone() -> None:
    link = Link(Cuff(OLD, OLD_RECORDS, pairing=False), "HEM-7322T", MemorySink())
    with pytest.raises(ProtocolFault, match="hold its Bluetooth key until P flashes"):
        await dialogue().run(link, link.sink)
    assert link.words == [talk.OPEN, talk.TEACH]
    assert link.sink.recorded == []
    assert link.sink.quarantined == []


async def test_user_whom_the_cuff_never_had_costs_one_question() -> None:
    link = await visit(Cuff(OLD, OLD_RECORDS), "HEM-7322T")
    assert raws(link.sink) == OLD_RECORDS
    assert sum(word[1:3] == wire.READ for word in link.words) == 25 + 1
    assert link.words[-1] == wire.END


async def test_answer_that_is_garbled_is_asked_for_again() -> None:
    link = Link(Cuff(SINGLE, OLD_RECORDS), "HEM-7600T", MemorySink())
    spoiled = iter([True])

    def garble(answer: bytes) -> bytes:
        spoil = answer[1:3] == wire.READ_ANSWER and next(spoiled, False)
        return answer[:8] + bytes([answer[8] ^ 1]) + answer[9:] if spoil else answer

    link.garble = garble
    await dialogue().run(link, link.sink)
    assert raws(link.sink) == OLD_RECORDS
    assert {reason for _, reason in link.sink.quarantined} == {"The answer has a wrong checksum."}
    assert len(link.sink.quarantined) == len(wire.pieces(bytes(64)))
    first = [word for word in link.words if word[1:3] == wire.READ][:2]
    assert first[0] == first[1]


async def test_visit_that_is_cut_is_gone_on_with_where_it_was() -> None:
    cuff, driver, sink = Cuff(OLD, OLD_RECORDS, SECOND_USERS), dialogue(), MemorySink()
    for _ in range(3):
        link = Link(cuff, "HEM-7322T", sink)
        answers = iter(range(22))

        def hang_up(answer: bytes, link: Link = link, answers: Iterator[int] = answers) -> bytes:
            if next(answers, None) is None:
                link.hang_up()
                return b""
            return answer

        link.garble = hang_up
        await driver.run(link, sink)
    slots = {(each.raw, each.user_slot) for each in sink.recorded}
    assert slots == {(raw, 1) for raw in OLD_RECORDS} | {(raw, 2) for raw in SECOND_USERS}


async def test_answer_without_an_end_of_garbage_ends_the_visit() -> None:
    link = Link(Cuff(SINGLE, OLD_RECORDS), "HEM-7600T", MemorySink())
    link.garble = lambda answer: answer[:-1] + b"\xff" if len(answer) > 8 else answer
    with pytest.raises(ProtocolFault, match="otherwise than its protocol"):
        await dialogue().run(link, link.sink)
    assert link.sink.recorded == []


async def test_record_that_cannot_be_is_kept_once_however_often_it_is_told() -> None:
    wrong = simulator.little_endian((120, 80, 60), NOON)[:4] + b"\x00\xff" + bytes(8)
    cuff = Cuff(NEW, [NEW_RECORDS[0], wrong, NEW_RECORDS[1]])
    driver, sink = dialogue(), MemorySink()
    for number in (1, 2, 3):
        await visit(cuff, "HEM-7142T2", driver, sink)
        assert len(sink.recorded) == 2 * number
        assert len(sink.quarantined) == 1


async def test_model_that_is_not_known_is_not_read_but_may_be_named() -> None:
    link = Link(Cuff(NEW, NEW_RECORDS), "HEM-7188T1", MemorySink())
    with pytest.raises(Misconfigured, match=r"\[devices\.settings\]"):
        await dialogue().run(link, link.sink)
    assert link.said == []
    named = build("omron-memory", {"model": "HEM-7142T2"})
    assert isinstance(named, Dialogue)
    named.profile = replace(named.profile, settle=0.0)
    assert raws((await visit(Cuff(NEW, NEW_RECORDS), "", named)).sink) == NEW_RECORDS
    with pytest.raises(Misconfigured, match="must be one of HEM-7142T2"):
        build("omron-memory", {"model": "HEM-9999"})


@pytest.mark.parametrize(
    ("memory", "model", "records"),
    [(NEW, "HEM-7142T2", NEW_RECORDS), (SINGLE, "HEM-7600T-E", OLD_RECORDS)],
    ids=["one channel", "four channels"],
)
async def test_memory_is_read_over_the_air(
    memory: Memory, model: str, records: list[bytes]
) -> None:
    cuff = Cuff(memory, records)
    several = cuff.memory.lock is Lock.KEY

    def answers(word: bytes) -> Iterator[tuple[str, bytes]]:
        answer = cuff.answers(word)
        if word[0] != wire.START[0]:
            yield LOCK, answer
        elif several:
            yield from zip(LISTEN, wire.pieces(answer), strict=False)
        else:
            yield LISTEN[0], answer

    address = "F1:00:00:00:00:09"
    station = Station(
        "BLESmart_0000048000",
        "FE4A",
        LISTEN[0],
        SPEAK,
        answers=answers,
        also=(LOCK, *(LISTEN[1:] if several else ())),
        model=model,
        hang_up=wire.END,
    )
    async with furnished_room() as room:
        hci = room.ether.controller(address)
        device = DialoguePeripheral(hci, hci, station, address)
        await device.power_on()
        sink = MemorySink()
        driver = dialogue(Limits(answer=15.0, idle=0.3, visit=60.0, drain=30.0))
        async with room.reading({address: Bound(driver, sink, f"ble:{address}")}):
            await until(lambda: len(sink.recorded) >= len(records))
            await until(lambda: ("waiting", "") in sink.reports[1:])
        await device.power_off()
    assert raws(sink)[: len(records)] == records
    assert sink.quarantined == []
    assert cuff.written == 0
