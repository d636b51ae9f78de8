"""The driver of an ECG90A's storage: every recording on it is taken in once."""

from __future__ import annotations

from drivers.contec_ecg90a.codec import SOURCE, stored_form
from drivers.errors import Misconfigured
from drivers.imports import Importer


def build(settings: dict[str, object]) -> Importer:
    """The driver. It has no settings: `Misconfigured` where there are any."""
    if settings:
        given = ", ".join(sorted(settings))
        raise Misconfigured(SOURCE, f"remove {given}: this driver has no settings")
    return Importer(SOURCE, stored_form)
