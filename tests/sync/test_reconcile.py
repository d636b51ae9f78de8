"""Comparing with the centre: equal is cheap, and whatever was damaged at rest is named."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.clock import Stamp, now
from agent.store import epochs, reconciling
from agent.store.books import StoreBooks
from agent.store.figures import figures
from agent.store.settling import present
from central import backup, report
from central.ledger import Ledger
from central.store import open_store
from sync import comparing
from sync.contract.batch import link as chained
from sync.contract.digest import Answer, Compared, decode_question, encode_answer
from sync.contract.envelope import key_id

from .ledger_link import LedgerLink, session
from .rig import DESTINATION, UNIT, Place, Unit, capture, conserved, place, until

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from sync.comparing import Span
    from sync.contract.ranges import Range

FIRST_DAY = datetime(2026, 11, 1, 8, tzinfo=UTC)
PICTURE = b"\xff\xd8 a picture"
EPOCH = "0190f5fe-7c00-7000-8000-000000000001"


async def take(unit: Unit, days: int, a_day: int) -> None:
    """Readings of so many days, so many a day."""
    said = []
    for day in range(days):
        stamp = Stamp("boot", day, FIRST_DAY + timedelta(days=day), "synchronised")
        said += [replace(capture(), stamp=stamp) for _ in range(a_day)]
    for stored in await unit.store.record_all(said):
        unit.saved[str(stored.record_id)] = None


async def compared(unit: Unit, link: LedgerLink) -> dict[str, Any]:
    """Settle everything, compare once, and give what it came to."""
    books = StoreBooks(unit.store, DESTINATION)
    before = (books.shown() or {"number": 0})["number"]
    async with session(unit, link):
        await unit.settled()
    books.ask()
    async with session(unit, link, books):
        await until(lambda: (books.shown() or {"number": 0})["number"] > before, "a comparison")
    async with session(unit, link):
        await unit.settled()
    found = books.listed()
    assert found
    return found


@contextlib.contextmanager
def inside(link: LedgerLink) -> Iterator[sqlite3.Connection]:
    """The centre's database, as whoever damages it has it."""
    sql = link._ledger._store._sql
    yield sql
    assert not sql.in_transaction


def contents(place: Place) -> dict[str, str]:
    return {record: sha256 for _, record, sha256 in report.records(place.centre.folder)}


async def test_what_is_equal_is_found_equal_day_by_day(here: Place, link: LedgerLink) -> None:
    """C-11.1, C-11.4: one question for a lane, one stretch for a day; nothing is sent again."""
    await take(here.unit, days=9, a_day=5)
    await here.unit.record(PICTURE)
    found = await compared(here.unit, link)
    assert (found["outcome"], found["records"], found["days"]) == ("equal", 46, 10)
    assert link.channels().count("up/digest") == 1
    asked = questions(link, here.unit)[0].stretches
    assert [each.last - each.first + 1 for each in asked] == [5] * 9 + [1]
    assert asked[0].day == "2026-11-01"
    assert here.unit.alarms() == {}
    conserved(here.unit, here.centre, PICTURE)


def questions(link: LedgerLink, unit: Unit) -> list[Any]:
    public = unit.key.public_key()
    keys = {key_id(public): public}
    return [decode_question(load, keys.get) for at, load in link.sent if at == "up/digest"]


def flip(line: bytes) -> bytes:
    """One changed byte, in the middle."""
    at = len(line) // 2
    return line[:at] + bytes([line[at] ^ 1]) + line[at + 1 :]


def change_line(sql: sqlite3.Connection, record: str) -> None:
    (line,) = sql.execute("SELECT line FROM records WHERE record_id = ?", (record,)).fetchone()
    sql.execute("UPDATE records SET line = ? WHERE record_id = ?", (flip(line), record))


def change_line_and_hash(sql: sqlite3.Connection, record: str) -> None:
    change_line(sql, record)
    (line,) = sql.execute("SELECT line FROM records WHERE record_id = ?", (record,)).fetchone()
    own = hashlib.sha256(line).digest()
    sql.execute("UPDATE records SET line_hash = ? WHERE record_id = ?", (own, record))


def change_line_and_entry(sql: sqlite3.Connection, record: str) -> None:
    """Who changes the entry as well must change the whole chain behind it."""
    change_line_and_hash(sql, record)
    (line,) = sql.execute("SELECT line FROM records WHERE record_id = ?", (record,)).fetchone()
    (before,) = sql.execute(
        "SELECT prev_hash FROM entries WHERE record_id = ?", (record,)
    ).fetchone()
    own = chained(before, line)
    sql.execute("UPDATE entries SET hash = ? WHERE record_id = ?", (own, record))


def change_entry(sql: sqlite3.Connection, record: str) -> None:
    sql.execute("UPDATE entries SET hash = ? WHERE record_id = ?", (b"\x07" * 32, record))


def delete_entry(sql: sqlite3.Connection, record: str) -> None:
    sql.execute("DELETE FROM entries WHERE record_id = ?", (record,))


def delete_record(sql: sqlite3.Connection, record: str) -> None:
    sql.execute("DELETE FROM record_blobs WHERE record_id = ?", (record,))
    sql.execute("DELETE FROM records WHERE record_id = ?", (record,))


def delete_both(sql: sqlite3.Connection, record: str) -> None:
    delete_record(sql, record)
    delete_entry(sql, record)


DAMAGES = [
    change_line,
    change_line_and_hash,
    change_line_and_entry,
    change_entry,
    delete_entry,
    delete_record,
    delete_both,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda each: each.__name__)
async def test_what_was_damaged_at_the_centre_is_named_and_comes_again(
    damage: Callable[[sqlite3.Connection, str], None], here: Place, link: LedgerLink
) -> None:
    """C-11.2, C-11.5, C-11.6, C-11.7: three of two hundred, the first and the last among them."""
    await take(here.unit, days=4, a_day=50)
    assert (await compared(here.unit, link))["outcome"] == "equal"
    whole = contents(here)
    records = list(here.unit.saved)
    # The last one: without its entry the hello asks for it already; and nothing follows on it.
    heads = {change_line_and_entry, delete_entry, delete_both}
    victims = [records[0], records[77], records[198 if damage in heads else 199]]
    with inside(link) as sql:
        for victim in victims:
            damage(sql, victim)
    link.sent.clear()
    found = await compared(here.unit, link)
    assert found["outcome"] == "differs"
    assert [each["record"] for each in found["differing"]] == victims
    assert {each["what"] for each in found["differing"]} == {"resent"}
    assert [each["day"] for each in found["differing"]] == [
        "2026-11-01",
        "2026-11-02",
        "2026-11-04",
    ]
    assert here.unit.alarms()["reconcile-differs"] == 1
    assert sum(len(each.lines) for each in link.batches()) == len(victims)
    assert contents(here) == whole
    conserved(here.unit, here.centre)
    (unit,) = report.status(here.centre.folder).units
    assert unit.compared is not None
    assert [(each.record_id or "", each.mended) for each in unit.compared.damage] == [
        (victim if damage not in {delete_entry, delete_both} else "", True) for victim in victims
    ]
    assert (await compared(here.unit, link))["outcome"] == "equal"


async def test_a_head_that_is_gone_at_the_centre_is_asked_for_at_the_next_hello(
    here: Place, link: LedgerLink
) -> None:
    """C-11.7: the centre can't say the hash of what it lacks; its operator is told all the same."""
    await take(here.unit, days=1, a_day=9)
    await compared(here.unit, link)
    with inside(link) as sql:
        delete_both(sql, list(here.unit.saved)[-1])
    async with session(here.unit, link):
        await until(lambda: "centre-replay" in here.unit.alarms(), "the fall of `through`")
        await here.unit.settled()
    conserved(here.unit, here.centre)
    (unit,) = report.status(here.centre.folder).units
    assert unit.compared
    assert [(each.seq, each.mended) for each in unit.compared.damage] == [(9, True)]


async def test_damaged_bytes_are_kept_aside_for_the_operator(here: Place, link: LedgerLink) -> None:
    """C-11.7: nothing is deleted."""
    await take(here.unit, days=1, a_day=3)
    await compared(here.unit, link)
    victim = list(here.unit.saved)[1]
    with inside(link) as sql:
        change_line(sql, victim)
        (bad,) = sql.execute("SELECT line FROM records WHERE record_id = ?", (victim,)).fetchone()
    await compared(here.unit, link)
    with inside(link) as sql:
        assert sql.execute("SELECT record_id, line FROM damage").fetchall() == [(victim, bad)]


async def test_what_the_unit_has_lost_or_damaged_is_named_and_the_centre_keeps_its_own(
    here: Place, link: LedgerLink
) -> None:
    """C-11.5, C-11.8: the centre never gives up a sound record because a unit's is not."""
    await take(here.unit, days=2, a_day=20)
    await compared(here.unit, link)
    whole = contents(here)
    lost, bad = list(here.unit.saved)[4], list(here.unit.saved)[30]

    def harm(sql: sqlite3.Connection) -> None:
        sql.execute("DELETE FROM record WHERE record_id = ?", (lost,))
        (line,) = sql.execute("SELECT line FROM record WHERE record_id = ?", (bad,)).fetchone()
        sql.execute("UPDATE record SET line = ? WHERE record_id = ?", (flip(line), bad))

    await here.unit.store.writer.write(harm)
    found = await compared(here.unit, link)
    assert [(each["record"], each["what"]) for each in found["differing"]] == [
        (lost, "lacking"),
        (bad, "damaged"),
    ]
    assert contents(here) == whole
    again = await compared(here.unit, link)
    assert again["differing"] == found["differing"]
    assert here.unit.alarms() == {"reconcile-differs": 1}


async def test_a_record_that_neither_side_has_any_more_is_said_to_be_lost(
    here: Place, link: LedgerLink
) -> None:
    """C-9.10, C-11.7: it aged out here, its anchor stayed; then the centre's was deleted."""
    await take(here.unit, days=2, a_day=5)
    await compared(here.unit, link)

    def age_out(sql: sqlite3.Connection) -> None:
        place = "FROM record WHERE lane = 'clinical' AND seq <= 5"
        sql.execute(f"INSERT INTO anchor SELECT epoch, lane, seq, hash {place}")
        sql.execute(f"DELETE {place}")
        sql.execute("UPDATE lane SET oldest = 6 WHERE lane = 'clinical'")

    await here.unit.store.writer.write(age_out)
    assert (await compared(here.unit, link))["outcome"] == "equal"
    with inside(link) as sql:
        delete_both(sql, list(here.unit.saved)[2])
    found = await compared(here.unit, link)
    assert [(each["seq"], each["what"]) for each in found["differing"]] == [(3, "lost")]
    (unit,) = report.status(here.centre.folder).units
    assert unit.compared is not None
    assert [(each.seq, each.mended) for each in unit.compared.damage] == [(3, False)]
    assert here.unit.pending() == 0


async def test_a_record_of_a_closed_epoch_that_the_centre_lost_is_logged_anew_and_arrives(
    here: Place, link: LedgerLink
) -> None:
    """C-11.4, C-11.8: no receipt speaks of that epoch any more, so its record moves on."""
    await take(here.unit, days=1, a_day=6)
    await compared(here.unit, link)
    await here.unit.store.writer.write(
        lambda sql: epochs.fork(sql, DESTINATION, "test", present(sql, DESTINATION))
    )
    await take(here.unit, days=1, a_day=2)
    assert (await compared(here.unit, link))["outcome"] == "equal"
    victim = list(here.unit.saved)[3]
    with inside(link) as sql:
        delete_both(sql, victim)
    found = await compared(here.unit, link)
    assert [(each["record"], each["what"]) for each in found["differing"]] == [(victim, "resent")]
    conserved(here.unit, here.centre)
    assert (await compared(here.unit, link))["outcome"] == "equal"
    assert figures(here.unit.store.reader, DESTINATION)["saved"] == len(here.unit.saved)


async def test_a_closed_epoch_is_compared_whole_over_many_questions(
    here: Place, link: LedgerLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C-11.1: also where a record in its middle has moved on, behind what one question takes."""
    monkeypatch.setattr("agent.store.compared.COMPARED_MAX", 10)
    await take(here.unit, days=7, a_day=5)
    await compared(here.unit, link)
    await here.unit.store.writer.write(
        lambda sql: epochs.fork(sql, DESTINATION, "test", present(sql, DESTINATION))
    )
    saved = list(here.unit.saved)
    for victim in (saved[12], saved[-1], saved[30]):
        with inside(link) as sql:
            delete_both(sql, victim)
        found = await compared(here.unit, link)
        assert [each["record"] for each in found["differing"]] == [victim]
    found = await compared(here.unit, link)
    assert (found["outcome"], found["records"], found["days"]) == ("equal", len(saved), 7)
    conserved(here.unit, here.centre)


async def test_a_centre_that_came_back_is_compared_with_at_once(
    here: Place, link: LedgerLink
) -> None:
    """C-11.1: of an epoch that was left no hello speaks, and a restored centre may lack it."""
    copy = here.centre.folder / "copy.db"
    backup.back_up(here.centre.folder, copy)
    await take(here.unit, days=1, a_day=4)
    await compared(here.unit, link)
    await here.unit.store.writer.write(
        lambda sql: epochs.fork(sql, DESTINATION, "test", present(sql, DESTINATION))
    )
    books = StoreBooks(here.unit.store, DESTINATION)
    link.close_ledger()
    copy.replace(here.centre.folder / "central.db")
    backup.declare_restored(here.centre.folder)
    with here.centre.ledger() as restored:
        link.open_ledger(restored)
        async with session(here.unit, link, books):
            await until(lambda: len(here.centre.records()) == 4, "what the copy lacked")
            await here.unit.settled()
    found = books.listed()
    assert found
    assert [each["what"] for each in found["differing"]] == ["resent"] * 4
    conserved(here.unit, here.centre)


async def test_a_record_told_twice_in_two_ways_is_equal(here: Place, link: LedgerLink) -> None:
    """C-9.2, C-11.2: the first telling is kept, and holds for the second."""
    said = capture()
    said = replace(said, measurement=replace(said.measurement, repeatable=True))
    await here.unit.store.record(said)
    await compared(here.unit, link)
    await here.unit.store.writer.write(forget)
    stored = await here.unit.store.record(replace(said, stamp=now(), box="2"))
    here.unit.saved[str(stored.record_id)] = None
    assert (await compared(here.unit, link))["outcome"] == "equal"
    assert len(here.centre.records()) == 1


def forget(sql: sqlite3.Connection) -> None:
    """A new database would not know the id of what it was told before."""
    for table in ("identity", "tray"):
        sql.execute(f"DELETE FROM {table}")


async def test_a_centre_that_cannot_compare_is_left_in_peace(
    here: Place, link: LedgerLink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C-11.1: an older one answers nothing; records flow, and it is asked again later."""
    monkeypatch.setattr(comparing, "ANSWER_TIMEOUT", 0.2)
    link.on_an_answer = lambda _: []
    await take(here.unit, days=1, a_day=3)
    found = await compared(here.unit, link)
    assert found["outcome"] == "unanswered"
    assert here.unit.alarms() == {}
    books = StoreBooks(here.unit.store, DESTINATION)
    assert 0 < books._wait() <= 3600


STRANGER = Ed25519PrivateKey.generate()


@pytest.mark.parametrize(
    ("change", "alarm"),
    [
        (lambda answer: encode_answer(answer, STRANGER), "answer-key"),
        (lambda _: b"QFLA", "answer-short"),
        (lambda _: b"QFLR" + secrets.token_bytes(99), "answer-magic"),
    ],
)
async def test_a_false_answer_is_ignored_and_raised(
    change: Callable[[Answer], bytes], alarm: str, here: Place, link: LedgerLink
) -> None:
    """C-11.6: only the centre's own word ends a question."""

    def forge(answer: Answer) -> list[Answer]:
        lies = tuple(msgspec.structs.replace(each, found="absent") for each in answer.differs)
        link.put(change(msgspec.structs.replace(answer, differs=lies)), channel="down/digest")
        return [answer]

    link.on_an_answer = forge
    await take(here.unit, days=1, a_day=3)
    found = await compared(here.unit, link)
    assert found["outcome"] == "equal"
    assert here.unit.alarms() == {alarm: 1}


async def test_answers_to_another_unit_another_question_or_retained_are_no_answers(
    here: Place, link: LedgerLink
) -> None:
    """C-11.6."""
    late: list[Answer] = []

    def meddle(answer: Answer) -> list[Answer]:
        other = msgspec.structs.replace(answer, unit="azilal-04")
        late.append(msgspec.structs.replace(answer, question=str(here.unit.store.epoch)))
        link.put(encode_answer(answer, here.centre.key), channel="down/digest", retained=True)
        return [other, late[-1], answer]

    link.on_an_answer = meddle
    await take(here.unit, days=1, a_day=3)
    assert (await compared(here.unit, link))["outcome"] == "equal"
    assert here.unit.alarms() == {"answer-retained": 1, "answer-another-unit": 1}


async def test_a_question_keeps_within_the_packets_of_the_broker(here: Place) -> None:
    """T24: it is asked in halves, where else the link would be lost over and over."""
    await take(here.unit, days=60, a_day=1)
    with here.centre.ledger() as ledger:
        link = LedgerLink(here.unit, here.centre, ledger, packet_max=1_800)
        assert (await compared(here.unit, link))["outcome"] == "equal"
        asked = [load for at, load in link.sent if at == "up/digest"]
        assert len(asked) > 1
        assert max(map(len, asked)) <= 1_800
        victim = list(here.unit.saved)[33]
        with inside(link) as sql:
            change_line(sql, victim)
        found = await compared(here.unit, link)
    assert [each["record"] for each in found["differing"]] == [victim]


async def test_three_thousand_records_are_compared_for_a_hundredth_of_their_bytes(
    here: Place, link: LedgerLink
) -> None:
    """C-11.3: a question is bounded, and one damaged record is found in three more."""
    await take(here.unit, days=30, a_day=100)
    found = await compared(here.unit, link)
    assert (found["outcome"], found["records"], found["days"]) == ("equal", 3_000, 30)
    records = sum(len(line) for each in link.batches() for line in each.lines)
    asked = sum(len(load) for at, load in link.sent if at == "up/digest")
    assert asked < records / 100
    victim = list(here.unit.saved)[2_345]
    with inside(link) as sql:
        change_line(sql, victim)
    before = link.channels().count("up/digest")
    found = await compared(here.unit, link)
    assert [each["record"] for each in found["differing"]] == [victim]
    assert link.channels().count("up/digest") <= before + 2 + 2


async def test_a_comparison_is_due_a_day_after_the_last_by_a_clock_that_nobody_sets(
    here: Place,
) -> None:
    """C-11.1, T49: a step of the wall clock within a boot changes nothing."""
    books = StoreBooks(here.unit.store, DESTINATION)
    assert books._wait() <= 0
    await books.conclude(comparing.Comparison(records=3))
    assert 86_000 < books._wait() <= 86_400
    last = reconciling.last(here.unit.store.reader, DESTINATION)
    assert last
    stamp = now()
    year = replace(stamp, wall=stamp.wall + timedelta(days=365))
    assert last.age(year) < 60
    assert last.age(replace(year, boot="another")) > 300 * 86_400
    assert last.age(replace(stamp, boot="another", wall=stamp.wall - timedelta(days=1))) > 1e18


def test_a_centre_of_before_gets_its_new_tables(tmp_path: Path) -> None:
    with place(tmp_path) as found:
        with contextlib.closing(open_store(found.centre.folder)) as store:
            store._sql.executescript("DROP TABLE damage; DROP TABLE comparisons;")
        (unit,) = report.status(found.centre.folder).units
        assert unit.compared is None
        with contextlib.closing(open_store(found.centre.folder)) as store:
            assert Ledger(store)


class Growing:
    """Books in which as much is settled between two questions as was asked about."""

    def __init__(self) -> None:
        self.settled = 3
        self.asked = 0
        self.compared: comparing.Comparison | None = None

    async def due(self) -> None:
        """See `Books.due`: once."""
        if self.compared is not None:
            await asyncio.get_running_loop().create_future()

    def doubt(self) -> None:
        """See `Books.doubt`."""

    def meet(self, central_epoch: str) -> None:
        """See `Books.meet`."""

    async def lanes(self) -> tuple[tuple[str, str, int], ...]:
        """See `Books.lanes`."""
        return ((EPOCH, "clinical", self.settled),)

    async def page(self, epoch: str, lane: str, span: Range) -> tuple[Compared, ...]:
        """See `Books.page`."""
        assert (epoch, lane) == (EPOCH, "clinical")
        self.asked += 1
        assert self.asked < 100, "the comparison does not end"
        last = min(span[1], self.settled)
        self.settled += 3
        return (Compared(first=span[0], last=last, digest="00" * 32),) if span[0] <= last else ()

    async def digests(self, epoch: str, lane: str, spans: Sequence[Span]) -> tuple[Compared, ...]:
        """See `Books.digests`: nothing differs here."""
        raise AssertionError((epoch, lane, spans))

    async def conclude(self, comparison: comparing.Comparison) -> None:
        """See `Books.conclude`."""
        self.compared = comparison


async def test_comparison_ends_though_readings_come_faster_than_answers() -> None:
    books, key = Growing(), Ed25519PrivateKey.generate()

    async def say(_: str, frame: bytes) -> None:
        question = decode_question(frame, lambda _: key.public_key())
        of = {name: getattr(question, name) for name in ("unit", "epoch", "lane", "question")}
        await asyncio.sleep(0)
        work.hear(Answer(contract=1, central_epoch=EPOCH, **of))

    work = comparing.Comparing(say, 1 << 20, books, key, UNIT)
    run = asyncio.create_task(work.run())
    await until(lambda: books.compared is not None or run.done(), "a comparison")
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    assert books.compared is not None
    assert books.compared.records == 3
