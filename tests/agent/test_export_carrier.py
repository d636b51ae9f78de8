"""Bringing a stick up to date: what is written, what is taken away, what a bad stick does."""

from __future__ import annotations

import asyncio
import os
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from agent.errors import StoreBroken
from agent.export import carry
from agent.export.carry import Carried, Carrier
from agent.export.contents import Contents, from_json, gathered, to_json
from agent.export.returning import take_back
from agent.export.slip import Slips
from agent.export.source import StoreSource
from agent.store import epochs
from agent.store.settling import carried_question, present
from sync.contract.entries import FILE_MAX, encode_receipts
from sync.contract.envelope import key_id
from sync.contract.receipt import Held, Receipt
from sync.contract.sealed import SUFFIXES, folders, open_file, slip_of
from sync.stick import StickFault, open_shelf
from tests.faults.disk import VolatileDisk, why_not
from tests.sticks import mounted, spoil

from .store.truck import UNIT, capture, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.store.store import Store
    from sync.contract.entries import Entry

KEY = Ed25519PrivateKey.generate()
SEALING = X25519PrivateKey.generate()
CENTRE = "b2d4f6a8-0c1e-4a3b-8d5f-7192a3b4c5d6"
PICTURE = os.urandom(3 << 20)
PLACE = folders("simulated", UNIT, "up")


class Truck:
    """A store, and one stick that is filled from it."""

    def __init__(self, store: Store, stick: Path) -> None:
        self.store = store
        self.stick = stick
        self.serial = 0
        self.carrier = self.restarted()

    def restarted(self) -> Carrier:
        source = StoreSource(self.store, "centre", KEY, SEALING.public_key())
        self.carrier = Carrier(source, lambda: None)
        return self.carrier

    async def record(self, *raws: bytes, blobs: tuple[bytes, ...] = ()) -> None:
        await self.store.record_all([capture(raw, blobs=blobs) for raw in raws])

    def carry(self) -> Carried:
        with open_shelf(self.stick, PLACE, SUFFIXES["up"], make=True) as shelf:
            return self.carrier.bring_up_to_date(shelf)

    def files(self) -> dict[str, bytes]:
        folder = self.stick.joinpath(*PLACE)
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}

    def opened(self) -> list[Entry]:
        """Every message but the hellos, as the centre reads them."""
        keys = {key_id(KEY.public_key()): KEY.public_key()}
        found = [e for each in self.files().values() for e in open_file(each, keys.get, SEALING)]
        return [each for each in found if each.channel != "up/hello"]

    def held(self) -> Contents:
        """What the slips say."""
        slips = Slips(self.store.key)
        said = [slips.unlock(slip_of(each)) for each in self.files().values()]
        return gathered(each[1] for each in said if each)

    async def settle(self, through: int, *blobs: bytes) -> None:
        """Let the centre say how far it has come."""
        self.serial += 1
        connection = self.store.reader
        (epoch,) = connection.execute("SELECT epoch FROM unit").fetchone()
        head = connection.execute(
            "SELECT hash FROM record WHERE lane = 'clinical' AND seq = ?", (through,)
        ).fetchone()[0]
        receipt = Receipt(
            central_epoch=CENTRE,
            serial=self.serial,
            unit=UNIT,
            epoch=epoch,
            lane="clinical",
            through=through,
            last=through,
            head_hash=bytes(head).hex(),
            chunks=tuple(
                Held(sha256=name.hex(), size=size, have=((0, size - 1),))
                for name, size in connection.execute("SELECT sha256, size FROM blob")
                if blobs
            ),
            answers=carried_question(connection, "centre").session,
        )
        await self.store.settle_carried("centre", receipt)


@pytest.fixture
def truck(tmp_path: Path) -> Iterator[Truck]:
    stick = tmp_path / "stick"
    stick.mkdir()
    with closing(open_store(tmp_path / "state")) as store:
        yield Truck(store, stick)


async def test_everything_pending_is_on_it_in_files_within_bounds(truck: Truck) -> None:
    """C-10.2, C-10.6: a large picture takes several files; nothing twice, nothing missing."""
    await truck.record(b"one", b"two", blobs=(PICTURE,))
    done = truck.carry()
    assert done.whole
    assert (done.pending, done.pending_bytes) == (2, len(PICTURE))
    assert len(truck.files()) == 2
    assert max(map(len, truck.files().values())) <= FILE_MAX
    assert truck.held() == truck.carrier._source.open().pending
    chunks = [each for each in truck.opened() if each.channel == "up/chunk"]
    assert sum(len(each.frame) - 52 for each in chunks) == len(PICTURE)


async def test_only_what_is_new_is_written_also_after_a_restart(truck: Truck) -> None:
    """What the stick holds is known by the slips, which nobody else can read."""
    await truck.record(b"one")
    assert truck.carry().written == 1
    assert truck.carry().written == 0
    await truck.record(b"two")
    truck.restarted()
    assert truck.carry().written == 1
    before = truck.files()
    truck.restarted()
    assert truck.carry().written == 0
    assert truck.files() == before
    for content in before.values():
        assert UNIT.encode() not in slip_of(content)
        assert Slips("00" * 48).unlock(slip_of(content)) is None


async def test_only_what_receipts_settled_is_taken_away(truck: Truck) -> None:
    """C-10.12: a record that is settled waits on the stick for its picture."""
    await truck.record(b"one", blobs=(b"picture",))
    truck.carry()
    await truck.record(b"two")
    truck.carry()
    await truck.settle(1)
    truck.carry()
    assert len(truck.files()) == 2, "the picture is not at the centre yet"
    await truck.settle(1, b"picture")
    truck.carry()
    assert len(truck.files()) == 1
    await truck.settle(2)
    assert truck.carry() == Carried(0, 0, 0, 0, 0, 0, 0)
    assert truck.files() == {}


async def test_thin_files_are_gathered_once_there_are_many(truck: Truck) -> None:
    """C-10.12: what a file holds stands in another one before it goes."""
    for number in range(carry.THIN_MAX):
        await truck.record(b"reading %d" % number)
        truck.carry()
    assert len(truck.files()) == carry.THIN_MAX
    done = truck.carry()
    assert (done.files, done.written) == (1, 1)
    assert truck.held().count == carry.THIN_MAX
    assert done.whole


def lies_there_still(truck: Truck) -> int:
    """How many records of the first file are still pending."""
    wanted = truck.carrier._files[1].wanted
    assert wanted is not None
    return wanted.count


async def test_what_falls_back_to_pending_is_known_to_lie_there_still(truck: Truck) -> None:
    """C-8.6: a centre that came back older costs no second file where the first stays."""
    await truck.record(b"one", b"two")
    truck.carry()
    await truck.settle(1)
    truck.carry()
    assert lies_there_still(truck) == 1
    await truck.store.writer.write(
        lambda c: c.execute("UPDATE watermark SET through = 0, ahead = '[]'")
    )
    assert truck.carry().written == 0
    assert lies_there_still(truck) == 2


async def test_file_that_could_not_be_judged_is_judged_the_next_time(
    truck: Truck, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would be written twice, and never taken away."""
    await truck.record(b"one")
    truck.carry()
    source = truck.restarted()._source

    def fail(_: object) -> None:
        raise StoreBroken("just now")

    with monkeypatch.context() as ill:
        ill.setattr(source, "judge", fail)
        with pytest.raises(StoreBroken):
            truck.carry()
    assert truck.carry().written == 0
    await truck.settle(1)
    assert truck.carry().files == 0


async def test_damaged_file_is_written_anew_and_taken_away(truck: Truck) -> None:
    """T16: A stick that rots is no second place: each file is read to its end when it comes."""
    await truck.record(b"one", b"two")
    truck.carry()
    (path,) = truck.stick.joinpath(*PLACE).iterdir()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    truck.restarted()
    done = truck.carry()
    assert (done.files, done.written, done.whole) == (1, 1, True)
    assert list(truck.files()) == ["0000000002.sealed"]


async def test_files_of_another_database_and_of_another_centre_stay(
    truck: Truck, tmp_path: Path
) -> None:
    """Nothing is taken away that may be the only copy: the disk before this one, say."""
    await truck.record(b"one")
    other = open_store(tmp_path / "before")
    with closing(other):
        await Truck(other, truck.stick).record(b"lost with the old disk")
        Truck(other, truck.stick).carry()
    source = StoreSource(truck.store, "centre", KEY, X25519PrivateKey.generate().public_key())
    truck.carrier = Carrier(source, lambda: None)
    truck.carry()
    truck.restarted()
    done = truck.carry()
    assert (done.whole, done.strange) == (True, 1)
    await truck.settle(1)
    truck.restarted()
    assert truck.carry().files == 1, "that of the old disk alone"


async def test_files_of_a_closed_epoch_go_once_all_that_moved_is_settled(truck: Truck) -> None:
    """What a fork logs anew is exported anew, before the old files go."""
    await truck.record(b"one")
    truck.carry()
    await truck.store.writer.write(
        lambda c: epochs.fork(c, "centre", "a test", present(c, "centre"))
    )
    done = truck.carry()
    assert (done.written, done.files, done.whole) == (1, 2, True)
    await truck.settle(1)
    truck.restarted()
    assert truck.carry().files == 0


async def test_record_that_cant_be_read_back_hides_no_other(truck: Truck) -> None:
    await truck.record(b"one", b"two", b"three")
    await truck.store.writer.write(
        lambda c: c.execute("UPDATE record SET line = x'7b7d' WHERE seq = 2")
    )
    done = truck.carry()
    assert (done.pending, done.lacking, done.whole) == (3, 1, False)
    ((_, spans),) = truck.held().records.items()
    assert spans == ((1, 1), (3, 3))


async def test_hostile_stick_is_written_to_and_nothing_is_followed(
    truck: Truck, tmp_path: Path
) -> None:
    """C-10.2: links, pipes, folders in place of files; ours gets a number of its own."""
    outside = tmp_path / "outside"
    outside.write_bytes(b"not ours")
    spoil(truck.stick.joinpath(*PLACE), "sealed", outside)
    with open_shelf(truck.stick, PLACE, SUFFIXES["up"]) as shelf:
        assert [shelf.read(number) for number in range(1, 7)] == [None] * 6
        assert shelf.list().numbers == (7, 8)
    await truck.record(b"one")
    done = truck.carry()
    assert done.whole
    assert outside.read_bytes() == b"not ours"
    assert not truck.stick.joinpath(*PLACE, ".0000000009.sealed.part").exists()


@pytest.mark.parametrize("depth", range(1, 5))
async def test_folder_that_is_a_link_is_not_written_into(
    truck: Truck, tmp_path: Path, depth: int
) -> None:
    """C-10.2: at no depth."""
    (tmp_path / "elsewhere").mkdir()
    place = truck.stick.joinpath(*PLACE[:depth])
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(tmp_path / "elsewhere")
    await truck.record(b"one")
    with pytest.raises(StickFault, match="links are not followed"):
        truck.carry()
    assert list((tmp_path / "elsewhere").iterdir()) == []


async def test_two_writers_on_one_stick_do_not_meet(truck: Truck) -> None:
    await truck.record(b"one")
    with open_shelf(truck.stick, PLACE, SUFFIXES["up"], make=True) as other:
        other.lock()
        with pytest.raises(StickFault, match="another program is writing to it"):
            truck.carry()
    assert truck.carry().whole


async def test_full_stick_says_so_keeps_what_is_whole_and_room_for_receipts(
    truck: Truck, tmp_path: Path
) -> None:
    await truck.record(b"one", blobs=(os.urandom(8 << 20),))
    with mounted(tmp_path / "small", f"{(carry.RESERVE + 3 * FILE_MAX) >> 20}m") as stick:
        truck.stick = stick.folder
        done = truck.carry()
        assert done.full is not None
        assert "it is full: make room on it, or use another stick" in str(done.full)
        assert 0 < done.files < 4
        assert done.lacking == 0, "records go before pictures"
        assert not [name for name in truck.files() if name.endswith(".part")]
        with open_shelf(stick.folder, PLACE, "sealed") as shelf:
            assert shelf.free() >= carry.RESERVE


async def test_stick_that_is_only_to_be_read_says_so(truck: Truck, tmp_path: Path) -> None:
    await truck.record(b"one")
    with mounted(tmp_path / "small") as stick:
        truck.stick = stick.folder
        truck.carry()
        stick.protect()
        await truck.record(b"two")
        with pytest.raises(StickFault, match="set its switch"):
            truck.carry()


async def test_stick_that_is_full_to_the_last_byte_keeps_no_half_file(
    truck: Truck, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the room that was seen is gone a moment later: ENOSPC in the middle of a file."""
    monkeypatch.setattr(carry, "RESERVE", -FILE_MAX)
    await truck.record(b"one", blobs=(os.urandom(3 << 20),))
    with mounted(tmp_path / "small", "1m") as stick:
        truck.stick = stick.folder
        done = truck.carry()
        assert done.full is not None
        assert truck.files() == {}


@pytest.mark.skipif(bool(why_not()), reason=why_not() or "FUSE is there")
@pytest.mark.parametrize("seed", range(5))
async def test_stick_pulled_out_half_way_loses_nothing_that_was_said_to_be_on_it(
    truck: Truck, seed: int
) -> None:
    """C-10.12: cut at any operation; what is there is whole or refused, and comes again."""
    numbers = 40
    await truck.record(*(b"reading %d" % n for n in range(numbers)), blobs=(PICTURE[:99_999],))
    with VolatileDisk() as disk:
        truck.stick = disk.folder
        first = await asyncio.to_thread(truck.carry)
        assert first.whole
        await truck.record(b"one more", b"and another", blobs=(PICTURE[-99_999:],))
        disk.tell("cut-at", 1 + seed, seed)
        with pytest.raises(StickFault, match="can't be used"):
            await asyncio.to_thread(truck.carry)
        assert disk.went_dark()
        disk.mount()
        held = truck.held()
        assert not first.lacking
        assert sum(b - a + 1 for (_, lane), s in held.records.items() for a, b in s) >= numbers
        truck.restarted()
        again = await asyncio.to_thread(truck.carry)
        assert again.whole
        opened = await asyncio.to_thread(truck.opened)
        assert {each.channel for each in opened} == {"up/log/clinical", "up/chunk"}


def test_contents_come_back_as_they_went_in() -> None:
    one = Contents({("e", "clinical"): ((1, 3), (5, 5))}, {"ab" * 32: ((0, 9),)})
    assert from_json(to_json(one)) == one
    two = Contents({("e", "clinical"): ((3, 4),)}, {"cd" * 32: ((0, 1),)})
    assert one.plus(two).records == {("e", "clinical"): ((1, 5),)}
    assert one.less(two).records == {("e", "clinical"): ((1, 2), (5, 5))}
    assert one.both(two) == Contents({("e", "clinical"): ((3, 3),)}, {})
    assert (one.count, one.size) == (4, 10)
    assert not one.less(one)
    assert one.first(1) == Contents({("e", "clinical"): ((1, 3),)}, {})
    every: list[object] = [None, [], [[], [], []], [[["e", "l", [["a", 1]]]], []]]
    for wrong in every:
        with pytest.raises(ValueError, match=r"."):
            from_json(wrong)


async def test_receipts_on_a_hostile_stick_are_taken_within_bounds(
    truck: Truck, tmp_path: Path
) -> None:
    """C-10.2, C-10.9, C-10.12: the genuine file is taken and goes, the others stay and are said."""
    outside = tmp_path / "outside"
    outside.write_bytes(b"not ours")
    down = truck.stick.joinpath(*folders("simulated", UNIT, "down"))
    spoil(down, "receipts", outside)
    (down / "0000000001.receipts").write_bytes(encode_receipts([b"one", b"two"]))
    heard: list[bytes] = []

    def settle(frame: bytes) -> str:
        heard.append(frame)
        return "taken"

    returned = take_back(truck.stick, "simulated", UNIT, settle)
    assert heard == [b"one", b"two"]
    assert returned.outcomes == {"taken": 2, "damaged": 2}
    assert len(returned.left_out) == 3
    assert not (down / "0000000001.receipts").exists()
    assert (down / "0000000008.receipts").exists()
    assert take_back(tmp_path, "simulated", UNIT, settle).files == 0
    with pytest.raises(StickFault, match="plug it in"):
        take_back(tmp_path / "none", "simulated", UNIT, settle)


async def test_receipts_stay_where_settling_fails(truck: Truck) -> None:
    """They are taken once more: settled is only what the store has written down."""
    down = truck.stick.joinpath(*folders("simulated", UNIT, "down"))
    down.mkdir(parents=True)
    (down / "0000000001.receipts").write_bytes(encode_receipts([b"one"]))

    def fail(_: bytes) -> str:
        raise KeyError("the disk is full")

    with pytest.raises(KeyError):
        take_back(truck.stick, "simulated", UNIT, fail)
    assert (down / "0000000001.receipts").exists()
