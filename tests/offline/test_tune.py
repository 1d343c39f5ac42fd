"""`freshet tune`: on a validation part only, kept in a file, and what comes out can be used."""

import inspect
import json
import tomllib
from pathlib import Path

import pytest

from models.model import Model
from models.registry import GENERATORS, RANKERS
from streams.offline.options import BadPlan, Options
from streams.offline.plan import Taken
from streams.offline.search_space import DAY_MS, HYPER_PARAMETERS, WEIGHT, known, suggest
from streams.offline.tune import as_built, validation_only
from streams.settings import Settings, load
from tests.offline.test_evaluate import rows, run, small, taken, written  # noqa: F401

optuna = pytest.importorskip("optuna")


@pytest.fixture
def log(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return written(tmp_path / "log.csv", rows(300))


def part(name: str, **parameters: float):
    """A generator or ranker as a model makes it."""
    rankers = [name] if name in RANKERS else []
    generators = ["next", "embedding" if rankers else name]
    model = Model(generators, 100, parameters={name: parameters}, rankers=rankers)
    return model.rankers[name] if rankers else model.generators[name]


@pytest.mark.parametrize("name", HYPER_PARAMETERS)
def test_every_parameter_of_the_space_is_one_of_the_part(name):
    asked = inspect.signature(type(part(name)).__init__).parameters
    for key, within in HYPER_PARAMETERS[name].items():
        assert within.low <= asked[key].default <= within.high, f"{key}: the default must be in the space"
        part(name, **{key: within.low})


def test_the_space_holds_the_defaults():
    settings = Settings()
    point = known(settings.generators, settings.ranker, {}, list(GENERATORS))
    assert {name for name in GENERATORS if point[f"{name}.on"]} == set(settings.generators)
    chosen = {"next.on": False, "previous.on": True, "previous.weight": 0.5, "ranker": "blend"}
    chosen |= {f"previous.{key}": within.low for key, within in HYPER_PARAMETERS["previous"].items()}
    trial = optuna.trial.FixedTrial(chosen)
    found = suggest(trial, ["next", "previous"], ["blend", "mlp"])
    assert found["generators"] == {"previous": 0.5}
    assert found["ranker"] == "blend"
    assert set(found["model_parameters"]) == {"previous"}
    assert WEIGHT.low < 1 < WEIGHT.high


def test_a_search_begins_at_the_settings_as_they_are():
    weights = {"next": 1.0, "previous": 0.6, "embedding": 0.2, "popularity": 0.1, "trending": 0.05}
    settings = Settings(generators=weights, model_parameters={"next": {"half_life_ms": 5e7}})
    names = [*weights, "graph"]
    point = known(settings.generators, settings.ranker, as_built(settings, names), names)
    assert point["next.half_life_ms"] == 5e7
    assert point["previous.half_life_ms"] == 28 * DAY_MS
    assert point["trending.half_life_ms"] == DAY_MS / 12, "not that of its class"
    begun = suggest(optuna.trial.FixedTrial(point), names, [settings.ranker])
    assert begun["generators"] == settings.generators
    assert begun["ranker"] == settings.ranker
    for name, values in begun["model_parameters"].items():
        assert set(values) == set(HYPER_PARAMETERS[name]), "nothing is left to chance"


def test_only_a_validation_part_is_tuned_on(log):
    found = taken(log)
    assert len(validation_only(Options(), found, 0.3).examples) == 90
    windows = Options(protocol="windows", window="12h", windows=(1, 2))
    assert validation_only(windows, found, 0.3) == found
    for options in (
        Options(protocol="windows"),
        Options(protocol="holdout"),
        Options(protocol="leave-one-out"),
    ):
        with pytest.raises(BadPlan):
            validation_only(options, found, 0.3)
    assert validation_only(Options(protocol="holdout", part="valid"), found, 0.3) is found
    assert validation_only(Options(), Taken([], []), 0.3).examples == []


def test_a_search_is_written_goes_on_and_can_be_used(log, monkeypatch):
    common = [
        "tune",
        log,
        "--generators",
        "next,popularity",
        "--share",
        "100",
        "--model-delay",
        "10m",
        "--json",
    ]
    result = run(*common, "--trials", "3")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["trials"], found["metric"]) == (3, "mrr@20")
    assert found["value"] >= found["first"] > 0.1
    on = json.loads(run(*common, "--trials", "5").stdout)
    assert on["trials"] == 5
    assert on["first"] == found["first"]
    assert on["value"] >= found["value"]
    assert json.loads(run(*common, "--trials", "5").stdout) == on, "nothing is left to do"
    before = run("evaluate", log, "--model-delay", "10m", "--json")
    assert json.loads(before.stdout)["recommenders"]["all"]["mrr@20"] == pytest.approx(on["first"], abs=1e-5)
    tuned = tomllib.loads(Path("tuned.toml").read_text())
    assert tuned["generators"] == on["settings"]["generators"]
    monkeypatch.delenv("FRESHET_GENERATORS")
    monkeypatch.setenv("FRESHET_FILE", "tuned.toml")
    settings = load()
    assert settings.generators == on["settings"]["generators"]
    assert settings.model_parameters == on["settings"]["model_parameters"]
    again = run("evaluate", log, "--model-delay", "10m", "--json")
    assert json.loads(again.stdout)["recommenders"]["all"]["mrr@20"] == pytest.approx(on["value"], abs=1e-5)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--generators", "nothing"], "unknown --generators 'nothing': expected one of next, previous"),
        (["--rankers", "nothing"], "unknown --rankers 'nothing': expected one of blend, linear"),
        (["--protocol", "windows"], "--windows: say on which to tune"),
        (["--protocol", "holdout", "--part", "test"], "--part test is for the report"),
        (["--part", "valid"], "--part is for --protocol holdout or leave-one-out"),
        (["--out", "nowhere/tuned.toml"], "--out nowhere/tuned.toml: there is no such folder"),
        (["--storage", "log.csv"], "--storage log.csv: is no search of freshet's"),
    ],
)
def test_what_does_not_fit_is_one_line(log, args, said):
    result = run("tune", log, *args)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert said in result.stderr.splitlines()[-1]


def test_another_search_is_not_gone_on_with(log):
    common = ["tune", log, "--generators", "popularity", "--share", "100", "--model-delay", "1h"]
    assert run(*common, "--trials", "1").exit_code == 0
    result = run(*common, "--trials", "2", "--metric", "recall")
    assert result.exit_code == 2
    assert "--storage holds another search" in result.stderr.splitlines()[-1]
