"""Random numbers by address: a value is a function of (key, place), so any minute can be computed without the others.

`walk` is a random walk built like that: octaves of noise, each twice as wide and the root of two as high as the one
before, interpolated linearly between hashed lattice points. It keeps near zero over years and moves like prices within
hours. Everything is vectorised over keys (rows) and minutes (columns).
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]

OCTAVES: Final = 20  # the widest is 2**19 minutes: a year
_FINE: Final = 7  # octaves up to about an hour carry the changing volatility
_REGIMES: Final = ((8, 0.35), (12, 0.35))  # volatility changes every 4 hours and every 3 days, in log terms


def key(*parts: object) -> int:
    """A 64-bit key of some words."""
    return int.from_bytes(blake2b("|".join(map(str, parts)).encode(), digest_size=8).digest(), "little")


def keys(*parts: object, each: list[str]) -> Keys:
    """One key per word of `each`, as a column."""
    return np.array([[key(*parts, word)] for word in each], dtype=np.uint64)


def bits(keys: Keys, places: Ints, salt: int = 0) -> Keys:
    """64 random bits for each key and place (splitmix64's finaliser over the three)."""
    with np.errstate(over="ignore"):
        x = keys + np.uint64(salt) * np.uint64(0xD1342543DE82EF95)
        x = x + places.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(x ^ (x >> np.uint64(31)))


def uniform(keys: Keys, places: Ints, salt: int = 0) -> Floats:
    """Uniform in [0, 1)."""
    return (bits(keys, places, salt) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def normal(keys: Keys, places: Ints, salt: int = 0) -> Floats:
    """Standard normal (Box-Muller over the two halves of 64 bits)."""
    x = bits(keys, places, salt)
    radius = np.sqrt(-2.0 * np.log(((x >> np.uint64(32)).astype(np.float64) + 0.5) * 2.0**-32))
    return np.asarray(radius * np.cos((x & np.uint64(0xFFFFFFFF)).astype(np.float64) * (2.0 * np.pi * 2.0**-32)))


def volatility(keys: Keys, minutes: Ints) -> Floats:
    """A factor around 1 that stays for hours and days at a time."""
    log = sum(height * normal(keys, minutes >> shift, salt=100 + shift) for shift, height in _REGIMES)
    return np.asarray(np.exp(log))


def walk(keys: Keys, minutes: Ints) -> Floats:
    """The walk's level at `minutes` (whole minutes since 1970, ascending), in units of one minute's usual move."""
    level = np.zeros((keys.shape[0], minutes.size))
    for octave in range(OCTAVES):
        first = int(minutes[0]) >> octave
        lattice = np.arange(first, (int(minutes[-1]) >> octave) + 2, dtype=np.int64)
        values = normal(keys, lattice, salt=octave + 1) * (0.5 * 2.0 ** (octave / 2))
        if octave < _FINE:
            values = values * volatility(keys, lattice << octave)
        place = (minutes >> octave) - first
        share = (minutes & ((1 << octave) - 1)) / float(1 << octave)
        level += values[:, place] * (1.0 - share) + values[:, place + 1] * share
    return level
