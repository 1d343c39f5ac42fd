"""What was read of the model and waits to be applied."""

import threading
from collections import deque
from typing import NamedTuple

from models.checkpoint import Checkpoint
from models.published import Prepared

WAIT_S = 0.05


class Queued(NamedTuple):
    """Rows that are applied together."""

    checkpoint: Checkpoint | None
    """The checkpoint that is complete with these rows; None: more of it follows."""
    prepared: Prepared
    rows: int
    layouts_of: Checkpoint
    """The checkpoint that has the layouts of these rows."""


class ReplicaQueue:
    """Filled by the thread that reads ahead, emptied by the loop that serves."""

    def __init__(self) -> None:
        self.rows = 0
        """Rows that wait."""
        self._entries: deque[Queued] = deque()
        self._taken = threading.Condition()
        """Guards `rows`, and wakes the thread when some were taken."""

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, entry: Queued) -> None:
        """Add rows at the end."""
        with self._taken:
            self.rows += entry.rows
        self._entries.append(entry)

    def first(self) -> Queued:
        """The rows that are next; they stay until `take`."""
        return self._entries[0]

    def take(self) -> None:
        """Remove the first rows: they are applied."""
        entry = self._entries.popleft()
        with self._taken:
            self.rows -= entry.rows
            self._taken.notify()

    def wait_for_room(self, most: int, stopping: threading.Event) -> None:
        """Return when at most `most` rows wait, or when `stopping` is set; blocks."""
        with self._taken:
            while self.rows > most and not stopping.is_set():
                self._taken.wait(WAIT_S)
