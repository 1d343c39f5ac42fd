"""Figures of the stream, with answers known beforehand."""

import numpy as np

from models.core import Example, Shown
from models.evaluation.live import FROZEN, NOW, SHOWN, LiveQuality, parted
from models.evaluation.replicas import Twin
from models.evaluation.run import Contender
from models.model import Model
from models.recommender import Recommender
from tests.models import arrays

DAY = 1_700_000_000_000


def example(item, *before, time=0):
    return arrays.example(item, *before, time=DAY + time)


def pairs(names: list[str], step_ms: int = 1) -> list[Example]:
    """Sessions of two items, `a` and `b` of each name; only the second can be predicted."""
    made = []
    for n, name in enumerate(names):
        made += [example(f"a{name}", time=n * step_ms), example(f"b{name}", f"a{name}", time=n * step_ms)]
    return made


def quality(every: int = 1, twin_ms: int | None = None) -> tuple[LiveQuality, Model]:
    model, other = Model(["next", "popularity"], 100), Model(["next", "popularity"], 100)
    weights = {"next": 1.0, "popularity": 0.01}
    found = [Contender(NOW, model, Recommender(model, weights))]
    twins = [Twin(FROZEN, other, twin_ms)] if twin_ms else []
    found += [Contender(t.name, t.model, Recommender(t.model, weights)) for t in twins]
    found.append(Contender("popularity", model, Recommender(model, {"popularity": 1.0})))
    return LiveQuality(found, twins, every), model


def stream(made: LiveQuality, model: Model, examples: list[Example], size: int = 1) -> dict:
    for at in range(0, len(examples), size):
        part = examples[at : at + size]
        made.observe(part)
        model.learn(part)
        made.learnt(part)
        made.published(model.dump_touched())
    return parted(made.totals)


def test_nothing_is_learnt_before_it_is_measured():
    """Each pair is new: whoever knew it when it was measured would have cheated."""
    made, model = quality()
    found = stream(made, model, pairs([str(n) for n in range(40)]))
    assert found[NOW]["all"] == {"predictions": 40}


def test_a_chain_that_repeats_is_hit_from_its_second_time_on():
    made, model = quality()
    found = stream(made, model, pairs([str(n % 10) for n in range(40)]))
    assert found[NOW]["all"] == {"predictions": 40, "hits": 30, "reciprocal_ranks": 30, "gains": 30}
    assert found[NOW]["item unknown"] == {"predictions": 10}
    assert found[NOW]["user new"] == found[NOW]["all"]
    assert found[NOW]["type view"] == found[NOW]["all"]
    assert made.totals["lift:popularity|predictions"] == 40
    missed = 30 - found["popularity"]["all"].get("hits", 0)
    assert made.totals["lift:popularity|difference"] == missed == made.totals["lift:popularity|squares"]


def test_what_was_shown_is_taken_from_the_example():
    made, model = quality(every=1000)
    shown = [example("b", "a") for _ in range(3)]
    shown[0].shown, shown[1].shown = Shown("0-1", 0), Shown("0-2", 3)
    found = stream(made, model, [*shown, example("first of a user")])
    assert found[SHOWN]["all"]["predictions"] == 3
    assert found[SHOWN]["all"]["hits"] == 2
    assert found[SHOWN]["all"]["reciprocal_ranks"] == 1 + 1 / 4


def test_one_example_in_so_many_is_asked_about():
    made, model = quality(every=7)
    found = stream(made, model, [example(f"b{n % 3}", "a", time=n) for n in range(100)], size=9)
    assert found[NOW]["all"]["predictions"] == 15  # of 100: the first, and every seventh after it


def test_the_twin_knows_what_was_public_when_it_was_refreshed():
    """Sessions repeat within an hour and never after it: a twin of the hour before never hits."""
    made, model = quality(twin_ms=3_600_000)
    names = [f"{hour}-{n % 5}" for hour in range(3) for n in range(60)]
    found = stream(made, model, pairs(names, step_ms=60_000))
    assert found[NOW]["all"]["hits"] == 3 * 55
    assert "hits" not in found[FROZEN]["all"]
    assert made.gauges()["twin_age_ms:frozen"] == 59 * 60_000


def test_segments_are_bounded_whatever_users_send():
    made, model = quality()
    stream(made, model, [Example("u", n, DAY + n, f"type-{n}", "b", history=("a",)) for n in range(200)])
    assert len(parted(made.totals)[NOW]) < 40


def test_lists_are_described_after_enough_of_them():
    made, model = quality()
    rng = np.random.default_rng(1)
    stream(made, model, [example(f"b{rng.integers(20)}", "a", time=n) for n in range(2100)], size=100)
    assert 0 < made.gauges()["lists:coverage"] <= 1
    assert made.gauges()["lists:novelty"] > 0
