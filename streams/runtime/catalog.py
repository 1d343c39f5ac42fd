"""The catalog of a process: read in a thread, kept on disk, and applied to the models between micro-batches.

The thread alone reads and writes the store, so that what it passes on is in the order of the topic.  The loop
that serves, or the thread that learns, applies it to the rows of the models.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path

import numpy as np
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from models.catalog import encode
from models.model import Model
from streams.catalog_messages import CatalogItem, decode_item
from streams.kafka.catalog_store import FOLDER, CatalogStore
from streams.kafka.client import METADATA_TIMEOUT_S, confluent
from streams.kafka.follower import Follower
from streams.kafka.identity import topic_ids
from streams.kafka.repairs import Repairs
from streams.messages import Malformed, now_ms
from streams.settings import Settings

WAITING = 50_000
"""Items that wait to be applied, at most."""
WAIT_S = 0.01
AT_ONCE = 200
"""Items that are applied between two looks at the clock."""


@dataclass(slots=True)
class CatalogRecord:
    """A record of the topic."""

    key: bytes | None
    value: bytes | None
    offset: int
    timestamp: int
    """Kafka's time of the record, ms."""
    partition: int = 0
    headers: Sequence[tuple[str, bytes | None]] = ()


Reject = Callable[[CatalogRecord, Malformed], None]
"""Called in the thread with each record that cannot be used; again if Kafka fails."""


class LiveCatalog:
    """Keeps the catalog of `models` as on the topic, from `start` to `stop`.

    An item that has no row has no entry in a model; it gets its entry when it gets a row.  A record that
    cannot be used counts as a withdrawal: what the topic had of the item before is gone with compaction.  Of
    one with a vector of another length than `catalog_vectors` says, the rest is used.

    Parameters
    ----------
    settings
        Those of the process.
    models
        What has the entries; the first one's rows decide which items are looked up.
    reserve
        Whether items of the catalog get a row of the first model before their first event.
    reject
        Called with each record that cannot be used.
    repairs
        Counts a damaged store.
    """

    def __init__(
        self,
        settings: Settings,
        models: Sequence[Model],
        reserve: bool = False,
        reject: Reject = lambda record, error: None,
        repairs: Repairs | None = None,
    ) -> None:
        self._settings, self._models, self._reserve = settings, models, reserve
        self._reject, self._repairs = reject, repairs
        self._topic, self._record = settings.topic("catalog"), models[0].catalog.record
        self._follower = Follower(
            settings, "catalog", self._take, begin=self._begin, after_batch=self._after_batch
        )
        self._folder = settings.data_dir
        self._store: CatalogStore | None = None
        self._read: dict[bytes, tuple[bytes, bytes] | None] = {}
        """Records of the batch that is being read."""
        self._rejected: deque[tuple[CatalogRecord, Malformed]] = deque()
        """Those that cannot be used."""
        self._entries: deque[tuple[str, bytes]] = deque()
        """Items and their columns, which are to be applied in this order."""
        self._wanted: deque[str] = deque()
        """Items that are to be looked up."""
        self._asked = self._looked_up = 0
        """Items that the loop asked for so far, and that the thread looked up."""
        self.in_use = False
        """Whether there is a catalog."""
        self._stopping = threading.Event()
        self.size = 0
        """Items in the catalog."""
        self.rejected = 0
        """Records that could not be used, since the start of the process."""

    @property
    def ready(self) -> bool:
        """Whether everything published before the start is applied, to all items that have a row."""
        return self._follower.caught_up and not (self._read or self._entries or self._asked > self._looked_up)

    @property
    def changes(self) -> int:
        """Number of changes so far of what is offered."""
        return self._models[0].catalog.changes

    @property
    def without_row(self) -> int:
        """Items of the catalog that have no row in the first model."""
        return max(self.size - len(self._models[0].catalog), 0)

    def start(self, folder: Path | None = None) -> None:
        """Begin reading; a second call does nothing.  The copy is kept in `folder`."""
        if self._reserve:  # all items come from the copy: none needs to be looked up
            for model in self._models:
                model.items.take_assigned()
        self._folder = folder or self._folder
        self._follower.start()

    def stop(self) -> None:
        """End the reading; blocks."""
        self._stopping.set()
        self._follower.stop()
        if self._store is not None:
            self._store.close()
            self._store = None

    def advance(self, for_s: float) -> None:
        """Apply what was read, for about `for_s` seconds at most; raises what ended the reading."""
        if self._follower.error is not None:
            raise self._follower.error
        if not self.in_use:
            return
        until = time.perf_counter() + for_s
        for model in self._models:
            model.catalog.begin()
            model.catalog.advance(now_ms())
            assigned = model.items.take_assigned()
            self._asked += len(assigned)
            self._wanted.extend(assigned)
        while self._entries and time.perf_counter() < until:
            taken = [self._entries.popleft() for _ in range(min(AT_ONCE, len(self._entries)))]
            items = [item for item, _ in taken]
            columns = np.frombuffer(b"".join(c for _, c in taken), self._record)
            if self._reserve:
                for item in compress(items, columns["listed"]):
                    self._models[0].items.reserve(item)
            for model in self._models:
                rows = np.array(model.items.rows(items), np.int32)
                model.catalog.put(rows[rows >= 0], columns[rows >= 0])
        for model in self._models:
            model.refresh(until)

    def record(self, item: str) -> CatalogItem | None:
        """The record of an item; None if it is not in the catalog."""
        key = item.encode()
        stored = None if self._store is None else self._store.get(key)
        return None if stored is None else decode_item(key, stored[1])

    def any_hidden(self, items: Iterable[str]) -> bool:
        """Whether any of these items is not offered now; for those that have a row."""
        model = self._models[0]
        rows = model.items.rows(items)
        return not all(model.catalog.offered[row] for row in rows if row >= 0)

    def why_not(self, item: str, now: int) -> str | None:
        """Why an item is not offered at `now`, ms, in words; None if it is, or if there is no catalog."""
        model = self._models[0]
        row, record = model.items.row(item), self.record(item)
        if not self.in_use or (row >= 0 and model.catalog.offered[row]):
            return None
        if record is None:
            return "it is not in the catalog"
        entry = record.entry()
        if not entry.available:
            return "it is sold out"
        if now < entry.since_ms:
            return "its time has not come"
        if entry.until_ms is not None and now >= entry.until_ms:
            return "its time is over"
        return "it has no row in the model" if row < 0 else "its record is being applied"

    def _begin(self, consumer: Consumer) -> int:
        """The offset to begin at; called in the thread."""
        low, end = consumer.get_watermark_offsets(TopicPartition(self._topic, 0), METADATA_TIMEOUT_S)
        topic_id = "" if self._settings.embedded else self._topic_id()
        self._store = store = CatalogStore(
            self._folder / FOLDER, topic_id, end, self._repairs, self._settings.kept
        )
        self.size, self.in_use = len(store), end > 0
        if self._reserve:
            for item, columns in store.columns():
                self._pass_on(item, columns)
        return store.next_offset if store.next_offset >= low else OFFSET_BEGINNING

    def _topic_id(self) -> str:
        return topic_ids(AdminClient(confluent(self._settings)), self._settings, "catalog").get("catalog", "")

    def _take(self, key: bytes, value: bytes | None, offset: int, stamp: int) -> None:
        self._read[key] = None
        if value is not None:
            kept = self._settings.kept
            try:
                item = decode_item(key, value)
                self._read[key] = encode(item.entry(), kept), value
                item.check_vectors(kept.vectors)
            except Malformed as error:
                self.rejected += 1
                self._rejected.append((CatalogRecord(key, value, offset, stamp), error))

    def _after_batch(self, position: int) -> None:
        """Write what was read, and pass it on; then look items up."""
        store = self._store
        assert store is not None  # opened by `_begin`
        while self._rejected:
            self._reject(*self._rejected[0])
            self._rejected.popleft()
        if self._read:
            self.in_use = True
            store.write(self._read, position)
            self.size = len(store)
            for key, read in self._read.items():
                self._pass_on(key, read[0] if read else bytes(self._record.itemsize))
            self._read = {}
        while self._wanted and not self._stopping.is_set():
            key = self._wanted.popleft().encode()
            if (stored := store.get(key)) is not None:
                self._pass_on(key, stored[0])
            self._looked_up += 1

    def _pass_on(self, key: bytes, columns: bytes) -> None:
        while len(self._entries) >= WAITING and not self._stopping.wait(WAIT_S):
            pass
        self._entries.append((key.decode(errors="surrogateescape"), columns))
