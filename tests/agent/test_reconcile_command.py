"""`qafila reconcile` with a real agent, a real broker and a real centre, each a process."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from sqlcipher3 import dbapi2

from central.keys import PUBLIC, create_key
from central.store import DATABASE, create, open_store

from .unit import CEILING, NAME, ROOT, Unit, environment, run_cli, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.brokers import Mosquitto


class Centre:
    """A simulated centre that knows one unit, as a process."""

    def __init__(self, folder: Path, port: int, unit: Unit) -> None:
        self.folder = folder
        folder.mkdir()
        create(folder, "simulated")
        create_key(folder)
        (folder / "central.toml").write_text(f'[broker]\nhost = "127.0.0.1"\nport = {port}\n')
        public: Any = load_pem_public_key((unit.state / "keys" / "unit.pub").read_bytes())
        with contextlib.closing(open_store(folder)) as store, store.transaction():
            store.enrol(NAME, public.public_bytes_raw())

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        words = [sys.executable, "-m", "central", "run", str(self.folder)]
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                words, stdout=subprocess.PIPE, stderr=log, env=environment(), cwd=ROOT
            )
        assert process.stdout
        try:
            assert process.stdout.readline() == b"ready\n"
            yield
        finally:
            process.terminate()
            process.wait(CEILING)
            process.stdout.close()

    def change(self, sql: str) -> int:
        """Change the database as damage at rest would, beside the running receiver."""
        connection = dbapi2.connect(str(self.folder / DATABASE), timeout=10)
        with contextlib.closing(connection), connection:
            changed: int = connection.execute(sql).rowcount
        return changed

    def status(self, *words: str) -> str:
        code = "from central.cli import main; main()"
        done = run_cli("status", str(self.folder), *words, code=code)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def unit(tmp_path: Path) -> Iterator[Unit]:
    with Unit(tmp_path / "unit") as made:
        yield made


def test_reconcile_names_a_changed_byte_and_a_deleted_record_of_the_centre(
    unit: Unit, tmp_path: Path, mosquitto: Mosquitto
) -> None:
    """C-11.1, C-11.7, C-11.8: by person and by day; `status` of both sides tells of it."""
    centre = Centre(tmp_path / "centre", mosquitto.port, unit)
    unit.write(
        f'[uplink]\nhost = "127.0.0.1"\nport = {mosquitto.port}\n'
        f'centre_key = "{centre.folder / PUBLIC}"\n'
    )
    with centre.running():
        unit.start()
        unit.until(lambda status: status["uplink"]["state"] == "connected", "the link")
        saved = [
            unit.ask("enter", box="1", kind="spo2", value=str(90 + n), actor="nurse")["record"]
            for n in range(6)
        ]
        unit.until(lambda status: status["store"]["pending"] == 0, "confirmation")
        done = unit.cli("reconcile")
        assert (done.returncode, done.stderr) == (0, "")
        assert "6 records" in done.stdout
        assert "byte for byte" in done.stdout

        assert centre.change(
            "UPDATE records SET line = CAST(replace(CAST(line AS TEXT), '93', '39') AS BLOB)"
            f" WHERE record_id = '{saved[3]}'"
        )
        assert centre.change(f"DELETE FROM records WHERE record_id = '{saved[4]}'")
        done = unit.cli("reconcile", "--json")
        assert done.returncode == 1, done.stderr
        last = json.loads(done.stdout)
        assert [(each["record"], each["what"]) for each in last["differing"]] == [
            (saved[3], "resent"),
            (saved[4], "resent"),
        ]
        unit.until(lambda status: status["store"]["pending"] == 0, "the mending")
        differed = "2 records differed between this unit and the centre"
        until(lambda: differed in unit.cli("status").stdout or None, "the remark of the status")
        assert "compared" in unit.cli("status").stdout
        assert "2 damaged and mended, 0 differ" in centre.status()
        assert unit.cli("reconcile").returncode == 0
        assert '"mended":true' in centre.status("--json")


def test_reconcile_without_a_link_says_when_it_will_be_done(
    unit: Unit, monkeypatch: pytest.MonkeyPatch
) -> None:
    from agent.cli import reconcile  # noqa: PLC0415

    unit.start()
    unit.until(lambda _: True, "the agent")
    done = unit.cli("reconcile")
    assert done.returncode == 1
    assert "no centre to compare with" in done.stderr
    monkeypatch.setattr(reconcile, "PATIENCE", 0.0)
    assert reconcile._await(unit.settings, 0) is None
