"""Writing what a centre holds as plain files: for other programs, and for people."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from central import report
from central.errors import CentreError
from central.files import write_durably

if TYPE_CHECKING:
    from pathlib import Path

RECORDS = "records.ndjson"
_PRIVATE_FILE = 0o600
_PRIVATE_FOLDER = 0o700
_EXTENSIONS = {
    "application/dicom": ".dcm",
    "application/json": ".json",
    "application/pdf": ".pdf",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "text/csv": ".csv",
    "text/plain": ".txt",
}
_OTHER = ".bin"


@dataclass(frozen=True, slots=True)
class Exported:
    """How much was written."""

    records: int
    files: int


def export(folder: Path, target: Path) -> Exported:
    """Write, per unit, its records as NDJSON and its complete blobs as files.

    A file is named by record id and role: `<unit>/<record id>-<role>.jpg`. Lines are the exact
    bytes that came. CentreError where the target can't be written.
    """
    try:
        return Exported(_records(folder, target), _blobs(folder, target))
    except OSError as error:
        raise CentreError(f"{target} can't be written: {error.strerror}") from None


def _records(folder: Path, target: Path) -> int:
    target.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
    count = 0
    ordered = sorted(report.lines(folder), key=itemgetter(0))
    for unit, rows in groupby(ordered, key=itemgetter(0)):
        kept = [line + b"\n" for _, _, line in rows]
        write_durably(_place(target, unit) / RECORDS, kept, _PRIVATE_FILE)
        count += len(kept)
    return count


def _blobs(folder: Path, target: Path) -> int:
    named: Counter[tuple[str, str]] = Counter()
    for found, content in report.attachments(folder):
        stem = f"{found.record_id}-{_safe(found.role)}"
        named[(found.unit, stem)] += 1
        again = named[(found.unit, stem)]
        name = stem if again == 1 else f"{stem}-{again}"
        path = _place(target, found.unit) / (name + _EXTENSIONS.get(found.media_type, _OTHER))
        write_durably(path, content, _PRIVATE_FILE)
    return named.total()


def _place(target: Path, unit: str) -> Path:
    place = target / unit
    place.mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
    return place


def _safe(role: str) -> str:
    """A role as part of a file name: what a unit says never reaches beyond its folder."""
    return re.sub(r"[^a-z0-9]+", "-", role.lower()).strip("-") or "file"
