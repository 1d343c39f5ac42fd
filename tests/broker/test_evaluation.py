"""A log gives the same lists through Kafka as through `freshet evaluate`."""

import pytest

from models.evaluation.evaluated import EvaluatedRecommender
from models.evaluation.example_columns import example_columns
from models.evaluation.exclusions import exclude_latest
from models.evaluation.run import run
from streams.event_messages import Event
from streams.messages import decode_recommendation
from streams.offline.examples import LabelledExamples, LogCounts, read_examples
from streams.offline.options import EvaluationOptions
from streams.offline.plan import plan
from streams.runtime.factory import make_model, make_recommender
from streams.step.policy import ServingPolicy
from tests.broker.cluster import Cluster, clicks, wait_for

GENERATORS = {"next": 1.0, "previous": 0.6, "popularity": 0.05}
"""Generators whose model does not depend on how many examples the learner reads at once.  (A learnt ranker's
does: it learns from what the model proposed before.)"""


class RecordingRecommender:
    """A recommender that records the lists that it makes."""

    def __init__(self, recommender) -> None:
        self._recommender, self.lists = recommender, []

    def rank(self, queries, excluded, k, where=""):
        best = self._recommender.rank(queries, excluded, k, where)
        ids = self._recommender.model.items.ids
        for rows, scores in zip(best.rows[:, : k - 1].tolist(), best.scores.tolist(), strict=True):
            known = sum(row >= 0 for row in rows)
            self.lists.append(([ids[row] for row in rows[:known]], scores[:known]))
        return best


def test_a_log_through_kafka_and_through_evaluate_gives_the_same_lists(kafka, tmp_path):
    """The first half teaches.  Before each event of the second half its user requests a list."""
    n = 1_000
    events = list(clicks(2 * n, users=40, items=150))
    first_half, second_half = events[:n], []
    for event in events[n:]:
        request = Event(event_id=f"ask-{event.event_id}", user=event.user, type="request", time=event.time)
        second_half += [request, event]
    with Cluster(kafka.brokers, tmp_path, partitions=1, generators=GENERATORS, ranker="blend") as cluster:
        worker, learner = cluster.start("worker"), cluster.start("learner")
        wait_for(worker.ready, "worker ready")
        cluster.publish(first_half, at_event_time=True)
        wait_for(cluster.has_learnt(n), "the first half learnt")
        learner.stop()
        last = cluster.checkpoints()[-1]
        assert last.examples == n
        wait_for(lambda: worker.get()["model"]["checkpoint"] == last.number, "the worker has that model")
        cluster.publish(second_half, at_event_time=True)
        wait_for(lambda: len(cluster.answers()) == n + len(second_half), "every event answered")
        served = {}
        for message in cluster.read("recommendations"):
            sent = decode_recommendation(message.value())
            served[sent.event_id] = [item.item for item in sent.items], [item.score for item in sent.items]
        settings = cluster.settings

    options = EvaluationOptions(protocol="holdout", split="50/0/50", ks=(settings.list_length,))
    pairs = list(
        read_examples(first_half + second_half, ServingPolicy.from_settings(settings), options, LogCounts())
    )
    examples = [example for example, _ in pairs]
    log = LabelledExamples(examples, [label for _, label in pairs])
    model = make_model(settings)
    recorder = RecordingRecommender(make_recommender(settings, model))
    columns = example_columns(examples)
    steps = plan(options, log, columns)
    result = run(
        examples,
        columns.users,
        steps,
        [EvaluatedRecommender("all", model, recorder)],
        [],
        exclude_latest(examples),
        settings.list_length,
    )
    assert result.predicted.tolist() == list(range(n, 2 * n))
    assert result.learnt == n
    assert len(recorder.lists) == n
    assert sum(len(items) for items, _ in recorder.lists) > 15 * n
    for number, (items, scores) in zip(result.predicted.tolist(), recorder.lists, strict=True):
        sent_items, sent_scores = served[f"ask-{events[number].event_id}"]
        assert sent_items == items
        assert sent_scores == pytest.approx(scores, abs=1e-4), "a record's scores are rounded"
