"""Promise 5: an urgent request arrives together with what it refers to, over a thin link."""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING

from agent.clock import now
from agent.request import Reference, Request
from agent.store.outbox import StoreOutbox
from sync.contract.batch import decode_batch
from sync.contract.chunk import decode_chunk
from sync.contract.envelope import key_id

from .ledger_link import LedgerLink, session
from .relay import Packet, Relay
from .rig import Place, Unit, conserved, until

if TYPE_CHECKING:
    from tests.brokers import Mosquitto

CHANCE = random.Random(5)
LARGE = CHANCE.randbytes(400_000)
ASKED_ABOUT = CHANCE.randbytes(60_000)


async def ask(unit: Unit, *records: str) -> str:
    """An urgent request about records, as the verb stores it."""
    references = tuple(Reference(record, ()) for record in records)
    request = Request("what?", "dermatology", "nurse", now(), "clinical", "1", None, references)
    record = str(await unit.store.request(request))
    unit.saved[record] = None
    return record


def payload(packet: Packet) -> bytes:
    """The payload of a PUBLISH of ours: what begins with a magic."""
    at = min(found for magic in (b"QFLB", b"QFLC") if (found := packet.content.find(magic)) > 0)
    return packet.content[at:]


def blob_of(packet: Packet) -> bytes:
    return decode_chunk(payload(packet)).sha256


async def test_a_request_pulls_its_photograph_past_one_that_is_in_flight(
    here: Place, mosquitto: Mosquitto
) -> None:
    """T38, C-4.11: record, request, then its chunks; the other photograph waits, and arrives."""
    with here.centre.receiving(mosquitto.port):
        async with Relay(mosquitto.port, latency=0.02, rate=100_000) as relay:

            def chunks() -> list[Packet]:
                return [each for each in relay.up() if each.channel == "up/chunk"]

            await here.unit.record(LARGE)
            about = await here.unit.record(ASKED_ABOUT)
            async with here.unit.online(relay.port):
                await until(lambda: len(chunks()) > 3, "the large photograph in flight")
                under_way = len(chunks())
                await ask(here.unit, str(about.record_id))
                await until(lambda: "up/log/urgent" in channels(relay.up()), "the request")
                said = channels(relay.up())
                chunks_before = said[: said.index("up/log/urgent")].count("up/chunk")
                assert chunks_before <= under_way + 2
                await here.unit.settled()
        order = [blob_of(each) for each in chunks()]
    mine = hashlib.sha256(ASKED_ABOUT).digest()
    first = order.index(mine)
    assert first <= under_way + 3
    pieces = order.count(mine)
    assert order[first : first + pieces] == [mine] * pieces
    conserved(here.unit, here.centre, LARGE, ASKED_ABOUT)


def channels(packets: list[Packet]) -> list[str]:
    return [each.channel for each in packets]


async def test_what_a_request_refers_to_goes_before_it_and_history_after_it(here: Place) -> None:
    """C-4.11: in order of dependency, also what the referred-to refers to."""
    await here.unit.record_many(300)
    records = list(here.unit.saved)
    first = await ask(here.unit, records[250])
    await here.unit.record_many(50)
    await ask(here.unit, first, records[299])
    with here.centre.ledger() as ledger:
        link = LedgerLink(here.unit, here.centre, ledger)
        async with session(here.unit, link):
            await here.unit.settled()
    public = here.unit.key.public_key()
    keys = {key_id(public): public}
    sent = []
    for channel, load in link.sent:
        if channel.startswith("up/log/"):
            header = decode_batch(load, keys.get).header
            sent.append((header.lane, header.first, header.last))
    assert sent.index(("clinical", 251, 251)) < sent.index(("clinical", 300, 300)) < 6
    urgent = [at for at, (lane, *_) in enumerate(sent) if lane == "urgent"]
    assert max(sent.index(("clinical", seq, seq)) for seq in (251, 300)) < urgent[-1]
    history = [at for at, (lane, a, b) in enumerate(sent) if lane == "clinical" and b - a > 5]
    assert len([at for at in history if at < urgent[-1]]) <= 2
    conserved(here.unit, here.centre)


async def test_a_request_that_is_settled_pulls_no_record_any_more(here: Place) -> None:
    await here.unit.record_many(3)
    await ask(here.unit, next(iter(here.unit.saved)))
    with here.centre.ledger() as ledger:
        async with session(here.unit, LedgerLink(here.unit, here.centre, ledger)):
            await here.unit.settled()
    outbox = here.unit.store.outbox("centre")
    assert isinstance(outbox, StoreOutbox)
    assert [view.pulled for view in outbox._views()] == [()] * 3
