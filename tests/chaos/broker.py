"""The Kafka under the scenarios: one broker that can be reached at once, through a slow network, or not."""

import os
import signal
import time
from pathlib import Path

from deploy.kafka import KafkaBroker, free_port
from tests.chaos.slow_network import SlowNetwork

DELAY_S = 0.12
LARGEST_BYTES = 20_000_000
"""Size of a record that the broker takes where a topic allows it."""


class Broker:
    """A Kafka with a second listener, which clients reach through a `SlowNetwork` only."""

    def __init__(self, folder: Path) -> None:
        self._kafka = KafkaBroker(folder)
        behind, self._slow_port = free_port(), free_port()
        self._kafka.config |= {
            "listeners": f"{self._kafka.listeners},SLOW://127.0.0.1:{behind}",
            "advertised.listeners": f"PLAINTEXT://{self.brokers},SLOW://{self.slow_brokers}",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SLOW:PLAINTEXT",
            "socket.request.max.bytes": 2 * LARGEST_BYTES,
            # Damaged, deleted and recreated topics: their files go at once, instead of after a minute
            "file.delete.delay.ms": 1000,
        }
        self._network = SlowNetwork(self._slow_port, behind, DELAY_S)

    @property
    def brokers(self) -> str:
        """Where a client reaches the broker at once."""
        return self._kafka.brokers

    @property
    def slow_brokers(self) -> str:
        """Where a client reaches it through the slow network."""
        return f"127.0.0.1:{self._slow_port}"

    def suspend(self) -> None:
        """Stop the broker's process in its tracks: it answers nobody, and no connection ends."""
        os.kill(self._pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it continue."""
        os.kill(self._pid, signal.SIGCONT)

    def pause(self, seconds: float) -> None:
        """Suspend the broker for some seconds."""
        self.suspend()
        time.sleep(seconds)
        self.resume()

    @property
    def _pid(self) -> int:
        pid = self._kafka.pid
        assert pid is not None, "the broker has ended"
        return pid

    def __enter__(self) -> "Broker":
        self._kafka.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._kafka.pid:
            self.resume()  # a suspended process ignores SIGTERM
        self._kafka.stop()
        self._network.close()
