"""Build the model and its recommender from the settings, alike for worker, learner and evaluation."""

from collections.abc import Iterable

from models.evaluation.evaluated import EvaluatedRecommender
from models.evaluation.live import FROZEN, NOW, LiveQuality
from models.evaluation.replicas import DelayedReplica
from models.model import Model
from models.recommender import Recommender
from models.registry import RANKERS
from models.rerank.rules import Rules
from models.units import HOUR_MS
from streams.runtime.native_pools import bound_native_pools
from streams.setting_types import Placement
from streams.settings import BadSetting, Settings


def make_model(settings: Settings, rankers: Iterable[str] = ()) -> Model:
    """A model that has learnt nothing, with `rankers` beside the one of the settings.

    Every process that has a model builds it here, so this is where its native thread pools are bounded.
    `BadSetting` if a generator or ranker does not take its `model_parameters`.
    """
    bound_native_pools()
    try:
        model = Model(
            settings.generators,
            settings.max_items,
            settings.admit_after,
            settings.seed,
            settings.context_key,
            parameters=settings.model_parameters,
            rankers=dict.fromkeys((settings.ranker, *rankers)),
            rank_every=settings.rank_every,
            show_unlisted=settings.unlisted_items == "show",
            kept=settings.kept,
        )
    except (TypeError, ValueError) as error:
        raise BadSetting(f"model_parameters: {error}") from None
    set_half_lives(settings, model)
    return model


def set_half_lives(settings: Settings, *models: Model) -> None:
    """Let the models decay by the half-lives of these settings from now on."""
    for model in models:
        model.set_half_lives({name: hours * HOUR_MS for name, hours in settings.half_lives_h.items()})


def make_quality(settings: Settings, model: Model) -> LiveQuality:
    """Measures the model while it learns, beside a replica that is refreshed seldom, and its parts."""
    learnt, replicas = RANKERS[settings.ranker].learns, []
    if settings.frozen_twin_h:
        replicas.append(DelayedReplica(FROZEN, make_model(settings), int(settings.frozen_twin_h * HOUR_MS)))
    recommenders = [EvaluatedRecommender(NOW, model, make_recommender(settings, model), learnt)]
    recommenders += [
        EvaluatedRecommender(replica.name, replica.model, make_recommender(settings, replica.model), learnt)
        for replica in replicas
    ]
    if learnt:
        recommenders.append(EvaluatedRecommender("blend", model, Recommender(model, settings.generators)))
    return LiveQuality(
        recommenders, replicas, settings.measure_every, settings.context_key, list(settings.generators)
    )


def make_recommender(
    settings: Settings, model: Model, threads: int = 1, placement: Placement | None = None
) -> Recommender:
    """A recommender over this model, for a placement; None: the default one."""
    weights, ranker, rules = settings.generators, settings.ranker, settings.rules
    if placement is not None:
        if placement.generators is not None:
            weights, ranker = {n: w for n, w in placement.generators.items() if w > 0}, "blend"
        rules = rules if placement.rules is None else tuple(placement.rules)
    return Recommender(model, weights, ranker, settings.list_latest, threads, Rules(rules))
