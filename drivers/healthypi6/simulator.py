"""A HealthyPi 6 that is no device: its stream as (second, bytes), the same for the same call.

Leads I, II and V1 are sums of bell curves, one a wave (P, Q, R, S, T), over breathing and a
little noise: plausible to the eye, of no clinical meaning. Blocks come as firmware 1.0.0 sends
them: sixteen ECG samples at 500 Hz, sixteen PPG samples at 250 Hz, vitals once a second, one
`seq` over all channels.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from enum import Enum
from math import exp, inf, pi, sin
from random import Random
from typing import TYPE_CHECKING

from drivers.healthypi6.framing import encode
from drivers.healthypi6.samples import ECG_LAYOUT, PPG_LAYOUT, VITALS_LAYOUT, Channel, Electrode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BATCH = 16
BOOT_MS = 4000
"""Uptime at the first sample; a restart begins here again."""

_STEP_MS = {Channel.ECG: 2, Channel.PPG: 4, Channel.VITALS: 1000}
_COUNT = {Channel.ECG: BATCH, Channel.PPG: BATCH, Channel.VITALS: 1}
_BEAT_S = 60 / 72
_BREATH_S = 4.0
_NOISE_UV = 6

# Wave: where in the beat (s), how wide (s), and how high in leads I, II and V1 (microvolts).
_WAVES = (
    (0.16, 0.022, (70, 130, 50)),
    (0.285, 0.009, (-50, -90, 0)),
    (0.31, 0.011, (600, 1100, 180)),
    (0.34, 0.010, (-110, -180, -850)),
    (0.56, 0.045, (160, 290, -60)),
)


class Mishap(Enum):
    """What goes wrong in the field, as far as the stream shows it."""

    GAP = "blocks are lost"
    RESTART = "the device boots again"
    CORRUPT = "a bit of a block flips"
    GARBAGE = "bytes of no block come between"
    LEAD_OFF = "the LA electrode comes off for good"
    SILENCE = "nothing is sent, while time goes on"


@dataclass(frozen=True, slots=True)
class Planned:
    """A mishap at a second of the stream; gaps and silences last `lasts` seconds."""

    at: float
    mishap: Mishap
    lasts: float = 0.2


def simulate(
    seconds: float = inf, mishaps: Iterable[Planned] = (), seed: int = 1
) -> Iterator[tuple[float, bytes]]:
    """The stream for some seconds: when (s from the start) and what, in order."""
    device = _Device(sorted(mishaps, key=lambda planned: planned.at), seed)
    due = [_due(channel, 0.0) for channel in _STEP_MS]
    heapq.heapify(due)
    while due:
        ready, channel, begun = heapq.heappop(due)
        for raw in device.blocks(channel, begun):
            yield ready, raw
        begun += _STEP_MS[channel] * _COUNT[channel] / 1000
        if begun < seconds:
            heapq.heappush(due, _due(channel, begun))


def _due(channel: Channel, begun: float) -> tuple[float, Channel, float]:
    """A block is sent with its last sample and dated by its first."""
    return begun + _STEP_MS[channel] * (_COUNT[channel] - 1) / 1000, channel, begun


def lead_values(second: float) -> tuple[int, int, int]:
    """Leads I, II and V1 in microvolts at a second of the simulated heart, without noise."""
    phase = second % _BEAT_S
    breath = 30 * sin(2 * pi * second / _BREATH_S)
    lifts = [(exp(-0.5 * ((phase - at) / width) ** 2), heights) for at, width, heights in _WAVES]
    i, ii, v1 = (round(breath + sum(lift * high[n] for lift, high in lifts)) for n in range(3))
    return i, ii, v1


class _Device:
    def __init__(self, mishaps: list[Planned], seed: int) -> None:
        self._coming = mishaps
        self._random = Random(seed)  # noqa: S311 - noise of a demonstration, not a secret
        self._seq = 0
        self._booted = 0.0
        self._lost_until = 0.0
        self._silent_until = 0.0
        self._off = Electrode(0)

    def blocks(self, channel: Channel, begun: float) -> Iterator[bytes]:
        now = self._befall(begun) if channel is Channel.ECG else set()
        if begun < self._silent_until:
            return
        raw = self._block(channel, begun)
        if Mishap.GARBAGE in now:
            yield b"DBL\x00" + self._random.randbytes(13)
        if Mishap.CORRUPT in now:
            raw = raw[:-9] + bytes([raw[-9] ^ 0x10]) + raw[-8:]
        if begun >= self._lost_until:
            yield raw

    def _befall(self, begun: float) -> set[Mishap]:
        now = set()
        while self._coming and self._coming[0].at <= begun:
            planned = self._coming.pop(0)
            now.add(planned.mishap)
            self._change(planned, begun)
        return now

    def _change(self, planned: Planned, begun: float) -> None:
        match planned.mishap:
            case Mishap.GAP:
                self._lost_until = begun + planned.lasts
            case Mishap.SILENCE:
                self._silent_until = begun + planned.lasts
            case Mishap.LEAD_OFF:
                self._off |= Electrode.LA
            case Mishap.RESTART:
                self._seq, self._booted = 0, begun

    def _block(self, channel: Channel, begun: float) -> bytes:
        step = _STEP_MS[channel] / 1000
        sample = {
            Channel.ECG: self._ecg,
            Channel.PPG: self._ppg,
            Channel.VITALS: self._vitals,
        }[channel]
        payload = b"".join(sample(begun + n * step) for n in range(_COUNT[channel]))
        uptime = BOOT_MS + round((begun - self._booted) * 1000)
        raw = encode(self._seq, uptime, channel, payload, _COUNT[channel])
        self._seq += 1
        return raw

    def _ecg(self, second: float) -> bytes:
        noisy = (uv + self._random.randint(-_NOISE_UV, _NOISE_UV) for uv in lead_values(second))
        resp = round(400 * sin(2 * pi * second / _BREATH_S))
        return ECG_LAYOUT.pack(resp, *noisy, self._off, 0, 0)

    def _ppg(self, second: float) -> bytes:
        pulse = exp(-0.5 * ((second % _BEAT_S - 0.5) / 0.08) ** 2)
        return PPG_LAYOUT.pack(round(61000 - 900 * pulse), round(83000 - 1400 * pulse), 0)

    def _vitals(self, _second: float) -> bytes:
        rate = 0 if self._off else round(60 / _BEAT_S)
        return VITALS_LAYOUT.pack(rate, 975, 0, 0, 42, 38, 0, 2 if self._off else 0)
