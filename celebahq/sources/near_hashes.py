"""Which of many hashes differ in a few bits, without comparing each with each.

The 256 bits are cut into bands. Of two hashes that differ in few bits, some band differs in one bit, or two,
at most (they cannot be spread evenly enough to spare it); so it is enough to look, in every band, for those
whose value there is so near. Hashes of photographs share that with 0.05 % of all others at a radius of 24
bits, and with 2 % at 40, as measured on 400 photos and 650 faces.
"""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

HASH_BITS = 256
FLIPPED_WITHIN = ((1, 25), (2, HASH_BITS))
"""So many bits are tried in each band, up to this radius."""
WIDEST = 20  # bits of a band: there is a table of all its values
AT_ONCE = 1 << 18  # values, and candidates, that are looked at together

Pairs = NDArray[np.int64]


class NearHashes:
    """Hashes among which those near to another one are found; 90 bytes each, and tables of 20 to 60 MB."""

    def __init__(self, packed: NDArray[np.uint8], radius: int) -> None:
        """Args: `packed` is `[n, 32]`; `radius` in bits."""
        self.radius = radius
        self._words = _words(packed)
        self._bands = [_Band(packed, bits, flipped) for bits, flipped in _cut(radius)]
        self.rows_at_once = max(1, AT_ONCE // len(self._bands[0].flips))
        """Of how many hashes to ask at a time, so that memory stays small."""

    def find(self, looks: NDArray[np.uint8], start: int, among: NDArray[np.bool_]) -> Pairs:
        """Earlier hashes that are near to some.

        Args:
            looks: `[m, 32]`: what is to be near to hashes before number `start`, `start + 1`, ...
            start: The number of the first.
            among: `[n]` bool: which hashes count.

        Returns:
            `[pairs, 2]`: a number from `start` on, and the number of a hash before it; some more than once.
        """
        own, found = _words(looks), [np.empty((0, 2), np.int64)]
        for band in self._bands:
            for rows, others in band.candidates(looks):
                before = others < rows + start
                rows, others = rows[before], others[before]
                half = _differing(own[:2], rows, self._words[:2], others)
                few = (half <= self.radius) & among[others]  # hardly any, so that the rest takes no time
                rows, others = rows[few], others[few]
                differing = half[few] + _differing(own[2:], rows, self._words[2:], others)
                found.append(np.stack([rows + start, others], axis=1)[differing <= self.radius])
        return np.concatenate(found)


class _Band:
    """Some of the bits: which hashes have which value there."""

    def __init__(self, packed: NDArray[np.uint8], bits: range, flipped: int) -> None:
        self._bits = bits
        values = self._values(packed)
        self._order = np.argsort(values, kind="stable").astype(np.int32)  # numbers, by value
        counts = np.bincount(values, minlength=1 << len(bits))
        self._starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)  # in `_order`, of each value
        single = [1 << place for place in range(len(bits))]
        chosen = [some for count in range(flipped + 1) for some in combinations(single, count)]
        self.flips = np.array([sum(some) for some in chosen], np.int32)

    def candidates(self, looks: NDArray[np.uint8]) -> Iterator[tuple[Pairs, Pairs]]:
        """Rows of `looks` and numbers of hashes whose values are near, some at a time."""
        values = (self._values(looks)[:, None] ^ self.flips).ravel()
        firsts = self._starts[values]
        counts = self._starts[values + 1] - firsts
        there = np.flatnonzero(counts)
        firsts, counts, rows = firsts[there], counts[there].astype(np.int64), there // len(self.flips)
        ends = np.cumsum(counts)
        cuts = np.searchsorted(ends, np.arange(AT_ONCE, counts.sum(), AT_ONCE))
        for some in np.split(np.arange(len(there)), cuts):
            total, before = counts[some].sum(), np.cumsum(counts[some]) - counts[some]
            places = np.arange(total) + np.repeat(firsts[some] - before, counts[some])
            yield np.repeat(rows[some], counts[some]), self._order[places].astype(np.int64)

    def _values(self, packed: NDArray[np.uint8]) -> NDArray[np.int32]:
        values = np.zeros(len(packed), np.int32)
        for place, bit in enumerate(self._bits):
            values |= ((packed[:, bit // 8] >> (bit % 8)) & 1).astype(np.int32) << place
        return values


def _cut(radius: int) -> list[tuple[range, int]]:
    """Bands, each of bits that lie far apart, and how many bits are tried there.

    Were all bands to differ in more, the hashes would differ in `bands * (flipped + 1)` bits, which is more
    than the radius.
    """
    flipped = next(bits for bits, farthest in FLIPPED_WITHIN if radius <= farthest)
    bands = max(radius // (flipped + 1) + 1, -(-HASH_BITS // WIDEST))
    return [(range(band, HASH_BITS, bands), flipped) for band in range(bands)]


def _words(packed: NDArray[np.uint8]) -> NDArray[np.uint64]:
    return np.ascontiguousarray(np.ascontiguousarray(packed).view(np.uint64).T)  # [4, n]


def _differing(
    a: NDArray[np.uint64], places_a: Pairs, b: NDArray[np.uint64], places_b: Pairs
) -> NDArray[np.int16]:
    """Bits in which some of `a` and of `b`, each `[words, n]`, differ."""
    bits = np.zeros(len(places_a), np.int16)
    for word_a, word_b in zip(a, b, strict=True):
        bits += np.bitwise_count(word_a[places_a] ^ word_b[places_b])
    return bits
