"""A transactional producer whose offset commits the consumer group can refuse (KIP-447, 2019).

The commit of offsets inside a transaction names the member and the generation of its consumer group.  The
broker refuses it when the group has moved on, and with it the whole transaction: what a worker that lost its
partitions still writes never becomes visible.  aiokafka 0.14 commits without naming the member.
"""

from collections import defaultdict
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer, errors
from aiokafka.client import CoordinationType
from aiokafka.producer.sender import Sender, TxnOffsetCommitHandler
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import CompactArray, CompactString, Int16, Int32, Int64, Schema, TaggedFields

_TEXT = CompactString("utf-8")


class Member(NamedTuple):
    """A member of a consumer group in one generation of it."""

    group: str
    generation: int
    """Number of the generation; below 1: the member is in none."""
    member_id: str
    instance_id: str | None
    """The name of a static member."""


class Fenced(Exception):
    """The consumer group has moved on, and the partitions may be another member's."""


FENCED_INSTANCE_ID = 82
"""Error of Kafka that aiokafka does not know: a new process has the name of this static member."""
GROUP_MOVED_ON = (
    errors.UnknownMemberIdError.errno, errors.IllegalGenerationError.errno, FENCED_INSTANCE_ID,
)  # fmt: skip
"""Errors of an offset commit that say that the member, or its generation, is not the current one."""


class _Response(Response):
    API_KEY, API_VERSION = 28, 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "topics",
            CompactArray(
                ("name", _TEXT),
                (
                    "partitions",
                    CompactArray(("partition", Int32), ("error_code", Int16), ("tags", TaggedFields)),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _RequestStruct(RequestStruct):
    API_KEY, API_VERSION = 28, 3
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = _Response
    SCHEMA = Schema(
        ("transactional_id", _TEXT),
        ("group_id", _TEXT),
        ("producer_id", Int64),
        ("producer_epoch", Int16),
        ("generation_id", Int32),
        ("member_id", _TEXT),
        ("group_instance_id", _TEXT),
        (
            "topics",
            CompactArray(
                ("name", _TEXT),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32), ("offset", Int64), ("leader_epoch", Int32), ("metadata", _TEXT),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )  # fmt: skip


class _OffsetCommit(Request[_RequestStruct]):
    """TxnOffsetCommit of version 3, the first one that names the member."""

    API_KEY = 28

    def __init__(self, *fields: Any) -> None:
        self._fields = fields

    def build(self, request_struct_class: type[_RequestStruct]) -> _RequestStruct:
        return request_struct_class(*self._fields)


class _OffsetCommitHandler(TxnOffsetCommitHandler):
    def __init__(self, sender: Sender, offsets: Any, member: Member) -> None:
        super().__init__(sender, offsets, member.group)
        self._member = member

    def create_request(self) -> _OffsetCommit:
        by_topic: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
        for tp, offset in self._offsets.items():
            by_topic[tp.topic].append((tp.partition, offset.offset, -1, offset.metadata, {}))
        manager, member = self._sender._txn_manager, self._member
        return _OffsetCommit(
            manager.transactional_id, member.group, manager.producer_id, manager.producer_epoch,
            member.generation, member.member_id, member.instance_id,
            [(topic, partitions, {}) for topic, partitions in by_topic.items()], {},
        )  # fmt: skip

    def handle_response(self, response: Any) -> Any:
        codes = [
            (topic, [(partition, code) for partition, code, _ in partitions])
            for topic, partitions, _ in response.topics
        ]
        if any(code in GROUP_MOVED_ON for _, partitions in codes for _, code in partitions):
            # not `error_transaction`: it forgets the partitions, so that the abort is not sent to the broker
            # and the next transaction commits what this one wrote
            _, _, refused = self._sender._txn_manager._pending_txn_offsets.popleft()
            refused.set_exception(
                Fenced(f"member {self._member.member_id} of generation {self._member.generation}")
            )
            return None
        response.errors = codes  # the name that it has in the version that aiokafka knows
        return super().handle_response(response)


class _Sender(Sender):
    member: Member
    """The member that commits in the current transaction."""

    async def _do_txn_offset_commit(self, offsets: Any, group_id: str) -> None:
        node = await self._find_coordinator(CoordinationType.GROUP, group_id)
        await _OffsetCommitHandler(self, offsets, self.member).do(node)


class FencedProducer(AIOKafkaProducer):
    """A transactional producer; its `commit_offsets` can be refused by the consumer group."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        plain: Any = self._sender
        self._sender: Any = _Sender(
            self.client, acks=plain._acks, txn_manager=self._txn_manager,
            message_accumulator=self._message_accumulator, retry_backoff_ms=1000 * plain._retry_backoff,
            request_timeout_ms=plain._request_timeout_ms,
        )  # fmt: skip

    async def commit_offsets(self, offsets: dict[Any, int], member: Member) -> None:
        """Add the commit of these offsets to the transaction; `Fenced` if the group refuses it."""
        if member.generation < 1:  # a broker takes that for a client that is in no group, and refuses nothing
            raise Fenced("the member has left its group")
        self._sender.member = member
        await self.send_offsets_to_transaction(offsets, member.group)
