"""Fixtures of every part."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from .brokers import MISSING, Mosquitto, find_mosquitto
from .model.loop import SimulatedLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# An example that is slow on a busy machine is no fault: no test here depends on speed.
settings.register_profile("qafila", deadline=None)
settings.load_profile("qafila")


def pytest_asyncio_loop_factories(
    item: pytest.Item,
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Where all is in memory, time may be simulated: a busy machine changes nothing then."""
    simulated = item.get_closest_marker("simulated_time") is not None
    return {"loop": SimulatedLoop if simulated else asyncio.new_event_loop}


@pytest.fixture
def start_mosquitto(tmp_path: Path) -> Iterator[Callable[..., Mosquitto]]:
    """Start mosquittos, each with further lines of configuration; all end with the test."""
    if find_mosquitto() is None:
        pytest.fail(MISSING, pytrace=False)
    with ExitStack() as running:

        def start(*options: str) -> Mosquitto:
            folder = tmp_path / f"mosquitto-{len(list(tmp_path.glob('mosquitto-*')))}"
            folder.mkdir()
            broker = Mosquitto(folder, options)
            running.callback(broker.stop)
            broker.start()
            return broker

        yield start


@pytest.fixture
def mosquitto(start_mosquitto: Callable[..., Mosquitto]) -> Mosquitto:
    """A running mosquitto on a port of its own; kill and restart it at will."""
    return start_mosquitto()
