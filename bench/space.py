"""What keeping and letting go costs on this disk: bytes a reading, the wait of a save, the file.

    python -m bench.space [READINGS] [MEGABYTES]

READINGS are let go of while others are being saved; MEGABYTES of pictures are drained, age out,
and should leave the file. Figures are of this machine at this moment.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
import uuid
from contextlib import closing
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from agent.capture import Capture
from agent.clock import now
from agent.store import settling
from agent.store.connection import FILE
from agent.store.retention import Retention
from agent.store.store import Store
from drivers.base import Blob, Device, Measurement, Value
from sync.contract.receipt import Held, Receipt

if TYPE_CHECKING:
    from agent.clock import Stamp

KEY, UNIT, LANE = "5a" * 48, "bench-01", "clinical"
PICTURE = 2 << 20
_TOGETHER = 500
_DAY = 86_400_000_000_000
_WAIT = 0.02


@dataclass(frozen=True)
class Written:
    """What this process has written: to files, and to the disk itself."""

    files: int
    disk: int

    @classmethod
    def now(cls) -> Written:
        """Ask the kernel."""
        lines = Path("/proc/self/io").read_text("ascii").splitlines()
        counts = dict(line.split(": ") for line in lines)
        return cls(int(counts["wchar"]), int(counts["write_bytes"]))


def take(number: int, picture: int = 0) -> Capture:
    """A temperature of about 300 bytes beside what every record carries."""
    blobs = (Blob(os.urandom(picture), "image/jpeg", "photograph"),) if picture else ()
    said = Measurement(
        kind="body-temperature",
        raw=b"%d" % number,
        values=(Value("150364", Decimal("36.6"), "Cel"),),
        blobs=blobs,
    )
    device = Device("ble:F1:F1:F1:F1:F1:F1", "thermometer", "box1-thermometer")
    return Capture(said, device, now(), "1", "simulated", "1")


async def settle(store: Store, serial: int, central_epoch: str) -> None:
    """Confirm everything, and say whose it is."""
    await store.writer.write(lambda c: c.execute("UPDATE tray SET assigned_by = 'bench'"))
    outbox = store.outbox("centre")
    hello = await outbox.hello(str(uuid.uuid4()))
    state = settling.load(store.reader, "centre", store.epoch, LANE)
    head = settling.hash_at(store.reader, store.epoch, LANE, state.last if state else 0)
    if state is None or head is None:
        raise LookupError(LANE)
    rows = store.reader.execute("SELECT sha256, size FROM blob").fetchall()
    held = [Held(sha256=name.hex(), size=size, have=((0, size - 1),)) for name, size in rows]
    for part in range(0, max(1, len(held)), 64):
        serial += 1
        receipt = Receipt(
            central_epoch=central_epoch,
            serial=serial,
            unit=UNIT,
            epoch=store.epoch,
            lane=LANE,
            through=state.last,
            head_hash=head.hex(),
            last=state.last,
            chunks=tuple(held[part : part + 64]),
            answers=hello.session,
        )
        await outbox.settle(receipt)


def after(days: int) -> Stamp:
    """A moment so many days from now, by the clock that nobody sets."""
    stamp = now()
    return replace(stamp, mono_ns=stamp.mono_ns + days * _DAY)


async def sweep(store: Store, days: int) -> None:
    """What retention does so many days from now."""
    await Retention(store, "centre", 1, sample=lambda: after(days)).sweep()


async def bytes_a_reading(store: Store, readings: int = 2000) -> Written:
    """Bytes written for a reading that is saved alone, checkpoints included."""
    before = Written.now()
    for number in range(readings):
        await store.record(take(number))
    written = Written.now()
    return Written(
        (written.files - before.files) // readings, (written.disk - before.disk) // readings
    )


async def waits(store: Store, until: asyncio.Task[None] | None, least: int = 300) -> list[float]:
    """Milliseconds that each save took, one every few, until a task has ended."""
    found: list[float] = []
    while len(found) < least or (until is not None and not until.done()):
        begun = time.perf_counter()
        await store.record(take(10_000_000 + len(found)))
        found.append((time.perf_counter() - begun) * 1000)
        await asyncio.sleep(_WAIT)
    return found


def told(name: str, found: list[float]) -> str:
    """A line of the table."""
    ordered = sorted(found)
    last = ordered[min(len(ordered) - 1, int(len(ordered) * 0.999))]
    return (
        f"{name:<28} {len(found):>6} saves  median {statistics.median(found):6.1f} ms  "
        f"99.9 % {last:6.1f} ms  longest {ordered[-1]:6.1f} ms"
    )


async def purge(folder: Path, readings: int) -> None:
    """Save while nothing else happens, then while many old records are let go of."""
    with closing(Store.open(folder, KEY, UNIT, "simulated")) as store:
        cost = await bytes_a_reading(store)
        say(f"one reading, saved alone: {cost.files} bytes to files, {cost.disk} to the disk")
        for part in range(0, readings, _TOGETHER):
            await store.record_all([take(part + n) for n in range(_TOGETHER)])
        await settle(store, 0, str(uuid.uuid4()))
        await sweep(store, 0)
        say(told("saves alone", await waits(store, None)))
        begun = time.monotonic()
        task = asyncio.ensure_future(sweep(store, 3))
        say(told("saves beside the purge", await waits(store, task)))
        await task
        took = time.monotonic() - begun
        left = store.reader.execute("SELECT sum(aged) FROM lane").fetchone()[0]
        say(f"{left} records were let go of in {took:.0f} s beside the saves")


async def drain(folder: Path, megabytes: int) -> None:
    """Fill the file with pictures, confirm them, let them age out, and look at the file."""
    with closing(Store.open(folder, KEY, UNIT, "simulated")) as store:
        for number in range(megabytes * (1 << 20) // PICTURE):
            await store.record(take(number, PICTURE))
        full = size(folder)
        await settle(store, 0, str(uuid.uuid4()))
        await sweep(store, 0)
        begun = time.monotonic()
        await sweep(store, 3)
        took = time.monotonic() - begun
        pages, free = (
            store.reader.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count")
        )
        live = (pages - free) * 4096
        say(
            f"{full >> 20} MiB of file and log became {size(folder) / (1 << 20):.1f} MiB in "
            f"{took:.0f} s; live data {live / (1 << 20):.1f} MiB"
        )


def size(folder: Path) -> int:
    """Bytes of the database and its log."""
    return sum(path.stat().st_size for path in folder.glob(f"{FILE}*"))


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(readings: str = "20000", megabytes: str = "200") -> None:
    """Run both parts in folders of their own."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    os.environ.pop("CREDENTIALS_DIRECTORY", None)
    with tempfile.TemporaryDirectory(prefix="qafila-bench-") as place:
        asyncio.run(purge(Path(place) / "purge", int(readings)))
        asyncio.run(drain(Path(place) / "drain", int(megabytes)))


if __name__ == "__main__":
    main(*sys.argv[1:])
