"""Append to the log: SQL that runs inside the writer's transaction and never commits."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING
from uuid import uuid4

from agent.capture import record_id, record_line, summary
from agent.clock import utc_text
from agent.errors import Conflict
from agent.event import event_line
from agent.fhir import Subject, measured_at
from agent.request import KIND, request_line
from agent.request import summary as summary_of
from drivers.base import Stored
from sync.contract.batch import check_line, link

if TYPE_CHECKING:
    from uuid import UUID

    from agent.capture import Capture
    from agent.event import Event
    from agent.request import Request
    from agent.store.connection import Connection
    from drivers.base import Blob

_BACKGROUND = ("audit", "telemetry", "clock-adjusted", "lost", "blob-lost", "epoch-closed")
LANES = dict.fromkeys(_BACKGROUND, "background")
PIECE = 64 << 10
"""Bytes of a blob in one row."""
_WHOLE_SECONDS = 19
"""Devices give their time in whole seconds: so many characters of it are compared."""


def append(connection: Connection, capture: Capture) -> Stored:
    """Store a capture, its raw bytes and its blobs; a repeat changes nothing.

    Raises Conflict where the id is known with other raw bytes.
    """
    record = record_id(capture)
    if _known(connection, record, capture.raw_sha256):
        return Stored(record, new=False)
    subject, why = _subject(connection, capture)
    line = record_line(capture, record, subject)
    check_line(line)
    place = advance(connection, LANES.get(capture.measurement.kind, "clinical"), line)
    _insert(connection, capture, (place, record, line), subject)
    if subject is None and capture.measurement.absent is None:  # nobody assigns a failure
        connection.execute(
            "INSERT INTO tray (record_id, box, why) VALUES (?, ?, ?)",
            (str(record), capture.box, why),
        )
    for blob in capture.measurement.blobs:
        _keep_blob(connection, place, blob)
    return Stored(record, new=True)


def append_event(connection: Connection, event: Event) -> UUID:
    """Store what the agent itself has to tell; give its record id."""
    record = uuid4()
    line = event_line(event, record)
    check_line(line)
    place = advance(connection, LANES[event.kind], line)
    stamp = event.stamp
    connection.execute(
        "INSERT INTO record (epoch, lane, seq, prev_hash, hash, record_id, kind, line, boot, "
        "mono_ns, wall, offset_min, clock, origin, method, summary) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'agent', '')",
        (
            *place,
            str(record),
            event.kind,
            line,
            stamp.boot,
            stamp.mono_ns,
            utc_text(stamp.wall),
            stamp.offset_min,
            stamp.clock,
            event.origin,
        ),
    )
    connection.execute(
        "INSERT INTO identity (record_id, epoch, lane, seq) VALUES (?, ?, ?, ?)",
        (str(record), *place[:3]),
    )
    return record


def append_request(connection: Connection, request: Request) -> UUID:
    """Store an urgent request and what it refers to; give its record id."""
    record = uuid4()
    line = request_line(request, record)
    check_line(line)
    place = advance(connection, "urgent", line)
    stamp, subject = request.stamp, request.subject
    connection.execute(
        "INSERT INTO record (epoch, lane, seq, prev_hash, hash, record_id, kind, line, boot, "
        "mono_ns, wall, offset_min, clock, box, consultation, actor, origin, method, summary) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'manual', ?)",
        (
            *place,
            str(record),
            KIND,
            line,
            stamp.boot,
            stamp.mono_ns,
            utc_text(stamp.wall),
            stamp.offset_min,
            stamp.clock,
            request.box,
            subject.consultation if subject else None,
            request.actor,
            request.origin,
            summary_of(request),
        ),
    )
    connection.execute(
        "INSERT INTO identity (record_id, epoch, lane, seq) VALUES (?, ?, ?, ?)",
        (str(record), *place[:3]),
    )
    connection.executemany(
        "INSERT INTO reference (epoch, lane, seq, record_id) VALUES (?, ?, ?, ?)",
        ((*place[:3], each.record) for each in request.references),
    )
    return record


Place = tuple[str, str, int, bytes, bytes]
"""epoch, lane, seq, hash before, hash."""


def _known(connection: Connection, record: UUID, raw_sha256: bytes) -> bool:
    row = connection.execute(
        "SELECT raw_sha256 FROM identity WHERE record_id = ?", (str(record),)
    ).fetchone()
    if row is not None and row[0] != raw_sha256:
        raise Conflict("the same reading came before with other bytes")
    return row is not None


def _subject(connection: Connection, capture: Capture) -> tuple[Subject | None, str]:
    """Whose reading it is, or why it can't be said. The wrong patient is never guessed."""
    if capture.box is None:
        return None, "the device is bound to no box"
    row = connection.execute(
        "SELECT consultation, patient, opened FROM consultation WHERE box = ? AND closed IS NULL",
        (capture.box,),
    ).fetchone()
    if row is None:
        return None, "no consultation was open in this box"
    subject = Subject(*row)
    said, measured = capture.measurement, measured_at(capture)
    if measured is None and said.from_memory:
        return None, "it lay in the device, and nobody can tell when it was taken"
    if measured is None and said.device_time is not None:
        return None, "the device's clock can't be believed, and it may have lain in the device"
    when = utc_text(measured or capture.stamp.wall)
    if when[:_WHOLE_SECONDS] < subject.opened[:_WHOLE_SECONDS]:
        return None, "the reading is older than the open consultation"
    return subject, ""


def advance(connection: Connection, lane: str, line: bytes) -> Place:
    """Allocate the next seq of a lane and move its head, in the record's transaction."""
    epoch, last, head = connection.execute(
        "SELECT lane.epoch, last, head FROM lane JOIN unit ON lane.epoch = unit.epoch "
        "WHERE lane = ?",
        (lane,),
    ).fetchone()
    after = link(head, line)
    connection.execute(
        "UPDATE lane SET last = ?, head = ? WHERE epoch = ? AND lane = ?",
        (last + 1, after, epoch, lane),
    )
    return epoch, lane, last + 1, head, after


def _insert(
    connection: Connection,
    capture: Capture,
    stored: tuple[Place, UUID, bytes],
    subject: Subject | None,
) -> None:
    (epoch, lane, seq, before, after), record, line = stored
    said, stamp, raw = capture.measurement, capture.stamp, capture.raw_sha256
    connection.execute(
        "INSERT INTO record (epoch, lane, seq, record_id, kind, line, prev_hash, hash, "
        "raw_sha256, boot, mono_ns, wall, offset_min, clock, box, consultation, actor, origin, "
        "method, device, device_time, driver, driver_version, summary) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            epoch,
            lane,
            seq,
            str(record),
            said.kind,
            line,
            before,
            after,
            raw,
            stamp.boot,
            stamp.mono_ns,
            utc_text(stamp.wall),
            stamp.offset_min,
            stamp.clock,
            capture.box,
            subject.consultation if subject else None,
            capture.actor,
            capture.origin,
            capture.method,
            capture.device.id,
            said.device_time.isoformat() if said.device_time else None,
            capture.device.driver,
            capture.driver_version,
            summary(said),
        ),
    )
    connection.execute(
        "INSERT INTO identity (record_id, raw_sha256, epoch, lane, seq) VALUES (?, ?, ?, ?, ?)",
        (str(record), raw, epoch, lane, seq),
    )
    connection.execute(
        "INSERT INTO raw (sha256, content) VALUES (?, ?) ON CONFLICT DO NOTHING", (raw, said.raw)
    )


def _keep_blob(connection: Connection, place: Place, blob: Blob) -> None:
    sha256 = hashlib.sha256(blob.content).digest()
    (refs,) = connection.execute(
        "INSERT INTO blob (sha256, size, media_type, refs) VALUES (?, ?, ?, 0) "
        "ON CONFLICT DO UPDATE SET size = size RETURNING refs",
        (sha256, len(blob.content), blob.media_type),
    ).fetchone()
    if refs == 0:  # it is new, or retention had begun to delete what nobody referred to
        connection.executemany(
            "INSERT INTO chunk (sha256, offset, content) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            (
                (sha256, at, blob.content[at : at + PIECE])
                for at in range(0, len(blob.content), PIECE)
            ),
        )
    named = connection.execute(
        "INSERT INTO record_blob (epoch, lane, seq, sha256, role) VALUES (?, ?, ?, ?, ?) "
        "ON CONFLICT DO NOTHING",
        (*place[:3], sha256, blob.role),
    ).rowcount
    connection.execute("UPDATE blob SET refs = refs + ? WHERE sha256 = ?", (named, sha256))
