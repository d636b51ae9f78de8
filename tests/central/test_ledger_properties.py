from __future__ import annotations

import random
import tempfile
import uuid
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from central import report
from central.ledger import GROUP_MAX, Ledger
from central.outline import outline, shown_ranges
from central.store import create, open_store
from sync.contract.fields import LANES
from sync.contract.ranges import minus, normal
from sync.contract.receipt import (
    HAVE_MAX,
    MISSING_MAX,
    REFUSED_MAX,
    Receipt,
    Refusal,
    check_receipt,
)

from .twin import Twin, cut, lost_line, new_line, record_id

if TYPE_CHECKING:
    from central.ledger import Inbound
    from central.store import Store


@dataclass
class Story:
    """A unit's log with its blobs, and messages that bring all of it in some order."""

    twin: Twin
    messages: list[Inbound]


@st.composite
def stories(draw: st.DrawFn) -> Story:
    chance = random.Random(draw(st.integers(0, 2**32)))
    twin = Twin()
    blobs = [chance.randbytes(size) for size in draw(st.lists(st.integers(1, 40_000), max_size=3))]
    duplicate = new_line("again")
    for _ in range(draw(st.integers(1, 24))):
        lane = chance.choice(LANES[:2])
        kind = chance.choice(("plain", "plain", "blob", "broken", "again", "lost"))
        twin.write(_line(kind, twin, chance, blobs, duplicate), lane=lane)
    messages = [each for lane in twin.lanes for each in _stretches(twin, lane, chance)]
    messages += [twin.chunk(piece) for blob in blobs for piece in cut(blob)]
    messages += [chance.choice(messages) for _ in range(draw(st.integers(0, 8)))]
    return Story(twin, draw(st.permutations(messages)))


def _line(
    kind: str, twin: Twin, chance: random.Random, blobs: list[bytes], duplicate: bytes
) -> bytes:
    if kind == "blob" and blobs:
        return new_line(blobs=[(chance.choice(blobs), "photograph")])
    if kind == "broken":
        return b"broken %d" % chance.getrandbits(40)
    if kind == "again":
        return duplicate
    if kind == "lost" and twin.lanes:
        lane = chance.choice(list(twin.lanes))
        seq = chance.randint(1, len(twin.lanes[lane]))
        return lost_line(lane, seq, twin.value(seq, lane))
    return new_line()


def _stretches(twin: Twin, lane: str, chance: random.Random) -> list[Inbound]:
    """Batches that cover a lane, now and then overlapping."""
    found, first, end = [], 1, len(twin.lanes[lane])
    while first <= end:
        last = min(end, first + chance.randint(0, 5))
        found.append(twin.batch(max(1, first - chance.randint(0, 2)), last, lane))
        first = last + 1
    return found


def state(store: Store) -> dict[str, list[object]]:
    """What is to be the same whatever the order; row numbers and times are not."""
    ask = store._sql.execute
    return {
        "lanes": sorted(ask("SELECT unit, epoch, lane, through FROM lanes")),
        "entries": sorted(
            ask(
                "SELECT lane, seq, hash, prev_hash, coalesce(record_id, ''), outcome,"
                " coalesce(code, '') FROM entries JOIN lanes ON lanes.id = lane_id"
            )
        ),
        "records": sorted(ask("SELECT unit, record_id, kind, line, line_hash FROM records")),
        "blobs": sorted(ask("SELECT unit, sha256, size, complete, referenced FROM blobs")),
        "references": sorted(ask("SELECT * FROM record_blobs")),
    }


def tell(folder: Path, story: Story, messages: list[Inbound], group: int) -> Store:
    folder.mkdir()
    create(folder, "clinical")
    store = open_store(folder)
    with store.transaction():
        store.enrol(story.twin.unit, story.twin.key.public_key().public_bytes_raw())
    ledger = Ledger(store)
    for at in range(0, len(messages), group):
        for receipt in ledger.commit(messages[at : at + group]).receipts:
            check_receipt(receipt)
            _check_true(receipt, store)
    return store


def _check_true(receipt: Receipt, store: Store) -> None:
    """Hold a receipt against what is committed."""
    rows = store._sql.execute(
        "SELECT seq, outcome FROM entries JOIN lanes ON lanes.id = lane_id"
        " WHERE epoch = ? AND lane = ?",
        (receipt.epoch, receipt.lane),
    ).fetchall()
    settled = {row[0] for row in rows}
    told = set(range(1, receipt.last + 1)) - {
        seq for first, last in receipt.missing for seq in range(first, last + 1)
    }
    assert told == {seq for seq in settled if seq <= receipt.last}
    assert set(range(1, receipt.through + 1)) <= settled


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(story=stories(), group=st.integers(1, GROUP_MAX))
def test_any_order_and_repetition_of_a_log_ends_in_the_same_state(story: Story, group: int) -> None:
    in_order = sorted(set(story.messages), key=lambda each: each.topic)
    with (
        tempfile.TemporaryDirectory() as place,
        closing(tell(Path(place) / "a", story, story.messages, group)) as one,
        closing(tell(Path(place) / "b", story, in_order, 1)) as other,
    ):
        assert state(one) == state(other)
        lanes = report.status(Path(place) / "a").units[0].lanes
        for lane in lanes:
            assert lane.through == lane.last == len(story.twin.lanes[lane.lane])
        for blob in report.blobs(Path(place) / "a"):
            assert blob.complete
            assert blob.content_sha256 == blob.sha256
        kept = {record_id for _, record_id, _ in report.records(Path(place) / "a")}
        written = {
            record_id(line)
            for lines in story.twin.lanes.values()
            for line in lines
            if not line.startswith(b"broken")
        }
        assert kept == written


RANGES = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 3)), max_size=120).map(
    lambda pairs: normal((first, first + more) for first, more in pairs)
)


@given(
    through=st.integers(0, 50),
    settled=RANGES,
    chance=st.randoms(),
    offered=st.integers(1, 80),
    spoken=st.integers(0, 500),
)
def test_receipt_never_says_more_than_is_settled_nor_hides_a_refusal(
    through: int,
    settled: tuple[tuple[int, int], ...],
    chance: random.Random,
    offered: int,
    spoken: int,
) -> None:
    """C-7.4; and what is settled no longer is said to be missing, however high it stood."""
    ahead = tuple((first + through + 2, last + through + 2) for first, last in settled)
    known = [*range(1, through + 1), *(s for a, b in ahead for s in range(a, b + 1))]
    refused = [Refusal(seq=seq, code="x", reason="") for seq in known if chance.random() < 0.7]
    refused = [each for each in refused if each.seq >= offered]

    def refused_to(last: int, most: int) -> list[Refusal]:
        return [each for each in refused if each.seq <= last][:most]

    said = outline(through, ahead[:MISSING_MAX], refused_to, (), spoken=spoken)
    if len(ahead) < MISSING_MAX and len(refused) <= REFUSED_MAX:
        assert said.last >= spoken
    held = ((1, said.last),) if said.last else ()
    told = {s for a, b in minus(held, said.missing) for s in range(a, b + 1)}
    assert told == {seq for seq in known if seq <= said.last}
    assert [each.seq for each in said.refused] == [r.seq for r in refused if r.seq <= said.last]
    assert len(said.refused) <= REFUSED_MAX
    assert said.through <= through
    check_receipt(
        Receipt(
            central_epoch=str(uuid.uuid4()),
            serial=1,
            unit="u",
            epoch=str(uuid.uuid4()),
            lane="clinical",
            through=said.through,
            head_hash="00" * 32,
            last=said.last,
            missing=said.missing,
            refused=said.refused,
        )
    )


@given(have=RANGES, touched=RANGES)
def test_shown_ranges_are_held_and_prefer_what_was_touched(
    have: tuple[tuple[int, int], ...], touched: tuple[tuple[int, int], ...]
) -> None:
    shown = shown_ranges(have, touched)
    assert len(shown) == min(HAVE_MAX, len(have))
    assert set(shown) <= set(have)
    assert shown == tuple(sorted(shown))
    met = {h for h in have if any(h[0] <= b and a <= h[1] for a, b in touched)}
    assert met <= set(shown) or set(shown) <= met
