"""Faust's assignor, for a worker that restarts at another address, and for a changelog that is gone.

A static member gets its old assignment back without a rebalance, and in it the former address of its pages.
Faust asserts that the address is still the same, inside aiokafka's coordinator: a worker restarted on another
port or host would hang without an error.

Faust leaves a topic without partitions out of the assignment.  A rebalance between the deletion of the
changelog and its creation would assign events without their users, and the static member would keep that
after a restart, too: it would serve without restoring its users, and without writing them again.  So the
partitions of a changelog are assigned whether they exist or not; a worker ends when they do not.
"""

from collections.abc import Iterable
from typing import Any

from faust.assignor.client_assignment import ClientMetadata
from faust.assignor.partition_assignor import PartitionAssignor


class WorkerAssignor(PartitionAssignor):
    """Assigns users with their events, and takes over an assignment made for this worker's former address."""

    def assign(self, cluster: Any, member_metadata: Any) -> Any:
        """Assign the topics' partitions to the members, each changelog's whether it exists or not."""
        changelogs = {table.changelog_topic_name for table in self._table_manager.values()}
        known = _WithChangelogs(cluster, changelogs, self.app.conf.topic_partitions)
        return super().assign(known, member_metadata)

    def on_assignment(self, assignment: Any) -> None:
        """Take over what the group's leader assigned to this member, now or before a restart."""
        former = ClientMetadata.loads(self._decompress(assignment.user_data)).url
        here = str(self._url)
        if former == here:
            super().on_assignment(assignment)
            return
        try:
            super().on_assignment(assignment)  # the address is the last thing that it asserts
        except AssertionError as error:
            if error.args:  # the partitions differ, and not the address
                raise
        for name in ("changelog_distribution", "external_topic_distribution"):
            setattr(self, name, _moved(getattr(self, name), former, here))


class _WithChangelogs:
    """The cluster's topics, and the changelogs as they have to be."""

    def __init__(self, cluster: Any, changelogs: Iterable[str], partitions: int) -> None:
        self._cluster, self._changelogs = cluster, frozenset(changelogs)
        self._partitions = set(range(partitions))

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        if topic in self._changelogs:
            return self._partitions
        found: set[int] | None = self._cluster.partitions_for_topic(topic)
        return found


def _moved(distribution: Any, former: str, here: str) -> dict[str, Any]:
    return {here if url == former else url: partitions for url, partitions in distribution.items()}
