"""Which models deviate, by what they show of themselves, and what a person does to pair them."""

from __future__ import annotations

import pytest

from drivers.card import card
from drivers.spot import deviations, pairing_of, quirks_of, shown_as


@pytest.mark.parametrize(
    ("driver", "shown", "pairing", "clock"),
    [
        ("blood-pressure", "A&D_UA-651BLE_12AB34", "just-works", "date-time"),
        ("blood-pressure", "BLESmart_00000123", "just-works", "current-time"),
        ("blood-pressure", "X4; company 020E", "just-works", "current-time"),
        ("blood-pressure", "SBM69", "passkey", "never"),
        ("blood-pressure", "Beurer BM85", "just-works", None),
        ("blood-pressure", "Any cuff", "none", None),
        ("thermometer", "A&D_UT201BLE_12AB34", "just-works", "date-time"),
        ("weight-scale", "A&D_UC-352BLE_12AB34", "just-works", "current-time"),
        ("glucose-meter", "Any meter", "passkey", None),
        ("pulse-oximeter", None, "none", None),
    ],
)
def test_model_is_paired_and_its_clock_set_as_it_wants(
    driver: str, shown: str | None, pairing: str, clock: str | None
) -> None:
    its = card(driver)
    assert pairing_of(its, shown) == pairing
    assert [quirk.clock for quirk in quirks_of(its.quirks, shown) if quirk.clock] == (
        [clock] if clock else []
    )


def test_model_is_found_by_its_name_its_information_or_its_maker() -> None:
    assert shown_as("BLP") == "BLP"
    assert shown_as("BLP", "BM85", (0x020E, 0x0611)) == "BLP; BM85; company 020E; company 0611"
    assert shown_as(None, None, (0x020E,)) == "company 020E"
    assert shown_as(None) is None
    quirks = card("blood-pressure").quirks
    assert "hidden-user" in deviations(quirks, shown_as("BLP", "BM85"))
    assert "hidden-user" not in deviations(quirks, shown_as("BLP", "BM8"))
