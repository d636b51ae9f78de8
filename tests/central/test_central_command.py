from __future__ import annotations

import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import uuid
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

import central
from central import report
from central.cli import main
from central.keys import load_key, load_public_key, load_sealing_key
from central.ledger import Ledger
from central.store import open_store
from sync.contract.entries import Entry
from sync.contract.sealed import seal_file

from .listener import CEILING, Listener
from .twin import Twin, agent_line, cut, new_line, record_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.brokers import Mosquitto

ROOT = Path(central.__file__).parents[1]


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


def done(*arguments: object) -> str:
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    return str(result.output)


def refused(*arguments: object) -> str:
    """The one sentence of a refusal."""
    result = call(*arguments)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    return str(result.output)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    place = tmp_path / "made"
    done("init", place)
    return place


@pytest.fixture
def unit(place: Path, tmp_path: Path) -> Twin:
    twin = Twin()
    file = tmp_path / "unit.pub"
    public = twin.key.public_key()
    file.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    done("enrol", place, twin.unit, file)
    return twin


@contextmanager
def serving(place: Path, broker: Mosquitto) -> Iterator[subprocess.Popen[str]]:
    """The command itself, as a process; it has said `ready`."""
    settings = f'[broker]\nhost = "{broker.host}"\nport = {broker.port}\n'
    (place / "central.toml").write_text(settings)
    process = subprocess.Popen(
        [sys.executable, "-c", "from central.cli import main; main()", "run", str(place)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    too_late = threading.Timer(CEILING, process.kill)
    too_late.start()
    try:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        too_late.cancel()
        process.kill()
        process.communicate()


def test_init_makes_a_centre_that_only_its_owner_can_read(place: Path) -> None:
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in place.iterdir()}
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert modes == {
        "central.db": 0o600,
        "central.key": 0o400,
        "central-seal.key": 0o400,
        "central.pub": 0o444,
        "central.toml": 0o600,
    }
    secret, public = load_key(place), load_public_key(place / "central.pub")
    assert secret.public_key().public_bytes_raw() == public.public_bytes_raw()
    sealing = load_sealing_key(place).public_key()
    second = sealing.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert (place / "central.pub").read_bytes().endswith(second)


def test_import_says_what_was_taken_and_what_was_not(
    place: Path, unit: Twin, tmp_path: Path
) -> None:
    """C-10.7: exit 1 with a remedy for each; a stick that holds nothing is refused."""
    stick = tmp_path / "stick"
    stick.mkdir()
    assert "name the folder that qafila export was given" in refused("import", place, stick)
    unit.write(new_line())
    up = stick / "qafila" / "v1" / unit.unit / "up"
    up.mkdir(parents=True)
    channels = {"up/hello": unit.hello(), "up/log/clinical": unit.batch(1, 1)}
    entries = [Entry(channel, message.payload) for channel, message in channels.items()]
    sealed = seal_file(entries, b"", unit.key, load_sealing_key(place).public_key())
    (up / "0000000001.sealed").write_bytes(sealed)
    said = done("import", place, stick)
    assert f"{unit.unit}: 1 files read, 1 records new here, 2 receipts written" in said
    (up / "0000000002.sealed").write_bytes(sealed[:-1])
    said = refused("import", place, stick)
    assert "0 records new here" in said
    assert "1 refused (signature): changed since it was signed: export it again" in said
    assert "not everything on it was taken" in said
    (place / "central-seal.key").chmod(0o444)
    assert "can be read by others" in refused("import", place, stick)
    (place / "central-seal.key").unlink()
    assert "bring it back from a backup" in refused("import", place, stick)


def test_init_leaves_an_existing_centre_alone(place: Path) -> None:
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    assert "choose a folder that holds no centre" in refused("init", place)
    assert {path.name: path.read_bytes() for path in place.iterdir()} == before


@pytest.mark.parametrize("origin", ["clinical", "simulated"])
def test_centre_is_born_of_one_origin(origin: str, tmp_path: Path) -> None:
    done("init", tmp_path / "c", "--origin", origin)
    assert json.loads(done("status", tmp_path / "c", "--json"))["origin"] == origin


def test_each_centre_is_an_epoch_of_its_own(tmp_path: Path) -> None:
    for name in ("a", "b"):
        done("init", tmp_path / name)
    epochs = {report.status(tmp_path / name).central_epoch for name in ("a", "b")}
    assert len(epochs) == 2


def test_enrolment_is_refused_in_plain_sentences(place: Path, tmp_path: Path) -> None:
    missing = tmp_path / "missing.pub"
    assert "can't be read" in refused("enrol", place, "azilal-03", missing)
    wrong = tmp_path / "wrong.pub"
    wrong.write_text("no key")
    assert "no Ed25519 public key" in refused("enrol", place, "azilal-03", wrong)
    assert "small letters" in refused("enrol", place, "Azilal 03", place / "central.pub")
    assert "init" in refused("enrol", tmp_path, "azilal-03", place / "central.pub")


@pytest.mark.parametrize(
    ("text", "place_and_remedy"),
    [
        ("[broker]\nhost = 'h'\nport = 'x'", ("$.broker.port: ", "1 to 65535")),
        ("[broker]\nhost = 'h'\nport = 70000", ("$.broker.port: ", "1 to 65535")),
        ("[broker]\nhost = 'h'\nprot = 1", ("$.broker.prot: ", "spelling")),
        ("[broker]\nport = 1", ("$.broker: ", "host")),
        ("[brok]\nport = 1", ("$.brok: ", "spelling")),
        ("", ("$: ", "[broker]")),
        ("[broker", ("is no TOML", "correct")),
        ("[broker]\nhost = 'h'\n[broker.tls]\nca = 'none.pem'", ("$.broker.tls.ca: ", "none.pem")),
        (
            "[broker]\nhost = 'h'\n[broker.tls]\nca = 'central.pub'\nkey = 'central.key'",
            ("$.broker.tls.cert is missing", "certificate"),
        ),
    ],
)
def test_settings_that_can_not_work_name_the_place_and_the_remedy(
    text: str, place_and_remedy: tuple[str, str], place: Path
) -> None:
    (place / "central.toml").write_text(text)
    said = refused("run", place)
    assert all(words in said for words in ("central.toml", *place_and_remedy)), said


def test_sample_settings_are_valid_and_missing_ones_are_named(place: Path) -> None:
    (place / "central.key").chmod(0o444)
    assert "chmod 0400" in refused("run", place)
    (place / "central.key").chmod(0o600)
    (place / "central.key").write_text("no key")
    assert "no Ed25519 private key" in refused("run", place)
    (place / "central.toml").unlink()
    assert "init" in refused("run", place)


def test_status_of_what_is_no_centre_is_one_sentence(tmp_path: Path) -> None:
    assert "init" in refused("status", tmp_path)
    (tmp_path / "central.db").write_bytes(b"x" * 5000)
    assert "central.db" in refused("status", tmp_path)


def fill(place: Path, unit: Twin) -> tuple[bytes, bytes]:
    """Two pictures, one DICOM, one blob that never becomes whole, and a refused record."""
    picture, film = bytes(range(256)) * 100, b"DICM" * 5000
    dicom = new_line(blobs=[(film, "../../ECG Recording")]).replace(
        b"image/jpeg", b"application/dicom"
    )
    unit.write(
        new_line(blobs=[(picture, "photograph"), (picture, "photograph")]),
        dicom,
        new_line(blobs=[(b"\x01" * 30_000, "photograph")]),
        b"broken",
    )
    chunks = [*cut(picture), *cut(film), cut(b"\x01" * 30_000)[0]]
    with closing(open_store(place)) as store:
        ledger = Ledger(store)
        ledger.commit([unit.batch(1, 4), *(unit.chunk(each) for each in chunks)])
        ledger.commit([unit.message("up/chunk", b"x"), Twin(unit="b").message("up/hello", b"")])
    return picture, film


def test_status_tells_lanes_counts_and_refusals(place: Path, unit: Twin) -> None:
    fill(place, unit)
    found = json.loads(done("status", place, "--json"))
    (shown,) = found["units"]
    (lane,) = shown["lanes"]
    assert lane == {
        "epoch": unit.epoch,
        "lane": "clinical",
        "through": 4,
        "last": 4,
        "taken": 3,
        "refused": 1,
        "lost": 0,
        "backed_up_through": None,
        "closed": False,
    }
    assert (shown["records"], shown["blobs_complete"], shown["blobs_incomplete"]) == (3, 2, 1)
    assert shown["refused_records"] == {"unreadable": 1}
    assert shown["refused_messages"] == {"chunk": 1}
    assert found["strangers"] == {"unit": 1}
    text = done("status", place)
    assert f"clinical of {unit.epoch}: 4 of 4, taken 3, refused 1, lost 0" in text
    assert "refused records: unreadable 1" in text
    assert "senders not enrolled: unit 1" in text


def test_status_tells_what_a_damaged_unit_will_never_send(place: Path, unit: Twin) -> None:
    """C-9.12: in words and in figures."""
    fill(place, unit)
    old, unit.epoch, unit.lanes = unit.epoch, str(uuid.uuid4()), {}
    lost = [[3, 4], [7, 8]]
    closed = agent_line("epoch-closed", epoch=old, lane="clinical", through=9, lost=lost)
    film = json.loads(done("status", place, "--json"))["units"][0]["blobs_incomplete"]
    with closing(open_store(place)) as store:
        blob = store.blobs.incomplete(unit.unit, 1)[0].sha256.hex()
        gone = agent_line("blob-lost", sha256=blob, reason="damaged")
        unit.write(closed, gone, lane="background")
        Ledger(store).commit([unit.batch(1, 2, "background")])
    text = done("status", place)
    line = (
        f"clinical of {old}: 4 of 4, taken 3, refused 1, lost 2, closed: its database was damaged"
    )
    assert line in text
    assert f"{film} incomplete (1 of them for ever)" in text
    (shown,) = json.loads(done("status", place, "--json"))["units"]
    assert [each["closed"] for each in shown["lanes"] if each["epoch"] == old] == [True]


def test_export_writes_records_and_complete_blobs_within_its_target(
    place: Path, unit: Twin, tmp_path: Path
) -> None:
    picture, film = fill(place, unit)
    target = tmp_path / "deep" / "export"
    assert done("export", place, target).startswith("3 records and 3 files")
    folder = target / unit.unit
    first, second, third, _ = unit.lanes["clinical"]
    assert (folder / "records.ndjson").read_bytes() == b"".join(
        line + b"\n" for line in (first, second, third)
    )
    names = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert names == {
        "records.ndjson": (folder / "records.ndjson").read_bytes(),
        f"{record_id(first)}-photograph.jpg": picture,
        f"{record_id(first)}-photograph-2.jpg": picture,
        f"{record_id(second)}-ecg-recording.dcm": film,
    }
    assert [path.name for path in target.iterdir()] == [unit.unit]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    before = names
    done("export", place, target)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_export_that_can_not_be_written_is_one_sentence(place: Path, unit: Twin) -> None:
    fill(place, unit)
    file = place / "file"
    file.touch()
    assert "can't be written" in refused("export", place, file / "below")


def test_backup_is_a_centre_that_can_be_restored(place: Path, unit: Twin, tmp_path: Path) -> None:
    fill(place, unit)
    copy = tmp_path / "copy"
    copy.mkdir()
    done("backup", place, copy / "central.db")
    assert "new file name" in refused("backup", place, copy / "central.db")
    before = report.status(copy).central_epoch
    assert list(report.records(copy)) == list(report.records(place))
    (lane,) = report.status(place).units[0].lanes
    assert (lane.through, lane.backed_up_through) == (4, 2), "the third's picture is not whole"
    assert stat.S_IMODE((copy / "central.db").stat().st_mode) == 0o600
    assert [path.name for path in copy.iterdir()] == ["central.db"]
    said = done("restored", copy)
    after = report.status(copy).central_epoch
    assert after != before
    assert after in said


def test_run_says_ready_confirms_and_ends_cleanly(
    place: Path, unit: Twin, mosquitto: Mosquitto
) -> None:
    secret = "Aïcha 38.6"
    unit.write(new_line(name=secret), f"broken {secret}".encode(), new_line("lost", lost=secret))
    with serving(place, mosquitto) as process:
        listener = Listener(mosquitto.host, mosquitto.port, load_key(place))
        try:
            listener.say(unit.hello())
            listener.say(unit.batch(1, 3))
            receipt = listener.hear(lambda r: r.through == 3, "a receipt")
            assert [r.code for r in receipt.refused] == ["unreadable", "unreadable"]
        finally:
            listener.close()
        process.send_signal(signal.SIGTERM)
        output, log = process.communicate(timeout=CEILING)
    assert (process.returncode, output) == (0, "")
    events = [json.loads(line) for line in log.splitlines()]
    assert "committed" in {event["event"] for event in events}
    assert secret not in json.dumps(events, ensure_ascii=False) + log
    assert unit.unit not in log
    line = unit.lanes["clinical"][0]
    expected = (unit.unit, record_id(line), hashlib.sha256(line).hexdigest())
    assert list(report.records(place)) == [expected]


def test_second_receiver_on_the_same_folder_is_refused(place: Path, mosquitto: Mosquitto) -> None:
    with serving(place, mosquitto) as process:
        assert "another receiver runs" in refused("run", place)
        assert "clinical centre" in done("status", place)
        assert process.poll() is None
    with serving(place, mosquitto):
        pass


def test_run_killed_has_kept_whatever_it_confirmed(
    place: Path, unit: Twin, mosquitto: Mosquitto
) -> None:
    unit.write(*(new_line() for _ in range(30)))
    listener = Listener(mosquitto.host, mosquitto.port, load_key(place))
    try:
        with serving(place, mosquitto) as process:
            for seq in range(1, 31):
                listener.say(unit.batch(seq, seq))
            listener.hear(lambda r: r.through >= 3, "a receipt")
            process.kill()
            process.wait(CEILING)
        kept = report.status(place).units[0].lanes[0].through
        assert max(each.through for each in listener.receipts()) <= kept
        with serving(place, mosquitto):
            listener.say(unit.batch(1, 30))
            listener.hear(lambda r: r.through == 30, "a receipt")
    finally:
        listener.close()
    assert len(list(report.records(place))) == 30
