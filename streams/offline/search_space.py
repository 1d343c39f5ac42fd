"""The search space of `freshet tune`: all of it, in one place.

Each generator is on or off, has a weight in the blend, and hyper-parameters by the names of its constructor.
The ranker is one of several, with its hyper-parameters.  A range covers the optima that were measured on
several logs, and somewhat more on both sides.
"""

from typing import Any, NamedTuple, Protocol

from models.units import DAY_MS


class FloatRange(NamedTuple):
    """A number from `low` to `high`, log-uniform."""

    low: float
    high: float


class IntRange(NamedTuple):
    """A whole number from `low` to `high`, log-uniform."""

    low: int
    high: int


Range = FloatRange | IntRange

WEIGHT = FloatRange(0.02, 2.0)
"""Weight of a generator that is on."""

TOWER: dict[str, Range] = {
    "learning_rate": FloatRange(0.01, 0.5),
    "tower_rate": FloatRange(0.0004, 0.04),
    "dropout": FloatRange(0.1, 0.6),
    "replay": FloatRange(0.25, 4.0),
    "negatives": IntRange(100, 1000),
}

HYPER_PARAMETERS: dict[str, dict[str, Range]] = {
    "next": {
        "half_life_ms": FloatRange(0.25 * DAY_MS, 112 * DAY_MS),
        "neighbours": IntRange(16, 64),
    },
    "previous": {
        "half_life_ms": FloatRange(0.25 * DAY_MS, 112 * DAY_MS),
        "neighbours": IntRange(16, 64),
    },
    "session-knn": {
        "tau_ms": FloatRange(0.25 * DAY_MS, 224 * DAY_MS),
        "neighbours": IntRange(50, 300),
        "latest": IntRange(32, 128),
    },
    "user-knn": {
        "tau_ms": FloatRange(0.25 * DAY_MS, 224 * DAY_MS),
        "neighbours": IntRange(50, 300),
        "latest": IntRange(32, 128),
    },
    "embedding": TOWER,
    "gru": TOWER,
    "transformer": TOWER,
    "popularity": {"half_life_ms": FloatRange(0.02 * DAY_MS, 56 * DAY_MS)},
    "trending": {"half_life_ms": FloatRange(0.005 * DAY_MS, 2 * DAY_MS)},
    "context-popularity": {"half_life_ms": FloatRange(0.02 * DAY_MS, 56 * DAY_MS)},
    "context-trending": {"half_life_ms": FloatRange(0.005 * DAY_MS, 2 * DAY_MS)},
    "graph": {"steps": IntRange(100, 2000)},
    "linear": {"learning_rate_linear": FloatRange(0.005, 0.5)},
    "mlp": {
        "hidden": IntRange(4, 32),
        "learning_rate": FloatRange(0.004, 0.4),
        "learning_rate_linear": FloatRange(0.005, 0.5),
    },
    "neumf": {"hidden": IntRange(4, 32), "learning_rate": FloatRange(0.005, 0.5)},
    "din": {"hidden": IntRange(4, 32), "learning_rate": FloatRange(0.005, 0.5)},
}


class Trial(Protocol):
    """The methods of an Optuna trial that are used here: Optuna is an optional dependency."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        """Suggest a number."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int:
        """Suggest a whole number."""

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """Suggest one of the choices."""


def suggest(trial: Trial, generators: list[str], rankers: list[str]) -> dict[str, Any]:
    """Settings to try: `generators`, `ranker`, `model_parameters`; no generators if the trial has all off."""
    weights: dict[str, float] = {}
    for name in generators:
        if trial.suggest_categorical(f"{name}.on", [True, False]):
            weights[name] = _suggest_number(trial, f"{name}.weight", WEIGHT)
    ranker = trial.suggest_categorical("ranker", rankers)
    parameters = {
        name: {
            key: _suggest_number(trial, f"{name}.{key}", bounds)
            for key, bounds in HYPER_PARAMETERS[name].items()
        }
        for name in (*weights, ranker)
        if name in HYPER_PARAMETERS
    }
    return {"generators": weights, "ranker": ranker, "model_parameters": parameters}


def _suggest_number(trial: Trial, name: str, bounds: Range) -> float:
    if isinstance(bounds, IntRange):
        return trial.suggest_int(name, bounds.low, bounds.high, log=True)
    return float(f"{trial.suggest_float(name, bounds.low, bounds.high, log=True):.4g}")


def starting_point(
    weights: dict[str, float], ranker: str, parameters: dict[str, dict[str, Any]], generators: list[str]
) -> dict[str, Any]:
    """Settings as a point of the search space; the search chooses values that are missing or outside it."""
    point: dict[str, Any] = {f"{name}.on": name in weights for name in generators} | {"ranker": ranker}
    for name in (*generators, ranker):
        values = parameters.get(name, {}) | ({"weight": weights[name]} if name in weights else {})
        for key, bounds in ({"weight": WEIGHT} | HYPER_PARAMETERS.get(name, {})).items():
            value = values.get(key)
            if value is not None and bounds.low <= value <= bounds.high:
                point[f"{name}.{key}"] = value
    return point
