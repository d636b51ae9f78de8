"""The source of a stick's files as the command line has it: the running agent."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any

from agent.export.contents import from_json, to_json
from agent.export.source import SPANS_MAX, Judged, Opening

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from agent.export.contents import Contents

_QUESTION_MAX = 96 << 10
"""Bytes of a question, within what the control socket takes in one line."""


class AgentSource:
    """Implements `Source`; `ask` gives the agent's answer, and raises where there is none."""

    def __init__(self, ask: Callable[[Mapping[str, Any]], dict[str, Any]]) -> None:
        self._ask = ask

    def open(self) -> Opening:
        """See `Source.open`."""
        said = self._ask({"do": "export-open"})
        return Opening(
            said["epoch"],
            from_json(said["pending"]),
            bytes.fromhex(said["unit_key"]),
            bytes.fromhex(said["recipient"]),
        )

    def judge(self, slips: Sequence[bytes]) -> list[Judged | None]:
        """See `Source.judge`."""
        said = self._ask(
            {"do": "export-judge", "slips": [b64encode(each).decode() for each in slips]}
        )
        return [
            None if each is None else Judged(from_json(each["contents"]), from_json(each["wanted"]))
            for each in said["judged"]
        ]

    def seal(self, wanted: Contents) -> tuple[bytes, Contents]:
        """See `Source.seal`; asks for as much as fits into a question."""
        most = SPANS_MAX
        while len(json.dumps(to_json(asked := wanted.first(most)))) > _QUESTION_MAX:
            most //= 2
        said = self._ask({"do": "export-seal", "wanted": to_json(asked)})
        return b64decode(said["sealed"]), from_json(said["contents"])

    def settle(self, frame: bytes) -> str:
        """Let the agent weigh a receipt; the word for what became of it."""
        said = self._ask({"do": "settle", "receipt": b64encode(frame).decode()})
        return str(said["outcome"])
