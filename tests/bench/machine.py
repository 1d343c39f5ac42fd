"""The header of a report: hardware, versions, seed, command, date."""

import os
import platform
import re
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from deploy.kafka import POM
from streams.settings import PREFIX

LIBRARIES = ("faust-streaming", "aiokafka", "confluent-kafka", "numba", "numpy", "torch", "rocksdict")


def header(command: str, seed: int) -> dict[str, str]:
    """The header's values by name, in the order to print; `load` is that of the moment of the call."""
    values = {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "command": command,
        "seed": str(seed),
        "hardware": f"{_cpu()}, {len(os.sched_getaffinity(0))} cores, {_memory_gib():.0f} GiB",
        "load": f"{os.getloadavg()[0]:.2f} before the start (1 min)",
        "versions": ", ".join(
            [
                f"Python {platform.python_version()}",
                f"Apache Kafka {_kafka()}",
                *(f"{name} {version(name)}" for name in LIBRARIES),
                f"Linux {platform.release()}",
            ]
        ),
    }
    if settings := [f"{name}={value}" for name, value in sorted(os.environ.items()) if _is_shown(name)]:
        values["settings"] = " ".join(settings)
    return values


def _is_shown(name: str) -> bool:
    return name.startswith(PREFIX) and not any(word in name for word in ("SASL", "SSL", "BROKERS", "DIR"))


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _kafka() -> str:
    """The version of Kafka that is fetched; the jars may not exist yet."""
    version = re.search(r"<artifactId>kafka_[\d.]+</artifactId>\s*<version>(.+?)</version>", POM.read_text())
    return version[1] if version else "?"
