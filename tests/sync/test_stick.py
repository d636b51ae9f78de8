"""A shelf of a stick: what is written there is whole, and durable under the name that it has."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sync.stick import open_shelf

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest


def test_file_is_synced_again_under_its_last_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FAT enters a renamed file with a size of 0: a stick pulled out then held an empty file."""
    done: list[str] = []

    def watch(name: str, said: Callable[..., str]) -> None:
        real = getattr(os, name)

        def called(*arguments: Any, **named: Any) -> Any:
            result = real(*arguments, **named)
            done.append(f"{name} {said(*arguments)}")
            return result

        monkeypatch.setattr(os, name, called)

    with open_shelf(tmp_path, ("up",), "sealed", make=True) as shelf:
        watch("fsync", lambda file: Path(f"/proc/self/fd/{file}").readlink().name)
        watch("rename", lambda _, name: name)
        shelf.write(b"sealed")
    draft, name = ".0000000001.sealed.part", "0000000001.sealed"
    assert done == [f"fsync {draft}", f"rename {name}", f"fsync {name}", "fsync up"]
    assert (tmp_path / "up" / name).read_bytes() == b"sealed"
