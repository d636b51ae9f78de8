"""An urgent request to an expert: what it holds, what it may be about, what it never says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from agent.asking import NotAsked, ask
from agent.consultations import open_consultation
from agent.control import RequestWrong
from agent.entering import enter

from .unit import ROOT, Unit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from agent.store.store import Store

QUESTION = "Is this lesion suspicious? Itches since May."


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Unit(tmp_path / "unit").store()
    yield opened
    opened.close()


async def reading(store: Store, box: str) -> str:
    said = {"do": "enter", "box": box, "kind": "spo2", "value": "97", "actor": "nurse"}
    return str((await enter(store, said))["record"])


async def begin(store: Store, box: str, patient: str) -> str:
    return await store.writer.write(lambda sql: open_consultation(sql, box, patient, "nurse"))


def asked(*records: object, **more: object) -> dict[str, Any]:
    said = {"do": "ask", "specialty": "dermatology", "question": QUESTION, "actor": "nurse"}
    return said | {"records": list(records)} | more


def line_of(store: Store, record: str) -> dict[str, Any]:
    (line,) = store.reader.execute(
        "SELECT line FROM record WHERE record_id = ? AND lane = 'urgent'", (record,)
    ).fetchone()
    found: dict[str, Any] = json.loads(line)
    return found


async def test_a_request_stands_in_the_urgent_lane_as_a_service_request(store: Store) -> None:
    """C-4.11: with what it refers to, the patient of the consultation, and who asks."""
    consultation = await begin(store, "1", "patient-7")
    records = [await reading(store, "1"), await reading(store, "1")]
    answer = await ask(store, asked(*records, records[0]))
    assert answer["assigned"] is True
    line = line_of(store, answer["record"])
    assert line["kind"] == "expertise-request"
    assert line["refers_to"] == records
    resource = line["entries"][0]["resource"]
    assert resource["resourceType"] == "ServiceRequest"
    assert (resource["priority"], resource["status"], resource["intent"]) == (
        "urgent",
        "active",
        "order",
    )
    assert resource["subject"] == {"reference": "Patient/patient-7"}
    assert resource["encounter"] == {"reference": f"Encounter/{consultation}"}
    assert resource["note"][0]["text"] == QUESTION
    there = {each["reference"] for each in resource["supportingInfo"]}
    lines = store.reader.execute("SELECT line FROM record WHERE lane = 'clinical'").fetchall()
    stored = {each["request"]["url"] for (row,) in lines for each in json.loads(row)["entries"]}
    assert there == stored
    schema = json.loads((ROOT / "docs/reference/schemas/record.json").read_text("utf-8"))
    jsonschema.Draft202012Validator(schema).validate(line)


async def test_readings_of_nobody_are_asked_about_without_a_patient(store: Store) -> None:
    """Promise 6: the wrong patient is never guessed, and help is not refused."""
    record = await reading(store, "2")
    answer = await ask(store, asked(record))
    assert answer["assigned"] is False
    resource = line_of(store, answer["record"])["entries"][0]["resource"]
    assert resource["subject"] == {"display": "not assigned to a patient yet"}
    assert "encounter" not in resource


async def test_readings_of_two_people_are_no_one_request(store: Store) -> None:
    await begin(store, "1", "patient-7")
    await begin(store, "2", "patient-8")
    one, other, nobody = [await reading(store, box) for box in "123"]
    for pair in ((one, other), (one, nobody)):
        with pytest.raises(NotAsked, match="not of one consultation"):
            await ask(store, asked(*pair))
    assert store.reader.execute("SELECT count(*) FROM reference").fetchone() == (0,)


@pytest.mark.parametrize(
    "wrong",
    [
        asked(),
        asked(*("0f9a3d52-8a53-4c3f-9e0e-1c2f7a1b6d11",) * 33),
        asked("nothing"),
        asked(7),
        asked("0f9a3d52-8a53-4c3f-9e0e-1c2f7a1b6d11", question=" "),
        asked("0f9a3d52-8a53-4c3f-9e0e-1c2f7a1b6d11", question="x" * 4001),
        asked("0f9a3d52-8a53-4c3f-9e0e-1c2f7a1b6d11", specialty=None),
        asked("0f9a3d52-8a53-4c3f-9e0e-1c2f7a1b6d11", actor=""),
    ],
)
async def test_what_is_no_request_is_refused_in_a_sentence(
    wrong: dict[str, Any], store: Store
) -> None:
    with pytest.raises(RequestWrong, match="ask: "):
        await ask(store, wrong)


async def test_an_unknown_record_is_named(store: Store) -> None:
    unknown = "0f9a3d52-8a53-4c3f-9e0e-1c2f7a1b6d11"
    with pytest.raises(NotAsked, match=unknown):
        await ask(store, asked(unknown))


def test_the_command_asks_and_the_question_is_in_no_log(tmp_path: Path) -> None:
    with Unit(tmp_path / "unit") as unit:
        unit.start()
        unit.until(lambda _: True, "the agent")
        record = unit.ask("enter", box="1", kind="spo2", value="97", actor="nurse")["record"]
        words = ("--specialty", "dermatology", "--question", QUESTION, "--by", "nurse")
        done = unit.cli("ask", record, *words)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("asked as ")
        assert "no known patient" in done.stderr
        unit.until(lambda status: status["store"]["lanes"]["urgent"]["last"] == 1, "the request")
        shown = unit.cli("readings").stdout
        assert "to dermatology, about 1 records" in shown
        done = unit.cli("ask", "nothing", *words)
        assert done.returncode == 1
        assert "named by its id" in done.stderr
        told = unit.log.read_text() + (unit.state / "status.json").read_text() + shown
        assert "lesion" not in told
