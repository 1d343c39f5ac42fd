"""What a worker repaired of its local state, counted by kind: for the log, the pages and the metrics."""

import logging
from collections import Counter

log = logging.getLogger(__name__)

FOLDER, USERS, MODEL, CHANGELOG, CATALOG = "folder", "users", "model", "changelog", "catalog"
KINDS = {
    FOLDER: "the data folder was of other topics: set aside, and everything is restored from Kafka",
    USERS: "users of a partition were damaged on disk: set aside, and restored from Kafka",
    MODEL: "the copy of the model was damaged on disk: set aside, and read again from Kafka",
    CATALOG: "the copy of the catalog was damaged on disk: set aside, and read again from Kafka",
    CHANGELOG: "the users changelog was recreated or cut: users were written to it again",
}
"""What happened, by kind."""


class Repairs:
    """Repairs since the start of this process."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, kind: str, detail: str) -> None:
        """Count a repair of a kind of `KINDS`, and log it with its detail."""
        self._counts[kind] += 1
        log.warning("%s (%s)", KINDS[kind], detail)

    def counts(self) -> dict[str, float]:
        """Repairs by `repairs:KIND`; those of several workers add up."""
        return {f"repairs:{kind}": self._counts[kind] for kind in KINDS}
