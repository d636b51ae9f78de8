"""The page of installation as a script: its own blocks of commands, section by section."""

from __future__ import annotations

import re

from tests.vm.place import ROOT

PAGE = ROOT / "docs" / "how-to" / "install.md"
OFFLINE = "--no-index --find-links wheels"
"""What the page adds to the first `pip install` of a computer without the Internet."""
_SECTION = re.compile(r"(?m)^## (?:(\d+)\. )?(.+)$")
_BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)


def commands(section: int, text: str | None = None) -> str:
    """The blocks of one section, in their order, as one script."""
    text = PAGE.read_text("utf-8") if text is None else text
    heads = list(_SECTION.finditer(text))
    for head, following in zip(heads, [*heads[1:], None], strict=True):
        if head[1] == str(section):
            body = text[head.end() : following.start() if following else None]
            return "".join(_BLOCK.findall(body))
    raise LookupError(f"{PAGE.name} has no section {section}")


def offline(script: str) -> str:
    """The section of the program as the page changes it for a computer without the Internet."""
    assert f"`{OFFLINE}`" in PAGE.read_text("utf-8"), "the page says something else by now"
    return script.replace("pip install --require-hashes", f"pip install {OFFLINE} --require-hashes")
