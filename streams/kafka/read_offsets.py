"""Which records Faust has delivered."""

from collections import defaultdict
from collections.abc import Collection

from faust.types import TP


class ReadOffsets(defaultdict[TP, int | None]):
    """The highest offsets delivered, by partition, without those of chunk topics.

    Faust drops records at or below them.  After a seek back that would drop records that were queued and then
    cleared, and commits would stall.
    """

    def __init__(self, exempt: Collection[str]) -> None:
        super().__init__(lambda: None)
        self._exempt = exempt

    def __setitem__(self, tp: TP, offset: int | None) -> None:
        if tp.topic not in self._exempt:
            super().__setitem__(tp, offset)
