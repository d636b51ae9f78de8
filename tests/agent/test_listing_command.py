"""`readings` and `pending` on an installed unit, where only the service holds the key."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from .unit import Unit, run_cli

if TYPE_CHECKING:
    from pathlib import Path


def test_agent_answers_where_the_key_is_the_service_s_alone(tmp_path: Path) -> None:
    with Unit(tmp_path) as unit:
        unit.start()
        unit.until(lambda _: True, "the agent")
        (unit.state / "keys").rename(tmp_path / "credentials of the service")
        for command in ("readings", "pending"):
            told = run_cli(command, "--json", "--settings", str(unit.settings))
            assert told.returncode == 0, told.stderr
            found = json.loads(told.stdout)
            assert (found if command == "readings" else found["pending"]) == []
