"""Evaluate on a log: the stream's own steps, without the stream.

    log ▶ arrivals ▶ accept ▶ examples     streams.clients.publish, streams.step.accept, as on the stream
    examples ▶ predict ▶ learn             models.evaluation: the learner's `Model.learn`, the worker's lists

The log is one partition, read into memory as examples: about 0.5 kB an event.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from models.core import Example
from models.evaluation.facts import Facts, facts
from models.evaluation.replicas import Twin
from models.evaluation.run import Contender, Exclude, Progress, Result, latest, nothing, run, seen
from models.evaluation.summary import summarise
from models.model import Model
from models.recommender import Recommender
from models.registry import RANKERS
from streams.clients.publish import schedule
from streams.messages import Event
from streams.offline.options import BadPlan, Options, duration_ms
from streams.offline.plan import Taken, plan
from streams.runtime.factory import make_model, make_recommender
from streams.settings import Settings
from streams.step.accept import accept, example
from streams.step.policy import ServingPolicy
from streams.step.users import User, Verdict


@dataclass
class Read:
    """What became of a log's events, counted while they are read."""

    verdicts: Counter[Verdict] = field(default_factory=Counter)
    types: Counter[str] = field(default_factory=Counter)


def take(
    log: Iterable[Event], policy: ServingPolicy, options: Options, read: Read
) -> Iterator[tuple[Example, str]]:
    """The examples that a worker would make of this log, and the label of each."""
    label = options.label
    users: dict[str, User] = {}
    for offset, due in enumerate(schedule(_picked(log, options))):
        event, arrived = due.event, due.arrival
        assert arrived is not None  # a log is not live
        user, verdict, accepted = accept(users.get(event.user, User()), event, offset, arrived, policy)
        users[event.user] = user
        read.verdicts[verdict] += 1
        read.types[event.type] += 1
        if accepted is not None and (one := example(accepted, user)) is not None:
            yield one, str(one.context.pop(label, "")) if label else ""


def _picked(log: Iterable[Event], options: Options) -> Iterator[Event]:
    latest: dict[str, str | None] = {}
    for event in islice(log, options.limit):
        if options.min_value is not None and (event.value is None or event.value < options.min_value):
            continue
        if options.drop_reloads:
            if latest.get(event.user) == event.item:
                continue
            latest[event.user] = event.item
        yield event


def contenders(options: Options, settings: Settings) -> tuple[list[Contender], list[Twin]]:
    """Who is evaluated side by side; the first is the settings' recommender."""
    weights = settings.generators
    compare = weights.keys() & {"popularity"} if options.compare is None else options.compare
    if unknown := sorted(compare - weights.keys() - {"generators", "rankers"}):
        raise BadPlan(f"--compare {unknown[0]}: there are generators, rankers, {', '.join(weights)}")
    others = [name for name in RANKERS if name != settings.ranker and _possible(name, weights)]
    rankers = others if "rankers" in compare else []
    model = make_model(settings, rankers)
    learnt = settings.ranker != "blend"
    found = [Contender("all", model, make_recommender(settings, model), learnt)]
    twins = []
    for every in options.refresh:
        replica = make_model(settings)
        twins.append(Twin(f"refresh {every}", replica, None if every == "never" else duration_ms(every)))
        found.append(Contender(twins[-1].name, replica, make_recommender(settings, replica), learnt))
    for name in rankers:
        recommender = Recommender(model, weights, name)
        found.append(Contender(f"ranker {name}", model, recommender, name != "blend"))
    alone = [name for name in weights if name in compare or "generators" in compare]
    found += [Contender(name, model, Recommender(model, {name: 1.0})) for name in alone]
    for name in options.without:
        if name not in weights:
            raise BadPlan(f"--without {name}: there are {', '.join(weights)}")
        less = settings.model_copy(update={"generators": {n: w for n, w in weights.items() if n != name}})
        other = make_model(less)
        found.append(Contender(f"without {name}", other, make_recommender(less, other), learnt))
    return found, twins


def _possible(ranker: str, weights: Mapping[str, float]) -> bool:
    """Whether a ranker can work over these generators: some look at vectors, which one of them must have."""
    try:
        Model(weights, 100, rankers=[ranker])
    except ValueError:
        return False
    return True


EXCLUDE: dict[str, Callable[[Sequence[Example]], Exclude]] = {
    "latest": latest,
    "seen": seen,
    "nothing": lambda examples: nothing,
}
"""What the lists leave out, by name."""


def evaluate(
    options: Options, settings: Settings, taken: Taken, show: Progress = lambda *_: None
) -> dict[str, Any]:
    """All figures, ready for JSON.  `BadPlan` where the options do not fit the log."""
    about = facts(taken.examples)
    result = measure(options, settings, taken, about, show)
    return summarise(result, taken.examples, about, options.ks, settings.seed)


def measure(options: Options, settings: Settings, taken: Taken, about: Facts, show: Progress) -> Result:
    """Run the protocol."""
    if not taken.examples:
        raise BadPlan("no event of the log teaches: are the weights of its types 0?")
    found, twins = contenders(options, settings)
    steps = plan(options, taken, about)
    as_served = "nothing" if settings.list_latest else "latest"
    exclude = EXCLUDE[options.exclude or as_served](taken.examples)
    result = run(taken.examples, about.users, steps, found, twins, exclude, max(options.ks), show)
    if not len(result.scored):
        raise BadPlan("nothing was predicted: the options leave no event")
    return result


def weigh(settings: Settings, weights: Mapping[str, float]) -> Settings:
    """The settings with these weights of event types; `*` is every other type."""
    named = {name: weight for name, weight in weights.items() if name != "*"}
    if "*" not in weights:
        update: dict[str, Any] = {"event_weights": settings.event_weights | named}
    else:
        update = {"event_weights": named, "unknown_event_weight": weights["*"]}
    return settings.model_copy(update=update)
