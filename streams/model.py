"""The model and its recommender as the settings want them: the same in worker, learner and evaluation."""

from collections.abc import Iterable

from models.model import Model
from models.recommender import Recommender
from streams.settings import BadSetting, Settings


def make_model(settings: Settings, rankers: Iterable[str] = ()) -> Model:
    """A model that has learnt nothing, with more rankers beside the settings' own if wanted.

    `BadSetting` if a part does not take what it is given.
    """
    try:
        return Model(
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


def make_recommender(settings: Settings, model: Model) -> Recommender:
    """Recommends from this model."""
    return Recommender(model, settings.generators, settings.ranker)
