"""Sums over blocks of slots."""

from streams.monitor.block_sums import BlockSums
from streams.monitor.history import SPANS, Point, add_up


def test_blocks_have_the_sums_of_their_points_and_only_changed_blocks_are_recomputed():
    step = SPANS["24h"].step_ms
    points = [Point(n * step, 300, {"accepted": n, f"only {n % 3}": 1.5}, {}) for n in range(5, 293)]
    blocks = BlockSums()
    first = blocks.sums(points, "24h")
    assert len(first) == 19
    assert add_up(first) == add_up(points)
    points = [*points[1:-1], Point(292 * step, 300, {"accepted": 1}, {})]
    second = blocks.sums(points, "24h")
    assert add_up(second) == add_up(points)
    assert [a is b for a, b in zip(first, second, strict=True)] == [False, *[True] * 17, False]
    assert blocks.sums([], "24h") == []
