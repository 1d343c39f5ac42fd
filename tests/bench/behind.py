"""Behind: CPU time an event of a backlog takes in the serving step, answered in full and as a worker does.

Unit: µs of CPU time an event, and their ratio.  A worker that is behind answers the latest event of each user
in a micro-batch, which is a whole fetch then (`answer_all_within_s`): the more a user's events repeat in it,
the sooner the worker is back.  Without Kafka.

    python -m tests.bench behind
"""

import time

from streams.messages import encode
from streams.runtime.factory import make_model, make_recommender
from streams.settings import Settings
from streams.step.policy import ServingPolicy
from streams.step.serve import serve
from tests.bench.clicks import clicks, event
from tests.bench.deployment import Bench, progress
from tests.bench.prefill import batches, examples
from tests.bench.report import Row
from tests.memory_loop import Record

EVENTS, LEARNT = 40_000, 60_000
USERS = (300, 2_000, 20_000)
WAITED_MS = 100_000
WAYS = {
    "in full, 1,000 events": (0, 1000),
    "the latest, 1,000 events": (30, 1000),
    "the latest, 5,000 events": (30, 5000),
}
"""`answer_all_within_s` and the size of a micro-batch by what is answered."""


class _Recommender:
    checkpoint = checkpoint_time = 1

    def __init__(self, settings: Settings, bench: Bench) -> None:
        model = make_model(settings)
        for part in batches(
            examples(bench.scaled(LEARNT), bench.seed, int(time.time() * 1000)), settings.learn_batch
        ):
            model.learn(part)
        recommender = make_recommender(settings, model, settings.ranking_threads)
        self.recommend, self.popular = recommender.recommend, recommender.popular


def behind(bench: Bench) -> list[Row]:
    """Measure each way for few, some and many users."""
    settings = Settings(max_items=60_000)
    recommender, rows = _Recommender(settings, bench), []
    for users in USERS:
        progress(f"behind: {users:,} users")
        records = _records(bench.scaled(EVENTS), users, bench.seed)
        in_full = 0.0
        for what, (within_s, chunk) in WAYS.items():
            policy = ServingPolicy.from_settings(
                settings.model_copy(update={"answer_all_within_s": within_s})
            )
            us, answered = _serve(records, recommender, policy, chunk)
            in_full = in_full or us
            note = f"{100 * answered:.0f} % answered, {in_full / us:.2f} × as fast"
            rows.append(Row(f"behind, {users:,} users", what, us, "µs CPU", note=note))
    return rows


def _records(n: int, users: int, seed: int) -> list[Record]:
    waited = int(time.time() * 1000) - WAITED_MS
    events = (event(number, click) for number, click in enumerate(clicks(n, users, seed, walk=1)))
    return [Record(e.user.encode(), encode(e), 0, offset, waited) for offset, e in enumerate(events)]


def _serve(
    records: list[Record], recommender: _Recommender, policy: ServingPolicy, chunk: int
) -> tuple[float, float]:
    """CPU time an event, µs, and the share of the events that is answered."""
    stored: dict[bytes, bytes] = {}
    began, answered = time.process_time(), 0
    for at in range(0, len(records), chunk):
        writes = serve(
            records[at : at + chunk], "events", lambda _, key: stored.get(key), recommender, policy,
            lambda: int(time.time() * 1000),
        )  # fmt: skip
        stored.update(writes.users[0])
        answered += writes.counts.recommendations
    return 1e6 * (time.process_time() - began) / len(records), answered / len(records)
