"""`freshet tune`: on a validation part only, kept in a file, with a result that can be used."""

import inspect
import json
import tomllib
from pathlib import Path

import pytest

from models.model import Model
from models.registry import GENERATORS, RANKERS
from models.units import DAY_MS
from streams.offline.examples import LabelledExamples
from streams.offline.options import BadOptions, EvaluationOptions
from streams.offline.search_space import HYPER_PARAMETERS, WEIGHT, starting_point, suggest
from streams.offline.tune import TuningResult, current_parameters, settings_toml, validation_only
from streams.settings import Settings, load
from tests.offline.test_evaluate import freshet, labelled, rows, small_model, write_csv  # noqa: F401  (a fixture)

optuna = pytest.importorskip("optuna")


@pytest.fixture
def log(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_csv(tmp_path / "log.csv", rows(300))


def part(name: str, **parameters: float):
    """A generator or ranker of a model."""
    rankers = [name] if name in RANKERS else []
    generators = ["next", "embedding" if rankers else name]
    model = Model(generators, 100, parameters={name: parameters}, rankers=rankers)
    return model.rankers[name] if rankers else model.generators[name]


@pytest.mark.parametrize("name", HYPER_PARAMETERS)
def test_hyper_parameters_are_parameters_of_the_constructor(name):
    parameters = inspect.signature(type(part(name)).__init__).parameters
    for key, bounds in HYPER_PARAMETERS[name].items():
        assert bounds.low <= parameters[key].default <= bounds.high, f"{key}: the default is not in the space"
        part(name, **{key: bounds.low})


def test_the_space_holds_the_defaults():
    settings = Settings()
    point = starting_point(settings.generators, settings.ranker, {}, list(GENERATORS))
    assert {name for name in GENERATORS if point[f"{name}.on"]} == set(settings.generators)
    chosen = {"next.on": False, "previous.on": True, "previous.weight": 0.5, "ranker": "blend"}
    chosen |= {f"previous.{key}": bounds.low for key, bounds in HYPER_PARAMETERS["previous"].items()}
    trial = optuna.trial.FixedTrial(chosen)
    suggested = suggest(trial, ["next", "previous"], ["blend", "mlp"])
    assert suggested["generators"] == {"previous": 0.5}
    assert suggested["ranker"] == "blend"
    assert set(suggested["model_parameters"]) == {"previous"}
    assert WEIGHT.low < 1 < WEIGHT.high


def test_a_search_starts_at_the_current_settings():
    weights = {"next": 1.0, "previous": 0.6, "embedding": 0.2, "popularity": 0.1, "trending": 0.05}
    settings = Settings(generators=weights, model_parameters={"next": {"half_life_ms": 5e7}})
    names = [*weights, "graph"]
    parameters = current_parameters(settings, names)
    point = starting_point(settings.generators, settings.ranker, parameters, names)
    assert point["next.half_life_ms"] == 5e7
    assert point["previous.half_life_ms"] == 28 * DAY_MS
    assert point["trending.half_life_ms"] == DAY_MS / 12, "the default of the registry, not of its class"
    first = suggest(optuna.trial.FixedTrial(point), names, [settings.ranker])
    assert first["generators"] == settings.generators
    assert first["ranker"] == settings.ranker
    for name, values in first["model_parameters"].items():
        assert set(values) == set(HYPER_PARAMETERS[name]), "nothing is left to the sampler"


def test_only_a_validation_part_is_tuned_on(log):
    examples = labelled(log)
    assert len(validation_only(EvaluationOptions(), examples, 0.3).examples) == 90
    windows = EvaluationOptions(protocol="windows", window="12h", windows=(1, 2))
    assert validation_only(windows, examples, 0.3) == examples
    for protocol, message in (
        ("windows", "--windows is missing"),
        ("holdout", "--part test is reserved for the report"),
        ("leave-one-out", "--part test is reserved for the report"),
    ):
        with pytest.raises(BadOptions, match=f"^{message}"):
            validation_only(EvaluationOptions(protocol=protocol), examples, 0.3)
    assert validation_only(EvaluationOptions(protocol="holdout", part="valid"), examples, 0.3) is examples
    assert validation_only(EvaluationOptions(), LabelledExamples([], []), 0.3).examples == []


def test_the_settings_file_keeps_parameters_of_every_type(tmp_path, monkeypatch):
    parameters = {
        "next": {"half_life_ms": 1.25e9, "neighbours": 32, "tiny": 1e-9},
        "embedding": {"sampling": 'a "quoted" name\nand a line', "on": True, "off": False},
        "mlp": {"layers": {"sizes": [8, 16], "dropout": {"first": 0.5}}},
        "popularity": {},
    }
    settings = {
        "generators": {"next": 1.0, "embedding": 0.125},
        "ranker": "mlp",
        "model_parameters": parameters,
    }
    result = TuningResult(settings, 0.2, 0.1, 3, 1, "mrr@20", interrupted=False)
    text = settings_toml(result, "a log with\na line break")
    kept = {name: values for name, values in parameters.items() if values}
    assert tomllib.loads(text) == settings | {"model_parameters": kept}
    assert text.startswith("# a log with\n# a line break\n")
    file = tmp_path / "tuned.toml"
    file.write_text(text)
    monkeypatch.delenv("FRESHET_GENERATORS")
    monkeypatch.setenv("FRESHET_FILE", str(file))
    read = load()
    assert (read.generators, read.ranker) == (settings["generators"], "mlp")
    assert read.model_parameters == kept
    flat = [value for part in ("next", "embedding") for value in read.model_parameters[part].values()]
    assert [type(value) for value in flat] == [float, int, float, str, bool, bool]


def test_a_search_is_written_and_continued_and_its_result_used(log, monkeypatch):
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
    result = freshet(*common, "--trials", "3")
    assert result.exit_code == 0, result.output
    tuned = json.loads(result.stdout)
    assert (tuned["trials"], tuned["metric"]) == (3, "mrr@20")
    assert tuned["value"] >= tuned["first"] > 0.1
    continued = json.loads(freshet(*common, "--trials", "5").stdout)
    assert continued["trials"] == 5
    assert continued["first"] == tuned["first"]
    assert continued["value"] >= tuned["value"]
    assert json.loads(freshet(*common, "--trials", "5").stdout) == continued, "no trials are left to run"

    def mrr() -> float:
        evaluation = freshet("evaluate", log, "--model-delay", "10m", "--json")
        return json.loads(evaluation.stdout)["recommenders"]["all"]["mrr@20"]

    assert mrr() == pytest.approx(continued["first"], abs=1e-5)
    assert tomllib.loads(Path("tuned.toml").read_text())["generators"] == continued["settings"]["generators"]
    monkeypatch.delenv("FRESHET_GENERATORS")
    monkeypatch.setenv("FRESHET_FILE", "tuned.toml")
    settings = load()
    assert settings.generators == continued["settings"]["generators"]
    assert settings.model_parameters == continued["settings"]["model_parameters"]
    assert mrr() == pytest.approx(continued["value"], abs=1e-5)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--generators", "nothing"], "unknown --generators 'nothing': expected one of next, previous"),
        (["--rankers", "nothing"], "unknown --rankers 'nothing': expected one of blend, linear"),
        (["--protocol", "windows"], "--windows is missing: name the windows to tune on, such as 1-7"),
        (
            ["--protocol", "holdout", "--part", "test"],
            "--part test is reserved for the report: tune on --part valid",
        ),
        (
            ["--part", "valid"],
            "--part has no effect with --protocol prequential: expected --protocol holdout or leave-one-out",
        ),
        (["--out", "nowhere/tuned.toml"], "--out nowhere/tuned.toml: the folder does not exist"),
        (["--storage", "log.csv"], "--storage log.csv: not a file of freshet tune; name another file"),
    ],
)
def test_invalid_options_are_one_line(log, args, message):
    result = freshet("tune", log, *args)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert message in result.stderr.splitlines()[-1]


def test_the_file_of_another_search_is_refused(log):
    common = ["tune", log, "--generators", "popularity", "--share", "100", "--model-delay", "1h"]
    assert freshet(*common, "--trials", "1").exit_code == 0
    result = freshet(*common, "--trials", "2", "--metric", "recall")
    assert result.exit_code == 2
    assert (
        "--storage holds a search with other options, metric or log: name another file"
        in result.stderr.splitlines()[-1]
    )
