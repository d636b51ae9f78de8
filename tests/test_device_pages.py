"""The page of the devices is what the cards say; `make catalogue` writes it anew."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from agent.cli import cli
from drivers import catalogue
from drivers.card import Card, Quirk, card, cards

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "devices.md"


def write() -> None:
    PAGE.write_text(catalogue.page(), "utf-8")


def test_page_says_what_the_cards_say() -> None:
    assert PAGE.read_text("utf-8") == catalogue.page()


@pytest.mark.parametrize("its", cards(), ids=lambda each: each.name)
def test_no_fact_of_a_card_is_left_out(its: Card) -> None:
    told = " ".join(catalogue.section(its).split())
    words = [its.name, its.title, its.version, *its.models, *its.sources, *its.kinds]
    words += [*its.match.services, *its.match.usb, *its.match.suffixes, its.match.probe]
    words += [text for each in its.measures for text in (each.code, each.unit, each.name)]
    words += [text for each in its.quirks for text in (each.name, each.source, *each.apply)]
    words.append(" ".join(its.notes.split()))
    assert [each for each in words if each not in told] == []


def test_command_shows_the_facts_of_the_page() -> None:
    told = CliRunner().invoke(cli, ["devices", "--catalogue"]).stdout.splitlines()
    assert told[0].split()[0] == catalogue.COLUMNS[0]
    for its, line in zip(cards(), told[1:], strict=True):
        assert [each for each in catalogue.row(its) if each not in line] == []
    whole = CliRunner().invoke(cli, ["devices", "--catalogue", "--json"]).stdout
    cards_as_they_are = {each.name: json.loads(msgspec.json.encode(each)) for each in cards()}
    assert json.loads(whole) == cards_as_they_are


def test_card_that_changes_changes_the_page() -> None:
    its = card("thermometer")
    quirk = Quirk("no such (name|either)", "nobody", apply=("odd",), pairing="passkey")
    changed = msgspec.structs.replace(its, quirks=(*its.quirks, quirk))
    assert "`no such (name|either)`" in catalogue.section(changed)
    assert "passkey" in catalogue.row(changed)[-2]
    assert catalogue.section(changed) not in PAGE.read_text("utf-8")


if __name__ == "__main__":
    write()
