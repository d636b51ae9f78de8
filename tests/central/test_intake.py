"""What a centre takes in from sticks: once, beside a receiver, and whatever is wrong with them."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from central import report
from central.backup import back_up, declare_restored
from central.errors import CentreError
from central.intake import Desk, Intake
from central.keys import load_key, load_sealing_key
from central.ledger import Inbound, Ledger
from central.store import Store, open_store
from sync.contract.entries import Entry, decode_receipts
from sync.contract.envelope import Codec, Magic, envelope_head, key_id, sign
from sync.contract.receipt import REFUSED_MAX, Receipt, decode_receipt
from sync.contract.sealed import folders, seal_file
from sync.stick import StickFault
from tests.sticks import mounted, spoil

from .glance import refusals, rows, stored
from .twin import Twin, cut, new_line

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PICTURE = os.urandom(100_000)


class Counter:
    """Where sticks are handed in; and the unit's side of writing them."""

    def __init__(self, folder: Path, store: Store, twin: Twin, stick: Path) -> None:
        self.folder = folder
        self.twin = twin
        self.stick = stick
        self.signing = load_key(folder)
        self.sealing = load_sealing_key(folder)
        self.desk = Desk(store, Ledger(store), self.signing, self.sealing)
        stick.mkdir(exist_ok=True)

    def up(self, unit: str = "") -> Path:
        return self.stick.joinpath(*folders("clinical", unit or self.twin.unit, "up"))

    def put(self, messages: Sequence[Inbound], number: int = 1, unit: Twin | None = None) -> Path:
        """Write a sealed file as a unit does."""
        twin = unit or self.twin
        entries = [Entry(each.topic.split("/", 3)[3], each.payload) for each in messages]
        sealed = seal_file(entries, b"slip", twin.key, self.sealing.public_key())
        path = self.up(twin.unit) / f"{number:010d}.sealed"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sealed)
        return path

    def take_in(self) -> Intake:
        (intake,) = self.desk.take_in(self.stick)
        return intake

    def receipts(self) -> list[Receipt]:
        """Everything that lies on the stick for the unit, in order."""
        down = self.stick.joinpath(*folders("clinical", self.twin.unit, "down"))
        key = self.signing.public_key()
        return [
            decode_receipt(frame, {key_id(key): key}.get)
            for path in sorted(down.glob("*.receipts"))
            for frame in decode_receipts(path.read_bytes())
        ]


@pytest.fixture
def counter(folder: Path, store: Store, twin: Twin, tmp_path: Path) -> Counter:
    twin.write(*(new_line() for _ in range(10)), new_line(blobs=[(PICTURE, "image")]))
    return Counter(folder, store, twin, tmp_path / "stick")


def everything(twin: Twin, session: str | None = None) -> list[Inbound]:
    chunks = [twin.chunk(each) for each in cut(PICTURE)]
    return [twin.hello(session=session), twin.batch(1, 6), twin.batch(7, 11), *chunks]


def test_a_stick_is_taken_once_and_its_receipts_say_so(counter: Counter) -> None:
    """C-1.7, C-10.6, C-10.7, C-10.9: what came by stick is what would have come by a link."""
    session = "a3c1f7d2-4b5e-4c6d-9e8f-0a1b2c3d4e5f"
    counter.put(everything(counter.twin, session))
    first = counter.take_in()
    assert (first.files, first.new, first.refused, first.remarks) == (1, 11, {}, [])
    before = stored(counter.folder)
    again = counter.take_in()
    assert (again.files, again.new) == (1, 0)
    assert stored(counter.folder) == before
    told = counter.receipts()
    assert told[0].answers == session, "what proves the central epoch comes first"
    assert [each.serial for each in told] == sorted(each.serial for each in told)
    assert (told[-1].answers, told[-1].through) == (session, 11)
    assert any(held.complete for each in told for held in each.chunks)


def test_files_in_any_order_and_beside_a_link_give_the_same(counter: Counter) -> None:
    """C-10.8: overlaps, a gap that is filled later, one half that came over the link."""
    twin = counter.twin
    with closing(open_store(counter.folder)) as other:
        Ledger(other).commit([twin.hello(), twin.batch(4, 8)])
    counter.put([twin.hello(), twin.batch(9, 11)], 1)
    counter.put([twin.hello(), *(twin.chunk(each) for each in cut(PICTURE))], 2)
    counter.put([twin.hello(), twin.batch(1, 5)], 3)
    assert counter.take_in().new == 6
    assert counter.receipts()[-1].through == 11
    assert next(report.blobs(counter.folder)).complete


def test_an_old_hello_takes_nothing_back(counter: Counter, store: Store) -> None:
    """C-10.8: what a later one said of `oldest` and `first` stands."""
    counter.put([counter.twin.hello(first=1, oldest=1), counter.twin.batch(1, 11)])
    Ledger(store).commit([counter.twin.hello(first=9, oldest=4)])
    counter.take_in()
    with store.transaction():
        found = store._sql.execute("SELECT offered, oldest FROM lanes").fetchone()
    assert found == (9, 4)


def test_a_refusal_below_what_the_latest_hello_offers_is_told_all_the_same(
    counter: Counter, store: Store
) -> None:
    """C-7.5, C-9.5: else a unit whose centre came back older took it for confirmed."""
    twin = counter.twin
    twin.write(b'{"record": "no uuid"}', new_line())
    Ledger(store).commit([twin.hello(first=13)])
    (told,) = Ledger(store).commit([twin.batch(1, 13)]).receipts
    assert [each.seq for each in told.refused] == [12]
    assert (told.through, told.last) == (13, 13)


def test_more_refusals_than_a_receipt_takes_hold_nothing_up_for_ever(counter: Counter) -> None:
    """C-9.6: an always dark unit gets past them stick by stick, as its `first` goes on."""
    twin = counter.twin
    twin.lanes.clear()
    twin.write(*(b'{"record": %d}' % number for number in range(REFUSED_MAX + 10)), new_line())
    last = REFUSED_MAX + 11
    counter.put([twin.hello(first=1), twin.batch(1, last)])
    counter.take_in()
    through = counter.receipts()[-1].through
    assert through == REFUSED_MAX
    counter.put([twin.hello(first=through + 1), twin.batch(through + 1, last)], 2)
    counter.take_in()
    assert counter.receipts()[-1].through == last


def test_a_restored_centre_says_on_the_stick_what_it_lacks(
    counter: Counter, store: Store, tmp_path: Path
) -> None:
    """C-9.9: another central epoch, proven by the session it answers."""
    twin = counter.twin
    counter.put([twin.hello(), twin.batch(1, 6)])
    counter.take_in()
    back_up(counter.folder, tmp_path / "copy.db")
    counter.put(everything(twin), 2)
    assert counter.take_in().new == 5
    store.close()
    shutil.copy(tmp_path / "copy.db", counter.folder / "central.db")
    epoch = declare_restored(counter.folder)
    with closing(open_store(counter.folder)) as again:
        desk = Desk(again, Ledger(again), counter.signing, counter.sealing)
        (intake,) = desk.take_in(counter.stick)
    assert intake.new == 5
    assert counter.receipts()[-1].central_epoch == epoch


def test_what_is_wrong_with_one_file_stays_with_it(counter: Counter, store: Store) -> None:
    """C-10.7: torn, changed, of another unit, of another centre, no file at all."""
    twin = counter.twin
    other = Twin(unit="tata-01")
    with store.transaction():
        store.enrol(other.unit, other.key.public_key().public_bytes_raw())
    other.write(new_line())
    swapped = counter.put([other.hello(), other.batch(1, 1)], 1, other)
    whole = counter.put([twin.hello(), twin.batch(1, 11)], 1)
    place = whole.parent
    swapped.rename(place / "0000000002.sealed")
    (place / "0000000003.sealed").write_bytes(whole.read_bytes()[:-1000])
    changed = bytearray(whole.read_bytes())
    changed[500] ^= 1
    (place / "0000000004.sealed").write_bytes(changed)
    (place / "0000000005.sealed").write_bytes(b"nothing of ours" * 20)
    foreign = seal_file(
        [Entry("up/hello", twin.hello().payload)],
        b"",
        twin.key,
        X25519PrivateKey.generate().public_key(),
    )
    (place / "0000000006.sealed").write_bytes(foreign)
    taken = next(each for each in counter.desk.take_in(counter.stick) if each.unit == twin.unit)
    assert (taken.files, taken.new) == (1, 11)
    assert taken.refused == {"key": 1, "signature": 2, "magic": 1, "recipient": 1}
    assert refusals(counter.folder) == taken.refused


def test_messages_in_a_file_are_weighed_like_those_of_a_link(counter: Counter) -> None:
    """C-10.7: a bomb, another's batch, a retained word, a channel of tomorrow: each alone."""
    twin = counter.twin
    other = Twin(unit="tata-01")
    other.write(new_line())
    head = envelope_head(Magic.BATCH, Codec.ZSTD, twin.key)
    bomb = sign(head, zstd.compress(bytes(1 << 28)), twin.key)
    root = f"qafila/v1/{twin.unit}/"
    counter.put(
        [
            twin.hello(),
            Inbound(f"{root}up/log/clinical", bomb),
            Inbound(f"{root}up/log/clinical", other.batch(1, 1).payload),
            Inbound(f"{root}up/of-tomorrow", b"x"),
            Inbound(f"{root}down/receipt", b"x"),
            twin.batch(1, 11),
        ]
    )
    taken = counter.take_in()
    assert taken.new == 11
    assert taken.refused == {"inflate": 1, "key": 1, "topic": 2}


def test_hostile_stick_is_looked_at_within_bounds_and_nothing_is_followed(
    counter: Counter, tmp_path: Path
) -> None:
    """C-10.1, C-10.2: links, pipes, folders, vast and empty files, names that climb."""
    outside = tmp_path / "outside"
    outside.write_bytes(b"not ours to read")
    counter.put([counter.twin.hello(), counter.twin.batch(1, 11)])
    spoil(counter.up(), "sealed", outside)
    taken = counter.take_in()
    assert (taken.files, taken.new) == (1, 11)
    assert taken.refused == {"short": 1, "magic": 1}
    said = " ".join(taken.remarks)
    for words in ("links, which are not followed", "neither files nor folders", "more than 2 MiB"):
        assert words in said
    assert "outside" not in said
    assert outside.read_bytes() == b"not ours to read"


@pytest.mark.parametrize("where", ["qafila", "qafila/v1", "qafila/v1/azilal-03", "up", "down"])
def test_folder_that_is_a_link_is_not_entered(counter: Counter, tmp_path: Path, where: str) -> None:
    """C-10.2: at no depth, to read or to write."""
    counter.put([counter.twin.hello(), counter.twin.batch(1, 11)])
    place = counter.up().parent / where if "/" not in where else counter.stick / where
    place = counter.stick / where if where == "qafila" else place
    elsewhere = tmp_path / "elsewhere"
    if place.exists():
        place.rename(elsewhere)
    else:
        elsewhere.mkdir()
    place.symlink_to(elsewhere)
    before = sorted(elsewhere.rglob("*"))
    if where in {"up", "down", "qafila/v1/azilal-03"}:
        intake = counter.take_in()
        assert any("links are not followed" in words for words in intake.remarks)
        assert intake.receipts == 0
        assert intake.new == (11 if where == "down" else 0)
    else:
        with pytest.raises(StickFault, match="links are not followed"):
            counter.take_in()
    assert sorted(elsewhere.rglob("*")) == before


def test_stick_itself_named_by_a_link_or_missing_is_refused(
    counter: Counter, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(counter.stick)
    for name, words in (("link", "name the folder itself"), ("none", "plug it in")):
        with pytest.raises(StickFault, match=words):
            counter.desk.take_in(tmp_path / name)


def test_ten_thousand_files_are_bounded_and_said(counter: Counter) -> None:
    """C-10.2: what was left out is said."""
    path = counter.put([counter.twin.hello(), counter.twin.batch(1, 11)])
    for number in range(2, 10_050):
        (path.parent / f"{number:010d}.sealed").touch()
    taken = counter.take_in()
    assert taken.new == 11
    assert any("more than 4096 files" in words for words in taken.remarks)
    assert taken.refused == {"short": 4095}


def test_units_that_are_not_enrolled_and_other_origins_are_said(counter: Counter) -> None:
    """C-9.8: with the remedy."""
    stranger = Twin(unit="figuig-02")
    stranger.write(new_line())
    counter.put([stranger.hello(), stranger.batch(1, 1)], 1, stranger)
    (intake,) = counter.desk.take_in(counter.stick)
    assert intake.remarks == ["it is not enrolled here: enrol it, then import again"]
    shutil.rmtree(counter.stick / "qafila")
    with pytest.raises(CentreError, match="no sealed files: name the folder"):
        counter.desk.take_in(counter.stick)
    (counter.stick / "qafila-sim" / "v1" / "azilal-03").mkdir(parents=True)
    with pytest.raises(CentreError, match="this centre is clinical"):
        counter.desk.take_in(counter.stick)


@pytest.mark.parametrize("ill", ["read-only", "full"])
def test_stick_that_takes_no_receipts_is_committed_and_said(
    folder: Path, store: Store, twin: Twin, tmp_path: Path, ill: str
) -> None:
    twin.write(*(new_line() for _ in range(5)))
    with mounted(tmp_path / "small", "1m") as stick:
        counter = Counter(folder, store, twin, stick.folder)
        counter.put([twin.hello(), twin.batch(1, 5)])
        if ill == "full":
            with pytest.raises(OSError, match="No space"):
                (stick.folder / "full").write_bytes(bytes(2 << 20))
        else:
            stick.protect()
        taken = counter.take_in()
        assert taken.new == 5
        (said,) = taken.remarks
        assert said.startswith("all is committed, but without receipts for the unit")
        assert ("set its switch" if ill == "read-only" else "it is full") in said
        assert not list(stick.folder.rglob("*.part"))


def test_stick_is_taken_in_while_the_receiver_commits(counter: Counter) -> None:
    """C-10.8: two writers of one database; each serial is given once, nothing twice."""
    twin = counter.twin
    twin.write(*(new_line() for _ in range(90)))
    last = 101
    for number in range(1, 11):
        at = number * 10 - 9
        counter.put([twin.hello(), twin.batch(at, min(at + 14, last))], number)
    serials: list[int] = []
    with closing(open_store(counter.folder)) as other:
        receiver = Ledger(other)

        def receive() -> None:
            for at in range(last, 0, -1):
                told = receiver.commit([twin.batch(at, at)]).receipts
                serials.extend(each.serial for each in told)

        thread = threading.Thread(target=receive)
        thread.start()
        taken = counter.take_in()
        thread.join()
    assert taken.refused == {}
    assert len(stored(counter.folder)) == last
    serials += [each.serial for each in counter.receipts() if each.unit == twin.unit]
    assert len(serials) == len(set(serials))
    with closing(open_store(counter.folder)) as store:
        (lane,) = [each for each in rows(store)["lanes"] if each[3] == last]
        assert lane
