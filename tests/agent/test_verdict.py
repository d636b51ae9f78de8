"""The verdict, as a table: every remark, its level, and which of them the line names."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from agent.verdict import Daemon, Level, judge

WALL = 1_795_312_980.0
"""2026-11-22T02:03:00Z."""
DAY = 86400
WELL: dict[str, Any] = {
    "version": 1,
    "agent": "0.1.0",
    "written": {"boottime": 3000.0, "wall": WALL},
    "running_seconds": 60,
    "clock": "synchronised",
    "disk": {"free": 20 << 30, "size": 60 << 30},
    "store": {
        "saved": 12,
        "confirmed": 12,
        "pending": 0,
        "refused": 0,
        "lost": 0,
        "lanes": {"clinical": {"oldest_pending": None}, "urgent": {"oldest_pending": None}},
        "tray": 0,
        "quarantined": {"frames": 0, "reasons": {}},
        "alarms": [],
        "damage": [],
    },
    "uplink": {
        "state": "connected",
        "detail": "",
        "for_seconds": 10,
        "last_receipt_seconds": 4,
    },
    "devices": {"box1-cuff": {"state": "waiting", "detail": "", "notes": {}}},
}
FIGURES = "12 on the truck, 12 confirmed by the centre, 0 waiting"


def status(**changes: object) -> dict[str, Any]:
    """A unit that is well, but for `a__b=…`."""
    changed = copy.deepcopy(WELL)
    for path, value in changes.items():
        *way, last = path.split("__")
        place = changed
        for step in way:
            place = place[step]
        place[last] = value
    return changed


def alarm(last_seen: str) -> list[dict[str, Any]]:
    detail = "a receipt for another unit was ignored"
    return [{"code": "receipt-x", "detail": detail, "last_seen": last_seen, "count": 3}]


STICK = {
    "state": "whole",
    "detail": "",
    "whole_seconds": 4,
    "files": 3,
    "pending": 2,
    "lacking": 0,
    "lacking_bytes": 0,
}


def stick(**changes: object) -> dict[str, Any]:
    return STICK | changes


REMARKS = [
    ({"export": stick()}, None, ""),
    ({"export": stick(state="none", whole_seconds=None), "store__pending": 2}, None, ""),
    (
        {"export": stick(state="asking", detail="it is full")},
        Level.WARNING,
        "the stick asks for somebody: it is full",
    ),
    (
        {"export": stick(state="misconfigured", detail="copy central.pub"), "store__pending": 2},
        Level.WARNING,
        "the stick asks for somebody: copy central.pub",
    ),
    (
        {
            "export": stick(state="unavailable", detail="plug it in", whole_seconds=DAY * 2),
            "store__pending": 2,
        },
        Level.WARNING,
        "what waits is on one disk only, for 2 days: plug it in",
    ),
    (
        {"export": stick(state="unavailable", whole_seconds=DAY), "store__pending": 2},
        None,
        "",
    ),
    ({"export": stick(state="unavailable", whole_seconds=DAY * 2)}, None, ""),
    (
        {
            "export": stick(state="waiting", whole_seconds=None),
            "store__pending": 2,
            "store__lanes__clinical__oldest_pending": "2026-11-19T02:03:00Z",
        },
        Level.WARNING,
        "what waits is on one disk only, for 3 days: waiting",
    ),
    ({}, None, ""),
    ({"disk__free": (1 << 30) - 1}, Level.WARNING, "the disk is nearly full: 1023 MiB are left"),
    ({"disk__free": 1 << 30}, None, ""),
    ({"disk__free": (64 << 20) - 1}, Level.CRITICAL, "the disk is all but full: free some space"),
    ({"disk__accepts": False}, Level.CRITICAL, "the disk is full, readings are refused: free some"),
    ({"disk": {"free": 900 << 20, "size": 8 << 30}}, None, ""),
    ({"disk": {"free": 100 << 20, "size": 2 << 30}}, Level.WARNING, "100 MiB are left"),
    ({"disk": {"free": 30 << 20, "size": 2 << 30}}, Level.WARNING, "30 MiB are left"),
    ({"disk": {"free": 20 << 20, "size": 2 << 30}}, Level.CRITICAL, "all but full"),
    ({"disk__files": 1000, "disk__files_free": 99}, Level.WARNING, "no more than 99 further files"),
    ({"disk__files": 0, "disk__files_free": 0}, None, ""),
    ({"disk__free": 64 << 20}, Level.WARNING, "64 MiB are left"),
    (
        {"store__quarantined": {"frames": 2, "reasons": {"Too short.": 1, "Too long.": 1}}},
        Level.WARNING,
        "2 frames could not be decoded and are kept: Too short.; Too long.",
    ),
    ({"store__refused": 3}, Level.WARNING, "3 records were refused by the centre"),
    (
        {"store__alarms": alarm("2026-11-22T02:02:46.018Z")},
        Level.WARNING,
        "a receipt for another unit was ignored (3 times, last 2026-11-22T02:02:46.018Z)",
    ),
    ({"store__alarms": alarm("2026-11-15T02:04:00.000Z")}, Level.WARNING, "another unit"),
    ({"store__alarms": alarm("2026-11-15T02:02:00.000Z")}, None, ""),
    (
        {
            "store__pending": 4,
            "uplink__last_receipt_seconds": DAY + 1,
            "uplink__detail": "hm",
        },
        Level.WARNING,
        "no receipt for 24 h: hm",
    ),
    ({"store__pending": 4, "uplink__last_receipt_seconds": DAY}, None, ""),
    ({"store__pending": 0, "uplink__last_receipt_seconds": 9 * DAY}, None, ""),
    (
        {"store__pending": 4, "uplink__last_receipt_seconds": None, "running_seconds": DAY + 1},
        Level.WARNING,
        "no receipt for 24 h: connected",
    ),
    (
        {
            "store__pending": 4,
            "uplink__last_receipt_seconds": None,
            "uplink__state": "connecting",
            "store__lanes__clinical__oldest_pending": "2026-11-19T02:02:59.000Z",
        },
        Level.WARNING,
        "no receipt for 3 days: connecting",
    ),
    (
        {
            "store__pending": 4,
            "uplink__last_receipt_seconds": 5,
            "store__lanes__clinical__oldest_pending": "2026-11-19T02:02:59.000Z",
        },
        None,
        "",
    ),
    (
        {"store__pending": 4, "uplink__state": "none", "running_seconds": 9 * DAY},
        None,
        "",
    ),
    (
        {"uplink__state": "misconfigured", "uplink__detail": "$.uplink.centre_key: …"},
        Level.WARNING,
        "the uplink is misconfigured: $.uplink.centre_key: …",
    ),
    ({"uplink__state": "failed"}, Level.WARNING, "the uplink is failed: failed"),
    ({"uplink__state": "waiting", "uplink__detail": "no route"}, None, ""),
    *(
        (
            {"devices__box1-cuff__state": state, "devices__box1-cuff__detail": "why"},
            Level.WARNING,
            f"box1-cuff is {state}: why",
        )
        for state in ("unavailable", "misconfigured", "faulty")
    ),
    (
        {"devices__box1-cuff__state": "failed", "devices__box1-cuff__detail": "why"},
        Level.CRITICAL,
        "box1-cuff is failed: why",
    ),
    (
        {"devices__box1-cuff__notes": {"battery-low": "The battery is low."}},
        Level.WARNING,
        "box1-cuff: The battery is low.",
    ),
    *(
        ({"devices__box1-cuff__state": state}, None, "")
        for state in ("starting", "waiting", "connected", "recording")
    ),
    ({"clock": "implausible"}, Level.WARNING, "the clock can't be right"),
    ({"clock": "unsynchronised"}, None, ""),
]


@pytest.mark.parametrize(("changes", "level", "words"), REMARKS)
def test_each_remark_has_its_level_and_its_words(
    changes: dict[str, object], level: Level | None, words: str
) -> None:
    verdict = judge(status(**changes), 1.0, Daemon.RUNNING)
    if level is None:
        assert (verdict.level, verdict.remarks) == (Level.OK, ())
    else:
        assert verdict.level is level
        (remark,) = verdict.remarks
        assert words in remark[1]
        assert verdict.line.startswith(f"{level.name}: ")
        assert remark[1] in verdict.line


def test_well_unit_says_its_figures_and_nothing_else() -> None:
    verdict = judge(WELL, 1.0, Daemon.RUNNING)
    assert (verdict.level, verdict.line) == (Level.OK, f"OK: {FIGURES}")


def test_tray_is_a_figure_and_no_fault() -> None:
    verdict = judge(status(store__tray=6), 1.0, Daemon.RUNNING)
    assert (verdict.level, verdict.line) == (Level.OK, f"OK: {FIGURES}, 6 in the tray")


def test_worst_remark_comes_first_and_gives_the_level() -> None:
    verdict = judge(status(store__refused=1, disk__free=0), 1.0, Daemon.RUNNING)
    assert verdict.level is Level.CRITICAL
    assert [level for level, _ in verdict.remarks] == [Level.CRITICAL, Level.WARNING]
    assert "the disk is all but full" in verdict.line
    assert "refused" not in verdict.line


@pytest.mark.parametrize(("age", "level"), [(15.0, Level.OK), (16.0, Level.WARNING)])
def test_old_figures_of_a_living_agent_are_a_warning(age: float, level: Level) -> None:
    verdict = judge(WELL, age, Daemon.RUNNING)
    assert verdict.level is level
    assert ("its figures are 16 s old" in verdict.line) == (level is Level.WARNING)


@pytest.mark.parametrize("daemon", [Daemon.DEAD, Daemon.SILENT, Daemon.CLOSED])
@pytest.mark.parametrize("age", [(1.0, "1 s"), (600.0, "10 min"), (3 * DAY, "3 days")])
def test_agent_that_does_not_answer_is_unknown_and_the_age_is_told(
    daemon: Daemon, age: tuple[float, str]
) -> None:
    verdict = judge(status(disk__free=0), age[0], daemon)
    assert verdict.level is Level.UNKNOWN
    assert verdict.line == f"UNKNOWN: the agent is {daemon}; figures are {age[1]} old: {FIGURES}"
    assert verdict.remarks[0][0] is Level.CRITICAL


@pytest.mark.parametrize("daemon", list(Daemon))
def test_no_figures_are_unknown_whoever_answers(daemon: Daemon) -> None:
    verdict = judge(None, 0.0, daemon)
    assert verdict.level is Level.UNKNOWN
    assert verdict.line == f"UNKNOWN: the agent is {daemon}, and it has left no figures"


def test_levels_are_the_exit_codes_of_nagios() -> None:
    assert [(level.name, int(level)) for level in Level] == [
        ("OK", 0),
        ("WARNING", 1),
        ("CRITICAL", 2),
        ("UNKNOWN", 3),
    ]
