"""A page of the documentation as a script: its own blocks of commands, section by section."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.vm.place import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PAGE = ROOT / "docs" / "how-to" / "install.md"
OFFLINE = "--no-index --find-links wheels"
"""What the page adds to the first `pip install` of a computer without the Internet."""
_SECTION = re.compile(r"(?m)^## (?:(\d+)\. )?(.+)$")
_BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)


def commands(section: int | str, page: Path = PAGE) -> str:
    """The blocks of one section, by its number or its title, in their order as one script."""
    text = page.read_text("utf-8")
    heads = list(_SECTION.finditer(text))
    for head, following in zip(heads, [*heads[1:], None], strict=True):
        if str(section) in {head[1], head[2]}:
            body = text[head.end() : following.start() if following else None]
            return "".join(_BLOCK.findall(body))
    raise LookupError(f"{page.name} has no section {section}")


def offline(script: str) -> str:
    """The section of the program as the page changes it for a computer without the Internet."""
    assert f"`{OFFLINE}`" in PAGE.read_text("utf-8"), "the page says something else by now"
    return script.replace("pip install --require-hashes", f"pip install {OFFLINE} --require-hashes")
