"""Points added up in blocks, so that a page with the sum of a day does not add up a day each time."""

from collections.abc import Sequence
from itertools import groupby

from streams.monitor.history import SPANS, Point, add_up

BLOCK = 16
"""Slots: a day's 288 are 18 blocks, of which a new row changes one."""


class BlockSums:
    """Remembers the sums of the blocks whose points are the same as before."""

    def __init__(self) -> None:
        self._known: dict[str, dict[int, tuple[Sequence[Point], Point]]] = {}

    def of(self, points: Sequence[Point], span: str) -> list[Point]:
        """The points of a span, in blocks: fewer, with the same counts together, and no gauges."""
        length_ms, before = BLOCK * SPANS[span].step_ms, self._known.get(span, {})
        known = {}
        for number, grouped in groupby(points, lambda point: point.time // length_ms):
            block = list(grouped)
            same = number in before and _same(before[number][0], block)
            known[number] = before[number] if same else (block, _added(block))
        self._known[span] = known
        return [added for _, added in known.values()]


def _same(before: Sequence[Point], block: Sequence[Point]) -> bool:
    return len(before) == len(block) and all(a is b for a, b in zip(before, block, strict=True))


def _added(block: Sequence[Point]) -> Point:
    return Point(block[0].time, sum(point.seconds for point in block), add_up(block), {})
