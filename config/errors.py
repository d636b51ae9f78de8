"""The settings' one error."""

from __future__ import annotations


class SettingsFault(Exception):  # noqa: N818 - says whose fault it is: the settings'
    """A setting is wrong. The text names its path (`$.uplink.port`) and the remedy."""
