from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import msgspec
import pytest

import drivers
from drivers import DRIVERS
from drivers.card import build, card, cards, decoder, driver_of_source
from drivers.errors import Misconfigured
from tests.contract.cases import RULES, codec, conflicts, held_to
from tests.contract.links import LINKS

ROOT = Path(drivers.__file__).parent
SERVICE = r"[0-9A-F]{4}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_folder_with_a_card_is_registered_and_every_registered_driver_has_one() -> None:
    with_a_card = {folder.parent.name for folder in ROOT.glob("*/driver.toml")}
    assert {module.removeprefix("drivers.") for module in DRIVERS.values()} == with_a_card


def test_card_is_complete(driver: str) -> None:
    its = card(driver)
    assert its.name == driver
    assert DRIVERS[driver] == f"drivers.{driver.replace('-', '_')}"
    assert all([its.title, its.version, its.sources, its.kinds, its.models])
    assert its.transport in LINKS
    assert its.match.services or its.match.usb or its.match.sync or its.match.suffixes


def test_card_answers_every_rule_with_done_or_a_reason(driver: str) -> None:
    rules = card(driver).rules
    assert set(rules) == RULES
    for rule, answer in rules.items():
        assert answer == "done" or re.fullmatch(r"exempt: \S+( \S+){3,}", answer), rule


def test_card_names_quantities_as_the_standards_do(driver: str) -> None:
    for each in card(driver).measures:
        assert re.fullmatch(r"[1-9]\d{4,6}", each.code)
        assert re.fullmatch(r"[\w/%\[\]{}.*^-]+", each.unit)
        assert each.name[0].isupper()


def test_card_matches_in_the_forms_the_system_uses(driver: str) -> None:
    match = card(driver).match
    assert all(re.fullmatch(SERVICE, service) for service in match.services)
    assert all(re.fullmatch(r"[0-9a-f]{4}:[0-9a-f]{4}", ids) for ids in match.usb)
    assert re.fullmatch(r"([0-9a-f]{2})*", match.sync)
    assert all(re.fullmatch(r"\.[a-z0-9]+", suffix) for suffix in match.suffixes)


def test_quirks_are_found_by_a_name_and_say_where_they_are_from(driver: str) -> None:
    for quirk in card(driver).quirks:
        assert not re.search(quirk.name, "")
        assert quirk.source
        assert quirk.apply or quirk.settle_ms or quirk.pairing or quirk.clock
        assert 0 <= quirk.settle_ms <= 10_000


def test_sources_lead_to_the_driver_that_decodes_them(driver: str) -> None:
    for source in card(driver).sources:
        assert driver_of_source(source) == driver
    assert decoder(driver) is codec(driver).decode


def test_driver_is_built_without_settings_and_refuses_unknown_ones(driver: str) -> None:
    assert callable(build(driver, {}).run)
    with pytest.raises(Misconfigured, match="no-such-setting"):
        build(driver, {"no-such-setting": 1})


def test_stream_codec_has_a_framer_and_only_a_stream_codec(driver: str) -> None:
    assert hasattr(codec(driver), "Framer") == (driver in held_to("byte-by-byte"))


@pytest.mark.parametrize("name", held_to("simulator"))
def test_simulator_is_shipped_with_the_driver(name: str) -> None:
    assert files(DRIVERS[name]).joinpath("simulator.py").is_file()


def test_no_two_drivers_claim_the_same() -> None:
    assert conflicts(cards()) == []


@pytest.mark.parametrize("claim", ["source", "service", "sync"])
def test_a_second_claim_is_noticed(claim: str) -> None:
    claimed = {
        "source": next(each for each in cards() if each.sources),
        "service": next(each for each in cards() if each.match.services),
        "sync": next(each for each in cards() if each.match.sync),
    }[claim]
    rival = msgspec.structs.replace(claimed, name="rival")
    found = conflicts([*cards(), rival])
    assert any(claim in each and "rival" in each and claimed.name in each for each in found)
