"""Layouts: who understands whose rows, and what becomes of a component whose layout changes."""

import numpy as np
import pytest

from models.core import Example, Query
from models.layouts import differences
from models.model import Model
from models.recommender import Recommender
from models.registry import GENERATORS, RANKERS
from models.units import HOUR_MS

QUERIES = [Query((f"i{n}",), 1, 0) for n in range(9)]


def model(
    capacity: int = 60, generators=("next", "popularity"), rankers=(), context_key="device", **parameters
):
    names = {name.replace("_", "-"): values for name, values in parameters.items()}
    return Model(generators, capacity, parameters=names, rankers=rankers, context_key=context_key)


def clicks(start: int, n: int = 120, items: int = 9) -> list[Example]:
    return [
        Example("u", k, k, "view", f"i{k * k % items}", history=(f"i{(k - 1) ** 2 % items}",), session_size=1)
        for k in range(start, start + n)
    ]


def publish(learner: Model, *replicas: Model) -> None:
    """A checkpoint of the learner, applied by the replicas."""
    rows, layouts = learner.dump_touched(), learner.parts.published()
    for replica in replicas:
        replica.parts.follow(layouts)
        replica.apply(replica.prepare(rows.items()))


def lists(model: Model, ranker: str = "blend"):
    return Recommender(model, dict.fromkeys(model.generators, 1.0), ranker).recommend(QUERIES, 5)


def digests(model: Model) -> dict[str, str]:
    return {name: layout.digest for name, layout in model.parts.layouts.items()}


ALL = {"generators": tuple(GENERATORS), "rankers": tuple(RANKERS)}


def test_the_number_of_items_is_no_part_of_a_layout():
    """So `max_items` may change without that anything has to be learnt again."""
    assert digests(model(60, **ALL)) == digests(model(300, **ALL))


def test_parameters_that_travel_in_rows_or_change_their_meaning_change_the_layout():
    own = digests(model(**ALL))
    for name, parameters in {
        "next": {"neighbours": 8}, "session-knn": {"by": "user"}, "graph": {"length": 8},
        "embedding": {"dim": 32}, "gru": {"ring": 1024}, "matrix-factorisation": {"dim": 8},
        "context-popularity": {"counters": 16}, "mlp": {"hidden": 4},
    }.items():  # fmt: skip
        other = digests(Model(ALL["generators"], 60, parameters={name: parameters}, rankers=ALL["rankers"]))
        changed = {part for part in own if own[part] != other[part]}
        assert changed == {name} | ({"din", "neumf"} if name == "embedding" else set())
    other = digests(model(context_key="place", **ALL))
    assert {part for part in own if own[part] != other[part]} == {"context-popularity", "context-trending"}
    other = digests(model(generators=("next", "embedding"), rankers=tuple(RANKERS)))
    assert {part for part in other if own.get(part) != other[part]} == {
        "in-context",  # `context-popularity` counts in contexts if it is on
        "coverage",
        "linear",
        "mlp",
        "neumf",
        "din",
    }


def test_a_parameter_of_how_rows_are_read_is_said_and_the_rows_are_applied():
    own, learner = (model(generators=["session-knn"], session_knn={"latest": n}) for n in (32, 64))
    learner.learn(clicks(0))
    publish(learner, own)
    assert own.parts.not_understood == []
    assert own.generators["session-knn"].state.newest > 0
    (difference,) = differences(own.parts.layouts, learner.parts.published())
    assert difference.text("this worker", "the learner") == (
        "session-knn gives other lists: model_parameters.session-knn.latest:"
        " this worker has 32, the learner 64"
    )


def test_a_parameter_of_the_learner_alone_is_no_difference():
    own = model(**ALL)
    learner = Model(
        ALL["generators"], 60, seed=7, rankers=ALL["rankers"],
        parameters={"embedding": {"learning_rate": 0.2, "replay": 0}, "mlp": {"learning_rate_linear": 0.2}},
    )  # fmt: skip
    assert differences(own.parts.layouts, learner.parts.published()) == []


def test_the_setting_is_named_and_where_none_differs_the_version():
    own = model(rankers=["mlp", "linear"], next={"neighbours": 8})
    published = model(generators=("next",), rankers=["mlp"]).parts.published()
    published["statistics"]["layout"] = "of tomorrow"
    texts = {
        d.component: d.text("this worker", "the learner") for d in differences(own.parts.layouts, published)
    }
    assert texts["next"].startswith(
        "next is not updated: model_parameters.next.neighbours: this worker has 8,"
    )
    assert texts["mlp"].startswith("mlp is not updated: generators: this worker has ['next', 'popularity'], ")
    assert texts["popularity"] == (
        "popularity is not updated: generators: this worker has popularity, the learner none"
    )
    assert texts["linear"] == "linear is not updated: ranker: this worker has linear, the learner none"
    assert texts["statistics"].endswith("this worker and the learner are of different versions")


def test_what_is_not_understood_keeps_its_state_and_all_else_is_updated():
    before, after, replica = model(), model(next={"neighbours": 8}), model()
    before.learn(clicks(0))
    publish(before, replica, after)
    kept = replica.generators["next"].state.dump(np.arange(9, dtype=np.int32)).tobytes()
    assert after.parts.take_over(7) == ["next"]
    after.learn(clicks(500))
    publish(after, replica)
    assert after.parts.published()["next"]["key"] == "next.7"
    assert replica.parts.not_understood == ["next"]
    assert replica.generators["next"].state.dump(np.arange(9, dtype=np.int32)).tobytes() == kept
    assert (replica.popularity.events == after.popularity.events).all()


def test_of_an_item_that_lost_its_row_nothing_is_kept():
    """Another item has its row, and would be listed for what was learnt of it."""
    before, after, replica = model(20), model(20, next={"neighbours": 8}), model(20)
    before.learn(clicks(0))
    publish(before, replica)
    after.parts.follow(before.parts.published())
    after.parts.take_over(7)
    names = [f"new-{n}" for n in range(60)]
    after.learn([Example("u", n, n * HOUR_MS, "view", name) for n, name in enumerate(names)])
    publish(after, replica)
    assert not set(replica.items.ids) & {f"i{n}" for n in range(9)}
    size = replica.generators["next"].state["size"]
    assert size.sum() == 0


def test_a_component_that_is_understood_again_begins_with_what_is_published_then():
    """Downgrade: between, another learner published rows that this replica could not read."""
    first, between, last = model(), model(next={"neighbours": 8}), model()
    replica, fresh = model(), model()
    first.learn(clicks(0, items=30))
    publish(first, replica)
    for number, (before, learner) in enumerate([(first, between), (between, last)], 1):
        learner.parts.follow(before.parts.published())
        learner.parts.take_over(number)
        learner.learn(clicks(1000 * number, items=7))
        publish(learner, replica, fresh)
    assert replica.parts.published()["next"]["key"] == "next.2"
    assert replica.parts.not_understood == []
    state, other = (each.generators["next"].state for each in (replica, last))
    rows = np.arange(60, dtype=np.int32)
    assert state.dump(rows).tobytes() == other.dump(rows).tobytes()


@pytest.mark.parametrize("name", sorted({*GENERATORS} - {"history", "content"}))
def test_a_model_of_more_items_understands_the_rows_of_one_of_fewer(name):
    smaller, larger = model(60, [name]), model(150, [name])
    smaller.learn(clicks(0, 300))
    publish(smaller, larger)
    assert [slate.items for slate in lists(larger)] == [slate.items for slate in lists(smaller)]
    assert any(slate.items for slate in lists(larger))
    smaller.dump_touched()
    smaller.learn(clicks(300))
    publish(smaller, larger)
    assert [slate.items for slate in lists(larger)] == [slate.items for slate in lists(smaller)]


def test_rows_from_before_checkpoints_had_layouts_are_understood_unless_they_changed_since():
    learner = model(generators=("next", "embedding"))
    learner.learn(clicks(0))
    rows = learner.dump_touched()
    replica = model(generators=("next", "embedding"))
    replica.parts.follow(None)
    replica.apply(replica.prepare(rows.items()))
    assert replica.parts.not_understood == ["embedding"]
    assert replica.generators["next"].state["size"].sum() > 0
    other = model(next={"neighbours": 8})
    other.parts.follow(None)
    other.apply(other.prepare(rows.items()))
    assert other.parts.not_understood == ["next"], "its rows are of another size"


def test_a_component_that_starts_over_is_as_new_and_keeps_its_half_life():
    learner, new = model(**ALL), model(**ALL)
    learner.set_half_lives({"next": 5.0})
    learner.learn(clicks(0))
    learner.clear()
    assert learner.half_lives_ms == new.half_lives_ms | {"next": 5.0}
    learner.set_half_lives({})
    for each in (learner, new):
        each.learn(clicks(0))
        each.learn(clicks(200))
    assert learner.dump_touched() == new.dump_touched()
    assert lists(learner, "din") == lists(new, "din")
