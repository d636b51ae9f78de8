"""Fixtures of the virtual machine: one restored truck a module."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.vm.ready import Ready
from tests.vm.ready import ready as make_ready
from tests.vm.truck import Truck

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_FIGURES = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_FIGURES] = []


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """What was counted and measured, above the last line."""
    if config.stash[_FIGURES]:
        terminalreporter.section("figures")
        for line in config.stash[_FIGURES]:
            terminalreporter.write_line(line)


@pytest.fixture
def tell(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Say a figure in the summary."""
    return pytestconfig.stash[_FIGURES].append


@pytest.fixture(scope="session")
def ready() -> Ready:
    """The machine that stands ready; the first time this takes minutes."""
    return make_ready()


@pytest.fixture(scope="module")
def truck(ready: Ready, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Truck]:
    """A truck of this module's own."""
    with Truck(ready, tmp_path_factory.mktemp("truck")) as restored:
        yield restored
