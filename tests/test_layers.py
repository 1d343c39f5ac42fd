"""Rules on imports: models know no Kafka, serving does not import torch, one module reads the environment."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ALLOWED = {"models", "numpy", "numba", "torch", "usearch"} | set(sys.stdlib_module_names)


@pytest.mark.parametrize("path", sorted((ROOT / "models").rglob("*.py")), ids=lambda p: p.name)
def test_models_import_neither_kafka_nor_faust(path):
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module or "")
    assert {name.partition(".")[0] for name in imported} <= ALLOWED


def test_serving_does_not_import_torch():
    code = (
        "import sys; import streams.app; from models.core import Query;"
        "streams.app.serving.recommender.recommend([Query(('a',), 1, 0)], 5);"
        "sys.exit('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True)
    assert result.returncode == 0, result.stderr.decode()[-2000:]


def test_the_environment_is_read_in_one_place():
    readers = {
        path.relative_to(ROOT).as_posix()
        for folder in ("streams", "models")
        for path in (ROOT / folder).rglob("*.py")
        if "os.environ" in path.read_text() or "getenv" in path.read_text()
    }
    assert readers <= {
        "streams/settings.py",
        "streams/cli/processes.py",
        "streams/clients/child.py",
    }  # these two write it
