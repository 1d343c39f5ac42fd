"""Tune the model's settings on a log, on a part of it that no figure is reported of.  Needs Optuna.

A trial is an evaluation with other settings.  It is given up when it is worse than the median of those
before it were at the same place (Golovin et al. 2017, "Google Vizier").  Trials are suggested by a
tree-structured Parzen estimator (Bergstra et al. 2011, "Algorithms for hyper-parameter optimization").  The
settings as they are are measured first, so that what comes out is never worse than they, on that part.  The
search is kept in a file, and goes on from it.
"""

import inspect
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from models.evaluation.facts import facts
from models.evaluation.metrics import Quality
from models.evaluation.run import Result
from models.model import Model
from streams.offline.evaluate import measure
from streams.offline.options import BadPlan, Options
from streams.offline.plan import Taken, plan
from streams.offline.search_space import HYPER_PARAMETERS, known, suggest
from streams.settings import BadSetting, Settings

REPORTS = 20
"""Times that a trial is compared with the others while it runs; not before a quarter of its predictions."""
STARTUP_TRIALS = 8
"""Before any is given up, and before suggestions are more than random."""

SQLITE = b"SQLite format 3\0"
"""How the file of a search begins."""

FIRST = "first"
"""What the settings as they are reached, noted in the search."""

Show = Callable[[str, Quality, float], None]
"""Called while a trial runs: which it is, its quality so far, the best value so far."""


class Tuned(NamedTuple):
    """What a search found."""

    settings: dict[str, Any]
    """The best `generators`, `ranker` and `model_parameters`."""
    value: float
    first: float
    """Of the settings as they were."""
    trials: int
    pruned: int
    metric: str
    interrupted: bool


def check(out: str, storage: str) -> None:
    """Refuse before the work is done what would fail after it.  `BadPlan`."""
    if find_spec("optuna") is None:
        raise BadPlan("tuning needs Optuna: pip install 'freshet[tune]'")
    for option, file in (("--out", Path(out)), ("--storage", Path(storage))):
        if not file.absolute().parent.is_dir():
            raise BadPlan(f"{option} {file}: there is no such folder")
        if file.is_dir():
            raise BadPlan(f"{option} {file}: is a folder")
    kept = Path(storage)
    if kept.exists() and kept.stat().st_size and kept.open("rb").read(len(SQLITE)) != SQLITE:
        raise BadPlan(f"--storage {storage}: is no search of freshet's; name another file")


def validation_only(options: Options, taken: Taken, share: float) -> Taken:
    """The part of the log that may be tuned on.  `BadPlan` where the options name the part of the report."""
    if options.protocol == "prequential":
        n = int(share * len(taken.examples))
        return Taken(taken.examples[:n], taken.labels[:n])
    if options.protocol == "windows" and options.windows is None:
        raise BadPlan("--windows: say on which to tune, 1-7 say; the others are for the report")
    if options.protocol in ("holdout", "leave-one-out") and options.part == "test":
        raise BadPlan("--part test is for the report; tune on valid")
    return taken


def tune(
    options: Options,
    settings: Settings,
    taken: Taken,
    *,
    generators: list[str],
    rankers: list[str],
    metric: str,
    trials: int,
    storage: str,
    show: Show,
) -> Tuned:
    """Search until `storage` has so many trials.  `BadPlan` if it holds another search."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        storage=f"sqlite:///{storage}",
        study_name="freshet",
        load_if_exists=True,
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=REPORTS // 4),
    )
    study.sampler = optuna.samplers.TPESampler(  # who goes on must not suggest the same once more
        seed=settings.seed + _done(study), n_startup_trials=STARTUP_TRIALS
    )
    _same_search(study, options, taken, [generators, rankers, metric])
    options = replace(options, refresh=(), compare=frozenset(), without=())
    about = facts(taken.examples)
    predictions = max(sum(len(step.scored) for step in plan(options, taken, about)), 1)
    k = options.ks[0]

    def value(result: Result) -> float:
        return float(getattr(Quality.of(result.outcomes["all"].ranks, k), metric))

    def objective(trial: optuna.Trial) -> float:
        changed = suggest(trial, generators, rankers)
        if not changed["generators"]:
            raise optuna.TrialPruned
        for name, values in changed["model_parameters"].items():
            changed["model_parameters"][name] = settings.model_parameters.get(name, {}) | values
        trial.set_user_attr("settings", changed)
        reported = 0

        def watch(quality: Quality, *_: object) -> None:
            nonlocal reported
            show(f"trial {trial.number + 1} of {trials}", quality, max(_best(study), first))
            step = int(REPORTS * quality.count / predictions)
            if step > reported:
                reported = step
                trial.report(getattr(quality, metric), step)
                if trial.should_prune():
                    raise optuna.TrialPruned

        try:
            return value(measure(options, settings.model_copy(update=changed), taken, about, watch))
        except BadSetting as error:  # parts that do not go together
            raise optuna.TrialPruned(str(error)) from None

    interrupted, first = False, 0.0
    try:
        if FIRST not in study.user_attrs:
            whole = measure(options, settings, taken, about, lambda now, *_: show("as it is", now, 0.0))
            study.set_user_attr(FIRST, value(whole))
            parameters = as_built(settings, generators)
            study.enqueue_trial(known(settings.generators, settings.ranker, parameters, generators))
        first = float(study.user_attrs[FIRST])
        study.optimize(objective, n_trials=max(trials - _done(study), 0))
    except KeyboardInterrupt:
        interrupted = True
    if FIRST not in study.user_attrs:
        raise BadPlan("the settings as they are were not measured to the end: there is nothing to write")
    first = float(study.user_attrs[FIRST])
    found = {name: getattr(settings, name) for name in ("generators", "ranker", "model_parameters")}
    if (best := _best(study)) > first:
        found = study.best_trial.user_attrs["settings"]
    pruned = len(study.get_trials(states=[optuna.trial.TrialState.PRUNED]))
    return Tuned(found, max(best, first), first, _done(study), pruned, f"{metric}@{k}", interrupted)


def as_built(settings: Settings, generators: list[str]) -> dict[str, dict[str, Any]]:
    """The hyper-parameters of the space as they are: those of the settings, else of the parts themselves."""
    small = Model([*settings.generators, *generators], 100, rankers=[settings.ranker])
    parts = {**small.generators, **small.rankers}
    return {
        name: {key: _own(parts[name], key) for key in within} | settings.model_parameters.get(name, {})
        for name, within in HYPER_PARAMETERS.items()
        if name in parts
    }


def _own(part: Any, key: str) -> Any:
    """What `part` was built with: it keeps it under that name, or its constructor has it as default."""
    return getattr(part, key, inspect.signature(type(part).__init__).parameters[key].default)


def _done(study: Any) -> int:
    return sum(trial.state.is_finished() for trial in study.trials)


def _best(study: Any) -> float:
    try:
        return float(study.best_value)
    except ValueError:  # none is complete
        return 0.0


def _same_search(study: Any, options: Options, taken: Taken, more: list[Any]) -> None:
    """What the file's trials were measured on must be what these will be."""
    protocol = {name: sorted(v) if isinstance(v, frozenset) else v for name, v in asdict(options).items()}
    what = json.dumps([protocol, len(taken.examples), *more])
    if study.user_attrs.setdefault("search", what) != what:
        raise BadPlan("--storage holds another search: other options, metric or log; name another file")
    study.set_user_attr("search", what)


def toml(tuned: Tuned, comment: str) -> str:
    """A settings file for FRESHET_FILE."""
    lines = [f"# {comment}", "", f'ranker = "{tuned.settings["ranker"]}"', "", "[generators]"]
    lines += [f"{name} = {weight}" for name, weight in tuned.settings["generators"].items()]
    for name, values in tuned.settings["model_parameters"].items():
        if values:
            lines += [
                "",
                f"[model_parameters.{name}]",
                *(f"{key} = {value}" for key, value in values.items()),
            ]
    return "\n".join(lines) + "\n"
