"""What a person typed, as a measurement: pure. A slip of the finger is refused, never stored."""

from __future__ import annotations

import re
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING

from agent.errors import AgentError
from config.codes import UNIT_NAMES
from config.manual import FORMS
from drivers.base import Device, Measurement, Value

if TYPE_CHECKING:
    from config.manual import Entry, Form

BY_HAND = Device("manual", "manual")
"""Stands where a device would, so that the record is the same; no device is named to the centre."""
FORM_VERSION = "1"
_IMPLAUSIBLE = "implausible"
_NUMBER = re.compile(r"(0|[1-9][0-9]{0,3})(?:[.,]([0-9]{1,3}))?")


class NotEntered(AgentError):  # noqa: N818 - says whose fault it is: the typist's
    """What was typed is no reading of its kind; the text says what is, and holds no value."""


def measure(word: str, typed: str) -> Measurement:
    """The measurement that `typed` is, with its digits as typed; NotEntered.

    `word` is one of `config.manual.FORMS`. The decimal sign is a comma or a point. `raw` is the
    typed text in UTF-8; two equal entries are two readings.
    """
    form = FORMS.get(word)
    if form is None:
        raise NotEntered(f"nothing is called so: enter one of {', '.join(FORMS)}")
    raw = typed.encode("utf-8", "surrogatepass")
    if form.words:
        return Measurement(form.kind, raw, coded=_word(word, form, typed))
    parts = [part.strip() for part in typed.split("/")]
    if len(parts) != len(form.entries):
        raise NotEntered(_asks(word, form))
    values = tuple(
        _value(entry, part, _asks(word, form))
        for entry, part in zip(form.entries, parts, strict=True)
    )
    if any(after.value >= before.value for before, after in pairwise(values)):
        raise NotEntered(f"{_asks(word, form)}; the first number is the higher one")
    return Measurement(form.kind, raw, values, quality=_quality(form, values))


def remark(word: str, measurement: Measurement) -> str:
    """What to say of a stored entry that is not plausible; empty where it is."""
    if _IMPLAUSIBLE not in measurement.quality:
        return ""
    usual = " / ".join(_range(each, *each.plausible) for each in FORMS[word].entries)
    return f"{word} lies outside of {usual}: it is kept and marked as implausible; look again"


def _word(word: str, form: Form, typed: str) -> str:
    found = dict(form.words).get(typed.strip().upper())
    if found is None:
        letters = ", ".join(f"{letter} ({meaning})" for letter, meaning in form.words)
        raise NotEntered(f"{word} is one letter: {letters}")
    return found


def _value(entry: Entry, part: str, asks: str) -> Value:
    digits = _NUMBER.fullmatch(part)
    if digits is None or len(digits[2] or "") > entry.decimals:
        raise NotEntered(asks)
    number = Decimal(part.replace(",", "."))
    low, high = entry.possible
    if not low <= number <= high:
        raise NotEntered(asks)
    return Value(entry.code, number, entry.unit)


def _quality(form: Form, values: tuple[Value, ...]) -> tuple[str, ...]:
    plausible = all(
        entry.plausible[0] <= value.value <= entry.plausible[1]
        for entry, value in zip(form.entries, values, strict=True)
    )
    return () if plausible else (_IMPLAUSIBLE,)


def _asks(word: str, form: Form) -> str:
    ranges = " / ".join(_range(each, *each.possible) for each in form.entries)
    most = max(each.decimals for each in form.entries)
    decimals = f"at most {most} behind the comma" if most else "no decimals"
    return f"{word} is taken as digits only, {ranges}, {decimals}"


def _range(entry: Entry, low: Decimal, high: Decimal) -> str:
    return f"{low} to {high} {UNIT_NAMES.get(entry.unit, entry.unit)}"
