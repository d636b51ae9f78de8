"""What `qafila devices` says of strangers, and what it refuses to bind."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from agent.binding import Bindings, CantBind
from agent.cli.devices import _bound_table, _pairing
from config.load import parse
from config.model import Device
from drivers import DRIVERS

if TYPE_CHECKING:
    from agent.stations import Stations
    from agent.store.store import Store


def seen(name: str | None, *services: str) -> dict[str, Any]:
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
    stranger: dict[str, Any], pairing: str, words: str
) -> None:
    assert _pairing(stranger) == pairing
    unbound = [stranger | {"pairing": pairing}]
    told = _bound_table({"devices": {}, "unbound": unbound, "age_seconds": 1.0})
    assert f"(services {stranger['services'][0]}); {words}" in told


def test_nothing_is_promised_of_a_service_that_no_driver_reads() -> None:
    assert _pairing(seen("Lamp", "1815")) is None


async def test_stream_of_a_network_is_not_bound_in_a_clinical_unit() -> None:
    settings = parse('[unit]\nname = "azilal-03"\n', DRIVERS)
    stations = cast("Stations", SimpleNamespace(devices=()))
    bindings = Bindings(cast("Store", None), stations, settings)
    stream = Device(name="skin", driver="dermatoscope", at="tcp://127.0.0.1:8090", box="1")
    with pytest.raises(CantBind, match="a clinical unit reads no stream of a network"):
        await bindings.bind(stream, "amal")
