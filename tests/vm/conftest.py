"""Fixtures of the virtual machine: one restored truck a module."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.vm.ready import Ready
from tests.vm.ready import ready as make_ready
from tests.vm.truck import Truck

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_FIGURE = "figure"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was counted and measured, above the last line."""
    reports = [report for found in terminalreporter.stats.values() for report in found]
    properties = [each for report in reports for each in getattr(report, "user_properties", ())]
    lines = dict.fromkeys(str(said) for name, said in properties if name == _FIGURE)
    if lines:
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Say a figure in the summary, whichever process the test runs in."""
    return partial(record_property, _FIGURE)


@pytest.fixture(scope="session")
def ready() -> Ready:
    """The machine that stands ready; the first time this takes minutes."""
    return make_ready()


@pytest.fixture(scope="module")
def truck(ready: Ready, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Truck]:
    """A truck of this module's own."""
    with Truck(ready, tmp_path_factory.mktemp("truck")) as restored:
        yield restored
