"""The model and its recommender as the settings want them: the same in worker, learner and evaluation."""

from collections.abc import Iterable

from models.evaluation.live import FROZEN, NOW, LiveQuality
from models.evaluation.replicas import Twin
from models.evaluation.run import Contender
from models.model import Model
from models.recommender import Recommender
from models.units import HOUR_MS
from streams.settings import BadSetting, Settings


def make_model(settings: Settings, rankers: Iterable[str] = ()) -> Model:
    """A model that has learnt nothing, with more rankers beside the settings' own if wanted.

    `BadSetting` if a part does not take what it is given.
    """
    try:
        model = Model(
            settings.generators,
            settings.max_items,
            settings.admit_after,
            settings.seed,
            parameters=settings.model_parameters,
            rankers=dict.fromkeys((settings.ranker, *rankers)),
            rank_every=settings.rank_every,
        )
    except (TypeError, ValueError) as error:
        raise BadSetting(f"model_parameters: {error}") from None
    set_half_lives(settings, model)
    return model


def set_half_lives(settings: Settings, *models: Model) -> None:
    """Have the models forget by these settings, from now on."""
    for model in models:
        model.set_half_lives({name: hours * HOUR_MS for name, hours in settings.half_lives_h.items()})


def make_quality(settings: Settings, model: Model) -> LiveQuality:
    """Measures the model while it learns, beside a twin that is refreshed seldom, and its parts."""
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
    return LiveQuality(found, twins, settings.measure_every)


def make_recommender(settings: Settings, model: Model, threads: int = 1) -> Recommender:
    """Recommends from this model."""
    return Recommender(model, settings.generators, settings.ranker, settings.list_latest, threads)
