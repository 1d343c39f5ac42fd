"""Native thread pools have one thread, in a process of its own: pools are a process's."""

import subprocess
import sys
from pathlib import Path

CODE = """
from threadpoolctl import threadpool_info
from models.core import Example
from streams.runtime.factory import make_model
from streams.settings import Settings

model = make_model(Settings(max_items=100))
for n in range(3):
    model.learn([Example("u", n, n, "view", str(n), history=("0", "1"), session_size=2)])
import torch
pools = {pool["user_api"]: pool["num_threads"] for pool in threadpool_info()}
assert pools == {"blas": 1, "openmp": 1}, pools
assert torch.get_num_threads() == 1
"""


def test_every_pool_of_a_process_that_has_a_model_has_one_thread():
    result = subprocess.run(
        [sys.executable, "-c", CODE], cwd=Path(__file__).parents[2], capture_output=True, timeout=200
    )
    assert result.returncode == 0, result.stderr.decode()[-2000:]
