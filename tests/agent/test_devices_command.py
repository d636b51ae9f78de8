"""What `qafila devices` says of strangers: what a person will have to do to pair them."""

from __future__ import annotations

import pytest

from agent.cli.devices import _bound_table, _pairing


def seen(name: str | None, *services: str) -> dict[str, object]:
    return {"address": "F9:F9:F9:F9:F9:F9", "name": name, "services": list(services)}


@pytest.mark.parametrize(
    ("stranger", "pairing", "words"),
    [
        (seen("SBM69", "1810"), "passkey", "pairing asks for the passkey it displays"),
        (seen("A&D_UA-651BLE_5A3C", "1810"), "just-works", "pairing asks for nothing"),
        (seen("Any cuff", "1810"), "none", "needs no pairing"),
        (seen(None, "1822"), "none", "needs no pairing"),
    ],
)
def test_stranger_is_listed_with_what_its_pairing_asks_of_a_person(
    stranger: dict[str, object], pairing: str, words: str
) -> None:
    assert _pairing(stranger) == pairing
    unbound = [stranger | {"pairing": pairing}]
    told = _bound_table({"devices": {}, "unbound": unbound, "age_seconds": 1.0})
    assert f"(services {stranger['services'][0]}); {words}" in told  # type: ignore[index]


def test_nothing_is_promised_of_a_service_that_no_driver_reads() -> None:
    assert _pairing(seen("Lamp", "1815")) is None
