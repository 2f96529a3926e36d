"""Numbers that move as real ones do, cheaply: tables made once from a seed, read at an offset. Pure.

Two tables of lengths without a common divisor, multiplied, repeat only after months.
"""

import math
from random import Random

TICK_MS = 250
"""A value holds so long."""

_CALM_LENGTH = 4096
_BURSTY_LENGTH = 3001
_DAY_S = 86_400


class Noise:
    """Factors around 1, never negative."""

    def __init__(self, seed: str) -> None:
        random = Random(seed)  # noqa: S311 - nothing secret
        self._calm = _calm(random)
        self._bursty = _bursty(random)

    def calm(self, at_ms: int, offset: int) -> float:
        """Wanders slowly, between about a half and two."""
        return self._calm[(at_ms // TICK_MS + offset) % _CALM_LENGTH]

    def bursty(self, at_ms: int, offset: int) -> float:
        """As `calm`, and now and then up to five times that for some seconds."""
        tick = at_ms // TICK_MS + offset
        return self._calm[tick % _CALM_LENGTH] * self._bursty[tick % _BURSTY_LENGTH]


def daily_wave(at_ms: int, peak_hour: float) -> float:
    """From 0.35 at night to 1 at `peak_hour` (UTC)."""
    angle = 2 * math.pi * (at_ms / 1000 - peak_hour * 3600) / _DAY_S
    return 0.675 + 0.325 * math.cos(angle)


def _calm(random: Random) -> list[float]:
    values, level = [], 0.0
    for _ in range(_CALM_LENGTH):
        level = 0.96 * level + 0.28 * random.gauss(0, 1)
        values.append(math.exp(0.25 * max(-2.8, min(2.8, level))))
    return values


def _bursty(random: Random) -> list[float]:
    values: list[float] = []
    while len(values) < _BURSTY_LENGTH:
        values += [1.0] * random.randint(100, 500)
        values += [random.uniform(1.5, 4.5)] * random.randint(8, 60)
    return values[:_BURSTY_LENGTH]
