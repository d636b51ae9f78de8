"""What a session does about refusals, and about what a broker's packets can't hold."""

from __future__ import annotations

import json
import random
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import pytest

from sync.contract.batch import decode_batch, encode_batch, gather
from sync.contract.envelope import key_id
from sync.contract.fields import GENESIS
from sync.contract.receipt import REFUSED_MAX, Receipt, Refusal

from .ledger_link import LedgerLink, connected, session
from .rig import UNIT, Place, capture, conserved, until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NOWHERE = "00000000-0000-4000-8000-000000000000"
PICTURE = random.Random(6).randbytes(60_000)


async def refuse_all(here: Place, link: LedgerLink, count: int) -> None:
    """Record readings whose ids the centre knows with other content already."""
    await here.unit.record_many(count)
    lines = [
        json.dumps({"record": record, "kind": "body-temperature"}).encode()
        for record in here.unit.saved
    ]
    batch = gather(UNIT, NOWHERE, "clinical", 1, GENESIS, lines)
    link.commit("up/log/clinical", encode_batch(batch, here.unit.key))
    assert len(here.centre.records()) == count


async def test_refused_records_are_set_aside_and_block_nothing(
    here: Place, link: LedgerLink
) -> None:
    """T06, T30: C-8.11, C-9.3: shown with their reason; the next reading is confirmed."""
    await refuse_all(here, link, 3)
    await here.unit.record()
    async with session(here.unit, link):
        await here.unit.settled()
    rows = here.unit.store.reader.execute("SELECT seq, code FROM exception ORDER BY seq")
    assert rows.fetchall() == [(1, "conflict"), (2, "conflict"), (3, "conflict")]
    assert here.unit.alarms().keys() == {"record-refused"}


async def test_where_refusals_may_not_have_fitted_the_unit_says_hello_again(
    here: Place, link: LedgerLink
) -> None:
    """C-8.10: 64 refusals may be followed by more; each hello is another, and they end."""
    many = REFUSED_MAX + 20
    await refuse_all(here, link, many)
    async with session(here.unit, link):
        await here.unit.settled()
        await until(lambda: link.channels().count("up/hello") >= 2, "another hello")
        count = 0
        while count != len(link.sent):  # until it has nothing more to say
            count = len(link.sent)
            for _ in range(10):
                await here.unit.outbox.alarm("a-turn-of-the-store", "lets everybody run")
    assert link.channels().count("up/hello") <= 4


async def test_refusals_that_stay_the_same_ask_for_no_further_hello(
    here: Place, link: LedgerLink
) -> None:
    """C-8.10: a hole below keeps the same 64 in every answer; that must not go round and round."""
    await here.unit.record_many(REFUSED_MAX + 1)
    same = tuple(Refusal(seq=seq, code="conflict", reason="x") for seq in range(2, REFUSED_MAX + 2))
    link.on_the_way_up = lambda channel, payload: (
        [(channel, payload)] if channel == "up/hello" else []
    )
    link.on_the_way_down = lambda receipt: [
        msgspec.structs.replace(receipt, last=REFUSED_MAX + 1, missing=((1, 1),), refused=same)
        if receipt.lane == "clinical"
        else receipt
    ]
    async with session(here.unit, link) as state:
        await connected(state)
        await until(link.batches, "the missing record on its way")
        for _ in range(30):
            await here.unit.outbox.alarm("a-turn-of-the-store", "lets everybody run")
    assert link.channels().count("up/hello") == 2


def picky(here: Place, link: LedgerLink, wanted: Callable[[Sequence[int]], bool]) -> None:
    """Let the centre refuse, as a stretch, every batch whose seqs it does not want together."""
    public = here.unit.key.public_key()
    keys = {key_id(public): public}
    refusing: list[Refusal] = []

    def choose(channel: str, payload: bytes) -> Sequence[tuple[str, bytes]]:
        if channel != "up/log/clinical":
            return [(channel, payload)]
        header = decode_batch(payload, keys.get).header
        if wanted(range(header.first, header.last + 1)):
            return [(channel, payload)]
        refusing.append(
            Refusal(seq=header.first, last=header.last, code="too-large", reason="Smaller.")
        )
        hello = next(each for each in link.sent if each[0] == "up/hello")
        return [hello]

    def refuse(receipt: Receipt) -> Sequence[Receipt]:
        if not refusing or receipt.lane != "clinical":
            return [receipt] if receipt.answers is None or not refusing else []
        refused = (refusing.pop(),)
        return [msgspec.structs.replace(receipt, refused=refused, answers=None)]

    link.on_the_way_up, link.on_the_way_down = choose, refuse


async def test_a_refused_stretch_comes_again_in_halves_until_it_is_taken(
    here: Place, link: LedgerLink
) -> None:
    """C-7.5, C-8.9, C-9.5: and everything arrives, once."""
    await here.unit.record_many(24)
    picky(here, link, lambda seqs: len(seqs) <= 6)
    async with session(here.unit, link):
        await here.unit.settled()
    sizes = [len(each.lines) for each in link.batches()]
    assert sizes[0] == 24
    assert max(size for size in sizes if size <= 6) == 6
    assert len(sizes) < 30
    conserved(here.unit, here.centre)


async def test_one_record_that_is_wanted_smaller_still_blocks_nothing_and_floods_nothing(
    here: Place, link: LedgerLink
) -> None:
    """C-8.11: it is set aside for this session, with an alarm, and stays pending."""
    await here.unit.record_many(20)
    picky(here, link, lambda seqs: 7 not in seqs)
    async with session(here.unit, link):
        await until(lambda: len(here.centre.records()) == 19, "all but one")
        await until(lambda: "record-set-aside" in here.unit.alarms(), "the alarm")
        await here.unit.record()
        await until(lambda: len(here.centre.records()) == 20, "the next reading")
        await until(lambda: here.unit.pending() == 1, "its confirmation")
        count = len(link.batches())
        for _ in range(20):
            await here.unit.outbox.alarm("a-turn-of-the-store", "lets everybody run")
        assert len(link.batches()) == count < 30
    link.on_the_way_up = lambda channel, payload: [(channel, payload)]
    async with session(here.unit, link):
        await here.unit.settled()
    conserved(here.unit, here.centre)


@pytest.mark.parametrize("packet_max", [3_000, 20_000, 70_000])
async def test_batches_and_chunks_fit_the_packets_of_the_broker(
    packet_max: int, here: Place
) -> None:
    """T24: also where it takes far less than a batch or a chunk usually has."""
    await here.unit.record(PICTURE)
    await here.unit.record_many(150)
    with here.centre.ledger() as ledger:
        link = LedgerLink(here.unit, here.centre, ledger, packet_max=packet_max)
        async with session(here.unit, link):
            await here.unit.settled()
    assert max(len(payload) for _, payload in link.sent) <= packet_max
    conserved(here.unit, here.centre, PICTURE)


async def test_a_record_that_fits_no_packet_is_set_aside_and_the_rest_flows(here: Place) -> None:
    """T24: no reconnecting for ever, and it is not lost: a better broker gets it."""
    await here.unit.record_many(3)
    large = capture()
    noise = tuple(secrets.token_hex(100) for _ in range(200))
    large = replace(large, measurement=replace(large.measurement, status=noise))
    stored = await here.unit.store.record(large)
    here.unit.saved[str(stored.record_id)] = None
    await here.unit.record_many(3)
    with here.centre.ledger() as ledger:
        link = LedgerLink(here.unit, here.centre, ledger, packet_max=12_000)
        async with session(here.unit, link):
            await until(lambda: len(here.centre.records()) == 6, "all but the large one")
            await until(lambda: here.unit.pending() == 1, "their confirmation")
        assert here.unit.alarms() == {"record-set-aside": 1}
        async with session(here.unit, LedgerLink(here.unit, here.centre, ledger)):
            await here.unit.settled()
    conserved(here.unit, here.centre)
