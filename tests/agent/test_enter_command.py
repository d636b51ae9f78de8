"""`qafila enter`: a person's reading is a reading; a slip of the finger is none."""

from __future__ import annotations

import json
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from agent.consultations import WrongField, open_boxes, open_consultation
from agent.control import RequestWrong
from agent.entering import enter
from agent.manual import NotEntered, measure, remark
from config.codes import PANELS, QUANTITIES
from config.manual import FORMS

from .unit import ROOT, Unit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.store.store import Store

TYPICAL = {
    "weight": "72,5",
    "height": "171",
    "respiratory-rate": "16",
    "temperature": "36,6",
    "blood-pressure": "120/80",
    "spo2": "97",
    "pulse": "72",
    "glucose": "105",
    "consciousness": "A",
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Unit(tmp_path / "unit").store()) as opened:
        yield opened


def asked(kind: str, value: str, **more: str) -> dict[str, str]:
    return {"do": "enter", "box": "1", "kind": kind, "value": value, "actor": "nurse-2", **more}


def lines(store: Store) -> list[dict[str, Any]]:
    rows = store.reader.execute("SELECT line FROM record ORDER BY seq").fetchall()
    return [json.loads(line, parse_float=Decimal) for (line,) in rows]


async def test_entry_is_the_same_record_with_method_actor_reason_and_no_device(
    store: Store,
) -> None:
    opened = await store.writer.write(lambda c: open_consultation(c, "1", "p1", "nurse-1"))
    said = await enter(store, asked("temperature", "36,60", reason="the thermometer is empty"))
    assert (said["tray"], said["quality"], said["remark"]) == (None, [], "")
    (line,) = lines(store)
    context = line["context"]
    assert {key: context[key] for key in ("method", "actor", "reason", "driver", "device")} == {
        "method": "manual",
        "actor": "nurse-2",
        "reason": "the thermometer is empty",
        "driver": "manual",
        "device": None,
    }
    assert (line["record"], line["kind"]) == (said["record"], "body-temperature")
    assert (context["consultation"], context["box"]) == (opened, "1")
    (resource,) = [entry["resource"] for entry in line["entries"]]
    assert str(resource["valueQuantity"]["value"]) == "36.60"
    assert resource["valueQuantity"]["code"] == "Cel"
    assert resource["subject"] == {"reference": "Patient/p1"}
    assert resource["method"] == {"text": "manual"}
    assert resource["performer"] == [{"display": "nurse-2"}]
    assert resource["note"] == [
        {"authorString": "nurse-2", "text": "Entered by hand: the thermometer is empty"}
    ]
    assert "device" not in resource
    assert store.reader.execute("SELECT content FROM raw").fetchall() == [(b"36,60",)]


async def test_entry_without_a_consultation_lies_in_the_tray_and_says_so(store: Store) -> None:
    said = await enter(store, asked("weight", "72.5"))
    assert said["tray"] == "no consultation was open in this box"
    ((why,),) = store.reader.execute("SELECT why FROM tray").fetchall()
    assert why == said["tray"]
    assert "subject" not in lines(store)[0]["entries"][0]["resource"]


async def test_two_equal_entries_are_two_readings(store: Store) -> None:
    first = await enter(store, asked("pulse", "72"))
    second = await enter(store, asked("pulse", "72"))
    assert first["record"] != second["record"]
    assert len(lines(store)) == 2


@pytest.mark.parametrize("word", FORMS)
async def test_each_kind_has_its_code_and_its_unit(store: Store, word: str) -> None:
    await enter(store, asked(word, TYPICAL[word]))
    (line,) = lines(store)
    form = FORMS[word]
    assert line["kind"] == form.kind
    (resource,) = [entry["resource"] for entry in line["entries"]]
    codes = {each["code"] for each in resource["code"]["coding"]}
    assert set(PANELS[form.kind].code.loinc) <= codes
    parts = [each["valueQuantity"] for each in resource.get("component", [])]
    units = [each["code"] for each in parts or [resource.get("valueQuantity")] if each]
    assert units == [each.unit for each in form.entries]
    assert all(each.code in QUANTITIES for each in form.entries)
    assert resource.get("valueCodeableConcept") == (
        {"text": "alert"} if word == "consciousness" else None
    )


def test_codes_of_what_no_device_gives_are_those_of_loinc() -> None:
    """FHIR R4 vital signs: respiratory rate, height, weight."""
    assert PANELS["respiratory-rate"].code.loinc == ("9279-1",)
    assert PANELS["body-height"].code.loinc == ("8302-2",)
    assert PANELS["body-weight"].code.loinc == ("29463-7",)
    assert PANELS["consciousness"].code.loinc == ("67775-7",)


@pytest.mark.parametrize(
    ("word", "typed", "digits"),
    [
        ("temperature", "36,6", ["36.6"]),
        ("temperature", "36.60", ["36.60"]),
        ("temperature", " 37 ", ["37"]),
        ("weight", "3,450", ["3.450"]),
        ("blood-pressure", "120/80", ["120", "80"]),
        ("blood-pressure", "120 / 80", ["120", "80"]),
        ("respiratory-rate", "0", ["0"]),
    ],
)
def test_digits_are_kept_as_typed(word: str, typed: str, digits: list[str]) -> None:
    measurement = measure(word, typed)
    assert [str(each.value) for each in measurement.values] == digits
    assert measurement.raw == typed.encode()
    assert measurement.quality == () or word == "respiratory-rate"
    assert not measurement.repeatable


@pytest.mark.parametrize(
    ("word", "typed", "range_"),
    [
        ("temperature", "366", "20 to 50 °C"),  # the comma was forgotten
        ("temperature", "98,6", "20 to 50 °C"),  # Fahrenheit
        ("weight", "725000", "0.2 to 500 kg"),
        ("blood-pressure", "182400/80", "20 to 350 mmHg / 10 to 250 mmHg"),
        ("blood-pressure", "120", "20 to 350 mmHg"),
        ("blood-pressure", "12/8", "20 to 350 mmHg"),  # as centimetres
        ("blood-pressure", "80/120", "the first number is the higher one"),
        ("blood-pressure", "120/80/60", "20 to 350 mmHg"),
        ("spo2", "101", "0 to 100 %"),
        ("glucose", "5,8", "20 to 1000 mg/dL"),  # mmol/L
        ("glucose", "1,05", "20 to 1000 mg/dL"),  # g/L
        ("pulse", "72,5", "no decimals"),
        ("height", "1,71", "20 to 280 cm"),  # metres
    ],
)
def test_absurd_value_is_refused_with_the_range_in_the_sentence(
    word: str, typed: str, range_: str
) -> None:
    with pytest.raises(NotEntered) as refused:
        measure(word, typed)
    assert range_ in str(refused.value)
    assert typed not in str(refused.value)


@pytest.mark.parametrize("word", FORMS)
@pytest.mark.parametrize(
    "typed",
    [
        *(
            "72,5 kg",
            "P-00017",
            "6111245678901",
            "-5",
            "+5",
            "1e2",
            "NaN",
            "٣٦",
            "3٦",
            "3_6",
            "0x1F",
        ),
        *("", "36,", ",6", "36,6\n7", "1 200", "A1", "\udcff"),
    ],
)
def test_scanner_keystrokes_and_other_text_are_no_reading(word: str, typed: str) -> None:
    with pytest.raises(NotEntered):
        measure(word, typed)


async def test_refused_entry_leaves_nothing_behind(store: Store) -> None:
    with pytest.raises(NotEntered):
        await enter(store, asked("temperature", "366"))
    with pytest.raises(NotEntered, match="enter one of weight, height"):
        await enter(store, asked("mood", "7"))
    assert lines(store) == []


async def test_implausible_value_is_stored_flagged_and_said(store: Store) -> None:
    said = await enter(store, asked("temperature", "28,1"))
    assert said["quality"] == ["implausible"]
    assert "30 to 45 °C" in said["remark"]
    assert "28" not in said["remark"]
    assert lines(store)[0]["quality"] == ["implausible"]


@pytest.mark.parametrize("word", [word for word, form in FORMS.items() if form.entries])
def test_bounds_include_their_ends(word: str) -> None:
    entries = FORMS[word].entries
    for pick, quality in (("plausible", ()), ("possible", None)):
        for end in (0, 1):
            typed = "/".join(str(getattr(entry, pick)[end]) for entry in entries)
            found = measure(word, typed)
            assert quality is None or found.quality == quality
            assert bool(remark(word, found)) == bool(found.quality)
    assert all(e.possible[0] <= e.plausible[0] < e.plausible[1] <= e.possible[1] for e in entries)


@pytest.mark.parametrize("actor", ["", "   ", "a" * 201, "two\nlines"])
async def test_actor_is_required_and_one_short_line(store: Store, actor: str) -> None:
    with pytest.raises(RequestWrong, match="actor"):
        await enter(store, asked("weight", "70", actor=actor))
    assert lines(store) == []


async def test_patient_read_into_the_field_of_who_acts_is_refused(store: Store) -> None:
    await store.writer.write(lambda connection: open_consultation(connection, "1", "611-7", "amal"))
    with pytest.raises(WrongField, match="give who does this") as caught:
        await enter(store, asked("weight", "70", actor="611-7"))
    assert "611" not in str(caught.value)
    assert lines(store) == []


@pytest.mark.parametrize(
    ("box", "patient", "actor", "field"),
    [
        ("1", "Aicha B.", "amal", "patient"),
        ("1", "6111245678901\n", "amal", "patient"),
        ("1", "6" * 65, "amal", "patient"),
        ("1", "مريم", "amal", "patient"),
        ("Box 1", "p1", "amal", "box"),
        ("1\n", "p1", "amal", "box"),
        ("1", "p1", "a\nb", "actor"),
        ("1", "6111245678901", "6111245678901", "actor"),
    ],
)
async def test_consultation_opens_for_ids_only(
    store: Store, box: str, patient: str, actor: str, field: str
) -> None:
    with pytest.raises(WrongField, match=field) as caught:
        await store.writer.write(
            lambda connection: open_consultation(connection, box, patient, actor)
        )
    assert patient.strip() not in str(caught.value) or patient == "p1"
    assert open_boxes(store.reader) == []


def test_page_has_the_bounds_of_the_table() -> None:
    page = (ROOT / "docs" / "reference" / "cli.md").read_text("utf-8")
    for word, form in FORMS.items():
        row = next(each for each in page.splitlines() if each.startswith(f"| `{word}` |"))
        for pick in ("plausible", "possible"):
            bounds = (getattr(each, pick) for each in form.entries)
            assert " / ".join(f"{low} to {high}" for low, high in bounds) in row


def test_command_asks_the_running_agent(tmp_path: Path) -> None:
    with Unit(tmp_path) as unit:
        unit.start()
        unit.until(lambda _: True, "the agent")
        unit.ask("open", box="1", patient="p1", actor="nurse-1")
        saved = unit.cli("enter", "1", "blood-pressure", "120", "/", "80", "--actor", "nurse-2")
        assert (saved.returncode, saved.stderr) == (0, "")
        flagged = unit.cli("enter", "2", "temperature", "28,1", "--actor", "nurse-2")
        assert flagged.returncode == 0
        assert "it lies in the tray" in flagged.stderr
        assert "marked as implausible" in flagged.stderr
        refused = unit.cli("enter", "1", "temperature", "-5", "--actor", "nurse-2")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr.startswith("Error: temperature is taken as digits only, 20 to 50")
        assert unit.cli("enter", "1", "weight", "70").returncode == 2
        told = json.loads(unit.cli("readings", "--json").stdout)
        assert {each["summary"] for each in told} == {
            "Systolic blood pressure 120 mmHg, Diastolic blood pressure 80 mmHg",
            "Body temperature 28.1 °C",
        }
        assert saved.stdout.split()[-1] in {each["record"] for each in told}
