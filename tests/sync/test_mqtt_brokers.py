"""Real brokers: TLS in both directions, an access list, and one that speaks only MQTT 3.1.1."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import ssl
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from central import backoff as central_backoff
from sync import backoff, session
from sync.mqtt import Broker, Will, connect
from sync.outbox import LinkLost, LinkRefused
from sync.trust import context
from tests.brokers import free_port

from .papers import Authority
from .relay import CONNECT, Relay
from .rig import CEILING, HOST, ROOT, UNIT, Place, conserved, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.brokers import Mosquitto

# paho lets go of the socket of a failed handshake without closing it: that closes it, and warns.
pytestmark = pytest.mark.filterwarnings(
    r"ignore:Exception ignored in. <\w+.(SSLSocket|trust):pytest.PytestUnraisableExceptionWarning"
)

BIRTH, WILL = Will("up/state", b"online"), Will("up/state", b"offline")
PICTURE = random.Random(8).randbytes(120_000)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    found = Authority(tmp_path, "authority")
    for name in ("broker", UNIT):
        found.issue(name)
    found.issue("yesterday", days=-1)
    return found


def listening(start: Callable[..., Mosquitto], folder: Path, name: str) -> Mosquitto:
    """A broker that shows a certificate, and wants one of the same authority."""
    return start(
        f"cafile {folder}/authority.pem",
        f"certfile {folder}/{name}.pem",
        f"keyfile {folder}/{name}.key",
        "require_certificate true",
        "use_identity_as_username true",
    )


def at(broker: Mosquitto, authority: Authority, name: str = UNIT) -> Broker:
    return Broker(HOST, broker.port, UNIT, ROOT, authority.papers(name))


async def refusal(place: Broker) -> LinkLost:
    with pytest.raises(LinkLost) as caught:
        async with connect(place, BIRTH, WILL):
            pass
    return caught.value


async def test_mutual_tls_stands_and_carries(
    authority: Authority, start_mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = listening(start_mosquitto, tmp_path, "broker")
    async with connect(at(broker, authority), BIRTH, WILL) as link:
        payloads = [random.Random(n).randbytes(90_000) for n in range(8)]
        await asyncio.gather(*(link.publish("up/chunk", each) for each in payloads))


async def test_a_broker_of_another_authority_is_refused_and_named(
    authority: Authority, start_mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = listening(start_mosquitto, tmp_path, "broker")
    Authority(tmp_path, "stranger")
    papers = replace(authority.papers(UNIT), authority=tmp_path / "stranger.pem")
    ended = await refusal(replace(at(broker, authority), certificates=papers))
    assert isinstance(ended, LinkRefused)
    assert str(ended).startswith("the broker's certificate is not accepted: ")


async def test_an_expired_broker_and_a_wrong_name_are_told_apart(
    authority: Authority, start_mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    """T50."""
    broker = listening(start_mosquitto, tmp_path, "yesterday")
    ended = await refusal(at(broker, authority))
    assert str(ended) == "the broker's certificate is not accepted: certificate has expired"
    current = listening(start_mosquitto, tmp_path, "broker")
    elsewhere = replace(at(current, authority), host="localhost")
    assert "Hostname mismatch" in str(await refusal(elsewhere))


@pytest.fixture
def next_year(tmp_path: Path) -> Authority:
    """Papers that begin in some 360 days: to them this computer's clock is a year behind."""
    found = Authority(tmp_path, "authority", begins=360)
    for name in ("broker", UNIT):
        found.issue(name, days=400, begins=362)
    found.issue("expired", days=363, begins=361)
    return found


async def test_a_clock_that_is_behind_is_told_in_plain_words(
    next_year: Authority, start_mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    """T50: where nothing better is known than the clock."""
    broker = listening(start_mosquitto, tmp_path, "broker")
    ended = await refusal(at(broker, next_year))
    assert isinstance(ended, LinkRefused)
    assert "this computer's clock is behind" in str(ended)


async def test_a_clock_that_is_behind_does_not_keep_a_unit_from_its_broker(
    next_year: Authority, start_mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    """T50: the latest time that is known stands for the clock, for every check of a date."""
    known = datetime.now(UTC) + timedelta(days=370)

    def knowing(broker: Mosquitto, when: datetime, host: str = HOST) -> Broker:
        place = at(broker, next_year)
        papers = replace(next_year.papers(UNIT), known=when)
        return replace(place, host=host, certificates=papers)

    current = listening(start_mosquitto, tmp_path, "broker")
    assert "certificate" in str(await refusal(knowing(current, known - timedelta(days=9))))
    assert "Hostname mismatch" in str(await refusal(knowing(current, known, "localhost")))
    expired = listening(start_mosquitto, tmp_path, "expired")
    ended = await refusal(knowing(expired, known))
    assert isinstance(ended, LinkRefused)
    assert "not valid at the latest time" in str(ended)
    Authority(tmp_path, "stranger", begins=360)
    foreign = replace(next_year.papers(UNIT), authority=tmp_path / "stranger.pem", known=known)
    place = replace(at(current, next_year), certificates=foreign)
    assert "not accepted" in str(await refusal(place))


def test_dates_are_openssls_own_business_while_the_clock_is_right(
    authority: Authority, tmp_path: Path
) -> None:
    """The detour is for a clock that is known to be wrong, and for nothing else."""
    del tmp_path
    now = datetime.now(UTC)
    for known, differs in ((None, False), (now - timedelta(days=1), False), (now, True)):
        papers = replace(authority.papers(UNIT), known=known)
        made = context(papers, now - timedelta(seconds=1))
        assert (made.sslsocket_class is not ssl.SSLSocket) is differs
        assert bool(made.verify_flags & 0x200000) is differs
        assert made.verify_mode is ssl.CERT_REQUIRED
        assert made.check_hostname


async def test_a_unit_whose_certificate_the_broker_does_not_know_is_told_where_to_look(
    authority: Authority, start_mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    broker = listening(start_mosquitto, tmp_path, "broker")
    Authority(tmp_path, "stranger").issue("intruder")
    ended = await refusal(at(broker, authority, "intruder"))
    assert "it may not accept this unit's certificate" in str(ended)


async def test_a_port_without_tls_and_files_that_are_no_certificates_are_named(
    authority: Authority, mosquitto: Mosquitto, tmp_path: Path
) -> None:
    ended = await refusal(at(mosquitto, authority))
    assert str(ended).startswith(("TLS with the broker failed", "the broker can't be reached"))
    (tmp_path / f"{UNIT}.key").write_text("no key")
    ended = await refusal(at(mosquitto, authority))
    assert str(ended).startswith("the certificate files can't be used")
    (tmp_path / f"{UNIT}.key").unlink()
    assert "No such file" in str(await refusal(at(mosquitto, authority)))


async def test_a_broker_that_wants_to_know_who_is_there_refuses_in_words(
    start_mosquitto: Callable[..., Mosquitto],
) -> None:
    broker = start_mosquitto("allow_anonymous false")
    ended = await refusal(Broker(HOST, broker.port, UNIT, ROOT))
    assert str(ended) == "the broker refuses this unit: Not authorized"


async def test_an_access_list_that_forbids_publishing_is_named(
    start_mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> None:
    (tmp_path / "acl").write_text(f"topic read {ROOT}/down/#\n")
    broker = start_mosquitto(f"acl_file {tmp_path}/acl")
    ended = await refusal(Broker(HOST, broker.port, UNIT, ROOT))
    assert isinstance(ended, LinkRefused)
    assert "access list" in str(ended)


async def test_the_broker_tells_who_left_and_who_was_lost(mosquitto: Mosquitto) -> None:
    """C-3.5: `offline` stands retained after a farewell as after a loss."""
    place = Broker(HOST, mosquitto.port, UNIT, ROOT)
    for way in ("farewell", "loss"):
        async with Relay(mosquitto.port) as relay:
            with contextlib.suppress(LinkLost):
                async with connect(replace(place, port=relay.port), BIRTH, WILL) as link:
                    if way == "loss":
                        await relay.cut()
                        await link.receive()
        await until(lambda: retained(mosquitto) == b"offline", f"the word after a {way}")


def retained(mosquitto: Mosquitto) -> bytes:
    """What the broker keeps of the unit's state."""
    from paho.mqtt import subscribe  # noqa: PLC0415

    found = subscribe.simple(  # type: ignore[no-untyped-call] # paho leaves this one without types
        f"{ROOT}/up/state", hostname=HOST, port=mosquitto.port, retained=True
    )
    return bytes(found.payload)


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


@pytest.fixture
def old_broker() -> Iterator[int]:
    """The embedded broker, which speaks MQTT 3.1.1 and nothing else."""
    port = free_port()
    root = str(Path(__file__).resolve().parents[2])
    running = subprocess.Popen(
        [sys.executable, "-m", "agent.demo.broker", str(port)],
        env=os.environ | {"PYTHONPATH": root},
    )
    try:
        deadline = time.monotonic() + CEILING
        while not accepts(port):
            assert time.monotonic() < deadline, "the broker did not start"
            time.sleep(0.05)
        yield port
    finally:
        running.terminate()
        running.wait(30)


async def test_a_broker_of_311_without_a_centre_gets_hellos_and_nothing_more(
    old_broker: int, here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T21, C-6.1: connection after connection, until a centre answered; then all of it, once."""
    for side in (backoff, central_backoff):
        monkeypatch.setattr(side, "FIRST", 0.05)
        monkeypatch.setattr(side, "CEILING", 0.5)
    monkeypatch.setattr(session, "ANSWER_TIMEOUT", 3.0)
    monkeypatch.setattr(session, "GREETING_TIMEOUT", 1.0)
    await here.unit.record(PICTURE)
    await here.unit.record_many(50)
    async with Relay(old_broker) as relay, here.unit.online(relay.port):
        await until(lambda: relay.connections >= 4, "some attempts")
        assert {each.channel for each in relay.up()} <= {"up/hello", "up/state"}
        with here.centre.receiving(old_broker):
            await here.unit.settled()
    conserved(here.unit, here.centre, PICTURE)


async def test_a_whole_session_over_mqtt_311(
    old_broker: int, here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T23: C-1.3: records, a picture and their receipts, with the link cut once in between."""
    for side in (backoff, central_backoff):
        monkeypatch.setattr(side, "FIRST", 0.05)
        monkeypatch.setattr(side, "CEILING", 0.5)
    monkeypatch.setattr(session, "ANSWER_TIMEOUT", 3.0)
    monkeypatch.setattr(session, "GREETING_TIMEOUT", 3.0)
    await here.unit.record(PICTURE)
    await here.unit.record_many(200)
    with here.centre.receiving(old_broker):
        async with Relay(old_broker) as relay, here.unit.online(relay.port):
            await here.unit.settled()
            await relay.cut()
            await here.unit.record_many(20)
            await relay.restore()
            await here.unit.settled()
            levels = [each.content[each.content.index(b"MQTT") + 4] for each in relay.up(CONNECT)]
    assert levels[-1] == 4
    assert set(levels) == {4, 5}
    conserved(here.unit, here.centre, PICTURE)
