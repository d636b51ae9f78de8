from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from central.ledger import Inbound, Ledger
from sync.contract.envelope import INFLATED_MAX, Codec, Magic, key_id

from .glance import refusals, rows
from .twin import Twin, new_line

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from pathlib import Path

    from central.store import Store


@pytest.fixture
def ledger(store: Store) -> Ledger:
    return Ledger(store)


@dataclasses.dataclass
class Forgery:
    """A message that no centre takes, and the code under which it is counted."""

    code: str
    message: Inbound
    stranger: bool = False


def bomb(twin: Twin) -> Inbound:
    """A batch within its signature that inflates beyond the bound."""
    packed = zstd.compress(bytes(INFLATED_MAX + 1))
    head = Magic.BATCH + bytes([Codec.ZSTD]) + key_id(twin.key.public_key())
    return twin.message("up/log/clinical", head + twin.key.sign(head + packed) + packed)


def forgeries(twin: Twin) -> list[Forgery]:
    stranger = Twin(unit="tinghir-01", lanes=twin.lanes)
    simulated = Twin(origin="simulated", key=twin.key, lanes=twin.lanes)
    good = twin.batch(1, 1)
    flipped = good.payload[:-1] + bytes([good.payload[-1] ^ 1])
    foreign = Twin(unit="azilal-04", key=twin.key, lanes=twin.lanes).batch(1, 1)
    mislaid = twin.message("up/log/urgent", good.payload)
    return [
        Forgery("unit", stranger.batch(1, 1), stranger=True),
        Forgery("origin", simulated.batch(1, 1), stranger=True),
        Forgery("topic", Inbound("qafila/v1/azilal-03/up/else", good.payload), stranger=True),
        Forgery("topic", Inbound(good.topic.replace("up/log/clinical", "down/receipt"), b"x")),
        Forgery("key", twin.sealed(twin.stretch(1, 1), Ed25519PrivateKey.generate())),
        Forgery("signature", twin.message("up/log/clinical", flipped)),
        Forgery("topic", twin.message("up/log/clinical", foreign.payload)),
        Forgery("topic", mislaid),
        Forgery("short", twin.message("up/log/clinical", good.payload[:40])),
        Forgery("signature", twin.message("up/log/clinical", good.payload[:-3])),
        Forgery("magic", twin.message("up/hello", good.payload)),
        Forgery("magic", twin.message("up/chunk", good.payload)),
        Forgery("inflate", bomb(twin)),
        Forgery("retained", dataclasses.replace(good, retained=True)),
        Forgery("retained", dataclasses.replace(twin.hello(), retained=True)),
        Forgery("origin", twin.message("up/hello", simulated.hello().payload)),
        Forgery("topic", twin.message("up/hello", Twin(unit="b", key=twin.key).hello().payload)),
    ]


@pytest.mark.parametrize("number", range(17))
def test_forged_message_is_counted_changes_nothing_and_is_not_answered(
    number: int, ledger: Ledger, twin: Twin, store: Store, folder: Path
) -> None:
    """C-3.4: topic against header, retained messages, strangers."""
    twin.write(new_line())
    cases = forgeries(twin)
    assert len(cases) == 17
    forgery = cases[number]
    before = rows(store)
    committed = ledger.commit([forgery.message])
    assert committed.receipts == ()
    assert dict(committed.refused) == {forgery.code: 1}
    assert rows(store) == before
    counted = refusals(folder, "nobody" if forgery.stranger else twin.unit)
    assert counted == {forgery.code: 1}


def test_forged_message_does_not_stop_the_rest_of_its_group(ledger: Ledger, twin: Twin) -> None:
    twin.write(new_line())
    group = [*(each.message for each in forgeries(twin)), twin.batch(1, 1)]
    assert [each.through for each in ledger.commit(group).receipts] == [1]


def test_state_of_a_unit_is_passed_over_retained_or_not(
    ledger: Ledger, twin: Twin, folder: Path
) -> None:
    state = twin.message("up/state", b"{}")
    committed = ledger.commit([state, dataclasses.replace(state, retained=True)])
    assert (committed.receipts, dict(committed.refused)) == ((), {})
    assert refusals(folder) == {}
