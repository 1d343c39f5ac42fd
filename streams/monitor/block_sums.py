"""Sums of points over blocks of slots: a page with the total of a day does not add up the day each time."""

from collections.abc import Sequence
from itertools import groupby

from streams.monitor.history import SPANS, Point, add_up

BLOCK_SLOTS = 16
"""Slots in a block: a day's 288 slots are 18 blocks, of which a new row changes one."""


class BlockSums:
    """Caches the sum of each block, as long as its points are the same objects."""

    def __init__(self) -> None:
        self._cached: dict[str, dict[int, tuple[Sequence[Point], Point]]] = {}

    def sums(self, points: Sequence[Point], span: str) -> list[Point]:
        """One point per block of the span's points: the counts add up to the same totals, without gauges."""
        block_ms, before = BLOCK_SLOTS * SPANS[span].step_ms, self._cached.get(span, {})
        cached = {}
        for number, group in groupby(points, lambda point: point.time // block_ms):
            block = list(group)
            unchanged = number in before and _identical(before[number][0], block)
            cached[number] = before[number] if unchanged else (block, _sum(block))
        self._cached[span] = cached
        return [point for _, point in cached.values()]


def _identical(before: Sequence[Point], block: Sequence[Point]) -> bool:
    return len(before) == len(block) and all(a is b for a, b in zip(before, block, strict=True))


def _sum(block: Sequence[Point]) -> Point:
    return Point(block[0].time, sum(point.seconds for point in block), add_up(block), {})
