"""The table of generators and rankers."""

import subprocess
import sys

import pytest

from models.model import Model
from models.registry import GENERATORS, RANKERS, default_weights, load
from models.units import HOUR_MS
from streams.settings import Settings


def test_the_defaults_are_the_tables_heaviest_first():
    assert list(default_weights().items()) == [
        ("next", 1.0),
        ("previous", 0.6),
        ("session-knn", 0.5),
        ("history", 0.2),
        ("embedding", 0.1),
        ("content", 0.1),
        ("popularity", 0.05),
        ("trending", 0.05),
    ]
    assert list(Settings().generators.items()) == list(default_weights().items())


@pytest.mark.parametrize("name", RANKERS)
def test_every_ranker_is_built(name):
    assert list(Model(["next", "embedding"], 100, rankers=[name]).rankers) == [name]


def test_parameters_replace_the_defaults_of_the_table():
    assert Model(["trending"], 100).half_lives_ms == {"trending": 2 * HOUR_MS}
    model = Model(["trending"], 100, parameters={"trending": {"half_life_ms": 5.0}})
    assert model.half_lives_ms == {"trending": 5.0}


@pytest.mark.parametrize("parameter", ["nonsense", "direction"])
def test_unknown_and_fixed_parameters_are_refused_by_name(parameter):
    with pytest.raises(TypeError, match=parameter):
        Model(["next"], 100, parameters={"next": {parameter: "previous"}})


def test_every_class_says_its_parameters_and_shows_an_example():
    for row in (*GENERATORS.values(), *RANKERS.values()):
        text = load(row.path).__doc__
        assert "Parameters\n    ----------" in text
        assert ">>>" in text


def test_reading_the_table_imports_neither_numba_nor_torch():
    code = "import sys, models.registry; sys.exit(bool({'numba', 'torch', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
