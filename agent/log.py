"""Logs: structlog to stderr, with the `<N>` prefix that journald reads. No patient value."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

import structlog

if TYPE_CHECKING:
    from structlog.typing import EventDict, WrappedLogger

_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "exception": 3, "critical": 2}


def to_journal(stream: TextIO) -> None:
    """Log lines as `<6>event key=value`; pretty on a terminal, without the prefix."""
    plain = not stream.isatty()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.ExceptionRenderer(),
            _prefixed if plain else structlog.dev.ConsoleRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=True,
    )


def _prefixed(_: WrappedLogger, __: str, event: EventDict) -> str:
    priority = _PRIORITIES.get(str(event.pop("level", "info")), 6)
    name, trace = event.pop("event", ""), event.pop("exception", "")
    fields = "".join(f" {key}={value!r}" for key, value in event.items())
    lines = [f"{name}{fields}", *str(trace).splitlines()]
    return "\n".join(f"<{priority}>{line}" for line in lines)
