"""Memory of a serving process that knows many items and users, beside what `import torch` costs."""

import subprocess
import sys

from tests.bench.backlog import Watch, load
from tests.bench.clicks import ITEMS
from tests.bench.figures import Row
from tests.bench.filled import fill_model, fill_users
from tests.bench.site import Bench, say

USERS, EVENTS = 200_000, 200_000
_TORCH = "import torch, re; print(re.search(r'VmRSS:\\s+(\\d+)', open('/proc/self/status').read())[1])"


def memory(bench: Bench) -> list[Row]:
    """Resident memory, after a backlog over all users; and whether torch is loaded."""
    say("memory: a bare `import torch`")
    said = subprocess.run([sys.executable, "-c", _TORCH], capture_output=True, text=True, check=True).stdout
    torch = int(said) / 1024
    users, events = bench.scaled(USERS), bench.scaled(EVENTS)
    with bench.site("memory") as site:
        fill_model(site.settings, bench)
        fill_users(site.settings, users, bench.seed)
        say(f"memory: a worker with {users:,} users and {ITEMS:,} items, after {events:,} events")
        load(site.settings, events, bench.seed, users)
        worker = site.worker()
        worker.wait_ready()
        Watch(site.settings).until(events, worker)
        rss, most = worker.memory_mib(), worker.memory_mib("VmHWM")
        libraries = worker.maps("libtorch")
    return [
        Row("memory", f"serving process, {ITEMS:,} items, {users:,} users", rss, "MiB", at_most=1024 + torch,
            note=f"{most:,.0f} MiB at its most; after {events:,} events"),
        Row("memory", "a bare `import torch`", torch, "MiB"),
        Row("memory", "libtorch in the serving process", int(libraries), "", at_most=0,
            note="1: it is loaded, see /proc/PID/maps"),
    ]  # fmt: skip
