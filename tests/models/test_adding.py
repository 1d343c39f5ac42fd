"""The generator of docs/models/adding-a-generator.md keeps every promise."""

import inspect
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from models import registry
from tests.models import test_promises as promises

PAGE = Path(__file__).parents[2] / "docs/models/adding-a-generator.md"
FILE, ROW = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
OF_ONE = [
    test
    for name, test in inspect.getmembers(promises, inspect.isfunction)
    if name.startswith("test_") and [*inspect.signature(test).parameters] in (["name"], ["learning_name"])
]


@pytest.mark.parametrize("promise", OF_ONE, ids=lambda test: test.__name__)
def test_the_example_keeps_the_promise(promise, monkeypatch):
    module = ModuleType("models.retrieval.latest")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(FILE, str(PAGE), "exec"), vars(module))
    rows = eval("{" + ROW + "}", vars(registry))
    monkeypatch.setitem(registry.GENERATORS, "latest", rows["latest"])
    promise("latest")
