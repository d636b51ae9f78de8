"""The product as installed: systemd starts it, watches it, and shuts it in."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.vm.guest import eventually

if TYPE_CHECKING:
    from tests.vm.truck import Truck

BOUND = 2.0
UNIT = "qafila.service"


@pytest.fixture(scope="module")
def unit(truck: Truck) -> Truck:
    """A unit that was started without any device."""
    truck.furnish("", patient=False)
    truck.start()
    return truck


def shown(unit: Truck, name: str) -> str:
    """A property of the service."""
    return unit.guest.run(f"systemctl show --value -p {name} {UNIT}").strip()


def uplink(unit: Truck) -> str:
    """How the agent says that its uplink is."""
    return str(unit.guest.status().get("uplink", {}).get("state"))


def test_it_is_ready_when_systemctl_start_returns(unit: Truck) -> None:
    assert shown(unit, "Type") == "notify"
    assert shown(unit, "ActiveState") == "active"
    assert shown(unit, "SubState") == "running"
    answer = unit.guest.run("qafila status --json || true")
    assert json.loads(answer)["daemon"] == "running"


def test_it_runs_as_its_own_user_with_sealed_keys(unit: Truck) -> None:
    pid = shown(unit, "MainPID")
    assert unit.guest.run(f"stat -c %U /proc/{pid}").strip() == "qafila"
    keys = unit.guest.run("ls /var/lib/qafila; ls /etc/credstore.encrypted")
    assert "store.key" in keys
    assert "keys" not in keys.split()


def test_it_meets_its_centre_over_mutual_tls(unit: Truck) -> None:
    eventually(lambda: uplink(unit) == "connected", words="the unit does not reach its centre")


def test_it_is_shut_in_well_enough(unit: Truck) -> None:
    said = unit.guest.run(f"systemd-analyze security {UNIT} --no-pager")
    exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
    assert exposure is not None, said
    assert float(exposure[1]) <= BOUND, said


def test_one_that_is_stuck_is_ended_by_the_watchdog_and_started_anew(unit: Truck) -> None:
    stuck = shown(unit, "MainPID")
    before = int(shown(unit, "NRestarts"))
    unit.guest.run(f"kill -STOP {stuck}")
    eventually(
        lambda: int(shown(unit, "NRestarts")) > before and shown(unit, "SubState") == "running",
        words="the watchdog has not restarted it",
    )
    assert shown(unit, "MainPID") != stuck
    assert "Watchdog timeout" in unit.guest.run(f"journalctl --no-pager -o cat -u {UNIT}")
    eventually(lambda: uplink(unit) == "connected")


def test_one_that_runs_is_left_alone_by_the_watchdog(unit: Truck) -> None:
    before = shown(unit, "NRestarts"), shown(unit, "MainPID")
    allowed = int(shown(unit, "WatchdogUSec").removesuffix("s"))
    begin = unit.guest.uptime()
    eventually(lambda: unit.guest.uptime() - begin > allowed + 5)
    assert (shown(unit, "NRestarts"), shown(unit, "MainPID")) == before
