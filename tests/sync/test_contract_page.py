"""The page of the contract, its schemas and its AsyncAPI document say what the code does.

`python -m tests.sync.test_contract_page` writes what follows from the code anew.
"""

from __future__ import annotations

import ast
import json
import re
import textwrap
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml

from agent.capture import Capture, record_id, record_line
from agent.clock import now
from drivers.base import Blob, Device, Measurement, Value
from sync.contract import CONTRACT
from sync.contract.batch import LINE_MAX, LINES_MAX, Header, check_line, decode_batch
from sync.contract.chunk import BLOB_MAX, CHUNK_MAX, CHUNK_MIN
from sync.contract.digest import COMPARED_MAX, STRETCHES_MAX, Answer, Question
from sync.contract.envelope import ENVELOPE_SIZE, INFLATED_MAX, Magic
from sync.contract.hello import HELLO_LANES_MAX, Hello
from sync.contract.receipt import (
    CHUNKS_MAX,
    HAVE_MAX,
    MISSING_MAX,
    REASON_MAX,
    RECEIPT_MAX,
    REFUSED_MAX,
    Receipt,
)
from sync.contract.topics import DOWN, ROOTS, UP
from tests.golden import vectors

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
PAGE = REFERENCE / "contract.md"
SCHEMAS = REFERENCE / "schemas"
GENERATED: dict[str, type[msgspec.Struct]] = {
    "answer": Answer,
    "batch-header": Header,
    "hello": Hello,
    "question": Question,
    "receipt": Receipt,
}
CLAUSE = re.compile(r"C-\d+\.\d+")
WAITING, INDEX = "<!-- waiting -->\n", "<!-- index -->\n"
SOURCES = ("agent", "central", "drivers", "sync")


def order(clause: str) -> tuple[int, ...]:
    """Where a clause stands on the page."""
    return tuple(int(part) for part in clause.removeprefix("C-").split("."))


def defined(page: str) -> list[str]:
    """The clauses in the order of the page."""
    return re.findall(r"(?m)^\*\*(C-\d+\.\d+)\*\* ", page)


def held() -> dict[str, set[str]]:
    """The tests whose docstrings name each clause."""
    holders: dict[str, set[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if (
                isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
                and node.name[:5] == "test_"
            ):
                for clause in CLAUSE.findall(ast.get_docstring(node) or ""):
                    holders.setdefault(clause, set()).add(node.name)
    return holders


def listed(page: str, heading: str, end: str) -> set[str]:
    """The clauses of a list of the last section."""
    part = page.partition(heading)[2].partition(end)[0]
    return set(re.findall(r"(?m)^- (C-\d+\.\d+)", part))


def waiting(page: str) -> set[str]:
    """The clauses that are said to wait for a test."""
    return listed(page, WAITING, INDEX)


def rewritten(page: str) -> str:
    """The page with its index as the tests are; the waiting list may only shrink."""
    holders = held()
    front, _, rest = page.partition(WAITING)
    left = sorted(waiting(page) - holders.keys(), key=order)
    lines = ["Waiting for a test:", "", *(f"- {clause}" for clause in left), ""] if left else []
    lines.append(INDEX)
    for clause in sorted(holders, key=order):
        names = ", ".join(f"`{name}`" for name in sorted(holders[clause]))
        lines.append(
            textwrap.fill(
                f"- {clause}: {names}",
                width=99,
                subsequent_indent="  ",
                break_long_words=False,
                break_on_hyphens=False,
            )
        )
    assert rest
    return front + WAITING + "\n" + "\n".join(lines) + "\n"


def schema(kind: type[msgspec.Struct]) -> str:
    """The JSON Schema of a message, without the docstrings, which are Python's business."""
    made = msgspec.json.schema(kind)
    for each in made["$defs"].values():
        each.pop("description", None)
    draft = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps(draft | made, indent=2, ensure_ascii=False) + "\n"


def test_each_clause_is_held_by_a_test_or_said_not_to_be() -> None:
    page = PAGE.read_text("utf-8")
    construction = listed(page, "By construction:", WAITING)
    uncited = set(defined(page)) - held().keys() - construction
    assert uncited == waiting(page)
    assert construction <= set(defined(page))


def test_the_index_of_the_page_is_that_of_the_tests() -> None:
    page = PAGE.read_text("utf-8")
    assert page == rewritten(page), "run `make clauses`"


def test_clauses_are_numbered_in_order_and_once() -> None:
    clauses = defined(PAGE.read_text("utf-8"))
    assert clauses == sorted(set(clauses), key=order)
    for part in {order(clause)[0] for clause in clauses}:
        numbers = [order(clause)[1] for clause in clauses if order(clause)[0] == part]
        assert numbers == list(range(1, len(numbers) + 1))


def test_code_and_tests_cite_only_clauses_that_exist() -> None:
    clauses = set(defined(PAGE.read_text("utf-8")))
    cited = set(held())
    for package in SOURCES:
        for path in (ROOT / package).rglob("*.py"):
            cited |= set(CLAUSE.findall(path.read_text("utf-8")))
    assert cited <= clauses


def test_the_limits_of_the_page_are_those_of_the_code() -> None:
    page = " ".join(PAGE.read_text("utf-8").split())
    assert f"at most 1 MiB ({INFLATED_MAX:,} bytes)" in page
    assert f"1 to {LINE_MAX:,} bytes (256 KiB)" in page
    assert f"a batch 1 to {LINES_MAX} records" in page
    assert f"| {ENVELOPE_SIZE} | the rest, at least 1 | body" in page
    assert (
        f"1 byte to {BLOB_MAX >> 20} MiB, a chunk's content 1 byte to {CHUNK_MAX >> 10} KiB" in page
    )
    assert f"sends {CHUNK_MIN >> 10} to {CHUNK_MAX >> 10} KiB a chunk" in page
    assert f"At most {HELLO_LANES_MAX} lanes" in page
    assert f"body has at most {RECEIPT_MAX >> 10} KiB" in page
    assert MISSING_MAX == REFUSED_MAX == CHUNKS_MAX
    assert f"at most {MISSING_MAX} entries each, and `have` at most {HAVE_MAX} ranges" in page
    assert f"of at most {REASON_MAX} characters" in page
    compared = f"1 to {STRETCHES_MAX} stretches, in order and disjoint, of at most {COMPARED_MAX:,}"
    assert compared in page
    signed = (Magic.BATCH, Magic.HELLO, Magic.RECEIPT, Magic.QUESTION, Magic.ANSWER)
    for magic in (*signed, b"QFLC"):
        assert f"`{magic.decode()}`" in page
    for root in ROOTS.values():
        assert f"`{root}/{{unit}}/`" in page


def test_every_fault_code_of_the_code_stands_on_the_page() -> None:
    codes: set[str] = set()
    for path in (ROOT / "sync" / "contract").glob("*.py"):
        text = path.read_text("utf-8")
        codes |= set(re.findall(r'raise ContractFault\(\s*"([a-z]+)"', text))
    listed_codes = set(re.findall(r"(?m)^\| `([a-z]+)` \| [^|]+ \|$", PAGE.read_text("utf-8")))
    assert codes
    assert codes <= listed_codes


@pytest.mark.parametrize("name", sorted(GENERATED))
def test_a_schema_is_that_of_the_code(name: str) -> None:
    """C-4.2, C-6.2, C-7.2, C-11.3, C-11.5: the published shapes are the ones that are read."""
    committed = (SCHEMAS / f"{name}.json").read_text("utf-8")
    assert committed == schema(GENERATED[name]), "run `make clauses`"


def validator(name: str) -> Any:
    """A validator for one of the schemas."""
    loaded = json.loads((SCHEMAS / f"{name}.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(loaded)
    return jsonschema.Draft202012Validator(loaded)


def test_the_golden_messages_fit_the_schemas() -> None:
    """C-1.4, C-4.6, C-4.7: also a record with a field of tomorrow."""
    batch = decode_batch(vectors.golden("batch-plain"), vectors.key_of)
    for name, message in (
        ("batch-header", batch.header),
        ("hello", vectors.hello()),
        ("receipt", vectors.receipt()),
        ("question", vectors.question()),
        ("answer", vectors.answer()),
    ):
        validator(name).validate(json.loads(msgspec.json.encode(message)))
    for line in batch.lines:
        validator("record").validate(json.loads(line))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("record",), None),
        (("record",), "1B7E6C1A-93D5-5F6E-8A54-2F0C9A1D3B77"),
        (("kind",), 7),
        (("context",), []),
        (("context", "mono_ns"), "soon"),
        (("context", "origin"), "training"),
        (("raw", "sha256"), "ab"),
        (("entries",), {}),
        (("blobs",), [{"sha256": "ab", "size": 1, "media_type": "a/b", "role": "image"}]),
        (("context", "device"), "ble:F1"),
        (("status",), "sitting"),
        (("lost",), {"lane": "urgent", "seq": 0, "hash": "0" * 64, "reason": "x"}),
        (("lost",), {"seq": 1, "hash": "0" * 64, "reason": "x"}),
        (("epoch-closed",), {"epoch": "x", "lane": "urgent", "through": 3, "lost": []}),
        (("blob-lost",), {"sha256": "ab", "reason": "x"}),
    ],
)
def test_the_schema_of_a_record_refuses_what_the_page_does_not_allow(
    path: tuple[str, ...], value: object
) -> None:
    """C-4.6, C-4.7, C-4.8, C-4.10: the shapes of the fields that the page names."""
    record = json.loads(vectors.batch().lines[0])
    place = record
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert not validator("record").is_valid(record)


def test_a_record_as_the_agent_writes_it_fits_the_schema() -> None:
    """C-4.6: with and without what a device may leave out; and it may stand on the wire."""
    blob = Blob(content=b"pixels", media_type="application/dicom", role="image")
    said = Measurement(
        kind="body-temperature",
        raw=b"\x06\x68\x01\x00\xff",
        values=(Value(code="150364", value=Decimal("36.0"), unit="Cel"),),
        device_time=datetime(2026, 11, 21, 10, 14, 2),  # noqa: DTZ001 - devices know no zone
        status=("sitting",),
        blobs=(blob,),
    )
    for measurement in (said, Measurement(kind="body-temperature", raw=b"\x06")):
        capture = Capture(
            measurement=measurement,
            device=Device(id="ble:F1:00:00:00:00:01", driver="thermometer"),
            stamp=now(),
            box="1",
            origin="simulated",
            driver_version="1",
        )
        line = record_line(capture, record_id(capture), None)
        check_line(line)
        validator("record").validate(json.loads(line))


def test_a_state_fits_its_schema_and_a_message_without_session_does_not() -> None:
    """C-3.5: contract, unit, session and state."""
    state = {"contract": 1, "unit": "azilal-03", "session": "a3c1", "state": "online"}
    validator("state").validate(state)
    for field in state:
        assert not validator("state").is_valid({k: v for k, v in state.items() if k != field})


def document() -> dict[str, Any]:
    """The AsyncAPI document."""
    loaded: dict[str, Any] = yaml.safe_load((REFERENCE / "asyncapi.yaml").read_text("utf-8"))
    return loaded


def test_the_asyncapi_document_has_exactly_the_channels_of_the_code() -> None:
    """C-3.3: every channel below both roots, once."""
    channels = document()["channels"].values()
    addresses = sorted(channel["address"] for channel in channels)
    leaves = {f"up/{leaf}" for leaf in UP if not leaf.startswith("log/")} | {"up/log/{lane}"}
    leaves |= {f"down/{leaf}" for leaf in DOWN}
    assert addresses == sorted("{root}/{unit}/" + leaf for leaf in leaves)
    for channel in channels:
        assert channel["parameters"]["root"]["enum"] == list(ROOTS.values())


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    """C-3.3: within the document, or to a schema beside it."""
    whole = document()
    assert whole["asyncapi"].startswith("3.")
    assert whole["info"]["version"].split(".")[0] == str(CONTRACT)
    found = references(whole)
    assert found
    for reference in found:
        file, _, inside = reference.partition("#")
        place = json.loads((REFERENCE / file).read_text("utf-8")) if file else whole
        for step in inside.strip("/").split("/") if inside else ():
            place = place[step]
        assert place


def references(node: Any) -> list[str]:
    """Every `$ref` below a node."""
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [each for value in node.values() for each in references(value)]
    if isinstance(node, list):
        return [each for value in node for each in references(value)]
    return []


def write() -> None:
    """Write index and generated schemas."""
    PAGE.write_text(rewritten(PAGE.read_text("utf-8")), "utf-8")
    SCHEMAS.mkdir(exist_ok=True)
    for name, kind in GENERATED.items():
        (SCHEMAS / f"{name}.json").write_text(schema(kind), "utf-8")


if __name__ == "__main__":
    write()
