"""A centre in a folder, and a unit that is enrolled there."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from central.keys import create_key
from central.store import create, open_store

from .twin import Twin

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from central.store import Store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A clinical centre, made and closed."""
    folder = tmp_path / "centre"
    folder.mkdir()
    create(folder, "clinical")
    create_key(folder)
    return folder


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    with closing(open_store(folder)) as store:
        yield store


@pytest.fixture
def twin(store: Store) -> Twin:
    twin = Twin()
    with store.transaction():
        store.enrol(twin.unit, twin.key.public_key().public_bytes_raw())
    return twin
