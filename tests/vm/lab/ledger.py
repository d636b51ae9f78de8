"""In the guest: say each reading once that the agent has said is saved, until killed.

ledger.py. Prints a record's id a line, flushed; what was printed was acknowledged. It asks on the
control socket, as `qafila readings` does.
"""

from __future__ import annotations

import json
import socket
import sys
import time

_SOCKET = "/run/qafila/control.sock"
_ASK = json.dumps({"do": "readings", "limit": 10_000}).encode() + b"\n"
_PAUSE = 0.2


def rows() -> list[dict[str, object]]:
    """What the agent lists now; nothing while it does not answer."""
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(_SOCKET)
            line.sendall(_ASK)
            with line.makefile("rb") as answers:
                found = json.loads(answers.readline())
    except (OSError, ValueError):
        return []
    return list(found.get("rows", ()))


def main() -> None:
    """Ask for ever."""
    said: set[str] = set()
    while True:
        for row in rows():
            record = str(row["record"])
            if record not in said:
                said.add(record)
                sys.stdout.write(f"{record}\n")
                sys.stdout.flush()
        time.sleep(_PAUSE)


if __name__ == "__main__":
    main()
