"""The model and its recommender as the settings want them: the same in worker, learner and evaluation."""

from models.model import Model
from models.recommender import Recommender
from streams.settings import BadSetting, Settings


def make_model(settings: Settings) -> Model:
    """A model that has learnt nothing.  `BadSetting` if a part does not take what it is given."""
    try:
        return Model(
            settings.generators,
            settings.max_items,
            settings.admit_after,
            settings.seed,
            parameters=settings.model_parameters,
        )
    except (TypeError, ValueError) as error:
        raise BadSetting(f"model_parameters: {error}") from None


def make_recommender(settings: Settings, model: Model) -> Recommender:
    """Recommends from this model."""
    return Recommender(model, settings.generators)
