"""The update of docs/how-to/install.md on a disk that forgets: old or new, never neither."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING

import pytest

from tests.agent.unit import ROOT
from tests.faults.volatile import PAGE, Disk

if TYPE_CHECKING:
    from collections.abc import Callable

OLD, NEW = b"1" * 3 * PAGE, b"2" * 3 * PAGE


def written(disk: Disk) -> None:
    disk.create("/2/program", 0o755)
    disk.names["/2/program"].write(NEW, 0)


def synced(disk: Disk) -> None:
    for file in disk.names.values():
        file.sync()
    for folder in disk.folders:
        disk.sync_folder(folder)


def linked(disk: Disk) -> None:
    disk.create("/next", 0o777)
    disk.names["/next"].write(b"/2", 0)
    disk.names["/next"].sync()  # a link's target is in its inode: it is there, or the link is not


def renamed(disk: Disk) -> None:
    disk.rename("/next", "/current")


AS_IN_THE_PAGE = (written, synced, linked, renamed)


def boots(steps: tuple[Callable[[Disk], None], ...], seed: int) -> set[bytes]:
    """Cut after each step; what `current` runs then."""
    found = set()
    for until in range(len(steps) + 1):
        disk = Disk({"/1/program": (OLD, 0o755), "/current": (b"/1", 0o777)}, {"/1", "/2"})
        for step in steps[:until]:
            step(disk)
        files = {path: content for path, content, *_ in disk.cut(random.Random(seed))}
        found.add(files.get(f"{files['/current'].decode()}/program", b""))
    return found


def test_power_cut_in_an_update_leaves_the_old_or_the_new_version() -> None:
    """T51."""
    ran = set().union(*(boots(AS_IN_THE_PAGE, seed) for seed in range(100)))
    assert ran == {OLD, NEW}


def test_update_without_sync_may_run_neither() -> None:
    careless = (written, linked, renamed)
    assert not set().union(*(boots(careless, seed) for seed in range(100))) <= {OLD, NEW}


def test_page_says_these_steps_in_this_order() -> None:
    page = (ROOT / "docs" / "how-to" / "install.md").read_text("utf-8")
    said = [page.index(words) for words in ("bin/pip install", "sync -f", "ln -sfn $V", "mv -T")]
    assert said == sorted(said)
    assert re.search(r"^sync -f /opt/qafila\b", page, re.MULTILINE)


@pytest.mark.parametrize("seed", range(3))
def test_update_that_is_over_is_never_undone(seed: int) -> None:
    disk = Disk({"/1/program": (OLD, 0o755), "/current": (b"/1", 0o777)}, {"/1", "/2"})
    for step in (*AS_IN_THE_PAGE, synced):
        step(disk)
    files = {path: content for path, content, *_ in disk.cut(random.Random(seed))}
    assert files["/current"] == b"/2"
