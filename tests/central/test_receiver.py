from __future__ import annotations

import asyncio
import random
import socket
import threading
import uuid
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from amqtt.broker import Broker as Amqtt

from central import backoff, receiver, report
from central.backoff import Backoff
from central.errors import StoreUnavailable
from central.keys import load_key
from central.ledger import Committed, Inbound, Ledger
from central.link import Speech
from central.settings import Broker

from .listener import CEILING, Listener, running, wait_until
from .twin import Twin, cut, new_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from central.store import Store
    from sync.contract.receipt import Receipt
    from tests.brokers import Mosquitto

PICTURE = bytes(range(256)) * 200


@pytest.fixture
def key(folder: Path) -> Ed25519PrivateKey:
    return load_key(folder)


@pytest.fixture
def ledger(store: Store) -> Ledger:
    return Ledger(store)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the shape of the backoff, at a tenth of its length."""
    monkeypatch.setattr(backoff, "FIRST", 0.1)
    monkeypatch.setattr(backoff, "CEILING", 1.0)


@contextmanager
def listening(
    host: str, port: int, key: Ed25519PrivateKey, *, v5: bool = True
) -> Iterator[Listener]:
    listener = Listener(host, port, key, v5=v5)
    try:
        yield listener
    finally:
        listener.close()


def deliver_all(listener: Listener, twin: Twin) -> None:
    """Greet, send two records and a picture, and see each confirmed."""
    session = str(uuid.uuid4())
    listener.say(twin.hello(session=session))
    listener.hear(lambda r: r.answers == session, "an answer to the hello")
    listener.say(twin.batch(1, 2))
    listener.hear(lambda r: r.through == 2, "a receipt of the batch")
    for piece in cut(PICTURE):
        listener.say(twin.chunk(piece))
    listener.hear(lambda r: any(h.complete for h in r.chunks), "a receipt of the picture")


def reaches(seq: int, receipt: Receipt) -> bool:
    return receipt.through == seq


def write_two(twin: Twin) -> None:
    twin.write(new_line(blobs=[(PICTURE, "photograph")]), new_line())


@pytest.mark.parametrize("v5", [True, False])
def test_unit_of_either_mqtt_is_confirmed_by_signed_unretained_receipts(
    v5: bool,  # noqa: FBT001 - a parameter of pytest
    mosquitto: Mosquitto,
    ledger: Ledger,
    twin: Twin,
    key: Ed25519PrivateKey,
    folder: Path,
) -> None:
    write_two(twin)
    with (
        running(ledger, key, mosquitto.host, mosquitto.port) as centre,
        listening(mosquitto.host, mosquitto.port, key, v5=v5) as listener,
    ):
        assert centre.ready.wait(CEILING)
        deliver_all(listener, twin)
        assert {each.topic for each in listener.heard} == {"qafila/v1/azilal-03/down/receipt"}
        assert {(each.qos, each.retained) for each in listener.heard} == {(1, False)}
        with listening(mosquitto.host, mosquitto.port, key) as late:
            late.say(twin.hello())
            late.hear(lambda r: r.answers is not None, "an answer")
            assert not any(each.retained for each in late.heard)
    assert len(list(report.records(folder))) == 2


def test_receiver_that_speaks_311_confirms_as_well(
    mosquitto: Mosquitto,
    ledger: Ledger,
    twin: Twin,
    key: Ed25519PrivateKey,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(receiver.Receiver, "_choose_speech", lambda *_: None)
    write_two(twin)
    with (
        running(ledger, key, mosquitto.host, mosquitto.port) as centre,
        listening(mosquitto.host, mosquitto.port, key) as listener,
    ):
        assert centre.ready.wait(CEILING)
        centre.receiver._speech = Speech.V311
        mosquitto.restart()
        listener.await_broker()
        centre.await_standing()
        wait_until(lambda: "(p2," in mosquitto.log(), "a client of MQTT 3.1.1")
        assert "qafila-central" in mosquitto.log().partition("(p2,")[0].splitlines()[-1]
        deliver_all(listener, twin)


class Embedded:
    """amqtt, which speaks 3.1.1 only, in a thread with a loop of its own."""

    def __init__(self, port: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._broker: Any = self._do(self._start(port))

    async def _start(self, port: int) -> Amqtt:
        plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
        listeners = {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}}
        broker = Amqtt({"listeners": listeners, "plugins": plugins})
        await broker.start()
        return broker

    def _do(self, act: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(act, self._loop).result(CEILING)

    def close(self) -> None:
        self._do(self._broker.shutdown())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CEILING)
        self._loop.close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_broker_that_speaks_311_only_is_spoken_to_so(
    ledger: Ledger, twin: Twin, key: Ed25519PrivateKey
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    write_two(twin)
    broker = Embedded(port)
    try:
        with running(ledger, key, "127.0.0.1", port) as centre:
            assert centre.ready.wait(CEILING)
            assert centre.receiver._speech is Speech.V311
            with listening("127.0.0.1", port, key, v5=False) as listener:
                deliver_all(listener, twin)
    finally:
        broker.close()


def test_broker_absent_at_start_is_waited_for(
    mosquitto: Mosquitto, ledger: Ledger, twin: Twin, key: Ed25519PrivateKey
) -> None:
    mosquitto.stop()
    with running(ledger, key, mosquitto.host, mosquitto.port) as centre:
        assert not centre.ready.wait(0.5)
        mosquitto.start()
        assert centre.ready.wait(CEILING)
        write_two(twin)
        with listening(mosquitto.host, mosquitto.port, key) as listener:
            deliver_all(listener, twin)


def test_broker_killed_and_back_is_spoken_to_again(
    mosquitto: Mosquitto, ledger: Ledger, twin: Twin, key: Ed25519PrivateKey, folder: Path
) -> None:
    write_two(twin)
    twin.write(*(new_line() for _ in range(3)))
    with (
        running(ledger, key, mosquitto.host, mosquitto.port) as centre,
        listening(mosquitto.host, mosquitto.port, key) as listener,
    ):
        assert centre.ready.wait(CEILING)
        deliver_all(listener, twin)
        for seq in (3, 4, 5):
            mosquitto.kill()
            wait_until(lambda: not centre.standing(), "the end of the link")
            mosquitto.start()
            listener.await_broker()
            centre.await_standing()
            listener.say(twin.batch(seq, seq))
            listener.hear(partial(reaches, seq), "a receipt")
    assert len(list(report.records(folder))) == 5


def test_retained_message_is_ignored_and_counted(
    mosquitto: Mosquitto, ledger: Ledger, twin: Twin, key: Ed25519PrivateKey, folder: Path
) -> None:
    write_two(twin)
    with listening(mosquitto.host, mosquitto.port, key) as listener:
        listener.say(twin.batch(1, 2), retain=True)
        listener.say(twin.hello(), retain=True)
        listener.say(twin.message("up/state", b"{}"), retain=True)
        with running(ledger, key, mosquitto.host, mosquitto.port) as centre:
            assert centre.ready.wait(CEILING)
            wait_until(
                lambda: report.status(folder).units[0].refused_messages == {"retained": 2},
                "the count",
            )
            session = str(uuid.uuid4())
            listener.say(twin.hello(session=session))
            receipt = listener.hear(lambda r: r.answers == session, "an answer")
            assert receipt.through == 0
            assert listener.receipts() == [receipt]


class Reluctant(Ledger):
    """Can't commit while `broken` names an error."""

    broken: Exception | None = None
    refusals = 0

    def commit(self, group: Sequence[Inbound]) -> Committed:
        if self.broken:
            self.refusals += 1
            raise self.broken
        return super().commit(group)


@pytest.mark.parametrize("error", [StoreUnavailable("disk full"), ZeroDivisionError()])
def test_no_receipt_is_published_before_a_commit(
    error: Exception,
    mosquitto: Mosquitto,
    store: Store,
    twin: Twin,
    key: Ed25519PrivateKey,
    folder: Path,
) -> None:
    write_two(twin)
    ledger = Reluctant(store)
    ledger.broken = error

    def has_refused(times: int) -> bool:
        return ledger.refusals == times

    with (
        running(ledger, key, mosquitto.host, mosquitto.port) as centre,
        listening(mosquitto.host, mosquitto.port, key) as listener,
    ):
        assert centre.ready.wait(CEILING)
        for number, message in enumerate((twin.hello(), twin.batch(1, 2)), 1):
            listener.say(message)
            wait_until(partial(has_refused, number), "a refusal")
        assert list(report.records(folder)) == []
        ledger.broken = None
        session = str(uuid.uuid4())
        listener.say(twin.hello(session=session))
        receipt = listener.hear(lambda r: r.answers == session, "an answer")
        # Receipts arrive in order: none was published before this one.
        assert listener.receipts() == [receipt]
        assert (receipt.serial, receipt.through) == (1, 0)
        deliver_all(listener, twin)


def test_full_disk_stops_receipts_until_there_is_room(
    mosquitto: Mosquitto,
    ledger: Ledger,
    store: Store,
    twin: Twin,
    key: Ed25519PrivateKey,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failed: list[str] = []
    monkeypatch.setattr(receiver.log, "warning", lambda event, **_: failed.append(event))
    pages = store._sql.execute("PRAGMA page_count").fetchone()[0]
    store._sql.execute(f"PRAGMA max_page_count = {pages}")
    twin.write(new_line(padding="x" * 100_000), new_line())
    with (
        running(ledger, key, mosquitto.host, mosquitto.port) as centre,
        listening(mosquitto.host, mosquitto.port, key) as listener,
    ):
        assert centre.ready.wait(CEILING)
        listener.say(twin.batch(1, 2))
        wait_until(lambda: "nothing committed" in failed, "the failure")
        assert listener.receipts() == []
        store._sql.execute("PRAGMA max_page_count = 100000")
        listener.say(twin.batch(1, 2))
        listener.hear(lambda r: r.through == 2, "a receipt")


def test_one_message_that_can_not_be_taken_does_not_stop_its_group(
    store: Store, twin: Twin, key: Ed25519PrivateKey, folder: Path
) -> None:
    class Poisoned(Ledger):
        def commit(self, group: Sequence[Inbound]) -> Committed:
            if any(each.payload == b"poison" for each in group):
                raise RecursionError
            return super().commit(group)

    write_two(twin)
    unlinked = receiver.Receiver(
        Poisoned(store), key, "clinical", Broker("127.0.0.1"), lambda: None
    )
    poison = twin.message("up/chunk", b"poison")
    unlinked._take([twin.batch(1, 1), poison, twin.batch(2, 2), poison])
    assert len(list(report.records(folder))) == 2
    assert report.status(folder).strangers == {"fault": 2}


def test_queue_that_stays_full_lets_go_of_messages_and_not_of_the_link(
    ledger: Ledger, twin: Twin, key: Ed25519PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver, "_PATIENCE", 0.01)
    idle = receiver.Receiver(ledger, key, "clinical", Broker("127.0.0.1"), lambda: None)
    for _ in range(receiver.QUEUE_MAX + 3):
        idle._queue(twin.hello())
    assert idle._arrived.qsize() == receiver.QUEUE_MAX


def test_what_was_queued_is_committed_at_the_end_and_grouped(
    store: Store, twin: Twin, key: Ed25519PrivateKey, folder: Path
) -> None:
    sizes: list[int] = []

    class Counting(Ledger):
        def commit(self, group: Sequence[Inbound]) -> Committed:
            sizes.append(len(group))
            return super().commit(group)

    twin.write(*(new_line() for _ in range(100)))
    closing = receiver.Receiver(
        Counting(store), key, "clinical", Broker("127.0.0.1", 1), lambda: None
    )
    for seq in range(1, 101):
        closing._queue(twin.batch(seq, seq))
    closing.stop()
    closing.run()
    assert len(list(report.records(folder))) == 100
    assert sizes == [64, 36]


def test_backoff_is_jittered_grows_to_a_minute_and_resets_only_after_a_lasting_link(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """T37."""
    monkeypatch.setattr(backoff, "FIRST", 1.0)
    monkeypatch.setattr(backoff, "CEILING", 60.0)
    drawn: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        drawn.append((low, high))
        return random.Random(1).uniform(low, high)

    waits = Backoff(uniform)
    for stood in (0.0, 0.0, 5.0, 0.0, 0.0, 0.0, 0.0, 0.0, 31.0, 0.0):
        waits.wait(stood)
    assert drawn == [(0.0, high) for high in (2, 4, 8, 16, 32, 60, 60, 60, 1, 2)]
