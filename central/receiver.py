"""The receiver: commits what arrives, and only then says so.

Threads: the caller's keeps a link, paho's queues what arrives, the worker commits and publishes.
"""

from __future__ import annotations

import queue
import random
import threading
import time
from typing import TYPE_CHECKING

import structlog

from central.backoff import Backoff
from central.errors import CentreError, StoreUnavailable
from central.ledger import GROUP_MAX, Committed, Inbound, Ledger
from central.link import Connection, LinkLost, Speech
from sync.contract.digest import encode_answer
from sync.contract.receipt import encode_receipt
from sync.contract.topics import topic

if TYPE_CHECKING:
    from collections.abc import Callable

    from central.settings import Broker
    from sync.contract.envelope import SigningKey
    from sync.contract.receipt import Receipt

QUEUE_MAX = 128
"""Messages of at most a megabyte each that may wait for the worker."""
_PATIENCE = 5.0
"""Seconds for which a full queue holds the broker back before a message is let go."""

log = structlog.get_logger()


class Receiver:
    """One receiver of one centre. `ready` is called once, when first subscribed."""

    def __init__(
        self,
        ledger: Ledger,
        key: SigningKey,
        origin: str,
        broker: Broker,
        ready: Callable[[], None],
    ) -> None:
        self._ledger = ledger
        self._key = key
        self._origin = origin
        self._broker = broker
        self._ready: Callable[[], None] | None = ready
        self._arrived: queue.Queue[Inbound | None] = queue.Queue(QUEUE_MAX)
        self._stopping = threading.Event()
        self._link: Connection | None = None
        self._speech = Speech.V5
        self._worker = threading.Thread(target=self._work, name="ledger", daemon=True)

    def run(self) -> None:
        """Receive until `stop` is called; what was queued by then is committed."""
        backoff = Backoff(random.uniform)
        self._worker.start()
        try:
            while not self._stopping.is_set():
                stood = self._attempt()
                self._stopping.wait(backoff.wait(stood))
        finally:
            self._settle_queue()

    def stop(self) -> None:
        """Make `run` return, from any other thread."""
        self._stopping.set()
        link = self._link
        if link:
            link.end("the centre is stopping")

    def _attempt(self) -> float:
        """Keep one link until it ends; give the seconds for which it stood."""
        opened: float | None = None
        try:
            link = self._link = Connection(self._broker, self._origin, self._speech, self._queue)
            try:
                if self._stopping.is_set():
                    return 0.0
                link.open()
                opened = time.monotonic()
                log.info("link stands", host=self._broker.host, speech=self._speech.name)
                self._say_ready()
                if not self._stopping.is_set():
                    log.warning("link ended", reason=str(link.wait()))
            finally:
                link.close()
        except LinkLost as lost:
            log.warning("no link", reason=str(lost))
            self._choose_speech(lost)
        except Exception as error:  # noqa: BLE001 - nothing may end reconnection
            log.critical("no link", **_fault(error))
        return 0.0 if opened is None else time.monotonic() - opened

    def _say_ready(self) -> None:
        ready, self._ready = self._ready, None
        if ready:
            ready()

    def _choose_speech(self, lost: LinkLost) -> None:
        if lost.mute:
            self._speech = Speech.V311 if self._speech is Speech.V5 else Speech.V5

    def _queue(self, message: Inbound) -> None:
        try:
            self._arrived.put(message, timeout=_PATIENCE)
        except queue.Full:
            log.warning("queue full", consequence="a message was let go; its unit sends it again")

    def _settle_queue(self) -> None:
        self._arrived.put(None)
        self._worker.join()

    def _work(self) -> None:
        while (group := self._next_group()) is not None:
            try:
                self._take(group)
            except Exception as error:  # noqa: BLE001 - one message never stops the rest
                log.critical("group failed", **_fault(error))

    def _next_group(self) -> list[Inbound] | None:
        """Everything that is queued, up to the bound; None once told to end."""
        message = self._arrived.get()
        group: list[Inbound] = []
        while message is not None:
            group.append(message)
            if len(group) == GROUP_MAX or self._arrived.empty():
                return group
            message = self._arrived.get()
        if group:
            self._arrived.put(None)
            return group
        return None

    def _take(self, group: list[Inbound]) -> None:
        try:
            committed = self._ledger.commit(group)
        except StoreUnavailable as error:
            log.warning("nothing committed", messages=len(group), reason=str(error))
        except Exception as error:  # noqa: BLE001 - find the one message that can't be taken
            log.critical("nothing committed", messages=len(group), **_fault(error))
            self._take_singly(group)
        else:
            self._tell(committed, len(group))

    def _take_singly(self, group: list[Inbound]) -> None:
        if len(group) == 1:
            self._ledger.count("fault")
            return
        for message in group:
            self._take([message])

    def _tell(self, committed: Committed, messages: int) -> None:
        sent = sum(self._publish(receipt) for receipt in committed.receipts)
        for answer in committed.answers:
            self._send(answer.unit, "down/digest", encode_answer(answer, self._key))
        log.info(
            "committed",
            messages=messages,
            receipts=len(committed.receipts),
            sent=sent,
            refused=dict(committed.refused),
        )

    def _publish(self, receipt: Receipt) -> bool:
        """Publish while the link stands; else the receipt is let go and the unit asks again."""
        return self._send(receipt.unit, "down/receipt", encode_receipt(receipt, self._key))

    def _send(self, unit: str, channel: str, frame: bytes) -> bool:
        link = self._link
        return link is not None and link.publish(topic(self._origin, unit, channel), frame)


def _fault(error: Exception) -> dict[str, str]:
    """What to log of an error: its kind and place; its text may hold what a peer sent."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    place = f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}" if trace else "unknown"
    reason = str(error) if isinstance(error, CentreError) else ""
    return {"error": type(error).__name__, "at": place, "reason": reason}
