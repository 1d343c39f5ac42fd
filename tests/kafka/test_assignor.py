"""The assignment of partitions: users go with their events, whatever has become of the changelog."""

import faust
import pytest
from faust.assignor.client_assignment import ClientMetadata

from streams.kafka.assignor import WorkerAssignor

PARTITIONS = 4


class Metadata:
    """What a cluster tells about its topics."""

    def __init__(self, **partitions: int) -> None:
        self._partitions = partitions

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        count = self._partitions.get(topic.replace("-", "_"))
        return None if count is None else set(range(count))


@pytest.fixture
def assignor():
    app = faust.App("app", topic_partitions=PARTITIONS, store="memory://", PartitionAssignor=WorkerAssignor)
    app.Table("users")
    return app.assignor


@pytest.mark.parametrize(
    "changelog",
    [{}, {"app_users_changelog": 1}, {"app_users_changelog": PARTITIONS}],
    ids=["deleted", "one partition", "there"],
)
def test_users_are_assigned_with_their_events(assignor, changelog):
    topics = {"events", "app-users-changelog"}
    members = {name: assignor.metadata(topics) for name in ("one", "two")}
    assigned = assignor.assign(Metadata(events=PARTITIONS, **changelog), members)
    served = []
    for assignment in assigned.values():
        actives = ClientMetadata.loads(assignor._decompress(assignment.user_data)).assignment.actives
        assert actives["events"] == actives["app-users-changelog"]
        served += actives["events"]
    assert sorted(served) == list(range(PARTITIONS))
