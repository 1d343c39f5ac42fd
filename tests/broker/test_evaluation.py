"""One log through Kafka and through evaluate: the same lists."""

import pytest

from models.evaluation.evaluated import EvaluatedRecommender
from models.evaluation.example_columns import example_columns
from models.evaluation.exclusions import exclude_latest
from models.evaluation.run import run
from streams.messages import Event, decode_recommendation
from streams.offline.examples import LabelledExamples, LogCounts, read_examples
from streams.offline.options import EvaluationOptions
from streams.offline.plan import plan
from streams.runtime.factory import make_model, make_recommender
from streams.step.policy import ServingPolicy
from tests.broker.cluster import Cluster, answered, clicks, wait_for

GENERATORS = {"next": 1.0, "previous": 0.6, "popularity": 0.05}
"""They learn one event at a time: what a learner happens to read at once makes no difference.  (To a ranker
it does: it learns from what the model proposed before.)"""


class Recorded:
    """A recommender that keeps the lists that it was asked for."""

    def __init__(self, recommender) -> None:
        self._recommender, self.lists = recommender, []

    def rank(self, queries, excluded, k):
        best = self._recommender.rank(queries, excluded, k)
        ids = self._recommender.model.items.ids
        for rows, scores in zip(best.rows[:, : k - 1].tolist(), best.scores.tolist(), strict=True):
            known = sum(row >= 0 for row in rows)
            self.lists.append(([ids[row] for row in rows[:known]], scores[:known]))
        return best


def test_a_log_through_kafka_and_through_evaluate_gives_the_same_lists(kafka, tmp_path):
    """The first half teaches.  Before each event of the second half its user asks for a list: that list."""
    n = 1_000
    events = list(clicks(2 * n, users=40, items=150))
    teaching, asking = events[:n], []
    for event in events[n:]:
        request = Event(event_id=f"ask-{event.event_id}", user=event.user, type="request", time=event.time)
        asking += [request, event]
    with Cluster(kafka.brokers, tmp_path, partitions=1, generators=GENERATORS, ranker="blend") as cluster:
        worker, learner = cluster.start("worker"), cluster.start("learner")
        wait_for(worker.ready, "worker ready")
        cluster.publish(teaching, at_event_time=True)
        wait_for(cluster.learnt(n), "the first half learnt")
        learner.stop()
        last = cluster.checkpoints()[-1]
        assert last.examples == n
        wait_for(lambda: worker.get()["model"]["checkpoint"] == last.number, "the worker has that model")
        cluster.publish(asking, at_event_time=True)
        wait_for(lambda: len(answered(cluster)) == n + len(asking), "every event answered")
        served = {}
        for message in cluster.read("recommendations"):
            made = decode_recommendation(message.value())
            served[made.event_id] = [one.item for one in made.items], [one.score for one in made.items]
        settings = cluster.settings

    options = EvaluationOptions(protocol="holdout", split="50/0/50", ks=(settings.list_length,))
    pairs = list(
        read_examples(teaching + asking, ServingPolicy.from_settings(settings), options, LogCounts())
    )
    examples = [example for example, _ in pairs]
    log = LabelledExamples(examples, [label for _, label in pairs])
    model = make_model(settings)
    recorded = Recorded(make_recommender(settings, model))
    columns = example_columns(examples)
    steps = plan(options, log, columns)
    result = run(
        examples,
        columns.users,
        steps,
        [EvaluatedRecommender("all", model, recorded)],
        [],
        exclude_latest(examples),
        settings.list_length,
    )
    assert result.predicted.tolist() == list(range(n, 2 * n))
    assert result.learnt == n
    assert len(recorded.lists) == n
    assert sum(len(items) for items, _ in recorded.lists) > 15 * n
    for number, (items, scores) in zip(result.predicted.tolist(), recorded.lists, strict=True):
        there, theirs = served[f"ask-{events[number].event_id}"]
        assert there == items and theirs == pytest.approx(scores, abs=1e-4), "a record's scores are rounded"
