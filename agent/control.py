"""The control socket: newline JSON, one answer a line. The only way in for the command line.

{"do": "snapshot", "device": "box2-dermatoscope"}
{"ok": true, …}      or      {"ok": false, "error": "a plain sentence"}
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from typing import TYPE_CHECKING, Any

import structlog

from agent.errors import AgentError
from drivers.errors import DriverError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    Verb = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]

SOCKET = "control.sock"
_LINE_MAX = 128 << 10
"""A receipt in base64 fits."""
_LOG = structlog.get_logger("qafila.control")


class CantListen(AgentError):  # noqa: N818 - a state of the machine, not a mistake
    """The socket can't be made; the text names the setting and the reason."""


class RequestWrong(AgentError):  # noqa: N818 - says whose fault it is: the asker's
    """A field of a request is missing or of another type."""


def text(asked: Mapping[str, Any], key: str) -> str:
    """A field of a request; RequestWrong where it is missing or no text."""
    value = asked.get(key)
    if not isinstance(value, str) or not value:
        raise RequestWrong(f"{asked['do']}: give {key} as text")
    return value


def whole(asked: Mapping[str, Any], key: str) -> int:
    """A field of a request; RequestWrong where it is missing or no whole number."""
    value = asked.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise RequestWrong(f"{asked['do']}: give {key} as a whole number")
    return value


async def serve(
    folder: Path, verbs: Mapping[str, Verb], listening: Callable[[], None] = lambda: None
) -> None:
    """Listen until cancelled; readable and writable by the unit's group only. CantListen.

    `listening` is called once whoever asks will be answered.
    """
    path = _place(folder)

    async def attend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(ConnectionError, ValueError):
            while line := await reader.readline():
                writer.write(json.dumps(await answer(line, verbs)).encode() + b"\n")
                await writer.drain()

    try:
        server = await asyncio.start_unix_server(attend, path, limit=_LINE_MAX)
    except OSError as error:
        raise CantListen(f"$.unit.runtime: {path} can't be listened on: {_words(error)}") from None
    path.chmod(0o660)
    listening()
    try:
        await asyncio.get_running_loop().create_future()  # until cancelled
    finally:
        server.close()  # and no wait for whoever holds a connection open
        path.unlink(missing_ok=True)


def _place(folder: Path) -> Path:
    path = folder / SOCKET
    try:
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
    except OSError as error:
        raise CantListen(f"$.unit.runtime: {folder} can't be used: {_words(error)}") from None
    return path


def _words(error: OSError) -> str:
    return error.strerror or str(error)


async def answer(line: bytes, verbs: Mapping[str, Verb]) -> dict[str, Any]:
    """Do what a line asks for; an error is a sentence, never a traceback."""
    try:
        request = json.loads(line)
        verb = verbs[request["do"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {"ok": False, "error": f'ask {{"do": …}} with one of: {", ".join(verbs)}'}
    try:
        return {"ok": True, **await verb(request)}
    except (AgentError, DriverError) as error:
        return {"ok": False, "error": str(error)}
    except Exception:  # noqa: BLE001 - one bad verb must not take the unit down
        _LOG.exception("failed", do=request["do"])
        return {"ok": False, "error": "the program has a fault here: see the journal"}


def ask(folder: Path, request: Mapping[str, Any], timeout: float) -> dict[str, Any]:
    """Ask a running agent, blocking; OSError where none answers within `timeout` seconds."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(timeout)
        line.connect(str(folder / SOCKET))
        line.sendall(json.dumps(request).encode() + b"\n")
        with line.makefile("rb") as answers:
            reply = answers.readline()
    if not reply:
        raise ConnectionError("the agent hung up")
    found: dict[str, Any] = json.loads(reply)
    return found
