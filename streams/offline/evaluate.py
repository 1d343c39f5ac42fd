"""Evaluate recommenders on the examples of a log: the stream's own predicting and learning, without Kafka."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from models.core import Example
from models.evaluation.evaluated import EvaluatedRecommender
from models.evaluation.example_columns import ExampleColumns, example_columns
from models.evaluation.exclusions import Exclusion, exclude_latest, exclude_nothing, exclude_seen
from models.evaluation.listed_items import ListedItems
from models.evaluation.replicas import DelayedReplica
from models.evaluation.run import NO_CATALOG, Progress, RunResult, run
from models.evaluation.summary import summarise
from models.model import Model
from models.recommender import Recommender
from models.registry import RANKERS
from streams.offline.examples import LabelledExamples
from streams.offline.options import BadOptions, EvaluationOptions, duration_ms
from streams.offline.plan import plan
from streams.runtime.factory import make_model, make_recommender
from streams.setting_types import make_placements
from streams.settings import Settings
from streams.step.answers import condition, starting_from

EXCLUSIONS: dict[str, Callable[[Sequence[Example]], Exclusion]] = {
    "latest": exclude_latest,
    "seen": exclude_seen,
    "nothing": lambda examples: exclude_nothing,
}
"""What the lists leave out, by the value of `--exclude`."""


def evaluate(
    options: EvaluationOptions,
    settings: Settings,
    log: LabelledExamples,
    show: Progress = lambda *_: None,
    listed: ListedItems = NO_CATALOG,
) -> dict[str, Any]:
    """All metrics, ready for JSON.  `BadOptions` where the options do not fit the log."""
    columns = example_columns(log.examples)
    result = run_options(options, settings, log, columns, show, listed)
    return summarise(result, log.examples, columns, options.ks, settings.seed)


def run_options(
    options: EvaluationOptions,
    settings: Settings,
    log: LabelledExamples,
    columns: ExampleColumns,
    show: Progress,
    listed: ListedItems = NO_CATALOG,
) -> RunResult:
    """Run the protocol of the options.  `BadOptions` where they do not fit the log."""
    if not log.examples:
        raise BadOptions("the log has no examples: are the weights of all its event types 0?")
    recommenders, replicas = evaluated_recommenders(options, settings)
    steps = plan(options, log, columns)
    as_served = "nothing" if settings.list_latest else "latest"
    exclude = EXCLUSIONS[options.exclude or as_served](log.examples)
    result = run(
        log.examples, columns.users, steps, recommenders, replicas, exclude, max(options.ks), show, listed
    )  # fmt: skip
    if not len(result.predicted):
        raise BadOptions("no predictions: the options leave no example to predict")
    return result


def evaluated_recommenders(
    options: EvaluationOptions, settings: Settings
) -> tuple[list[EvaluatedRecommender], list[DelayedReplica]]:
    """The recommenders to compare and the replicas of some; the first is the recommender of the settings.

    `BadOptions` where an option names an unknown generator.
    """
    weights = settings.generators
    compare = weights.keys() & {"popularity"} if options.compare is None else options.compare
    if unknown := sorted(compare - weights.keys() - {"generators", "rankers"}):
        raise BadOptions(
            f"unknown name '{unknown[0]}' in --compare: expected generators, rankers, {', '.join(weights)}"
        )
    others = [name for name in RANKERS if name != settings.ranker and _possible(name, weights)]
    rankers = others if "rankers" in compare else []
    model = make_model(settings, rankers)
    learnt = RANKERS[settings.ranker].learns
    recommenders = [EvaluatedRecommender("all", model, make_recommender(settings, model), learnt)]
    replicas = []
    for every in options.refresh:
        replica = DelayedReplica(
            f"refresh {every}", make_model(settings), None if every == "never" else duration_ms(every)
        )
        replicas.append(replica)
        recommenders.append(
            EvaluatedRecommender(
                replica.name, replica.model, make_recommender(settings, replica.model), learnt
            )
        )
    for name in rankers:
        recommender = Recommender(model, weights, name)
        recommenders.append(EvaluatedRecommender(f"ranker {name}", model, recommender, RANKERS[name].learns))
    alone = [name for name in weights if name in compare or "generators" in compare]
    recommenders += [EvaluatedRecommender(name, model, Recommender(model, {name: 1.0})) for name in alone]
    recommenders += placed_recommenders(options, settings, model)
    for name in options.without:
        if name not in weights:
            raise BadOptions(f"unknown generator '{name}' in --without: expected one of {', '.join(weights)}")
        rest = {other: weight for other, weight in weights.items() if other != name}
        fewer = settings.model_copy(update={"generators": rest})
        own = make_model(fewer)
        recommenders.append(
            EvaluatedRecommender(f"without {name}", own, make_recommender(fewer, own), learnt)
        )
    return recommenders, replicas


def placed_recommenders(
    options: EvaluationOptions, settings: Settings, model: Model
) -> list[EvaluatedRecommender]:
    """The recommenders of the placements to compare.  `BadOptions` where there is none of that name."""
    placements, recommenders = make_placements(settings.placements), []
    for name in options.placements:
        if name not in placements:
            known = ", ".join(placements) or "none: set FRESHET_PLACEMENTS"
            raise BadOptions(f"unknown placement '{name}' in --placement: expected one of {known}")
        placement = placements[name]
        recommender = make_recommender(settings, model, placement=placement)
        recommenders.append(
            EvaluatedRecommender(
                f"placement {name}", model, recommender,
                view=partial(starting_from, start=placement.start), where=condition(placement.where),
            )
        )  # fmt: skip
    return recommenders


def _possible(ranker: str, weights: Mapping[str, float]) -> bool:
    """Whether a ranker works with these generators: some need vectors, which one of them must have."""
    try:
        Model(weights, 100, rankers=[ranker])
    except ValueError:
        return False
    return True
