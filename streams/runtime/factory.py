"""Build the model and its recommender from the settings, alike for worker, learner and evaluation."""

from collections.abc import Iterable

from models.evaluation.live import FROZEN, NOW, LiveQuality
from models.evaluation.replicas import Twin
from models.evaluation.run import Contender
from models.kernels.decay import HOUR_MS
from models.model import Model
from models.recommender import Recommender
from streams.settings import BadSetting, Settings


def make_model(settings: Settings, rankers: Iterable[str] = ()) -> Model:
    """A model that has learnt nothing, with `rankers` beside the one of the settings.

    `BadSetting` if a generator or ranker does not take its `model_parameters`.
    """
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
    """What measures the model while it learns, its parts, and a copy of it that is refreshed seldom."""
    learnt, twins = settings.ranker != "blend", []
    if settings.frozen_twin_h:
        twins.append(Twin(FROZEN, make_model(settings), int(settings.frozen_twin_h * HOUR_MS)))
    found = [Contender(NOW, model, make_recommender(settings, model), learnt)]
    found += [
        Contender(twin.name, twin.model, make_recommender(settings, twin.model), learnt) for twin in twins
    ]
    found += [Contender(name, model, Recommender(model, {name: 1.0})) for name in settings.generators]
    if learnt:
        found.append(Contender("blend", model, Recommender(model, settings.generators)))
    return LiveQuality(found, twins, settings.measure_every, settings.context_key)


def make_recommender(settings: Settings, model: Model, threads: int = 1) -> Recommender:
    """A recommender over this model."""
    return Recommender(model, settings.generators, settings.ranker, settings.list_latest, threads)
