"""A unit and its centre, and a link between them that is the centre's own ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .ledger_link import LedgerLink
from .rig import Place, place

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Place]:
    with place(tmp_path) as found:
        yield found


@pytest.fixture
def link(here: Place) -> Iterator[LedgerLink]:
    with here.centre.ledger() as ledger:
        yield LedgerLink(here.unit, here.centre, ledger)
