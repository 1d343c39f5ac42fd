"""The generator of docs/models/adding-a-generator.md keeps every promise."""

import inspect
import re
from pathlib import Path

import pytest

from models.registry import GENERATORS
from tests.models import test_promises as promises

PAGE = Path(__file__).parents[2] / "docs/models/adding-a-generator.md"
OF_ONE = [
    test
    for name, test in inspect.getmembers(promises, inspect.isfunction)
    if name.startswith("test_") and [*inspect.signature(test).parameters] in (["name"], ["learning_name"])
]


@pytest.mark.parametrize("promise", OF_ONE, ids=lambda test: test.__name__)
def test_the_example_keeps_the_promise(promise, monkeypatch):
    source = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[0]
    names: dict = {}
    exec(compile(source, str(PAGE), "exec"), names)
    monkeypatch.setitem(GENERATORS, "latest", lambda capacity, seed: names["Latest"](capacity))
    promise("latest")
