"""What `freshet tune` searches: all of it, in one place.

Each generator is on or off, has a weight in the blend, and hyper-parameters by the names of its constructor;
so has the ranker, of which there may be several to choose from.
Ranges are those in which a measured optimum on some log lay, and a bit more on both sides.
"""

from typing import Any, NamedTuple, Protocol

from models.units import DAY_MS


class Between(NamedTuple):
    """A number in a range, equally likely in each power of ten."""

    low: float
    high: float


class Whole(NamedTuple):
    """A whole number in a range, likewise."""

    low: int
    high: int


Range = Between | Whole

WEIGHT = Between(0.02, 2.0)
"""Of a generator that is on."""

TOWER: dict[str, Range] = {
    "learning_rate": Between(0.01, 0.5),
    "tower_rate": Between(0.0004, 0.04),
    "dropout": Between(0.1, 0.6),
    "replay": Between(0.25, 4.0),
    "negatives": Whole(100, 1000),
}

HYPER_PARAMETERS: dict[str, dict[str, Range]] = {
    "next": {
        "half_life_ms": Between(0.25 * DAY_MS, 112 * DAY_MS),
        "neighbours": Whole(16, 64),
    },
    "previous": {
        "half_life_ms": Between(0.25 * DAY_MS, 112 * DAY_MS),
        "neighbours": Whole(16, 64),
    },
    "session-knn": {
        "tau_ms": Between(0.25 * DAY_MS, 224 * DAY_MS),
        "neighbours": Whole(50, 300),
        "latest": Whole(32, 128),
    },
    "user-knn": {
        "tau_ms": Between(0.25 * DAY_MS, 224 * DAY_MS),
        "neighbours": Whole(50, 300),
        "latest": Whole(32, 128),
    },
    "embedding": TOWER,
    "gru": TOWER,
    "transformer": TOWER,
    "popularity": {"half_life_ms": Between(0.02 * DAY_MS, 56 * DAY_MS)},
    "trending": {"half_life_ms": Between(0.005 * DAY_MS, 2 * DAY_MS)},
    "context-popularity": {"half_life_ms": Between(0.02 * DAY_MS, 56 * DAY_MS)},
    "context-trending": {"half_life_ms": Between(0.005 * DAY_MS, 2 * DAY_MS)},
    "graph": {"steps": Whole(100, 2000)},
    "linear": {"learning_rate_linear": Between(0.005, 0.5)},
    "mlp": {
        "hidden": Whole(4, 32),
        "learning_rate": Between(0.004, 0.4),
        "learning_rate_linear": Between(0.005, 0.5),
    },
    "neumf": {"hidden": Whole(4, 32), "learning_rate": Between(0.005, 0.5)},
    "din": {"hidden": Whole(4, 32), "learning_rate": Between(0.005, 0.5)},
}


class Trial(Protocol):
    """What is asked of Optuna's trial."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool) -> float:
        """A number."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool) -> int:
        """A whole number."""

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """One of them."""


def suggest(trial: Trial, generators: list[str], rankers: list[str]) -> dict[str, Any]:
    """Settings to try; no generators where the trial has all off."""
    weights: dict[str, float] = {}
    for name in generators:
        if trial.suggest_categorical(f"{name}.on", [True, False]):
            weights[name] = _value(trial, f"{name}.weight", WEIGHT)
    ranker = trial.suggest_categorical("ranker", rankers)
    parameters = {
        name: {key: _value(trial, f"{name}.{key}", within) for key, within in HYPER_PARAMETERS[name].items()}
        for name in (*weights, ranker)
        if name in HYPER_PARAMETERS
    }
    return {"generators": weights, "ranker": ranker, "model_parameters": parameters}


def _value(trial: Trial, name: str, within: Range) -> float:
    if isinstance(within, Whole):
        return trial.suggest_int(name, within.low, within.high, log=True)
    return float(f"{trial.suggest_float(name, within.low, within.high, log=True):.4g}")


def known(
    weights: dict[str, float], ranker: str, parameters: dict[str, dict[str, Any]], generators: list[str]
) -> dict[str, Any]:
    """Settings as a point of the space to begin at; what is open, or outside it, is left to chance."""
    point: dict[str, Any] = {f"{name}.on": name in weights for name in generators} | {"ranker": ranker}
    for name in (*generators, ranker):
        values = parameters.get(name, {}) | ({"weight": weights[name]} if name in weights else {})
        for key, within in ({"weight": WEIGHT} | HYPER_PARAMETERS.get(name, {})).items():
            value = values.get(key)
            if value is not None and within.low <= value <= within.high:
                point[f"{name}.{key}"] = value
    return point
