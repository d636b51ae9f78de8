"""The settings of a centre, `central.toml`, and errors that name the place and the remedy."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Annotated

import msgspec

from central.errors import Misconfigured

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = "central.toml"
SAMPLE = b"""\
# Settings of this centre. Paths are relative to this folder.

[broker]
host = "127.0.0.1"
port = 1883

# [broker.tls]
# ca = "ca.pem"       # certificates of the authority that signed the broker's
# cert = "cert.pem"   # this centre's own certificate and key, where the broker asks for them
# key = "key.pem"
"""
_REMEDIES = {
    "$": "give at least [broker] with a host",
    "$.broker": "give a table [broker] with a host",
    "$.broker.host": "give the broker's name or address, for instance broker.example.org",
    "$.broker.port": "give a TCP port from 1 to 65535, for instance 8883",
    "$.broker.tls": "give a table [broker.tls] with the file name ca",
    "$.broker.tls.ca": "give the file with the certificate of the broker's authority",
    "$.broker.tls.cert": "give the file with this centre's certificate",
    "$.broker.tls.key": "give the file with the key of this centre's certificate",
}


class Tls(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Files in PEM. `cert` and `key` go together, where the broker asks for a certificate."""

    ca: str
    cert: str | None = None
    key: str | None = None


class Broker(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the broker is; `tls` None means plain TCP."""

    host: Annotated[str, msgspec.Meta(min_length=1)]
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 1883
    tls: Tls | None = None


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    broker: Broker


def load_settings(folder: Path) -> Settings:
    """Read and check the settings; Misconfigured names what is wrong and what to do."""
    path = folder / SETTINGS
    try:
        table = tomllib.loads(path.read_text("utf-8"))
        settings = msgspec.convert(table, Settings)
    except OSError as error:
        remedy = "run qafila-central init first"
        raise Misconfigured(f"{path} can't be read ({error.strerror})", remedy) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{path} is no TOML ({error})", "correct that line") from None
    except msgspec.ValidationError as error:
        raise _fault(path, str(error)) from None
    tls = settings.broker.tls
    if tls is None:
        return settings
    tls = _check_tls(path, tls)
    return Settings(msgspec.structs.replace(settings.broker, tls=tls))


def _check_tls(path: Path, tls: Tls) -> Tls:
    if (tls.cert is None) != (tls.key is None):
        absent = "$.broker.tls.cert" if tls.cert is None else "$.broker.tls.key"
        raise Misconfigured(f"{path}: {absent} is missing", _REMEDIES[absent])
    found = {}
    for name in ("ca", "cert", "key"):
        value = getattr(tls, name)
        found[name] = str(path.parent / value) if value else None
        if value and not (path.parent / value).is_file():
            place = f"$.broker.tls.{name}"
            raise Misconfigured(f"{path}: {place}: there is no file {value}", _REMEDIES[place])
    return Tls(found["ca"] or "", found["cert"], found["key"])


def _fault(path: Path, text: str) -> Misconfigured:
    what, _, place = text.partition(" - at ")
    place = place.strip("`") or "$"
    unknown = what.startswith("Object contains unknown field")
    if unknown:
        place = f"{place}.{what.split('`')[1]}"
        return Misconfigured(
            f"{path}: {place}: there is no such setting", "remove it or correct its spelling"
        )
    remedy = _REMEDIES.get(place, "correct it as the sample shows")
    return Misconfigured(f"{path}: {place}: {what[:1].lower()}{what[1:]}", remedy)
