"""Where the virtual machine's parts are kept, and by which inputs they are told apart."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "vm"
HERE = Path(__file__).parent
BIN = ROOT / ".venv" / "bin"


def tracked() -> list[Path]:
    """What a checkout holds, as it is now: the folder that the page of installation speaks of."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return sorted(path for path in paths if path.is_file())


def key_of(*inputs: Path | str) -> str:
    """A short name for the content of files and words: whoever has another is built anew."""
    digest = hashlib.sha256()
    for each in inputs:
        content = each.read_bytes() if isinstance(each, Path) else each.encode()
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()[:16]


def program() -> list[Path]:
    """The files that make the product: its packages, its page of installation, its units."""
    parts = ("agent", "central", "config", "drivers", "sync", "systemd")
    more = {"pyproject.toml", "requirements.lock", "docs/how-to/install.md"}
    names = {path: str(path.relative_to(ROOT)) for path in tracked()}
    return [path for path, name in names.items() if name.split("/")[0] in parts or name in more]
