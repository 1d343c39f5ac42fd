"""Tune the model's settings on a part of a log for which no metric is reported.  Needs Optuna.

A trial is an evaluation with other settings.  It is pruned when it is worse than the median of the earlier
trials at the same place (Golovin et al. 2017, "Google Vizier").  Trials are suggested by a tree-structured
Parzen estimator (Bergstra et al. 2011, "Algorithms for hyper-parameter optimization").  The current settings
are evaluated first, so that the result is never worse than they are, on that part.  The search is kept in a
file, from which it can be continued.
"""

import inspect
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import tomli_w

from models.evaluation.example_columns import example_columns
from models.evaluation.metrics import Quality
from models.evaluation.run import RunResult
from models.model import Model
from streams.offline.evaluate import run_options
from streams.offline.examples import LabelledExamples
from streams.offline.options import BadOptions, EvaluationOptions
from streams.offline.plan import plan
from streams.offline.search_space import HYPER_PARAMETERS, starting_point, suggest
from streams.settings import BadSetting, Settings

REPORTS = 20
"""Times that a trial is compared with the others while it runs; not before a quarter of its predictions."""
STARTUP_TRIALS = 8
"""Trials before any is pruned, and before suggestions are more than random."""

SQLITE = b"SQLite format 3\0"
"""First bytes of the file that a search is kept in."""

FIRST = "first"
"""Attribute of the search that keeps the metric of the current settings."""

Show = Callable[[str, Quality, float], None]
"""Called while a trial runs with its name, its quality so far, and the best value so far."""


class TuningResult(NamedTuple):
    """The result of a search."""

    settings: dict[str, Any]
    """The best `generators`, `ranker` and `model_parameters`."""
    value: float
    """The metric of these settings."""
    first: float
    """The metric of the settings before the search."""
    trials: int
    pruned: int
    metric: str
    interrupted: bool


def check_files(out: str, storage: str) -> None:
    """Check before the search that its result can be written after it.  `BadOptions` if it cannot."""
    if find_spec("optuna") is None:
        raise BadOptions("freshet tune needs Optuna: pip install 'freshet[tune]'")
    for option, file in (("--out", Path(out)), ("--storage", Path(storage))):
        if not file.absolute().parent.is_dir():
            raise BadOptions(f"{option} {file}: the folder does not exist")
        if file.is_dir():
            raise BadOptions(f"{option} {file}: expected a file, not a folder")
    path = Path(storage)
    if path.exists() and path.stat().st_size and path.open("rb").read(len(SQLITE)) != SQLITE:
        raise BadOptions(f"--storage {storage}: not a file of freshet tune; name another file")


def validation_only(options: EvaluationOptions, log: LabelledExamples, share: float) -> LabelledExamples:
    """The part of the log that may be tuned on; of a prequential log, the first `share`, 0 to 1.

    `BadOptions` where the options name the part that is reserved for the report.
    """
    if options.protocol == "prequential":
        n = int(share * len(log.examples))
        return LabelledExamples(log.examples[:n], log.labels[:n])
    if options.protocol == "windows" and options.windows is None:
        raise BadOptions(
            "--windows is missing: name the windows to tune on, such as 1-7; report on the others"
        )
    if options.protocol in ("holdout", "leave-one-out") and options.part == "test":
        raise BadOptions("--part test is reserved for the report: tune on --part valid")
    return log


def tune(
    options: EvaluationOptions,
    settings: Settings,
    log: LabelledExamples,
    *,
    generators: list[str],
    rankers: list[str],
    metric: str,
    trials: int,
    storage: str,
    show: Show,
) -> TuningResult:
    """Search until `storage` has this number of trials.  `BadOptions` if it holds another search."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        storage=f"sqlite:///{storage}",
        study_name="freshet",
        load_if_exists=True,
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=REPORTS // 4),
    )
    study.sampler = optuna.samplers.TPESampler(  # a search that continues must not repeat its suggestions
        seed=settings.seed + _finished(study), n_startup_trials=STARTUP_TRIALS
    )
    _check_same_search(study, options, log, [generators, rankers, metric])
    options = replace(options, refresh=(), compare=frozenset(), without=())
    columns = example_columns(log.examples)
    predictions = max(sum(len(step.predicted) for step in plan(options, log, columns)), 1)
    k = options.ks[0]

    def value(result: RunResult) -> float:
        return float(getattr(Quality.of(result.recommenders["all"].ranks, k), metric))

    def objective(trial: optuna.Trial) -> float:
        changes = suggest(trial, generators, rankers)
        if not changes["generators"]:
            raise optuna.TrialPruned
        for name, values in changes["model_parameters"].items():
            changes["model_parameters"][name] = settings.model_parameters.get(name, {}) | values
        trial.set_user_attr("settings", changes)
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
            return value(run_options(options, settings.model_copy(update=changes), log, columns, watch))
        except BadSetting as error:  # the generators and the ranker do not go together
            raise optuna.TrialPruned(str(error)) from None

    interrupted, first = False, 0.0
    try:
        if FIRST not in study.user_attrs:
            result = run_options(
                options, settings, log, columns, lambda now, *_: show("current settings", now, 0.0)
            )
            study.set_user_attr(FIRST, value(result))
            parameters = current_parameters(settings, generators)
            study.enqueue_trial(starting_point(settings.generators, settings.ranker, parameters, generators))
        first = float(study.user_attrs[FIRST])
        study.optimize(objective, n_trials=max(trials - _finished(study), 0))
    except KeyboardInterrupt:
        interrupted = True
    if FIRST not in study.user_attrs:
        raise BadOptions("interrupted before the current settings were evaluated: there is nothing to write")
    first = float(study.user_attrs[FIRST])
    tuned = {name: getattr(settings, name) for name in ("generators", "ranker", "model_parameters")}
    if (best := _best(study)) > first:
        tuned = study.best_trial.user_attrs["settings"]
    pruned = len(study.get_trials(states=[optuna.trial.TrialState.PRUNED]))
    return TuningResult(
        tuned, max(best, first), first, _finished(study), pruned, f"{metric}@{k}", interrupted
    )


def current_parameters(settings: Settings, generators: list[str]) -> dict[str, dict[str, Any]]:
    """Current values of the hyper-parameters of the search space: the settings', else the parts' own."""
    model = Model([*settings.generators, *generators], 100, rankers=[settings.ranker])
    parts = {**model.generators, **model.rankers}
    return {
        name: {key: _parameter(parts[name], key) for key in bounds} | settings.model_parameters.get(name, {})
        for name, bounds in HYPER_PARAMETERS.items()
        if name in parts
    }


def _parameter(part: Any, key: str) -> Any:
    """The value that `part` was constructed with: its attribute `key`, else the constructor's default."""
    return getattr(part, key, inspect.signature(type(part).__init__).parameters[key].default)


def _finished(study: Any) -> int:
    return sum(trial.state.is_finished() for trial in study.trials)


def _best(study: Any) -> float:
    try:
        return float(study.best_value)
    except ValueError:  # no trial is complete
        return 0.0


def _check_same_search(
    study: Any, options: EvaluationOptions, log: LabelledExamples, more: list[Any]
) -> None:
    """Raise `BadOptions` unless the earlier trials in the file were measured as the next ones will be."""
    protocol = {name: sorted(v) if isinstance(v, frozenset) else v for name, v in asdict(options).items()}
    search = json.dumps([protocol, len(log.examples), *more])
    if study.user_attrs.setdefault("search", search) != search:
        raise BadOptions("--storage holds a search with other options, metric or log: name another file")
    study.set_user_attr("search", search)


def settings_toml(result: TuningResult, comment: str) -> str:
    """The tuned settings as the text of a TOML file for FRESHET_FILE."""
    lines = "".join(f"# {line}\n" for line in comment.splitlines())
    parameters = {name: values for name, values in result.settings["model_parameters"].items() if values}
    return f"{lines}\n{tomli_w.dumps(result.settings | {'model_parameters': parameters})}"
