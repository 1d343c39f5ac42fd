"""Faust's assignor, for a worker that restarts at another address.

A static member gets its old assignment back without a rebalance, and in it the former address of its pages.
Faust asserts that the address is still the same, inside aiokafka's coordinator: a worker restarted on another
port or host would hang without an error.
"""

from typing import Any

from faust.assignor.client_assignment import ClientMetadata
from faust.assignor.partition_assignor import PartitionAssignor


class MovableAssignor(PartitionAssignor):
    """Takes over an assignment that was made for this worker's former address."""

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


def _moved(distribution: Any, former: str, here: str) -> dict[str, Any]:
    return {here if url == former else url: partitions for url, partitions in distribution.items()}
